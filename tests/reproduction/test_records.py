"""Records of reproductions: read back as written, sorted, and refused where anything is wrong."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.reproduction import records
from regunlearn.reproduction.records import Record
from regunlearn.reproduction.switches import CORRECTED, PUBLISHED, Switches, title, without


def record(switches: Switches = PUBLISHED, model: str = "original", seed: int = 0, **changes: Any) -> Record:
    facts: dict[str, Any] = {
        "experiment": "agedb-band",
        "protocol": title(switches),
        "switches": dataclasses.asdict(switches),
        "model": model,
        "seed": seed,
        "identity": "0" * 16,
        "values": {"w1": 1.23456789, "passes": 0.5},
        "density": {"edges": [0.0, 0.5, 1.0], "counts": [3.0, 1.0], "beyond": [2.0]},
        "seconds": 1.5,
        "loss": "l1",
        "unit": "years",
        "task": "agedb-allcnn",
        "task_hash": "a",
        "split": "band",
        "split_hash": "b",
        "data": "notes",
        "machine": "m",
        "versions": {"python": "3.11"},
        "commit": None,
    }
    return Record(**facts | changes)


def test_what_is_written_is_read_back_rounded_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "agedb-band.jsonl"
    variant = without(["worn_models"])
    made = [
        record(variant, seed=1),
        record(CORRECTED, "blindspot"),
        record(PUBLISHED, "blindspot"),
        record(CORRECTED),
        record(PUBLISHED, seed=3),
        record(),
    ]
    records.write(path, made)
    found = records.read(path)
    assert [one.key for one in found] == [
        ("published", 0, "original"),
        ("published", 0, "blindspot"),
        ("published", 3, "original"),
        ("corrected", 0, "original"),
        ("corrected", 0, "blindspot"),
        ("published without worn_models", 1, "original"),
    ]
    assert found[0].values["w1"] == 1.234568
    first = path.read_bytes()
    records.write(path, reversed(found))
    assert path.read_bytes() == first
    assert records.read(tmp_path / "nothing.jsonl") == []


def broken(**changes: Any) -> str:
    return json.dumps({**json.loads(record().to_line()), **changes})


SWITCHES = dataclasses.asdict(PUBLISHED)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "expected one JSON object"),
        ("{", "expected one JSON object"),
        ("[" * 100_000, "expected one JSON object"),
        ("[1]", "expected a JSON object, found list"),
        (broken(schema=2), "schema 1, found 2. Update regunlearn"),
        (broken(schema=True), "expected schema 1"),
        (broken(schema=None), "expected schema 1"),
        (broken(extra=1), r"unknown \['extra'\]"),
        ("{" + '"schema":1}', "fields missing"),
        (broken(values=[]), "values is '\\[\\]', expected an object"),
        (broken(values={"w1": float("nan")}), "value w1 is nan, expected a finite number"),
        (broken(values={"w1": True}), "value w1 is True"),
        (broken(values={"w1": 10**400}), "value w1 is 1000"),
        (broken(values={"w1": "1"}), "value w1 is 1, expected"),
        (broken(values={"w2": 1.0}), "value 'w2' is not one of"),
        (broken(model="../../etc"), "model '../../etc' is not one of"),
        (broken(experiment="b"), "experiment 'b' is not one of"),
        (broken(task="../a"), "task '../a' is not a valid name"),
        (broken(protocol="corrected"), "protocol is 'corrected', its switches make 'published'"),
        (broken(switches={}), "switches are"),
        (broken(switches={**SWITCHES, "lost_rows": 1}), "switches are"),
        (broken(seed=-1), "seed -1"),
        (broken(seed=True), "seed True"),
        (broken(seed=0.5), "seed 0.5"),
        (broken(seconds=-1.0), "seconds is -1.0"),
        (broken(seconds="1"), "seconds is 1, expected"),
        (broken(loss="pinball"), "loss 'pinball'"),
        (broken(data=None), "data is 'None', expected text"),
        (broken(versions={"python": 3}), "commit and versions"),
        (broken(commit=3), "commit and versions"),
        (broken(density={"edges": [0, 1]}), "density has"),
        (broken(density={"edges": [0, 1], "counts": [1, 2], "beyond": [0]}), "density has 2 edges, 2 counts"),
        (broken(density={"edges": [1, 0], "counts": [1], "beyond": [0]}), "rising"),
        (broken(density={"edges": [0, 1], "counts": [-1], "beyond": [0]}), "counts holds -1"),
        (broken(density={"edges": [0, 1], "counts": ["1"], "beyond": [0]}), "density counts is 1"),
        (broken(density={"edges": 1, "counts": 1, "beyond": 1}), "density has"),
    ],
)
def test_a_hostile_line_is_refused_with_its_place(line: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "agedb-band.jsonl"
    path.write_text(f"{record().to_line()}\n{line}\n")
    with pytest.raises(BenchmarkError, match=named) as caught:
        records.read(path)
    assert str(caught.value).startswith(f"{path}:2: ")


def test_lines_of_another_experiment_or_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agedb-band.jsonl"
    path.write_text(2 * f"{record().to_line()}\n")
    with pytest.raises(BenchmarkError, match=r":2: the same as line 1\. Delete one"):
        records.read(path)
    path = tmp_path / "utkface-band.jsonl"
    path.write_text(f"{record().to_line()}\n")
    with pytest.raises(BenchmarkError, match="expected a record of 'utkface-band', found 'agedb-band'"):
        records.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BenchmarkError, match="cannot be read as UTF-8"):
        records.read(path)
