"""Recipes that look at validation rows, predict quantiles, or train as published code does.

`fit` is what the engine calls. Where a recipe asks for none of this it is `training.fit`, to the bit; where it does,
the loop below runs. They are two modules because the code of a loop is part of the identity of what it trained: models
of plain recipes do not depend on this file.

Validation: after each epoch the model is evaluated on the validation rows (for a retrained model, those of the retain
distribution). Their error, by the recipe's loss, moves the learning rate ("plateau") and chooses the weights ("best").
"""

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import ReduceLROnPlateau

from regunlearn.benchmark import augmentation, training
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.spec import Loss, Recipe, Rows

CHOICES: Mapping[str, tuple[str, ...]] = {
    "loss": (*training.LOSSES, "pinball"),
    "schedule": (*training.SCHEDULES, "plateau"),
    "keep": ("last", "best"),
    "order": ("anew", "fixed"),
    "average": ("rows", "batches"),
}
PATIENCE, FACTOR = 10, 0.1
"""Of the plateau schedule: epochs without a lower error that are borne, and what the rate is then multiplied with."""

FORWARD_SHARE = 1 / 3
"""Gradient passes that a forward pass alone counts as."""

MEDIAN = 0.5


def pinball(predictions: Tensor, targets: Tensor, *, levels: tuple[float, ...]) -> Tensor:
    """Return the pinball loss, summed over levels, mean over rows and outputs (Koenker and Bassett, 1978).

    With e = y - f at level t a term is max(t e, (t - 1) e). Where the targets are themselves quantiles, another
    model's, there is nothing to be between: the loss is then the mean absolute difference, quantile by quantile.

    Args:
        predictions: shape (n, outputs * levels), the levels of one output together.
        targets: shape (n, outputs), or the predictions' own.
        levels: in (0, 1).
    """
    if predictions.shape == targets.shape:
        return functional.l1_loss(predictions, targets)
    errors = targets.unsqueeze(-1) - predictions.reshape(*targets.shape, len(levels))
    level = torch.tensor(levels, dtype=errors.dtype, device=errors.device)
    return torch.maximum(level * errors, (level - 1) * errors).sum(-1).mean()


def loss_of(recipe: Recipe) -> Loss:
    """Return the recipe's loss.

    Raises:
        UnknownName: with the known names.
    """
    if recipe.loss == "pinball":
        return partial(pinball, levels=tuple(recipe.quantiles))
    return training.loss_of(recipe)


def check(recipe: Recipe) -> None:
    """Raise unless everything that the recipe names exists and fits together.

    Raises:
        UnknownName: with the known names.
        BenchmarkError: quantiles without the pinball loss, or not ascending in (0, 1) with the median among them.
    """
    for what, known in CHOICES.items():
        if getattr(recipe, what) not in known:
            raise UnknownName(what, getattr(recipe, what), known)
    training.dtype_of(recipe)
    augmentation.get(recipe.augment)
    if recipe.optimiser not in training.OPTIMISERS:
        raise UnknownName("optimiser", recipe.optimiser, training.OPTIMISERS)
    levels = list(recipe.quantiles)
    fine = levels == sorted(set(levels)) and all(0 < level < 1 for level in levels) and MEDIAN in levels
    if bool(levels) != (recipe.loss == "pinball") or (levels and not fine):
        raise BenchmarkError(
            f"the recipe has loss {recipe.loss!r} and quantiles {levels}: expected ascending levels between 0 and 1, "
            "0.5 among them, with the loss 'pinball', and none with another loss."
        )


def validates(recipe: Recipe) -> bool:
    """Return whether training looks at validation rows."""
    return recipe.schedule == "plateau" or recipe.keep == "best"


def plain(recipe: Recipe) -> bool:
    """Return whether `training.fit` does all that the recipe asks for."""
    return not (
        validates(recipe)
        or recipe.loss not in training.LOSSES
        or recipe.clip
        or recipe.partial
        or recipe.order == "fixed"
    )


def steps_of(recipe: Recipe, rows: int, epochs: float | None = None) -> int:
    """Return how many steps `epochs` over `rows` take, at least one."""
    if not recipe.partial:
        return training.steps_of(recipe, rows, epochs)
    per_epoch = math.ceil(rows / training.batch_size_of(recipe, rows))
    return max(1, round((recipe.epochs if epochs is None else epochs) * per_epoch))


def passes_of(recipe: Recipe, rows: int, validation: int) -> float:
    """Return the gradient passes of training from scratch on `rows`, with looks at `validation` rows each epoch."""
    trained = recipe.epochs * rows if recipe.partial else training.passes_of(recipe, rows)
    return trained + (recipe.epochs * validation * FORWARD_SHARE if validates(recipe) else 0)


