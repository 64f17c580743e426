"""The stress track: models trained on data that were corrupted on purpose, to be unlearned again.

In the other tests an unlearned model is compared with retrained ones. Here it is known what was put into the forget
rows, and so what must be gone:
`confusion`: targets of a band were moved; are predictions there, on clean test rows, moved still?
`confusion-half`: the same, but only half of the moved rows are given to be forgotten, as after an incomplete search
for bad labels (Goel et al., "Corrective Machine Unlearning", arXiv:2402.14015). The retrained models are clean.
`poison`: noise was added to inputs; does the model's loss still lean on that very noise?

Every task has these splits without declaring them. Test and validation rows are clean, and so are shift and scale of
the targets: numbers of a corrupted task and of the clean one have the same unit.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import composites, training
from regunlearn.benchmark.ensembles import EnsemblesOf, Role
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.references import References
from regunlearn.benchmark.spec import ForgetSplit, Indices
from regunlearn.benchmark.splits import HeldOut, seed_of
from regunlearn.benchmark.statistics import t_interval
from regunlearn.benchmark.tasks import Task

STRESS_VERSION = 2
BAND = (0.4, 0.8)
"""Quantiles of the training targets (of output 0) between which targets are moved: many rows of one kind, and
off the ends, where targets are rare or capped."""
SHIFT = 2.0
"""Delta, in standard deviations of the training targets: outside what noise in the targets does."""
LEAST_ROWS = 20
"""Fewest training rows in each half of the band, and fewest test rows in the band."""
POISONED = 0.1
"""Share of the training rows whose inputs get noise."""
TAU = 0.15
"""Standard deviation of that noise, in standard deviations of the input over the training rows (1 where it is
standardised). Small, because the score is a first-order one: on california-mlp the original's z is -5.0, -5.3, -4.9,
-4.2, -2.8 at tau .05, .1, .15, .2, .3, on digits-mlp -2.6, -4.0, -4.7, -4.4, -4.5; the retrained models' is in +-1."""
LEVEL = 0.05
"""Level at which the scores of one model count as detected."""
PAIR = 2


@dataclass(frozen=True, eq=False)
class StressTask(Task):
    """A task whose training rows are corrupted; everything else is the clean task's.

    Attributes:
        clean: the task as it was.
        split: what is to be forgotten.
        corrupted: training rows that were changed, sorted: those of `split`, or more.
        shifts: shape (n, outputs), in the target's unit: what was added to the targets of corrupted rows, and what
            would have been to other rows of the band, test rows among them; 0 elsewhere.
    """

    clean: Task
    split: ForgetSplit
    corrupted: Indices
    shifts: Array

    @cached_property
    def shift(self) -> Array:
        """Mean of the clean training targets, shape (outputs,), in the target's unit."""
        return self.clean.shift

    @cached_property
    def spread(self) -> Array:
        """Standard deviation of the clean training targets, shape (outputs,), in the target's unit."""
        return self.clean.spread

    @cached_property
    def content_hash(self) -> str:
        """Hash of the corrupted rows and of all that a task's hash is of, and of the clean task's."""
        both = f"{super().content_hash} {self.clean.content_hash}"
        return hashlib.sha256(both.encode()).hexdigest()[:16]

    def make_split(self, name: str, held_out: HeldOut, seed: int = 0) -> ForgetSplit:
        """Return the one split that there is.

        Raises:
            UnknownName: another one is asked for.
        """
        if name != self.split.name:
            raise UnknownName(f"split of corrupted task {self.name}", name, [self.split.name])
        return self.split


def corrupted(task: Task, name: str) -> StressTask:
    """Return a task with the training data of a stress test; its `split` holds the rows to forget.

    Raises:
        UnknownName: no such stress test.
        BenchmarkError: the data do not allow it.
    """
    if name not in STRESS:
        raise UnknownName("stress test", name, STRESS)
    return STRESS[name].corrupt(task, name)


# Interval-shift confusion -------------------------------------------------------------------------------------


