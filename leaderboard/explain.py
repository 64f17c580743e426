"""What a metric means, for the command line and the documentation: one text, from the metric's own entry.

The measured values of doing nothing and of another retrain are read from records, never written by hand.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.metrics import METRICS, Better, Metric, get
from regunlearn.benchmark.records import Record, read_all
from regunlearn.leaderboard.text import Row, Table, escape_markdown, markdown, number

GOOD: dict[Better, str] = {
    "lower": "lower is better",
    "higher": "higher is better",
    "zero": "best at 0, bad on both sides",
    "one": "best at 1, bad on both sides",
    "retrained": "best at the retrained model's own value, bad on both sides",
}
ANCHORS = {"original": "doing nothing", "retrain": "another retrain"}
HEAD = "# Metrics"


def explain(name: str, records: Sequence[Record] = ()) -> str:
    """Return a metric's formula, direction, null, failures and source, and its measured anchors if there are records.

    Raises:
        UnknownName: with the nearest and all known names.
    """
    entry = get(name)
    lines = [f"{label:<15}{text}" for label, text in _facts(entry)]
    for (task, split), values in _anchors(entry, records).items():
        measured = ", ".join(f"{what} {number(value)}" for what, value in values.items())
        lines.append(f"{'measured':<15}{task}, {split}: {measured}")
    return "\n".join([f"{entry.name}: {entry.label}", *lines])


def page(records: Sequence[Record] = ()) -> str:
    """Return the documentation of all metrics as Markdown."""
    parts = [
        HEAD,
        "",
        "Every number of the board, its null value (what exact unlearning gets) and how it can be fooled. Made by",
        "`regunlearn explain --write docs/metrics.md` from the metrics' own entries and the committed records: do not",
        "edit.",
        "",
    ]
    for entry in METRICS.values():
        parts += [f"## `{entry.name}`", "", f"{entry.label}.", ""]
        parts += [
            f"- {label}: " + (f"`{text}`" if label == "formula" else escape_markdown(text))
            for label, text in _facts(entry)
        ]
        anchors = _anchors(entry, records)
        if anchors:
            rows = [
                Row([*block, *(number(values.get(what, math.nan)) for what in ANCHORS.values())])
                for block, values in anchors.items()
            ]
            header = ["task", "split", *ANCHORS.values()]
            parts += ["", markdown(Table(header, [("", rows)], frozenset({0, 1}))).rstrip("\n")]
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def write(path: Path, results: Path) -> None:
    """Write the page of all metrics, with the anchors measured in a run folder."""
    write_text(path, page(read_all(results)))


def _facts(entry: Metric) -> list[tuple[str, str]]:
    return [
        ("formula", entry.formula),
        ("unit", {"": "none", "target": "the target's"}.get(entry.unit, entry.unit)),
        ("direction", GOOD[entry.better]),
        ("null", entry.null),
        ("known failure", entry.failure),
        ("source", entry.source),
        ("shown in", {"main": "the main table", "errors": "the errors", "paper": "the paper tab"}[entry.tab]),
    ]


def _anchors(entry: Metric, records: Sequence[Record]) -> dict[tuple[str, str], dict[str, float]]:
    """Mean over seeds for doing nothing and for another retrain, by task and split."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for record in records:
        if record.method in ANCHORS and entry.name in record.metrics:
            values = found.setdefault((record.task, record.split), {})
            values.setdefault(ANCHORS[record.method], []).append(record.metrics[entry.name])
    return {
        block: {what: float(np.mean(values[what])) for what in ANCHORS.values() if what in values}
        for block, values in sorted(found.items())
    }
