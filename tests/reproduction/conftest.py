"""Tiny tasks in memory that stand for STS-B and UTKFace, so that every experiment runs in seconds."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regunlearn.benchmark import networks, registry, tasks
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.siamese import SiameseLSTM
from regunlearn.benchmark.spec import Dataset, Recipe
from regunlearn.benchmark.tasks import Task
from regunlearn.reproduction import attack

TEXT = Recipe(
    epochs=3,
    batch_size=16,
    learning_rate=0.01,
    loss="mse",
    schedule="plateau",
    keep="best",
    order="fixed",
    partial=True,
    standardise=False,
)
IMAGES = dataclasses.replace(
    TEXT, batch_size=32, loss="l1", order="anew", augment="crop_and_flip", standardise=True
)


def text_rows(name: str, lost: int) -> Dataset:
    """Pairs of sequences whose score is their likeness; as published, the last `lost` training rows are lost."""
    rng = np.random.default_rng(0)
    sizes = (72, 40, 44)
    scores = np.concatenate([np.sort(rng.uniform(0, 5, n)) for n in sizes])
    first = rng.normal(size=(len(scores), 4, 3))
    second = first * (scores[:, None, None] - 2.5) / 2.5 + 0.3 * rng.normal(size=first.shape)
    train, validation, test = np.split(np.arange(len(scores)), np.cumsum(sizes)[:-1])
    return Dataset(
        name=name,
        inputs={"first": first.astype(np.float32), "second": second.astype(np.float32)},
        targets=scores,
        target="likeness",
        unit="points",
        train=train[: len(train) - lost],
        validation=validation,
        test=test,
        notes=f"{lost} rows lost.",
    )


def image_rows() -> Dataset:
    rng = np.random.default_rng(1)
    ages = rng.integers(1, 80, 260).astype(float)
    images = rng.normal(size=(260, 1, 8, 8)) + (ages[:, None, None, None] - 40) / 20
    return Dataset(
        name="utkface-small",
        inputs={"images": images.astype(np.float32)},
        targets=ages,
        target="age",
        unit="years",
        train=np.arange(140),
        validation=np.arange(140, 190),
        test=np.arange(190, 260),
        notes="Drawn at random.",
    )


def card(name: str, dataset: str, high: float) -> Card:
    facts = {"dataset": dataset, "splits": {"band": {"kind": "band", "high": high}}}
    return Card("task", name, "", facts, {}, Path(__file__), "build", "0" * 16)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tasks.load` gives the tiny tasks under the real names; AgeDB is absent."""
    cards: dict[str, Callable[[torch.device], Task]] = {
        "stsb-lstm": lambda device: Task(
            card("stsb-lstm", "stsb", 2.0), text_rows("stsb", 0), TEXT, partial(SiameseLSTM, width=4), device
        ),
        "utkface-small-allcnn": lambda device: Task(
            card("utkface-small-allcnn", "utkface-small", 30.5),
            image_rows(),
            IMAGES,
            partial(networks.AllCNN, widths=(4, 8)),
            device,
        ),
    }

    def load(name: str, device: torch.device) -> Task:
        if name not in cards:
            raise BenchmarkError(f"no images for {name}: ask its authors.")
        return cards[name](device)

    real = registry.load

    def load_entry(entry: Card) -> Any:
        return (lambda: text_rows("stsb-published", 9)) if entry.name == "stsb-published" else real(entry)

    monkeypatch.setattr(tasks, "load", load)
    monkeypatch.setattr(registry, "load", load_entry)
    monkeypatch.setattr(attack, "ROWS", 60)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of reference models for all tests."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def settings(models_folder: Path) -> Settings:
    return Settings(cache=models_folder, device="cpu")
