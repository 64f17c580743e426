"""A task's hash: of all that a trained model depends on, and of nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regunlearn.benchmark import registry, tasks
from regunlearn.benchmark.spec import Dataset, Recipe
from regunlearn.benchmark.tasks import Task

FILE = '''"""Made-up rows and networks."""

import numpy as np
import torch
from torch import nn

from regunlearn.benchmark.networks import MLP
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.spec import Dataset


@dataset("made-up", modality="tabular", source="none", licence="none")
def made_up():
    """Rows of noise."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3)).astype(np.float32)
    return Dataset(
        name="made-up",
        inputs={"features": rows},
        targets=rng.normal(size=60),
        target="noise",
        unit="units",
        train=np.arange(40),
        validation=np.arange(40, 50),
        test=np.arange(50, 60),
        notes="made up",
    )


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, shape, width):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.head = nn.Linear(width, shape.outputs)
        self.layers = ("first",)

    def forward(self, inputs):
        """Return predictions."""
        return self.head(torch.relu(self.first(inputs)))  # rectified


@task(
    "made-up-net",
    dataset="made-up",
    suite="smoke",
    recipe={"epochs": 2, "batch_size": 10, "learning_rate": 0.01},
    splits={"random": {"kind": "random", "fraction": 0.1}},
)
def net(shape):
    """Predict noise."""
    return Net(shape, width=8)


@task(
    "made-up-mlp",
    dataset="made-up",
    suite="smoke",
    recipe={"epochs": 2, "batch_size": 10, "learning_rate": 0.01},
    splits={"random": {"kind": "random", "fraction": 0.1}},
)
def mlp(shape):
    """Predict noise too."""
    return MLP(shape, width=8)
