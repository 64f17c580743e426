"""The training loop: rows resident on the device, batches by index, nothing between steps but the step.

Every model of the benchmark, original, retrained or a method's own, is trained by `fit`. Batches are drawn by
permuting all training rows and leaving out those that are not there, so that an original and a retrained model of
one seed see their common rows in the same order.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark import augmentation
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.spec import Loss, Recipe, Rows, Shape

LOSSES: Mapping[str, Loss] = {"l1": functional.l1_loss, "mse": functional.mse_loss}
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
OPTIMISERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")
EVALUATION_BATCH = 1024


class DivergedError(BenchmarkError):
    """Training or a method ended with weights or predictions that are not finite."""


def loss_of(recipe: Recipe) -> Loss:
    """Return the recipe's loss.

    Raises:
        UnknownName: with the known names.
    """
    if recipe.loss not in LOSSES:
        raise UnknownName("loss", recipe.loss, LOSSES)
    return LOSSES[recipe.loss]


def dtype_of(recipe: Recipe) -> torch.dtype:
    """Return the number format of rows and network.

    Raises:
        UnknownName: with the known names.
    """
    if recipe.precision not in PRECISIONS:
        raise UnknownName("precision", recipe.precision, PRECISIONS)
    return PRECISIONS[recipe.precision]


def check(recipe: Recipe) -> None:
    """Raise unless everything that the recipe names exists.

    Raises:
        UnknownName: with the known names.
    """
    loss_of(recipe)
    dtype_of(recipe)
    augmentation.get(recipe.augment)
    for what, name, known in (
        ("optimiser", recipe.optimiser, OPTIMISERS),
        ("schedule", recipe.schedule, SCHEDULES),
    ):
        if name not in known:
            raise UnknownName(what, name, known)


def new_network(
    build: Callable[[Shape], nn.Module], shape: Shape, recipe: Recipe, seed: int, device: torch.device
) -> nn.Module:
    """Return a freshly initialised network in evaluation mode, the same for the same seed on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(shape)
    model.to(device=device, dtype=dtype_of(recipe))
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    return model.eval()


def batch_size_of(recipe: Recipe, rows: int) -> int:
    """Return the number of rows in a batch: the recipe's, at most all of them."""
    return min(recipe.batch_size or rows, rows)


def steps_of(recipe: Recipe, rows: int, epochs: float | None = None) -> int:
    """Return how many steps `epochs` over `rows` take, at least one; partial batches are dropped."""
    per_epoch = rows // batch_size_of(recipe, rows)
    return max(1, round((recipe.epochs if epochs is None else epochs) * per_epoch))


def passes_of(recipe: Recipe, rows: int) -> int:
    """Return the gradient passes (rows forwarded and backwarded) of training from scratch on `rows`."""
    return steps_of(recipe, rows) * batch_size_of(recipe, rows)


def optimiser_of(recipe: Recipe, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Return the recipe's optimiser for the parameters that require a gradient.

    Raises:
        UnknownName: with the known names.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimiser == "adam" and recipe.weight_decay:
        return torch.optim.AdamW(parameters, learning_rate, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, learning_rate, fused=True)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parameters, learning_rate, weight_decay=recipe.weight_decay)
    raise UnknownName("optimiser", recipe.optimiser, OPTIMISERS)


def shuffled(
    rows: Rows, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[tuple[tuple[Tensor, ...], Tensor, Tensor]]:
    """Yield `steps` batches: inputs, targets and positions in `rows`; a new order each epoch, no partial batch."""
    n, device = len(rows), rows.targets.device
    place = torch.full((rows.universe,), -1, dtype=torch.int64)
    place[rows.index.cpu()] = torch.arange(n)
    while steps > 0:
        order = place[torch.randperm(rows.universe, generator=generator)]
        order = order[order >= 0].to(device)
        inputs = tuple(_gather(values, order) for values in rows.inputs)
        targets = rows.targets[order]
        for start in range(0, n - batch_size + 1, batch_size):
            stop = start + batch_size
            yield tuple(values[start:stop] for values in inputs), targets[start:stop], order[start:stop]
            steps -= 1
            if not steps:
                return


def _gather(values: Tensor, order: Tensor) -> Tensor:
    picked = values[order]
    return picked.contiguous(memory_format=torch.channels_last) if picked.ndim == 4 else picked


def fit(
    model: nn.Module,
    rows: Rows,
    recipe: Recipe,
    generator: torch.Generator,
    *,
    epochs: float | None = None,
    learning_rate: float | None = None,
    steps: int | None = None,
) -> nn.Module:
    """Train `model` in place and return it in evaluation mode.

    Args:
        model: on the device of the rows.
        rows: what to train on.
        recipe: loss, optimiser, batch size, schedule.
        generator: on the CPU; draws the order of the rows and the augmentation.
        epochs: instead of the recipe's; the schedule is stretched over them.
        learning_rate: instead of the recipe's.
        steps: stop after so many, without stretching the schedule (for timing a piece of a training run).

    Raises:
        DivergedError: the weights are not finite at the end.
        UnknownName: the recipe names a loss, optimiser, schedule or augmentation that does not exist.
    """
    check(recipe)
    loss, augment = loss_of(recipe), augmentation.get(recipe.augment)
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    optimiser, total = optimiser_of(recipe, model, rate), steps_of(recipe, len(rows), epochs)
    model.train()
    batches = shuffled(rows, batch_size_of(recipe, len(rows)), min(total, steps or total), generator)
    for step, (inputs, targets, _) in enumerate(batches):
        if augment is not None:
            inputs = (augment(inputs[0], generator), *inputs[1:])
        if recipe.schedule == "cosine":
            optimiser.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / total))
        optimiser.zero_grad()
        loss(model(*inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    require_finite(model)
    return model.eval()


def train_without_noise(model: nn.Module) -> nn.Module:
    """Put a model in training mode but its batch-norm and dropout layers in evaluation mode; return it.

    Only weights move then, and a recurrent network can still be trained on CUDA, where it must be in training mode.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
            module.eval()
    return model


def require_finite(model: nn.Module) -> None:
    """Raise unless all weights are finite.

    Raises:
        DivergedError: names the first tensor that is not.
    """
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise DivergedError(f"{name} holds numbers that are not finite")


@torch.no_grad()
def predict(
    model: nn.Module, inputs: tuple[Tensor, ...], *, head: str | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return predictions, shape (n, outputs), and the inputs of the module `head`, shape (n, width), if named.

    Evaluation mode, fixed order, no augmentation, no gradients; the mode of every module is left as found.
    """
    modes, features = {module: module.training for module in model.modules()}, list[Tensor]()
    handle = (
        model.get_submodule(head).register_forward_pre_hook(lambda _, a: features.append(a[0]))
        if head
        else None
    )
    try:
        model.eval()
        pieces = zip(*(torch.split(values, EVALUATION_BATCH) for values in inputs), strict=True)
        predictions = [model(*piece) for piece in pieces]
    finally:
        for module, mode in modes.items():
            module.training = mode
        if handle:
            handle.remove()
    return torch.cat(predictions), torch.cat(features) if head else None
