"""A task in memory: its rows on the device, its network, its recipe, its forget splits."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regunlearn.benchmark import augmentation, registry, splits, trainers, training
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
        """Mean of the training targets, shape (outputs,), in the target's unit; 0 if they are not standardised."""
        mean: Array = self.dataset.targets[self.train].mean(axis=0)
        return mean if self.recipe.standardise else np.zeros_like(mean)

    @cached_property
    def spread(self) -> Array:
        """Standard deviation of the training targets, shape (outputs,), in the target's unit."""
        spread: Array = self.dataset.targets[self.train].std(axis=0)
        if not (spread > 0).all():
            raise BenchmarkError(
                f"task {self.name}: the training targets do not vary; there is nothing to learn."
            )
        return spread

    @property
    def scale(self) -> Array:
        """What the network's outputs are multiplied with to have the target's unit, shape (outputs,)."""
        return self.spread if self.recipe.standardise else np.ones_like(self.spread)

    def points(self, predictions: Tensor) -> Tensor:
        """Return one prediction for each target, shape (n, outputs): the medians, where quantiles are predicted."""
        levels = list(self.recipe.quantiles)
        if not levels:
            return predictions
        return predictions.reshape(len(predictions), -1, len(levels))[..., levels.index(trainers.MEDIAN)]

    def natural(self, predictions: Tensor) -> Array:
        """Return `points` in the target's unit."""
        natural: Array = self.points(predictions).double().cpu().numpy() * self.scale + self.shift
        return natural

    def quantiles(self, predictions: Tensor) -> Array:
        """Return predicted quantiles in the target's unit, shape (n, outputs, levels); no levels if there are none."""
        levels = len(self.recipe.quantiles)
        if not levels:
            return np.zeros((len(predictions), len(self.scale), 0))
        values = predictions.double().cpu().numpy().reshape(len(predictions), -1, levels)
        natural: Array = values * self.scale[:, None] + self.shift[:, None]
        return natural

    def inputs(self, indices: Indices) -> tuple[Tensor, ...]:
        """Return the inputs of some rows of the dataset, on the device; pixels stay uint8."""
        dtype = training.dtype_of(self.recipe)
        picked = (torch.as_tensor(values[indices]) for values in self.dataset.inputs.values())
        return tuple(
            values.to(self.device) if values.dtype == torch.uint8 else values.to(self.device, dtype)
            for values in picked
        )

    @cached_property
    def rows(self) -> Rows:
        """All training rows on the device."""
        return self.rows_of(self.train)

    def rows_of(self, indices: Indices) -> Rows:
        """Return some rows of the dataset on the device, with targets as trained on, as a universe of their own."""
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
        it), the code of the training loop and of the augmentation. Prose, other networks and splits do not count, nor
        do options of a recipe that it leaves off.
        """
        digest = hashlib.sha256(json.dumps(_facts(self.recipe), sort_keys=True).encode())
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
        loops = [training] if trainers.plain(self.recipe) else [training, trainers]
        parts: list[Any] = [*loops, self.build, *sorted(own, key=lambda kind: kind.__qualname__), *augment]
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


OPTIONS = ("keep", "clip", "order", "partial", "standardise", "quantiles", "average")
"""Fields of a recipe that count only where they are set, so that what was trained without them keeps its identity."""


def _facts(recipe: Recipe) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(Recipe)}
    return {
        name: value
        for name, value in asdict(recipe).items()
        if name not in OPTIONS or value != defaults[name]
    }


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
    trainers.check(recipe)
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
