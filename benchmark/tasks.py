"""A task in memory: its rows on the device, its network, its recipe, its forget splits."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regunlearn.benchmark import augmentation, registry, splits, training
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.spec import Dataset, ForgetSplit, Indices, Recipe, Rows, Shape

PACKAGES = ("regunlearn.", "regunlearn_outside_")
"""Where the code of a network is that no library brings."""


@dataclass(frozen=True, eq=False)
class Task:
    """A dataset with a network and a recipe, on a device."""

    card: Card
    dataset: Dataset
    recipe: Recipe
    build: Callable[[Shape], nn.Module]
    device: torch.device

    @property
    def name(self) -> str:
        """The registered name."""
        return self.card.name

    @cached_property
    def train(self) -> Indices:
        """Training rows of the dataset, sorted."""
        return np.sort(self.dataset.train)

    @cached_property
    def test(self) -> Indices:
        """Test rows of the dataset, sorted."""
        return np.sort(self.dataset.test)

    @cached_property
    def shift(self) -> Array:
        """Mean of the training targets, shape (outputs,), in the target's unit."""
        mean: Array = self.dataset.targets[self.train].mean(axis=0)
        return mean

    @cached_property
    def scale(self) -> Array:
        """Standard deviation of the training targets, shape (outputs,), in the target's unit."""
        spread: Array = self.dataset.targets[self.train].std(axis=0)
        if not (spread > 0).all():
            raise BenchmarkError(
                f"task {self.name}: the training targets do not vary; there is nothing to learn."
            )
        return spread

    def inputs(self, indices: Indices) -> tuple[Tensor, ...]:
        """Return the inputs of some rows of the dataset, on the device."""
        dtype = training.dtype_of(self.recipe)
        return tuple(torch.as_tensor(v[indices]).to(self.device, dtype) for v in self.dataset.inputs.values())

    @cached_property
    def rows(self) -> Rows:
        """All training rows on the device."""
        return self.rows_of(self.train)

    def rows_of(self, indices: Indices) -> Rows:
        """Return some rows of the dataset on the device, with standardised targets, as a universe of their own."""
        targets = (self.dataset.targets[indices] - self.shift) / self.scale
        return Rows(
            self.inputs(indices),
            torch.as_tensor(targets).to(self.device, training.dtype_of(self.recipe)),
            torch.arange(len(indices), device=self.device),
            len(indices),
        )

    def training_rows(self, indices: Indices) -> Rows:
        """Return copies of some training rows, given as rows of the dataset."""
        return self.rows.take(torch.as_tensor(np.searchsorted(self.train, indices)).to(self.device))

    def new_network(self, seed: int) -> nn.Module:
        """Return a freshly initialised network."""
        return training.new_network(self.build, self.dataset.shape, self.recipe, seed, self.device)

    @cached_property
    def content_hash(self) -> str:
        """Hash of all that a trained model depends on but seed and rows left out: 16 hexadecimal digits.

        Of the rows, the recipe, the network (its modules, and the code of its classes and of the function that builds
        it), the code of the training loop and of the augmentation. Prose, other networks and splits do not count.
        """
        digest = hashlib.sha256(json.dumps(asdict(self.recipe), sort_keys=True).encode())
        data = self.dataset
        arrays: list[NDArray[Any]] = [
            *data.inputs.values(),
            data.targets,
            data.train,
            data.validation,
            data.test,
        ]
        for values in arrays:
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
        network = self.build(data.shape)
        own = {type(module) for module in network.modules() if type(module).__module__.startswith(PACKAGES)}
        augment = [augmentation.get(self.recipe.augment)] if self.recipe.augment else []
        parts: list[Any] = [training, self.build, *sorted(own, key=lambda kind: kind.__qualname__), *augment]
        for text in (repr(network), *(registry.code_of(part) for part in parts)):
            digest.update(f"{text}\x1f".encode())
        return digest.hexdigest()[:16]

    def make_split(self, name: str, held_out: splits.HeldOut, seed: int = 0) -> ForgetSplit:
        """Return a forget split by name.

        Raises:
            UnknownName: the task has no split of this name.
        """
        declared = self.card.fact("splits")
        if name not in declared:
            raise UnknownName(f"split of task {self.name}", name, declared)
        return splits.make(name, declared[name], self.dataset, held_out, task=self.name, seed=seed)


def load(name: str, device: torch.device) -> Task:
    """Load a task by name, fetching its data if need be.

    Raises:
        UnknownName: no such task or dataset.
        BenchmarkError: the data cannot be had, or the task's recipe or network does not fit it.
    """
    card = registry.discover("task").get(name)
    source = registry.discover("dataset").get(card.fact("dataset"))
    try:
        recipe = Recipe(**card.fact("recipe"))
    except TypeError as error:
        raise BenchmarkError(
            f"{card.file}: the recipe of task {name!r} does not fit `Recipe`: {error}."
        ) from error
    training.check(recipe)
    try:
        data = registry.load(source)()
    except BenchmarkError:
        raise
    except Exception as error:
        raise BenchmarkError(
            f"dataset {source.name!r} cannot be read. {source.file}: {type(error).__name__}: {error}. "
            f"Fetch it again with `regunlearn data get {source.name} --again`."
        ) from error
    return Task(card, data, recipe, registry.load(card), device)


def resolve_device(name: str) -> torch.device:
    """Return the device: `auto` is CUDA where there is one.

    Raises:
        UsageError: CUDA is asked for and there is none, or it is another word.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("device cuda was asked for and torch finds none. Use --device cpu or auto.")
    if name not in ("auto", "cpu", "cuda"):
        raise UnknownName("device", name, ("auto", "cpu", "cuda"))
    return torch.device("cuda" if available and name != "cpu" else "cpu")
