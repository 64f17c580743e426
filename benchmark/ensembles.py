"""Ensembles of original, retrained and unlearned models of one task and forget split, as the metrics see them.

Design A: one forget set; model k of each kind has seed k. Design B (the pool design): every pair of models halves an
audit pool (`splits.member`), the original k is trained on its half beside all other rows and is to forget it, and the
retrained models have seen nothing of the pool, so that one ensemble of them is the reference of all. In both, the
original, the retrained and every unlearned model of a seed share initialisation and data order, and the references
serve every method.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar

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
ViewT = TypeVar("ViewT", bound=Any)
EnsembleT = TypeVar("EnsembleT")
VIEW_VERSION = 3
SMALLEST_PROBE = 20
"""Rows below which the layers are not probed."""
FEATURED, FEATURED_ROWS = 9, 128
"""Seeds whose features are kept, of so many of the forget rows (of all the pool's): 8 pairs for the CKA."""


@dataclass(frozen=True, eq=False)
class View:
    """What one model shows of itself, small enough to be kept for every model of every ensemble.

    Attributes:
        forget: predictions on the forget rows (in the pool design on all of the pool), sorted by index, shape
            (rows, outputs), in the target's unit, single precision.
        retain: shape (), MAE on the retain rows, in the target's unit.
        test: predictions on the test rows, sorted by index, shape (n, outputs), standardised, half precision.
        probe: shape (), MAE on the forget rows of a linear head refitted on the retain rows' features.
        information: shape (layers,), linear Gaussian information of each layer about the target, in nats, on the
            forget rows and as many retain rows; empty where there are too few.
        features: inputs of the last linear layer on the first forget rows, shape (rows, width), half precision; no
            rows but for the first seeds.
    """

    forget: NDArray[np.float32]
    retain: Array
    test: NDArray[np.float16]
    probe: Array
    information: Array
    features: NDArray[np.float16]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Views of N models, stacked: a first axis of models before each shape of `View`, in double precision.

    `test` is in the target's unit; `features` are those of the first `FEATURED` models.
    """

    forget: Array
    retain: Array
    test: Array
    probe: Array
    information: Array
    features: Array

    def __len__(self) -> int:
        return len(self.forget)


class EnsemblesOf(ABC, Generic[ViewT, EnsembleT]):
    """The references of one task and forget split, by seed, and the design that they follow.

    Attributes:
        view_type: dataclass of what is kept of a model: arrays only.
        version: of how that is made.

    Args:
        models: trained models of the task.
        name: of the forget split; in the pool design its forget rows are the audit pool.
        size: number of originals and of unlearned models, even in the pool design.
        pool: whether to follow the pool design.
        retrained: number of retrained models, `size` by default. More of them cost nothing per method, and lower the
            null of every distance, which is what two halves of them are apart.
    """

    view_type: type[ViewT]
    version: int

    def __init__(
        self, models: References, name: str, size: int, *, pool: bool, retrained: int | None = None
    ) -> None:
        if size < 4 or (pool and size % 2):
            raise ValueError(
                f"an ensemble of {size} models: expected at least 4, and an even number for a pool"
            )
        if retrained is not None and retrained < size:
            raise ValueError(
                f"{retrained} retrained models beside {size} originals: expected at least as many"
            )
        self.models, self.whole, self.size, self.pool = models, models.make_split(name), size, pool
        self.sizes: Mapping[Role, int] = {"original": size, "retrained": retrained or size}
        self.split, self._loaded = cache(self._split), cache(self._load)

    @property
    def task(self) -> Task:
        """The task."""
        return self.models.task

    def _split(self, seed: int) -> ForgetSplit:
        return splits.member(self.whole, seed, task=self.task.name) if self.pool else self.whole

    def without(self, role: Role, seed: int) -> Indices:
        """Return the training rows that a reference model is trained without."""
        split = self.split(seed)
        return split.absent if role == "original" else split.unseen

    def facts(self, role: Role, seed: int) -> dict[str, object]:
        """Return what makes the view of a reference model what it is: the key of its cache entry."""
        made = self.models.facts("view", seed, self.without(role, seed))
        return {**made, "split": self.split(seed).hash, "version": self.version}

    def view(self, role: Role, seed: int) -> ViewT:
        """Return the view of a reference model, cached."""
        facts = self.facts(role, seed)
        stored = self.models.store.load(facts)
        if stored is None:
            fresh = self.look(self.models.model(seed, self.without(role, seed)), seed)
            stored = {name: torch.from_numpy(np.asarray(values)) for name, values in vars(fresh).items()}
            self.models.store.save(facts, stored)
        view: ViewT = self.view_type(**{name: values.numpy() for name, values in stored.items()})
        return view

    @abstractmethod
    def look(self, model: nn.Module, seed: int) -> ViewT:
        """Return the view of any model of a seed."""

    @abstractmethod
    def stack(self, views: Sequence[ViewT]) -> EnsembleT:
        """Return views as one ensemble, in the order of the seeds."""

    def ensemble(self, role: Role) -> EnsembleT:
        """Return all reference models of a kind."""
        return self._loaded(role)

    def _load(self, role: Role) -> EnsembleT:
        return self.stack([self.view(role, seed) for seed in range(self.sizes[role])])

    @property
    def rows(self) -> Indices:
        """Forget rows (in the pool design all rows of the pool), as positions among the sorted training rows."""
        return np.searchsorted(self.task.train, self.whole.forget)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which model was asked to forget which of the rows, shape (size, rows): all of them but in a pool."""
        return np.stack([np.isin(self.whole.forget, self.split(seed).forget) for seed in range(self.size)])


class Ensembles(EnsemblesOf[View, Ensemble]):
    """Ensembles as most metrics see them."""

    view_type = View
    version = VIEW_VERSION

    def look(self, model: nn.Module, seed: int) -> View:
        """Return the view of any model of a seed."""
        kept = FEATURED_ROWS if seed < FEATURED else 0
        return view_of(model, self.task, self.split(seed), audited=self.rows, featured=kept)

    def stack(self, views: Sequence[View]) -> Ensemble:
        """Return the ensemble of some views, in the order of the seeds."""
        fields = {name: [getattr(view, name) for view in views] for name in vars(views[0])}
        fields["features"] = fields["features"][:FEATURED]
        stacked = {name: np.stack(values).astype(np.float64) for name, values in fields.items()}
        stacked["test"] = stacked["test"] * self.task.scale + self.task.shift
        return Ensemble(**stacked)


def view_of(model: nn.Module, task: Task, split: ForgetSplit, *, audited: Indices, featured: int) -> View:
    """Look at a model: its predictions, and what linear probes find in its layers.

    No gradients, evaluation mode, fixed order. A layer's activations are averaged over positions or time.

    Args:
        model: with the task's layers.
        task: whose rows it sees.
        split: what it forgot, or never saw.
        audited: positions among the sorted training rows of the forget rows of all models.
        featured: of how many of them its features are kept.
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
    train, targets = task.natural(predictions), task.dataset.targets[task.train]
    last = _double(features.flatten(1))
    probe = representations.probe_error(last[retain], targets[retain], last[forget], targets[forget])
    layers = [_double(torch.cat(values))[probed] for values in pieces.values()]
    enough = len(probed) >= SMALLEST_PROBE
    information = [representations.gaussian_information(z, targets[probed]) for z in layers] if enough else []
    with np.errstate(over="ignore"):  # beyond 65,504 standard deviations a model has diverged
        return View(
            forget=train[audited].astype(np.float32),
            retain=np.array(np.abs(train[retain] - targets[retain]).mean()),
            test=_double(task.points(test)).astype(np.float16),
            probe=np.array(probe),
            information=np.array(information),
            features=last[audited[:featured]].astype(np.float16),
        )


def _double(values: Tensor) -> Array:
    array: Array = values.double().cpu().numpy()
    return array
