"""What a metric means, for the command line and the documentation: one text, from the metric's own entry.

The measured values of doing nothing and of another retrain are read from records, never written by hand.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.ensemble_metrics import Direction, Entry
from regunlearn.benchmark.glossary import Meaning, Of, everything, find
from regunlearn.benchmark.metrics import Metric
from regunlearn.benchmark.records import Record, read_all
from regunlearn.leaderboard.text import Row, Table, escape_markdown, markdown, number

GOOD: dict[Direction, str] = {
    "lower": "lower is better",
    "higher": "higher is better",
    "zero": "best at 0, bad on both sides",
    "one": "best at 1, bad on both sides",
    "retrained": "best at the retrained model's own value, bad on both sides",
    "fixed": "none: the same for every method",
}
ANCHORS = {"original": "doing nothing", "retrain": "another retrain"}
COLUMNS = {"none": "originals", "null": "null"}
"""Endings of the columns of a record that hold anchors, which all methods share, and what they are called."""
HEADS: dict[Of, str] = {"model": "single models", "ensemble": "ensembles", "stress": "stress track"}
INTRODUCTIONS: dict[Of, str] = {
    "model": "One unlearned model against the originals and retrained models of a few seeds: the protocol `quick`. The "
    "values of the tables are means over seeds.",
    "ensemble": "All unlearned models of a task and forget split against all retrained ones: the protocol `v1`, see "
    "[protocol.md](protocol.md). In the tables, *doing nothing* and *another retrain* are the methods `original` and "
    "`retrain`; *originals* and *null* are the anchor columns that every record holds.",
    "stress": "Models trained on data that were corrupted on purpose: the protocol `stress`, see "
    "[protocol.md](protocol.md). For every metric a record also holds the columns `_low` and `_high` (95% t "
    "interval over models, where there is one), `_none` (the originals) and `_null` (the retrained models).",
}
BESIDE = ("v1", "stress")
"""Run folders beside the one of single models whose records the page shows too."""
COUNT = "models"
"""Metric that every record of ensembles has, and no other record."""

Anchors = dict[tuple[str, str], dict[str, float]]


def explain(name: str, records: Sequence[Record] = ()) -> str:
    """Return what a metric is, and its measured anchors if there are records: one text for each kind that has it.

    Formula, direction, null, no-unlearning value, failures, source. Names of anchors and of ends of intervals lead to
    the metric that they belong to.

    Raises:
        UnknownName: with the nearest and all known names.
    """
    found = find(name)
    texts = [_text(meaning, records) for meaning in found]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{HEADS[one.of]}\n{text}" for one, text in zip(found, texts, strict=True))


def page(records: Sequence[Record] = ()) -> str:
    """Return the documentation of all metrics as Markdown."""
    parts = [
        "# Metrics",
        "",
        "Every number of the boards, its null value (what exact unlearning gets) and how it can be fooled. Made by",
        "`regunlearn explain --write docs/metrics.md` from the metrics' own entries and the committed records: do not",
        "edit.",
        "",
    ]
    before = None
    for meaning in everything():
        if meaning.of != before:
            before = meaning.of
            parts += [f"## {HEADS[before].capitalize()}", "", INTRODUCTIONS[before], ""]
        parts += [*_section(meaning, records), ""]
    return "\n".join(parts).rstrip("\n") + "\n"


def gather(results: Path) -> list[Record]:
    """Return the records of a run folder and of `BESIDE` it, none where there are none."""
    folders = dict.fromkeys([results, *(results.parent / name for name in BESIDE)])
    return [record for one in folders if any((one / "records").glob("*.jsonl")) for record in read_all(one)]


def write(path: Path, results: Path) -> None:
    """Write the page of all metrics, with the anchors measured in a run folder and in the protocols beside it.

    Raises:
        BenchmarkError: the run folder holds no records, or some cannot be read.
    """
    read_all(results)
    write_text(path, page(gather(results)))


# Parts --------------------------------------------------------------------------------------------------------


def _text(meaning: Meaning, records: Sequence[Record]) -> str:
    lines = [f"{label:<15}{_plain(text)}" for label, text in facts(meaning.entry)]
    for (task, split), values in anchors_of(meaning, records).items():
        measured = ", ".join(f"{what} {number(value)}" for what, value in values.items())
        lines.append(f"{'measured':<15}{task}, {split}: {measured}")
    return "\n".join([f"{meaning.entry.name}: {meaning.entry.label}", *lines])


def _section(meaning: Meaning, records: Sequence[Record]) -> Iterator[str]:
    entry, anchors = meaning.entry, anchors_of(meaning, records)
    yield from (f"### `{entry.name}`", "", f"{entry.label}.", "")
    for label, text in facts(entry):
        yield f"- {label}: {f'`{_plain(text)}`' if label == 'formula' else _marked(text)}"
    if anchors:
        known = {what for values in anchors.values() for what in values}
        header = [what for what in (*ANCHORS.values(), *COLUMNS.values()) if what in known]
        rows = [
            Row([*block, *(number(values.get(what, math.nan)) for what in header)])
            for block, values in anchors.items()
        ]
        table = Table(["task", "split", *header], [("", rows)], frozenset({0, 1}))
        yield from ("", markdown(table).rstrip("\n"))


def facts(entry: Metric | Entry) -> list[tuple[str, str]]:
    """Return what is said of a metric, as pairs of a label and a text with names in backquotes."""
    facts = [
        ("formula", entry.formula),
        ("unit", {"": "none", "target": "the target's"}.get(entry.unit, entry.unit)),
        ("direction", GOOD[entry.better]),
        ("null", entry.null),
    ]
    if isinstance(entry, Entry):
        facts.append(("doing nothing", entry.none))
    facts += [("known failure", entry.failure), ("source", entry.source)]
    if isinstance(entry, Metric):
        where = {"main": "the main table", "errors": "the errors", "paper": "the paper tab"}[entry.tab]
        facts.append(("shown in", where))
    elif entry.also:
        facts.append(("columns", ", ".join((entry.name, *entry.also))))
    return facts


def _plain(text: str) -> str:
    return text.replace("`", "")


def _marked(text: str) -> str:
    """Return text with the parts between backquotes as code, and all of it, however long."""
    parts = text.split("`")
    return "".join(f"`{part}`" if at % 2 else _escaped(part) for at, part in enumerate(parts))


def _escaped(text: str) -> str:
    return " ".join(escape_markdown(word) for word in text.split(" "))


def anchors_of(meaning: Meaning, records: Sequence[Record]) -> Anchors:
    """Return means of records of doing nothing and of another retrain, by task and split, with their own anchors."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    entry, single = meaning.entry, meaning.of == "model"
    columns = {} if single else {f"{_stem(entry.name)}_{end}": what for end, what in COLUMNS.items()}
    for record in records:
        if (
            record.method in ANCHORS
            and entry.name in record.metrics
            and (COUNT not in record.metrics) == single
        ):
            values = found.setdefault((record.task, record.split), {})
            values.setdefault(ANCHORS[record.method], []).append(record.metrics[entry.name])
            for column, what in columns.items():
                if column in record.metrics:
                    values.setdefault(what, []).append(record.metrics[column])
    order = (*ANCHORS.values(), *COLUMNS.values())
    return {
        block: {what: float(np.mean(values[what])) for what in order if what in values}
        for block, values in sorted(found.items())
    }


def _stem(name: str) -> str:
    """Return what the columns of a metric's anchors begin with."""
    return "u_lira" if name == "u_lira_auc" else name
