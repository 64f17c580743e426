"""A large board is read and drawn by several processes: the same bytes, the same refusals."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import read
from regunlearn.leaderboard import frame, sheets
from regunlearn.leaderboard.build import build


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two processes for every board."""
    monkeypatch.setattr(sheets, "LARGE", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_helpers_change_no_byte(
    made: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    results = made.write(tmp_path / "run", made.grid(seeds=(0, 1)))
    alone = sheets.Reading(results)
    assert alone.helpers is None  # few records are read at once
    build(results, tmp_path / "alone", catalogue=made.catalogue(), reading=alone)
    request.getfixturevalue("large")
    helped = sheets.Reading(results)
    assert helped.helpers is not None
    build(results, tmp_path / "helped", catalogue=made.catalogue(), reading=helped)
    assert contents(tmp_path / "helped") == contents(tmp_path / "alone")


@pytest.mark.usefixtures("large")
def test_the_first_broken_file_is_named_whoever_reads_it(made: SimpleNamespace, tmp_path: Path) -> None:
    results = made.write(tmp_path, made.grid(seeds=(0,)))
    for name in ("blindspot", "retrain"):
        with (results / "records" / f"{name}.jsonl").open("a") as handle:
            handle.write("{half\n")
    with pytest.raises(BenchmarkError, match=r"blindspot\.jsonl:7: expected one JSON object"):
        build(results, tmp_path / "board", catalogue=made.catalogue())


def test_ensembles_and_runs_beside_another_need_no_helpers(
    made: SimpleNamespace, tmp_path: Path, large: None
) -> None:
    stress = made.write_ensembles(tmp_path, made.stress_records(), made.stress_protocol(), None)
    assert sheets.Reading(stress).helpers is None
    single = made.write(tmp_path / "single", made.toy())
    assert sheets.Reading(single, beside=stress).helpers is None


def test_sheets_are_joined_as_if_they_had_been_one(made: SimpleNamespace, tmp_path: Path) -> None:
    records = [
        *made.toy(),
        made.record(method="alpha", task="z-mlp", metrics={"own": 1.0}, reason="\ud800", status="error"),
        made.record(method="beta", task="a-mlp", metrics={}, passes=None),
    ]
    parts = [records[at::3] for at in range(3)]
    joined = sheets.joined([sheets.sheet(part) for part in parts])
    whole = sheets.sheet(sorted(records, key=lambda record: record.key))
    assert joined.keys == whole.keys == sorted(record.key for record in records)
    assert joined.texts == whole.texts
    assert joined.texts["reason"][-1] == "?"
    assert joined.names == whole.names
    np.testing.assert_array_equal(joined.values, whole.values)
    np.testing.assert_array_equal(joined.costs, whole.costs)
    one, other = joined.curves_by_cell(), whole.curves_by_cell()
    assert {name: dict(own) for name, own in one.items()} == {name: dict(own) for name, own in other.items()}


def test_curves_come_back_as_they_are_in_the_records(made: SimpleNamespace, tmp_path: Path) -> None:
    results = made.write(tmp_path, made.grid(seeds=(0,)))
    board = frame.load(results, made.catalogue())
    for record in read(results / "records" / "blindspot.jsonl"):
        for name, curve in record.curves.items():
            assert board.curves[name][record.key] == curve
    of = board.curves["relative_difference"].of({"blindspot"})
    assert {key.method for key in of} == {"blindspot"}
    assert len(of) == 6