'''
SAME = {
    "docstring of the file": ('"""Made-up rows and networks."""', '"""Something else."""'),
    "docstring of the class": ('    """One hidden layer."""\n', '    """Another.\n\n    Line.\n    """\n'),
    "docstring of the method": ('"""Return predictions."""', '"""Return them."""'),
    "docstring of the task": ('"""Predict noise."""', '"""Predict it."""'),
    "a comment": ("\nclass Net", "\n# Why.\nclass Net"),
    "a comment inside": ("        super()", "        # First.\n\n        super()"),
    "empty lines": ("        self.layers", "\n\n        self.layers"),
    "another split": (
        '    splits={"random": {"kind": "random", "fraction": 0.1}},\n)\ndef net',
        '    splits={"random": {"kind": "random", "fraction": 0.2}, "tail": {"fraction": 0.1}},\n)\ndef net',
    ),
    "the suite": ('    suite="smoke",\n    recipe', '    suite="quick",\n    recipe'),
    "the other task's network": ("return MLP(shape, width=8)", "return MLP(shape, width=9)"),
    "the other task's name": ('"made-up-mlp"', '"made-up-other"'),
    "one more function": (
        '\n@task(\n    "made-up-net"',
        '\ndef helper():\n    return 1\n\n\n@task(\n    "made-up-net"',
    ),
    "prose of the data": ('notes="made up"', 'notes="made up again"'),
    "the unit": ('unit="units"', 'unit="metres"'),
    "how the same rows are made": ("np.arange(50, 60)", "50 + np.arange(10)"),
    "a default that is written out": ('"learning_rate": 0.01},', '"learning_rate": 0.01, "augment": None},'),
}
OTHER = {
    "epochs": ('"epochs": 2', '"epochs": 3'),
    "batch size": ('"batch_size": 10', '"batch_size": 9'),
    "learning rate": ('"learning_rate": 0.01', '"learning_rate": 0.02'),
    "optimiser": ('"learning_rate": 0.01', '"learning_rate": 0.01, "optimiser": "sgd"'),
    "a row": ("    return Dataset(", "    rows[3, 1] += 1e-3\n    return Dataset("),
    "a target": ("targets=rng.normal(size=60)", "targets=rng.normal(size=60) + (np.arange(60) == 7)"),
    "training rows": ("train=np.arange(40)", "train=np.arange(39)"),
    "test rows": ("test=np.arange(50, 60)", "test=np.arange(50, 59)"),
    "validation rows": ("np.arange(40, 50)", "np.arange(41, 50)"),
    "width": ("Net(shape, width=8)", "Net(shape, width=9)"),
    "forward": ("torch.relu(self.first(inputs))", "torch.tanh(self.first(inputs))"),
    "initialisation": (
        '        self.layers = ("first",)',
        '        self.layers = ("first",)\n        nn.init.zeros_(self.head.bias)',
    ),
    "what builds it": (
        "    return Net(shape, width=8)",
        "    network = Net(shape, width=8)\n    return network",
    ),
}


def load(folder: Path, text: str, name: str = "made-up-net") -> Task:
    folder.mkdir(exist_ok=True)
    (folder / "made_up.py").write_text(text)
    card = registry.discover("task", folder).get(name)
    rows = registry.load(registry.discover("dataset", folder).get("made-up"))()
    return Task(card, rows, Recipe(**card.fact("recipe")), registry.load(card), torch.device("cpu"))


def edited(change: tuple[str, str]) -> str:
    assert change[0] in FILE
    return FILE.replace(*change)


@pytest.fixture
def before(tmp_path: Path) -> str:
    return load(tmp_path / "before", FILE).content_hash


@pytest.mark.parametrize("change", SAME)
def test_what_changes_no_model_changes_no_hash(change: str, before: str, tmp_path: Path) -> None:
    assert load(tmp_path / "after", edited(SAME[change])).content_hash == before


@pytest.mark.parametrize("change", OTHER)
def test_what_changes_a_model_changes_the_hash(change: str, before: str, tmp_path: Path) -> None:
    assert load(tmp_path / "after", edited(OTHER[change])).content_hash != before


def test_tasks_of_one_file_differ(before: str, tmp_path: Path) -> None:
    other = load(tmp_path / "other", FILE, "made-up-mlp").content_hash
    assert len({before, other}) == 2
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in (before, other))


def test_an_edit_of_the_file_is_seen_at_once(tmp_path: Path) -> None:
    """The catalogue is kept in memory, and not beyond a change of the file."""
    first = load(tmp_path / "one", FILE)
    again = load(tmp_path / "one", FILE)
    assert again.card == first.card
    slower = load(tmp_path / "one", edited(OTHER["learning rate"]))
    assert slower.recipe.learning_rate == 0.02
    assert slower.content_hash != first.content_hash


def test_the_training_loop_counts(before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = registry.code_of
    parts: list[object] = []
    monkeypatch.setattr(registry, "code_of", lambda part: parts.append(part) or plain(part))
    task = load(tmp_path / "parts", FILE)
    assert task.content_hash == before
    assert [getattr(part, "__name__", "") for part in parts] == [
        "regunlearn.benchmark.training",
        "net",
        "Net",
    ]
    monkeypatch.setattr(
        registry, "code_of", lambda part: plain(part) + (" " if part is tasks.training else "")
    )
    assert load(tmp_path / "parts", FILE).content_hash != before


def test_the_augmentation_counts_where_it_is_used() -> None:
    task = tasks.load("digits-allcnn", torch.device("cpu"))
    found = {
        replace(task, recipe=replace(task.recipe, augment=name)).content_hash
        for name in (None, "crop_and_flip")
    }
    assert len(found) == 2


def test_arrays_count_by_value_type_and_shape() -> None:
    task = tasks.load("ridge", torch.device("cpu"))

    def changed(**fields: object) -> str:
        data: Dataset = replace(task.dataset, **fields)  # type: ignore[arg-type]
        return replace(task, dataset=data).content_hash

    rows = task.dataset.inputs["features"]
    assert changed(inputs={"features": np.asfortranarray(rows)}) == task.content_hash
    assert changed(notes="other prose", unit="metres") == task.content_hash
    assert changed(inputs={"features": rows.astype(np.float64)}) != task.content_hash
    assert changed(train=task.dataset.train[::-1].copy()) != task.content_hash