def shuffled(
    rows: Rows, recipe: Recipe, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[tuple[tuple[Tensor, ...], Tensor, Tensor]]:
    """Yield `steps` batches in the recipe's order: inputs, targets and positions in `rows`."""
    if not recipe.partial and recipe.order == "anew":
        yield from training.shuffled(rows, batch_size, steps, generator)
        return
    n, device = len(rows), rows.targets.device
    place = torch.full((rows.universe,), -1, dtype=torch.int64)
    place[rows.index.cpu()] = torch.arange(n)
    kept, stop = Tensor(), n if recipe.partial else n - n % batch_size
    while steps > 0:
        if not len(kept) or recipe.order == "anew":
            order = place[torch.randperm(rows.universe, generator=generator)]
            kept = order[order >= 0][:stop].to(device)
        for picked in torch.split(kept, batch_size):
            yield (
                tuple(training._gather(values, picked) for values in rows.inputs),
                rows.targets[picked],
                picked,
            )
            steps -= 1
            if not steps:
                return


def fit(
    model: nn.Module,
    rows: Rows,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    validation: Rows | None = None,
    epochs: float | None = None,
    learning_rate: float | None = None,
    steps: int | None = None,
    keep: str | None = None,
) -> nn.Module:
    """Train `model` in place and return it in evaluation mode.

    Args:
        model: on the device of the rows.
        rows: what to train on.
        recipe: how.
        generator: on the CPU; draws the order of the rows and the augmentation.
        validation: rows to look at after each epoch, where the recipe does.
        epochs: instead of the recipe's; a cosine schedule is stretched over them.
        learning_rate: instead of the recipe's.
        steps: stop after so many, without stretching the schedule (for timing a piece of a training run).
        keep: instead of the recipe's.

    Raises:
        DivergedError: the weights are not finite at the end.
        UnknownName: the recipe names what does not exist.
        BenchmarkError: the recipe looks at validation rows and there are none.
    """
    if plain(recipe) and keep in (None, "last"):
        return training.fit(
            model, rows, recipe, generator, epochs=epochs, learning_rate=learning_rate, steps=steps
        )
    check(recipe)
    choice = _Choice(model, recipe, keep or recipe.keep, validation)
    loss, augment = loss_of(recipe), augmentation.get(recipe.augment)
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    optimiser, total = training.optimiser_of(recipe, model, rate), steps_of(recipe, len(rows), epochs)
    plateau = ReduceLROnPlateau(optimiser, factor=FACTOR, patience=PATIENCE)
    size, per_epoch = training.batch_size_of(recipe, len(rows)), steps_of(recipe, len(rows), 1)
    parameters = [p for p in model.parameters() if p.requires_grad]
    batches = shuffled(rows, recipe, size, min(total, steps or total), generator)
    model.train()
    for step, (inputs, targets, _) in enumerate(batches):
        if recipe.schedule == "cosine":
            optimiser.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / total)) / 2
        if augment:
            inputs = (augment(inputs[0], generator), *inputs[1:])
        optimiser.zero_grad()
        loss(model(*inputs), targets).backward()  # type: ignore[no-untyped-call]
        if recipe.clip:
            nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimiser.step()
        if choice.looks and (step + 1) % per_epoch == 0:
            error = choice.look()
            if recipe.schedule == "plateau":
                plateau.step(error)
    choice.settle()
    training.require_finite(model)
    return model.eval()


class _Choice:
    """Looks at the validation rows and remembers the best weights."""

    def __init__(self, model: nn.Module, recipe: Recipe, keep: str, validation: Rows | None) -> None:
        self.model, self.recipe, self.keep, self.validation = model, recipe, keep, validation
        self.looks = recipe.schedule == "plateau" or keep == "best"
        self.lowest = math.inf
        self.best: dict[str, Tensor] | None = None
        if keep not in CHOICES["keep"]:
            raise UnknownName("keep", keep, CHOICES["keep"])
        if self.looks and not (validation and len(validation)):
            raise BenchmarkError(
                f"the recipe has schedule {recipe.schedule!r} and keeps the {keep} weights: expected validation rows, "
                "found none."
            )

    def look(self) -> float:
        """Return the validation error, and remember the weights if it is the lowest so far."""
        assert self.validation is not None
        error = validation_error(self.model, self.validation, self.recipe)
        self.model.train()
        if self.keep == "best" and error < self.lowest:
            self.lowest, self.best = error, deepcopy(self.model.state_dict())
        return error

    def settle(self) -> None:
        """Put the chosen weights into the model."""
        if self.best is not None:
            self.model.load_state_dict(self.best)


def validation_error(model: nn.Module, rows: Rows, recipe: Recipe) -> float:
    """Return the recipe's loss on some rows in evaluation mode, averaged as the recipe says."""
    predictions, _ = training.predict(model, rows.inputs)
    return averaged(loss_of(recipe), predictions, rows.targets, recipe)


def averaged(loss: Loss, predictions: Tensor, targets: Tensor, recipe: Recipe) -> float:
    """Return a mean loss over rows, or the mean over batches of the recipe's size of their mean losses."""
    if recipe.average == "rows":
        return float(loss(predictions, targets))
    size = training.batch_size_of(recipe, len(targets))
    means = [
        loss(p, t) for p, t in zip(torch.split(predictions, size), torch.split(targets, size), strict=True)
    ]
    return float(torch.stack(means).mean())
