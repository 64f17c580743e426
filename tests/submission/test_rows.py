"""Rows before and after a submission, and the record of a cell that was run again."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from regunlearn.benchmark import grid, verified
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.records import read
from regunlearn.submission import checks, rerun, rows, submit
from regunlearn.submission.changes import start_of

OWN = "results/v1/records/mine.jsonl"


def test_a_new_row_and_the_ranks_it_moves(submitted: Path) -> None:
    shown = checks.changed_rows(checks.open_submission(submitted, "HEAD"))
    lines = [
        line.split("|")[1:-1] for line in shown.splitlines() if line.startswith("| ") and "Tier" not in line
    ]
    own = [[cell.strip(" *") for cell in row] for row in lines if "mine" in row[1]]
    assert {row[0] for row in own} == {
        "Up to 10% of a retrain's cost",
        "Up to 25% of a retrain's cost",
        "Any cost",
    }
    assert all(row[2] == "" and row[3] not in ("", "not ranked") and row[4] == "" for row in own)
    assert len(lines) == len(own) + 1  # the line under the header


def test_others_are_told_by_the_ranks_they_move_to() -> None:
    def place(rank: int, score: float = 0.5) -> rows.Place:
        return rows.Place(rank, score, score - 0.1, score + 0.1, 0.05)

    old = {("Any cost", "a"): place(1), ("Any cost", "b"): place(2), ("Any cost", "c"): place(2)}
    new = {("Any cost", "mine"): place(2), **old, ("Any cost", "b"): place(3), ("Any cost", "c"): place(3)}
    shown = rows.report(old, new, "mine").splitlines()
    assert [line for line in shown if "| Any cost |" in line] == [
        "| Any cost | mine |  | 2 |  | 0.500 (0.400 to 0.600) | 0.0500 |"
    ]
    assert shown[-1] == "Any cost: rank 2 to 3: b, c"
    assert rows.report(old, old, "mine") == "No row changes."
    changed = {**old, ("Any cost", "a"): place(1, 0.6)}
    assert "| Any cost | a | 1 | 1 | 0.500 | 0.600" in rows.report(old, changed, "mine")
    assert "| Any cost | a | 1 | gone |" in rows.report(old, dict(list(old.items())[1:]), "mine")


def test_no_records_no_rows(submitted: Path) -> None:
    (submitted / OWN).unlink()
    assert checks.changed_rows(checks.open_submission(submitted, "HEAD")) == "No records are changed."


def test_a_base_that_is_not_there(submitted: Path) -> None:
    for base in ("nowhere", "--help", ""):
        with pytest.raises(UsageError, match="expected a branch or commit"):
            start_of(submitted, base)


def test_the_cheapest_cell_has_the_fewest_model_epochs(submitted: Path) -> None:
    home = submitted / "results" / "v1"
    records = read(submitted / OWN)
    assert rerun.cheapest(records, grid.load(home)).task == "mnist-rotation-allcnn"
    dearer = [
        replace(one, passes=1.0 if one.task == "mnist-rotation-allcnn" else one.passes) for one in records
    ]
    assert rerun.cheapest(dearer, grid.load(home)).task != "mnist-rotation-allcnn"
    with pytest.raises(BenchmarkError, match="no record to run again"):
        rerun.cheapest([], grid.load(home))


def test_a_rerun_holds_within_the_tolerance_on_every_axis(submitted: Path) -> None:
    record = read(submitted / OWN)[0]

    def again(**metrics: float) -> rerun.Finding:
        other = replace(record, metrics={**record.metrics, **metrics})
        return rerun.Finding(recorded=record, again=other, tolerance=0.02)

    near, far = record.metrics["s_forget"] + 0.019, record.metrics["s_forget"] + 0.021
    assert again().problems == []
    assert again(s_forget=near).problems == []
    assert "run again s_forget is" in again(s_forget=far).problems[0]
    failed = replace(record, status="diverged", reason="loss is not finite")
    assert (
        "ends with status 'diverged'"
        in rerun.Finding(recorded=record, again=failed, tolerance=0.02).problems[0]
    )
    cheaper = replace(record, passes=0.5 * (record.passes or 0.0))
    assert (
        "of a retrain's passes" in rerun.Finding(recorded=record, again=cheaper, tolerance=0.02).problems[0]
    )


def test_what_held_is_kept_by_entry(submitted: Path) -> None:
    home, record = submitted / "results" / "v1", read(submitted / OWN)[0]
    rerun.note(rerun.Finding(recorded=record, again=record, tolerance=0.02), home)
    kept = verified.read(home)
    assert kept["mine"]["method_hash"] == record.method_hash
    assert kept["mine"]["difference"] == 0
    own = read(submitted / OWN)
    assert verified.entries(home, own) == {"mine"}
    assert verified.entries(home, [*own, replace(record, method_hash="0" * 16)]) == frozenset()
    failed = replace(record, status="error", reason="x")
    with pytest.raises(BenchmarkError, match="ends with status 'error'"):
        rerun.note(rerun.Finding(recorded=record, again=failed, tolerance=0.02), home)
    (home / verified.FILE).write_text("[]")
    with pytest.raises(BenchmarkError, match="expected an object of objects"):
        verified.read(home)


def test_a_submission_that_fails_changes_nothing(submitted: Path) -> None:
    run, home = submitted / "runs" / "v1", submitted / "results" / "v1"
    (run / "records").mkdir(parents=True)
    (run / "protocol.toml").write_text((home / "protocol.toml").read_text())
    machines = {**json.loads((home / "machines.json").read_text()), "mine-2c": {"cores": 2}}
    (run / "machines.json").write_text(json.dumps(machines))
    lines = (submitted / OWN).read_text().splitlines()
    (run / "records" / "mine.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    (submitted / OWN).unlink()
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(BenchmarkError, match=r"1 cells have no record[\s\S]*nothing is written"):
        submit.submit("mine", "v1", run, submitted)
    assert before == {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="expected one of v1, found none"):
        submit.submit("mine", "v9", run, submitted)
    with pytest.raises(BenchmarkError, match=r"expected records/mine.jsonl, found none"):
        submit.submit("mine", "v1", submitted / "nowhere", submitted)
