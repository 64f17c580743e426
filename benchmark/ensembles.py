"""Ensembles of original, retrained and unlearned models of one task and forget split, as the metrics see them.

Design A: one forget set; model k of each kind has seed k. Design B (the pool design): every pair of models halves an
audit pool (`splits.member`), the original k is trained on its half beside all other rows and is to forget it, and the
retrained models have seen nothing of the pool, so that one ensemble of them is the reference of all. In both, the
original, the retrained and every unlearned model of a seed share initialisation and data order, and the references
serve every method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regunlearn.benchmark import representations, splits, training
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.references import References
from regunlearn.benchmark.spec import ForgetSplit, Indices
from regunlearn.benchmark.splits import seed_of
from regunlearn.benchmark.taps import listening, pooled
from regunlearn.benchmark.tasks import Task

Role = Literal["original", "retrained"]
VIEW_VERSION = 1
SMALLEST_PROBE = 20
"""Rows below which the layers are not probed."""


@dataclass(frozen=True, eq=False)
class View:
    """What one model shows of itself, small enough to be kept for every model of every ensemble.

    Attributes:
        train, test: predictions, shape (n, outputs), in the target's unit, rows sorted by index.
        probe: shape (), MAE on the forget rows of a linear head refitted on the retain rows' features.
        information: shape (layers,), linear Gaussian information of each layer about the target, in nats, on the
            forget rows and as many retain rows; empty where there are too few.
    """

    train: Array
    test: Array
    probe: Array
    information: Array


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Views of N models, stacked: a first axis of models before each shape of `View`."""

    train: Array
    test: Array
    probe: Array
    information: Array

    @classmethod
    def of(cls, views: Sequence[View]) -> "Ensemble":
        """Stack views."""
        return cls(*(np.stack([getattr(view, name) for view in views]) for name in vars(views[0])))

    def __len__(self) -> int:
        return len(self.train)


class Ensembles:
    """The references of one task and forget split, by seed, and the design that they follow.

    Args:
        models: trained models of the task.
        name: of the forget split; in the pool design its forget rows are the audit pool.
        size: number of models of each kind, even in the pool design.
        pool: whether to follow the pool design.
    """

    def __init__(self, models: References, name: str, size: int, *, pool: bool) -> None:
        if size < 4 or (pool and size % 2):
            raise ValueError(
                f"an ensemble of {size} models: expected at least 4, and an even number for a pool"
            )
        self.models, self.whole, self.size, self.pool = models, models.make_split(name), size, pool
        self.split = cache(self._split)

    @property
    def task(self) -> Task:
        """The task."""
        return self.models.task

    def _split(self, seed: int) -> ForgetSplit:
        return splits.member(self.whole, seed, task=self.task.name) if self.pool else self.whole

    def view(self, role: Role, seed: int) -> View:
        """Return the view of a reference model, cached."""
        split = self.split(seed)
        without = split.absent if role == "original" else split.unseen
        facts = {
            **self.models.facts("view", seed, without),
            "split": split.hash,
            "version": VIEW_VERSION,
        }
        stored = self.models.store.load(facts)
        if stored is None:
            fresh = view_of(self.models.model(seed, without), self.task, split)
            stored = {name: torch.from_numpy(np.asarray(values)) for name, values in vars(fresh).items()}
            self.models.store.save(facts, stored)
        return View(**{name: values.numpy() for name, values in stored.items()})

    def ensemble(self, role: Role) -> Ensemble:
        """Return all reference models of a kind."""
        return Ensemble.of([self.view(role, seed) for seed in range(self.size)])

    @property
    def rows(self) -> Indices:
        """Forget rows (in the pool design all rows of the pool), as positions among the sorted training rows."""
        return np.searchsorted(self.task.train, self.whole.forget)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which model was asked to forget which of the rows, shape (size, rows): all of them but in a pool."""
        return np.stack([np.isin(self.whole.forget, self.split(seed).forget) for seed in range(self.size)])


def view_of(model: nn.Module, task: Task, split: ForgetSplit) -> View:
    """Look at a model: predictions on all rows, and what linear probes find in its layers.

    No gradients, evaluation mode, fixed order. A layer's activations are averaged over positions or time.
    """
    forget = np.searchsorted(task.train, split.forget)
    retain = np.searchsorted(task.train, np.setdiff1d(task.train, split.unseen))
    chosen = representations.balanced_rows(
        len(forget), len(retain), seed=seed_of("probe", task.name, split.name)
    )
    probed = np.concatenate([forget, retain[chosen]])
    pieces: dict[str, list[Tensor]] = {name: [] for name in getattr(model, "layers", ())}
    with listening(model, tuple(pieces), lambda name, output: pieces[name].append(pooled(output))):
        predictions, features = training.predict(model, task.rows.inputs, head="head")
    test, _ = training.predict(model, task.inputs(task.test))
    assert features is not None
    train, targets = _natural(predictions, task), task.dataset.targets[task.train]
    last = features.double().cpu().numpy()
    probe = representations.probe_error(last[retain], targets[retain], last[forget], targets[forget])
    layers = [torch.cat(values).double().cpu().numpy()[probed] for values in pieces.values()]
    enough = len(probed) >= SMALLEST_PROBE
    information = [representations.gaussian_information(z, targets[probed]) for z in layers] if enough else []
    return View(train, _natural(test, task), np.array(probe), np.array(information))


def _natural(predictions: Tensor, task: Task) -> Array:
    return predictions.double().cpu().numpy() * task.scale + task.shift
