"""The text of a metric: from its entry, with anchors from records only."""

from pathlib import Path

import pytest

from regunlearn.benchmark.ensemble_metrics import Entry
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.glossary import Meaning, everything
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


@pytest.mark.parametrize("one", list(everything()), ids=lambda one: f"{one.of}-{one.entry.name}")
def test_every_metric_says_all_that_a_reader_needs(one: Meaning) -> None:
    entry, text = one.entry, explain.explain(one.entry.name)
    parts = [entry.formula, entry.null, entry.failure, entry.source, explain.GOOD[entry.better]]
    if isinstance(entry, Entry):
        parts.append(entry.none)
    for part in parts:
        assert part.replace("`", "") in text
        assert part


def test_anchors_are_means_over_seeds() -> None:
    records = [record("original", 0, rnc=0.0), record("retrain", 0, rnc=0.9), record("retrain", 1, rnc=1.0)]
    text = explain.explain("rnc", [*records, record("blindspot", 0, rnc=0.5)])
    assert measured(text) == ["t, s: doing nothing 0, another retrain 0.950"]


def measured(text: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith("measured")]


def test_a_metric_of_both_kinds_is_explained_twice_each_with_its_own_records() -> None:
    records = [record("original", 0, rnc=0.0), record("original", 0, rnc=0.125, models=64.0)]
    first, second = explain.explain("rnc", records).split("\n\n")
    assert first.splitlines()[0] == "single models"
    assert second.splitlines()[0] == "ensembles"
    assert measured(first) == ["t, s: doing nothing 0"]
    assert measured(second) == ["t, s: doing nothing 0.125"]


def test_the_anchors_of_a_record_are_shown_beside_the_methods() -> None:
    shared = {"models": 8.0, "tv_null": 0.1, "tv_none": 0.9, "u_lira_null": 0.5, "u_lira_none": 0.98}
    records = [
        record("original", 0, tv=0.9, u_lira_auc=0.98, **shared),
        record("retrain", 0, tv=0.11, u_lira_auc=0.51, **shared),
        record("blindspot", 0, tv=0.5, u_lira_auc=0.7, **shared),
    ]
    for name in ("tv", "tv_null"):
        assert measured(explain.explain(name, records)) == [
            "t, s: doing nothing 0.900, another retrain 0.110, originals 0.900, null 0.100"
        ]
    assert measured(explain.explain("u_lira_auc", records)) == [
        "t, s: doing nothing 0.980, another retrain 0.510, originals 0.980, null 0.500"
    ]
    assert "| t | s | 0.900 | 0.110 | 0.900 | 0.100 |" in explain.page(records)


def test_the_page_has_every_metric_under_its_kind_and_cuts_nothing() -> None:
    text = explain.page()
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert heads == ["Single models", "Ensembles", "Stress track"]
    names = [line.strip("#` ") for line in text.splitlines() if line.startswith("### ")]
    assert names == [one.entry.name for one in everything()]
    assert "…" not in text
    assert "(compare `ks`)" in text


def test_records_of_the_protocols_beside_the_run_are_read_where_there_are_some(tmp_path: Path) -> None:
    assert explain.gather(tmp_path / "quick") == []
    with pytest.raises(BenchmarkError, match="found none"):
        explain.write(tmp_path / "metrics.md", tmp_path / "quick")
    for run, made in {
        "quick": record("original", 0, ain=0.25),
        "v1": record("original", 0, ks=0.75, models=8.0),
    }.items():
        (tmp_path / run / "records").mkdir(parents=True)
        (tmp_path / run / "records" / "original.jsonl").write_text(made.to_line() + "\n", encoding="utf-8")
    assert len(explain.gather(tmp_path / "quick")) == 2
    explain.write(tmp_path / "metrics.md", tmp_path / "quick")
    text = (tmp_path / "metrics.md").read_text(encoding="utf-8")
    assert "| t | s | 0.250 |" in text
    assert "| t | s | 0.750 |" in text


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
