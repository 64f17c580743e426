"""The text of a metric: from its entry, with anchors from records only."""

from pathlib import Path

import pytest

from regunlearn.benchmark.errors import UnknownName
from regunlearn.benchmark.metrics import METRICS
from regunlearn.benchmark.records import Record
from regunlearn.leaderboard import explain

ROOT = Path(__file__).resolve().parent.parent.parent


def record(method: str, seed: int, **metrics: float) -> Record:
    return Record(
        protocol="p",
        method=method,
        method_hash="0",
        hyperparameters={},
        task="t",
        task_hash="0",
        split="s",
        split_hash="0",
        seed=seed,
        status="ok",
        metrics=metrics,
        curves={},
        passes=0.0,
        machine="m",
        versions={},
        commit=None,
    )


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_all_that_a_reader_needs(name: str) -> None:
    text = explain.explain(name)
    entry = METRICS[name]
    for part in (entry.formula, entry.null, entry.failure, entry.source, explain.GOOD[entry.better]):
        assert part in text
        assert part


def test_anchors_are_means_over_seeds() -> None:
    records = [record("original", 0, rnc=0.0), record("retrain", 0, rnc=0.9), record("retrain", 1, rnc=1.0)]
    text = explain.explain("rnc", [*records, record("blindspot", 0, rnc=0.5)])
    assert text.splitlines()[-1].split(maxsplit=1) == [
        "measured",
        "t, s: doing nothing 0, another retrain 0.950",
    ]


def test_no_records_no_anchors() -> None:
    assert "measured" not in explain.explain("rnc")
    assert "measured" not in explain.explain("rnc", [record("original", 0, dsr=1.0)])


def test_unknown_metric() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'rnc'"):
        explain.explain("rncc")


def test_the_committed_page_is_what_the_entries_and_records_give(tmp_path: Path) -> None:
    explain.write(tmp_path / "metrics.md", ROOT / "results" / "quick")
    committed = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    advice = "run `regunlearn explain --write docs/metrics.md`"
    assert (tmp_path / "metrics.md").read_text(encoding="utf-8") == committed, advice
