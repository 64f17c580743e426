"""The page of a metric: what it is, its formula typeset, what is known of its null values and of how it is fooled."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from regunlearn.benchmark.glossary import Meaning, Of, everything
from regunlearn.benchmark.records import Record
from regunlearn.leaderboard.explain import ANCHORS, COLUMNS, anchors_of, facts
from regunlearn.leaderboard.site_formula import typeset
from regunlearn.leaderboard.text import Row, Table, number

KINDS: Mapping[Of, str] = {
    "model": "Single models",
    "ensemble": "Ensembles",
    "stress": "Stress track",
}
WHAT: Mapping[Of, str] = {
    "model": "one unlearned model against the originals and retrained models of a few seeds",
    "ensemble": "all unlearned models of a task and forget split against all retrained ones",
    "stress": "models trained on data that were corrupted on purpose",
}


def names() -> list[str]:
    """Return the metrics that have a page, sorted."""
    return sorted({meaning.entry.name for meaning in everything()})


def context(name: str, records: Sequence[Record]) -> dict[str, Any]:
    """Return what the page of a metric shows: a part for each kind of model that has it."""
    own = [meaning for meaning in everything() if meaning.entry.name == name]
    return {
        "name": name,
        "label": own[0].entry.label,
        "parts": [
            {
                "kind": KINDS[meaning.of],
                "what": WHAT[meaning.of],
                "label": meaning.entry.label,
                "formula": typeset(meaning.entry.formula),
                "facts": [(label, text) for label, text in facts(meaning.entry) if label != "formula"],
                "anchors": _anchors(meaning, records),
            }
            for meaning in own
        ],
    }


def listing() -> list[dict[str, Any]]:
    """Return all metrics by kind: name, label, direction."""
    found: dict[Of, list[dict[str, str]]] = {}
    for meaning in everything():
        said = dict(facts(meaning.entry))
        row = {"name": meaning.entry.name, "label": meaning.entry.label, "direction": said["direction"]}
        found.setdefault(meaning.of, []).append({**row, "null": said["null"]})
    return [{"kind": KINDS[of], "what": WHAT[of], "rows": rows} for of, rows in found.items()]


def _anchors(meaning: Meaning, records: Sequence[Record]) -> Table | None:
    """Return what doing nothing and another retrain were measured to get, None where no record says."""
    anchors = anchors_of(meaning, records)
    known = {what for values in anchors.values() for what in values}
    header = [what for what in (*ANCHORS.values(), *COLUMNS.values()) if what in known]
    rows = [
        Row([*block, *(number(values.get(what, math.nan)) for what in header)])
        for block, values in anchors.items()
    ]
    return Table(["Task", "Split", *header], [("", rows)], frozenset({0, 1})) if rows else None
