"""The published relearning time and the anamnesis index (AIN) made of it.

A. Tarun et al., Deep Regression Unlearning, ICML 2023: a model is trained on all training rows, and mini-batches are
counted until its error on the validation rows of the forget distribution is at most 1.05 times the original's. The AIN
is the unlearned model's count over the retrained model's. Published runs stop after 10 epochs and do not say so; here
that is flagged.
"""

from dataclasses import dataclass

import torch
from torch import nn

from regunlearn.benchmark import augmentation, trainers, training
from regunlearn.benchmark.spec import Recipe, Rows

EPOCHS, RATE, MARGIN = 10, 0.01, 1.05


@dataclass(frozen=True, slots=True)
class Relearned:
    """Mini-batches until relearned; `censored` if the cap was met before."""

    steps: int
    censored: bool


def relearn(
    model: nn.Module,
    rows: Rows,
    probe: Rows,
    original_error: float,
    recipe: Recipe,
    generator: torch.Generator,
) -> Relearned:
    """Train `model` in place until it has relearned, and count.

    Args:
        model: an unlearned or retrained one.
        rows: all training rows.
        probe: validation rows of the forget distribution.
        original_error: the original's on `probe`, as `trainers.validation_error` takes it.
        recipe: loss, batches, order, augmentation and how errors are averaged.
        generator: draws order and augmentation.
    """
    loss, augment = trainers.loss_of(recipe), augmentation.get(recipe.augment)
    size, cap = training.batch_size_of(recipe, len(rows)), trainers.steps_of(recipe, len(rows), EPOCHS)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    batches = trainers.shuffled(rows, recipe, size, cap, generator)
    for step, (inputs, targets, _) in enumerate(batches, start=1):
        model.train()
        if augment is not None:
            inputs = (augment(inputs[0], generator), *inputs[1:])
        optimiser.zero_grad()
        loss(model(*inputs), targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if trainers.validation_error(model, probe, recipe) <= MARGIN * original_error:
            model.eval()
            return Relearned(step, censored=False)
    training.require_finite(model)
    model.eval()
    return Relearned(cap, censored=True)


def index(unlearned: Relearned, retrained: Relearned) -> dict[str, float]:
    """Return the AIN, its two counts, and how much of it is the cap's doing."""
    return {
        "ain": unlearned.steps / retrained.steps,
        "relearning_steps": float(unlearned.steps),
        "relearning_steps_retrained": float(retrained.steps),
        "relearning_censored": (unlearned.censored + retrained.censored) / 2,
    }
