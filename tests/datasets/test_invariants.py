"""What holds for every dataset and task: the smoke ones always, the real ones where their data may be fetched."""

import hashlib
import os

import numpy as np
import pytest
import torch

from regunlearn.benchmark import registry, splits
from regunlearn.benchmark.spec import Dataset, Recipe

SMOKE = ("digits", "diabetes", "ridge")
REAL = {
    "california": ("california: 2000 / 1000 / 4000 of 7000, 8", "89a583ae6ee91c53"),
    "mnist-rotation": ("mnist-rotation: 1500 / 500 / 2000 of 4000, 196", "f2926ee29a281386"),
    "sentiment": ("sentiment: 3000 / 1000 / 3000 of 7000, 1600", "54b0fa880532db97"),
    "homes": ("homes: 3570 / 476 / 1853 of 5899, 103", "e97a31396967fdeb"),
}
TASKS = {
    "digits": ("digits-mlp", "digits-allcnn"),
    "diabetes": ("diabetes-mlp",),
    "ridge": ("ridge",),
    "california": ("california-mlp",),
    "mnist-rotation": ("mnist-rotation-allcnn",),
    "sentiment": ("sentiment-lstm",),
    "homes": ("homes-tft",),
}

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("REGUNLEARN_TEST_DATA"), reason="REGUNLEARN_TEST_DATA is not set"),
]
ALL = [*SMOKE, *(pytest.param(name, marks=needs_data) for name in REAL)]

_loaded: dict[str, Dataset] = {}


def load(name: str) -> Dataset:
    if name not in _loaded:
        _loaded[name] = registry.load(registry.discover("dataset").get(name))()
    return _loaded[name]


def flat(data: Dataset) -> np.ndarray:
    return np.concatenate([values.reshape(len(values), -1) for values in data.inputs.values()], axis=1)


def fingerprint(data: Dataset) -> str:
    digest = hashlib.sha256()
    for rows in (data.train, data.validation, data.test):
        digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    digest.update(np.ascontiguousarray(data.targets.round(6), dtype="<f8").tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", ALL)
def test_card(name: str) -> None:
    card = registry.discover("dataset").get(name)
    assert card.summary
    assert card.facts["modality"] in {"tabular", "vision", "text", "forecasting"}
    assert card.facts["source"]
    assert card.facts["licence"]


@pytest.mark.parametrize("name", ALL)
def test_rows(name: str) -> None:
    data = load(name)
    assert data.name == name
    assert all(values.dtype == np.float32 for values in data.inputs.values())
    assert len(data.train) + len(data.validation) + len(data.test) == len(data.targets)
    for rows in (data.train, data.validation, data.test):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
    for labels in data.groups.values():
        assert labels.shape == (len(data.targets),)
        assert labels.dtype.kind == "U"
    assert data.target
    assert data.unit
    assert data.notes


@pytest.mark.parametrize("name", ALL)
def test_no_input_twice(name: str) -> None:
    rows = flat(load(name))
    assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("name", ALL)
def test_same_on_every_load(name: str) -> None:
    one, other = load(name), registry.load(registry.discover("dataset").get(name))()
    np.testing.assert_array_equal(flat(one), flat(other))
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("name", ALL)
def test_tasks(name: str) -> None:
    data = load(name)
    for task in TASKS[name]:
        card = registry.discover("task").get(task)
        assert card.facts["dataset"] == name
        assert card.facts["suite"] == ("smoke" if name in SMOKE else "quick")
        recipe = Recipe(**card.facts["recipe"])
        dtype, levels = getattr(torch, recipe.precision), max(1, len(recipe.quantiles))
        network = registry.load(card)(data.shape).to(dtype).eval()
        inputs = [torch.tensor(values[:5], dtype=dtype) for values in data.inputs.values()]
        assert network(*inputs).shape == (5, levels * data.targets.shape[1])
        assert set(network.layers) <= {name for name, _ in network.named_modules()}


@pytest.mark.parametrize("name", ALL)
def test_splits(name: str) -> None:
    data = load(name)
    for task in TASKS[name]:
        for split, arguments in registry.discover("task").get(task).facts["splits"].items():
            made = splits.make(split, arguments, data, lambda: np.ones(len(data.train)), task=task)
            assert 0.04 < len(made.forget) / len(data.train) < 0.35
            assert min(len(made.test_forget), len(made.test_retain), len(made.validation)) >= 10


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_data) for name in REAL])
def test_real_rows_are_the_known_ones(name: str) -> None:
    data = load(name)
    counts, known = REAL[name]
    sizes = f"{len(data.train)} / {len(data.validation)} / {len(data.test)} of {len(data.targets)}"
    assert f"{name}: {sizes}, {flat(data).shape[1]}" == counts
    assert fingerprint(data) == known
