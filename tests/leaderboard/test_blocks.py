"""Records of ensembles become results: gates of blocks and entries, delete-one values, refusals."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regunlearn.benchmark import gates as measured
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Design
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.statistics import Interval
from regunlearn.leaderboard import blocks
from regunlearn.leaderboard.blocks import UNMEASURED, Blocks, read_gates

TASK = ("california-mlp",)
BAND, RANDOM = ("california-mlp", "band"), ("california-mlp", "random")


def of(made: SimpleNamespace, records: list[Record], rows: "list[dict[str, Any]] | None" = None) -> Blocks:
    gates = made.gates(TASK) if rows is None else rows
    return blocks.blocks(records, made.protocol(TASK), gates, made.catalogue())


def changed(record: Record, **metrics: "float | None") -> Record:
    merged = {name: v for name, v in {**record.metrics, **metrics}.items() if v is not None}
    return dataclasses.replace(record, metrics=merged)


def test_a_result_is_the_recorded_score_with_its_delete_one_values(made: SimpleNamespace) -> None:
    record = made.ensemble("fine_tune", *BAND)
    result = of(made, [record]).results[(*BAND, "fine_tune")]
    assert (result.score, result.reason) == (record.metrics["score"], "")
    np.testing.assert_array_equal(result.replicates, record.curves["jackknife"]["score"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"status": "diverged", "reason": "loss is inf", "metrics": {}, "curves": {}},
            "diverged: loss is inf",
        ),
        ({"metrics": {"utility_ratio": 1.2, "utility_limit": 1.08, "score": 0.9}}, "utility: 1.20 of"),
        ({"metrics": {"rnc": 0.5}}, "score not defined"),
    ],
)
def test_a_gate_of_the_entry_makes_zeros_of_the_score_and_of_its_replicates(
    made: SimpleNamespace, change: dict[str, Any], reason: str
) -> None:
    bad = dataclasses.replace(made.ensemble("fine_tune", *BAND), **change)
    result = of(made, [bad, made.ensemble("amnesiac", *BAND)]).results[(*BAND, "fine_tune")]
    assert result.score == 0
    assert result.reason.startswith(reason)
    np.testing.assert_array_equal(result.replicates, np.zeros(32))


def test_utility_at_the_limit_passes(made: SimpleNamespace) -> None:
    record = changed(made.ensemble("fine_tune", *BAND), utility_ratio=1.08, utility_limit=1.08)
    assert of(made, [record]).results[(*BAND, "fine_tune")].reason == ""


def test_a_block_that_fails_a_gate_counts_for_nobody_and_says_why(made: SimpleNamespace) -> None:
    board = of(made, made.ensembles(tasks=TASK), made.gates(TASK, failed=(BAND,)))
    assert BAND not in board.scored
    assert len(board.scored) == 3
    assert board.facts[BAND]["reason"].startswith("G1 DSR, D(original, retrained)")
    assert board.facts[BAND]["reason"].endswith(": 1.20, at least 1.5")
    assert np.isnan(board.results[(*BAND, "fine_tune")].score)


def test_without_gates_nothing_is_scored(made: SimpleNamespace) -> None:
    board = of(made, made.ensembles(tasks=TASK), [])
    assert board.scored == board.complete == []
    assert {fact["reason"] for fact in board.facts.values()} == {UNMEASURED}


def test_configurations_have_the_card_of_their_method(made: SimpleNamespace) -> None:
    methods = of(made, made.ensembles(tasks=TASK)).board.methods
    assert methods["kind"].to_dict()["truncated_retrain-10"] == "reference"
    assert methods["family"].to_dict()["fine_tune-tuned"] == "first order"


def test_designs_units_and_nulls_are_known(made: SimpleNamespace) -> None:
    board = of(made, made.ensembles(tasks=TASK))
    assert (board.facts[RANDOM]["pool"], board.facts[BAND]["pool"]) == (True, False)
    assert (board.facts[RANDOM]["units"], board.facts[BAND]["units"]) == (16, 32)
    assert (board.facts[BAND]["tv_null"], board.facts[BAND]["tv_none"]) == (0.08, 0.9)
    assert (board.facts[RANDOM]["models"], board.facts[RANDOM]["retrained"]) == (32, 32)


def test_half_widths_are_those_of_the_jackknife(made: SimpleNamespace) -> None:
    record = dataclasses.replace(
        made.ensemble("fine_tune", *BAND), curves={"jackknife": {"score": [0.1, 0.3], "s_forget": [0.5]}}
    )
    board = of(made, [record])
    # (n - 1)/n sum (x - mean)^2 = 1/2 * 0.02 = 0.01; t(0.975, 1) = 12.7062
    assert board.half(BAND, "fine_tune", blocks.S) == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert np.isnan(board.half(BAND, "fine_tune", "s_forget"))
    assert np.isnan(board.half(BAND, "absent", blocks.S))


def test_delete_one_values_that_do_not_fit_are_refused(made: SimpleNamespace) -> None:
    one, other = made.ensemble("fine_tune", *BAND), made.ensemble("amnesiac", *BAND)
    short = dataclasses.replace(one, curves={"jackknife": {"score": [0.1] * 8}})
    with pytest.raises(BenchmarkError, match=r"found 8 \(fine_tune\) and 32 \(amnesiac\)"):
        of(made, [short, other])
    with pytest.raises(
        BenchmarkError, match=r"expected 32 delete-one scores in the curve jackknife, found 0"
    ):
        of(made, [dataclasses.replace(one, curves={}), other])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "expected JSON"),
        ("{}", "expected a list of gates, found dict"),
        ("[1]", "row 0: task is missing"),
        (
            '[{"task": "a", "split": "b", "design": "pool", "gate": "G1", "what": "x", "value": true}]',
            "value is True",
        ),
        (
            '[{"task": "a", "split": "b", "design": "pool", "gate": "G1", "what": "x", "value": 1, "low": 1, "high": 1,'
            ' "originals": 8, "retrained": 8, "least": 0, "passed": true}]',
            "most is missing",
        ),
    ],
)
def test_broken_gates_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "gates.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match=said):
        read_gates(path)


def test_gates_are_read_back_and_may_be_absent(made: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "gates.json"
    assert read_gates(path) == []
    path.write_text(json.dumps(made.gates(TASK)), encoding="utf-8")
    assert read_gates(path) == made.gates(TASK)


@pytest.mark.parametrize(
    ("least", "most", "shown"),
    [
        (measured.LEAST_DSR, np.inf, "at least 1.5"),
        (0.0, measured.WORST_TO_CONSTANT, "at most 0.8"),
        (1 - measured.UTILITY, 1 + measured.UTILITY, "0.9 to 1.1"),
        (0.0, 0.0, "0"),
    ],
)
def test_the_limits_shown_are_those_of_the_gates(
    tmp_path: Path, least: float, most: float, shown: str
) -> None:
    gate = measured.Gate("G1", "x", Interval(1.2, 1.1, 1.3), least, most)
    measured.save(measured.table(Design("california-mlp", "band", 8, 16, False), [gate]), tmp_path)
    (row,) = read_gates(tmp_path / "gates.json")
    assert blocks.limit_of(row) == blocks.limit_of({**row, "most": most}) == shown


def test_stress_tests_are_never_scored(made: SimpleNamespace) -> None:
    record = made.ensemble("fine_tune", *BAND)
    stressed = dataclasses.replace(record, split="poison", task_hash="another")
    board = of(made, [record, stressed])
    assert board.board.blocks == [BAND]
    assert list(board.results) == [(*BAND, "fine_tune")]
