"""An entry of the cache is believed if its seal fits; a run on damaged entries gives the records of a whole cache."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from regunlearn.benchmark import ensemble_runner, runner, seals
from regunlearn.benchmark.assess import Assessment
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Cell, Protocol
from regunlearn.benchmark.runner import Settings

FACTS = {"kind": "model", "seed": 0}
TENSORS = {"a": torch.arange(4.0), "b": torch.zeros(0, 2)}


def test_a_seal_fits_what_it_was_made_of() -> None:
    found = seals.seal(FACTS, TENSORS)
    seals.require(found, FACTS, TENSORS)
    assert json.loads(found["facts"]) == FACTS
    turned = {"a": TENSORS["a"].flip(0), "b": TENSORS["b"]}
    renamed = {"c": TENSORS["a"], "b": TENSORS["b"]}
    typed = {**TENSORS, "a": TENSORS["a"].int()}
    shaped = {**TENSORS, "b": torch.zeros(2, 0)}
    for other in (turned, renamed, typed, shaped, {"a": TENSORS["a"]}):
        with pytest.raises(ValueError, match="does not match its sha256"):
            seals.require(found, FACTS, other)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "it has no seal"),
        ({"facts": json.dumps(FACTS)}, "it has no seal"),
        (seals.seal({**FACTS, "seed": 1}, TENSORS), "it is another entry than its name says"),
        (seals.seal(FACTS, {"a": torch.zeros(4)}), "its content does not match its sha256"),
    ],
)
def test_what_is_not_sealed_is_told_of_and_removed(
    metadata: dict[str, str] | None, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Cache(tmp_path)
    path = store.path(FACTS)
    path.parent.mkdir(parents=True)
    path.write_bytes(save(TENSORS, metadata))
    with caplog.at_level(logging.WARNING, "regunlearn"):
        assert store.load(FACTS) is None
    (message,) = caplog.messages
    assert f"{path} is broken ({said})" in message
    assert "\n" not in message
    assert not path.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_view_that_is_damaged_before_it_is_scored_is_made_again(
    damage: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ensemble is scored whole or not at all: a model must not be missing among its views."""

    def summed(references: object, views: Sequence[Any]) -> Assessment:
        sums = [float(np.sum(values)) for view in views for values in vars(view).values()]
        return Assessment({"sum": sum(sums)}, {})

    monkeypatch.setattr(ensemble_runner, "_assess", summed)
    rules = Protocol(name="test", splits={"ridge": ["random"]}, ensembles={"ridge": [8, 8]})
    (cell,) = rules.cells(["fine_tune"])
    settings = Settings(cache=tmp_path, device="cpu")
    runs = [ensemble_runner.unlearn(one, settings) for one in ensemble_runner.seeds_of(cell)]
    whole = ensemble_runner.record(cell, runs, [], settings)
    references = runner.open_ensembles(cell.design, settings)
    damage(references.models.store.path(ensemble_runner._facts(runs[2].cell, references, settings)))
    again = ensemble_runner.record(cell, runs, [], settings)
    assert again.metrics == whole.metrics
    assert again.metrics["models"] == 8

    damage(references.models.store.path(ensemble_runner._facts(runs[2].cell, references, settings)))

    def nothing(one: Cell, settings: Settings) -> ensemble_runner.Run:
        return ensemble_runner.Run(one, "error", "on purpose", None)

    monkeypatch.setattr(ensemble_runner, "unlearn", nothing)
    with pytest.raises(BenchmarkError, match=r"seed 2: the cache lost .*on purpose"):
        ensemble_runner.record(cell, runs, [], settings)