def confused(
    task: Task, name: str, *, band: tuple[float, float] = BAND, signs: tuple[float, float] = (1.0, -1.0)
) -> StressTask:
    """Move the targets of half of the training rows in a band: y' = y + s Delta, Delta = `SHIFT` sigma_y.

    All outputs are moved, each by its own sigma_y. The lower half of the band goes up (s = 1), the upper half down:
    the mean target is about unchanged, so that a constant added to all predictions mends nothing. Of each two rows
    that are neighbours in their target one is drawn by lot (rho = 1/2): moved and clean rows of the band have the
    same targets. After the interclass confusion test of Goel et al., arXiv:2201.06640.

    Args:
        task: the clean one.
        name: "confusion", or "confusion-half" to give only a random half of the moved rows for forgetting.
        band: quantiles of the training targets of output 0.
        signs: s of the lower and the upper half of the band.

    Raises:
        BenchmarkError: a half of the band has too few training rows, or the band too few test rows.
    """
    targets, train, test = task.dataset.targets, task.train, task.test
    low, middle, high = np.quantile(targets[train, 0], [band[0], (band[0] + band[1]) / 2, band[1]])
    values = targets[:, 0]
    halves = ((values >= low) & (values <= middle), (values > middle) & (values <= high))
    rows = [train[half[train]] for half in halves]
    seen = test[(halves[0] | halves[1])[test]]
    if min(len(rows[0]), len(rows[1]), len(seen)) < LEAST_ROWS:
        raise BenchmarkError(
            f"task {task.name}: stress test {name!r} needs at least {LEAST_ROWS} training rows in each half of the "
            f"band of targets {low:.4g} to {high:.4g}, and as many test rows in the band; found {len(rows[0])} and "
            f"{len(rows[1])}, and {len(seen)}. Leave this stress test out for the task."
        )
    rng = np.random.default_rng(seed_of("stress", task.name, "confusion"))
    moved = np.sort(np.concatenate([_one_of_two(half, values, rng) for half in rows]))
    shifts = SHIFT * task.spread * (signs[0] * halves[0] + signs[1] * halves[1])[:, None]
    bad = targets.copy()
    bad[moved] += shifts[moved]
    given = moved
    if name == "confusion-half":
        order = np.random.default_rng(seed_of("stress", task.name, name)).permutation(moved)
        given = np.sort(order[: (len(moved) + 1) // 2])
    split = ForgetSplit(
        name, "stress", given, seen, test, np.sort(task.dataset.validation), (float(low), float(high))
    )
    return _stressed(task, split, moved, shifts, targets=bad)


def _one_of_two(rows: Indices, values: Array, rng: np.random.Generator) -> Indices:
    order = rows[np.argsort(values[rows], kind="stable")]
    pairs = order[: len(order) // PAIR * PAIR].reshape(-1, PAIR)
    return pairs[np.arange(len(pairs)), rng.integers(PAIR, size=len(pairs))]


# Gaussian poison ----------------------------------------------------------------------------------------------


def poisoned(task: Task, name: str) -> StressTask:
    """Add Gaussian noise to the inputs of a random share of the training rows, which are to be forgotten.

    x' = x + xi, xi ~ N(0, tau^2 I), tau = `TAU` of the input's spread, drawn once by a fixed seed. Pawelczyk et al.,
    ICLR 2025, arXiv:2406.17216. Inputs of whole numbers (tokens, categories, flags) are left as they are.

    Raises:
        BenchmarkError: no input can take noise.
    """
    train, test = task.train, task.test
    rng = np.random.default_rng(seed_of("stress", task.name, name))
    forget = np.sort(rng.permutation(train)[: max(1, round(POISONED * len(train)))])
    inputs = dict(task.dataset.inputs)
    for key, tau in taus(task).items():
        inputs[key] = inputs[key].copy()
        noise = rng.normal(0.0, tau, size=inputs[key][forget].shape)
        inputs[key][forget] += noise.astype(np.float32)
    split = ForgetSplit(name, "stress", forget, test, test, np.sort(task.dataset.validation))
    return _stressed(task, split, forget, np.zeros_like(task.dataset.targets), inputs=inputs)


@cache
def taus(task: Task) -> Mapping[str, float]:
    """Return the noise's standard deviation of each input that can take noise.

    Raises:
        BenchmarkError: none can.
    """
    found = {}
    for key, values in task.dataset.inputs.items():
        known = values[task.train]
        if not np.array_equal(known, np.rint(known)):
            found[key] = TAU * float(known.std(dtype=np.float64))
    if not found:
        raise BenchmarkError(
            f"task {task.name}: stress test 'poison' needs an input of continuous numbers, found only whole numbers in "
            f"{', '.join(task.dataset.inputs)}. Leave this stress test out for the task."
        )
    return found


def scores_of(model: nn.Module, task: StressTask) -> Array:
    """Return s_i of each forget row, shape (n,) or shorter: how much the model's loss leans on the row's poison.

    s_i = <g_i, xi_i> / (tau |g_i|), g_i the gradient of the task's loss with respect to the clean input at the clean
    target, in evaluation mode. Inputs of different spread are first brought to the same. Leaves the model
    in evaluation mode.
    """
    rows, spread, pieces = task.split.forget, taus(task.clean), []
    loss = training.loss_of(task.recipe)
    names = list(task.dataset.inputs)
    model.eval()
    for start in range(0, len(rows), training.EVALUATION_BATCH):
        part = rows[start : start + training.EVALUATION_BATCH]
        clean = task.clean.rows_of(part)
        leaves = [v.requires_grad_(key in spread) for key, v in zip(names, clean.inputs, strict=True)]
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        # cuDNN has no backward pass of a recurrent layer in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            total = loss(model(*leaves), clean.targets) * len(part)
            gradients = torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)
        slopes, noises = [], []
        for (key, tau), gradient in zip(spread.items(), gradients, strict=True):
            noise = np.subtract(
                task.dataset.inputs[key][part], task.clean.dataset.inputs[key][part], dtype=np.float64
            )
            slopes.append(tau * gradient.double().cpu().numpy().reshape(len(part), -1))
            noises.append(noise.reshape(len(part), -1) / tau)
        pieces.append(
            composites.poison_scores(np.concatenate(slopes, axis=1), np.concatenate(noises, axis=1), 1.0)
        )
    return np.concatenate(pieces)


def _stressed(task: Task, split: ForgetSplit, rows: Indices, shifts: Array, **changed: object) -> StressTask:
    dataset = replace(task.dataset, **changed)  # type: ignore[arg-type]
    return StressTask(task.card, dataset, task.recipe, task.build, task.device, task, split, rows, shifts)


# What is kept of a model, and the ensembles --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StressView:
    """What one model shows under a stress test; in an ensemble with a first axis of models. Double precision.

    Attributes:
        test: predictions, shape (rows, outputs), in the target's unit, on the clean test rows of the band.
        forget: the same on the corrupted training rows.
        poison: shape (3,): z, Kolmogorov-Smirnov distance and p-value of the poison scores.
        error: shape (), MAE on all test rows, which are clean, in the target's unit.

    `test` and `forget` have no rows in the poison test, `poison` is empty in the confusion tests.
    """

    test: Array
    forget: Array
    poison: Array
    error: Array


NOTHING: Array = np.zeros((0, 1))
NO_TRACE = composites.PoisonTest(z=0.0, distance=0.0, p_value=1.0)
"""Of a model without gradients, which says the same of every input. Its error gives it away, not this test."""


def look_confused(model: nn.Module, task: StressTask) -> StressView:
    """Return a model's predictions where the confusion test needs them."""
    test, forget = (
        task.natural(training.predict(model, task.inputs(rows))[0])
        for rows in (task.split.test_forget, task.corrupted)
    )
    return StressView(test, forget, poison=NOTHING, error=error_of(model, task))


def look_poisoned(model: nn.Module, task: StressTask) -> StressView:
    """Return the test of a model's poison scores."""
    scores = scores_of(model, task)
    found = composites.poison_test(scores) if len(scores) else NO_TRACE
    return StressView(NOTHING, NOTHING, poison=np.array(found), error=error_of(model, task))


def error_of(model: nn.Module, task: StressTask) -> Array:
    """Return the MAE on all test rows, shape (), in the target's unit: a destroyed model leaves no trace either."""
    natural = task.natural(training.predict(model, task.inputs(task.test))[0])
    return np.array(np.abs(natural - task.clean.dataset.targets[task.test]).mean())


class StressEnsembles(EnsemblesOf[StressView, StressView]):
    """The references of one stress test: originals trained on corrupted rows, retrained models on none of them."""

    view_type = StressView
    version = STRESS_VERSION

    def __init__(self, models: References, size: int, *, retrained: int | None = None) -> None:
        if not isinstance(models.task, StressTask):
            raise TypeError(f"{models.task.name} is not a corrupted task: see `open_stress`")
        super().__init__(models, models.task.split.name, size, pool=False, retrained=retrained)
        self.stressed = models.task
        self.stress = STRESS[self.stressed.split.name]

    def without(self, role: Role, seed: int) -> Indices:
        """Return the training rows that a reference model is trained without: of a retrained one, all corrupted."""
        return self.stressed.corrupted if role == "retrained" else super().without(role, seed)

    def look(self, model: nn.Module, seed: int) -> StressView:
        """Return the view of any model."""
        return self.stress.look(model, self.stressed)

    def stack(self, views: Sequence[StressView]) -> StressView:
        """Return views as one ensemble, in the order of the seeds."""
        return StressView(**{name: np.stack([getattr(v, name) for v in views]) for name in vars(views[0])})


def open_stress(models: References, name: str, size: int, retrained: int | None = None) -> StressEnsembles:
    """Return the ensembles of a stress test of a task.

    Args:
        models: reference models of the clean task; the corrupted task's go into the same store.
        name: one of `STRESS`.
        size: number of originals and of unlearned models.
        retrained: number of retrained models, `size` by default.

    Raises:
        UnknownName: no such stress test.
        BenchmarkError: the data do not allow it.
    """
    return StressEnsembles(References(corrupted(models.task, name), models.store), size, retrained=retrained)


# Scores -------------------------------------------------------------------------------------------------------


def assess_stress(references: StressEnsembles, unlearned: StressView) -> dict[str, float]:
    """Return the stress test's metrics of a method's models, by name: see `stress_metrics`.

    `_low` and `_high` are the ends of a 95 % t interval over models, `_none` the value of the originals (doing
    nothing), `_null` that of the retrained models.

    Args:
        references: the originals and retrained models.
        unlearned: views of the method's models, stacked in the order of the seeds.
    """
    utility = float(unlearned.error.mean() / references.ensemble("retrained").error.mean())
    return {**references.stress.assess(references, unlearned), "stress_utility": utility}


def assess_confused(references: StressEnsembles, unlearned: StressView) -> dict[str, float]:
    """Return what is left of moved targets: `_null` is that of one half of the retrained models against the other."""
    task = references.stressed
    original, retrained = references.ensemble("original"), references.ensemble("retrained")
    half = len(retrained.test) // 2
    first = replace(retrained, test=retrained.test[:half], forget=retrained.forget[:half])
    compared = [
        (unlearned, retrained.test[: len(unlearned.test)]),
        (original, retrained.test[: len(original.test)]),
        (first, retrained.test[half : 2 * half]),
    ]
    clean, shifts = task.clean.dataset.targets[task.corrupted], task.shifts[task.corrupted]

    def found(one: StressView, other: Array, rows: NDArray[np.bool_]) -> composites.Confusion:
        return composites.interval_confusion(
            one.test.reshape(len(one.test), -1),
            other.reshape(len(other), -1),
            task.shifts[task.split.test_forget].ravel(),
            one.forget[:, rows].reshape(len(one.forget), -1),
            clean[rows].ravel(),
            shifts[rows].ravel(),
        )

    hidden = ~np.isin(task.corrupted, task.split.forget)
    of_all = [found(*pair, np.ones_like(hidden)) for pair in compared]
    values = _scored("confusion_rlc", *(one.generalised for one in of_all))
    values |= _scored("confusion_memorised", *(one.memorised for one in of_all))
    if hidden.any():
        values |= _scored("confusion_hidden", *(found(*pair, hidden).memorised for pair in compared))
    return values


def assess_poisoned(references: StressEnsembles, unlearned: StressView) -> dict[str, float]:
    """Return what is left of the poison. One draw of it serves all models: `poison_excess` is free of its luck."""
    u, o, r = (
        one.poison for one in (unlearned, references.ensemble("original"), references.ensemble("retrained"))
    )
    values = _scored("poison_z", u[:, 0], o[:, 0], r[:, 0])
    half = len(r) // 2
    pairs = ((u, r[: len(u)]), (o, r[: len(o)]), (r[:half], r[half : 2 * half]))
    values |= _scored("poison_excess", *(one[:, 0] - other[:, 0] for one, other in pairs))
    shares = [float((one[:, 2] < LEVEL).mean()) for one in (u, o, r)]
    return values | dict(
        zip(("poison_detected", "poison_detected_none", "poison_detected_null"), shares, strict=True)
    )


def _scored(name: str, unlearned: Array, original: Array, retrained: Array) -> dict[str, float]:
    """Return mean and interval of a value of each unlearned model, and the means of the other two kinds."""
    mean, low, high = t_interval(unlearned)
    found = {"": mean, "_low": low, "_high": high, "_none": original.mean(), "_null": retrained.mean()}
    return {f"{name}{end}": float(value) for end, value in found.items()}


class Stress(NamedTuple):
    """A stress test: how a task is corrupted, what is kept of a model, how that is scored."""

    corrupt: Callable[[Task, str], StressTask]
    look: Callable[[nn.Module, StressTask], StressView]
    assess: Callable[[StressEnsembles, StressView], dict[str, float]]


STRESS: Mapping[str, Stress] = MappingProxyType(
    {
        "confusion": Stress(confused, look_confused, assess_confused),
        "confusion-half": Stress(confused, look_confused, assess_confused),
        "poison": Stress(poisoned, look_poisoned, assess_poisoned),
    }
)
