"""The committed tables of the paper's experiments are made of the committed records, which are the code's own."""

import importlib
from pathlib import Path

import pytest

from regunlearn.reproduction import records

ROOT = Path(__file__).resolve().parents[2]
RESULTS, BOARD = ROOT / "results/reproduction", ROOT / "leaderboard/reproduction"
FILES = sorted(RESULTS.glob("*.jsonl"))
LEAST = {"stsb-band": 5, "utkface-band": 3}
"""Seeds of each protocol."""


def test_the_whole_folder_is_rebuilt_from_the_records_alone(tmp_path: Path) -> None:
    build = importlib.import_module("regunlearn.leaderboard.reproduction_build")
    written = {file.relative_to(tmp_path) for file in build.rebuild(RESULTS, tmp_path)}
    assert written == {file.relative_to(BOARD) for file in BOARD.rglob("*") if file.is_file()}


def test_the_committed_experiments_are_these() -> None:
    assert [path.stem for path in FILES] == sorted(LEAST)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_protocol_has_its_seeds_and_a_clean_commit(path: Path) -> None:
    found = records.read(path)
    seeds: dict[str, set[int]] = {}
    for record in found:
        seeds.setdefault(record.protocol, set()).add(record.seed)
        assert record.commit is not None
        assert "+" not in record.commit
    assert {"published", "corrected"} <= set(seeds)
    assert all(own == set(range(LEAST[path.stem])) for own in seeds.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_committed_tables_are_those_of_the_records(path: Path, tmp_path: Path) -> None:
    build = importlib.import_module("regunlearn.leaderboard.reproduction_build")
    written = build.build(path, tmp_path)
    assert written
    for file in written:
        assert file.read_bytes() == (BOARD / path.stem / file.name).read_bytes(), file.name
