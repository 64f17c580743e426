"""The page of an entry: its method's card, configuration, results with intervals, and where the records are from."""

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

from regunlearn.benchmark.records import Record
from regunlearn.benchmark.registry import Card
from regunlearn.leaderboard import stress_page
from regunlearn.leaderboard.blocks import AXES, S, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_tables import LABELS
from regunlearn.leaderboard.site_data import Folder, Results
from regunlearn.leaderboard.site_views import TRACKS, track_of
from regunlearn.leaderboard.text import NOTHING, Row, Table, number
from regunlearn.leaderboard.tiers import group_of

WIDTH, LEFT, STEP = 640, 250, 26
"""Of the drawing of scores by block, in pixels: in all, of the names, of a row."""


def context(results: Results, entry: str) -> dict[str, Any]:
    """Return what the page of an entry shows."""
    card = results.card(entry)
    main = results.main
    there = [folder for folder in results.folders.values() if entry in folder.of]
    kind = _kind(card)
    return {
        "entry": entry,
        "base": base_of(entry),
        "card": card,
        "story": story(card),
        "kind": kind,
        "track": TRACKS[track_of(kind, entry)],
        "verified": main.is_verified(entry),
        "on_main": entry in main.of,
        "main": main.name,
        "configurations": _configurations(there, entry),
        "standing": _standing(main, entry),
        "strip": None if main.outcome is None or entry not in main.of else strip(main.outcome, entry),
        "results": [table for folder in there for table in _results(folder, entry)],
        "provenance": _provenance(there, entry, card),
        "others": [name for name in results.entries if base_of(name) == base_of(entry) and name != entry],
        "run": _run(results, entry),
    }


def story(card: Card | None) -> str:
    """Return what the header of a method's file says after its first line."""
    if card is None or not card.file.is_file():
        return ""
    header = ast.get_docstring(ast.parse(card.file.read_text(encoding="utf-8"))) or ""
    return header.partition("\n\n")[2]


def _kind(card: Card | None) -> str:
    """Return the kind of a method by the rule of `frame`: honest, exact, reference or sentinel."""
    if card is None:
        return "honest"
    if card.fact("sentinel") or card.fact("cheat"):
        return "sentinel"
    return "reference" if card.fact("reference") else "exact" if card.fact("track") == "exact" else "honest"


def _run(results: Results, entry: str) -> list[str]:
    main = results.main
    commands = [f"regunlearn run --method {base_of(entry)}"]
    if main.outcome is not None:
        commands.append(f"regunlearn run --protocol {main.name} --method {entry}")
    return commands


def _configurations(there: Sequence[Folder], entry: str) -> Table | None:
    """Return the hyperparameters of each protocol's records, None where no record has any."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for folder in there:
        for record in folder.of[entry]:
            own = tuple((name, repr(value)) for name, value in sorted(record.hyperparameters.items()))
            names = found.setdefault(own, [])
            if folder.name not in names:
                names.append(folder.name)
    rows = [Row([", ".join(names), key, value]) for own, names in found.items() for key, value in own]
    return (
        Table(["Protocol", "Hyperparameter", "Value"], [("", rows)], frozenset({0, 1, 2})) if rows else None
    )


def _standing(main: Folder, entry: str) -> Table | None:
    """Return the entry's place in every tier of the main board that it is in."""
    rows = []
    header: list[str] = []
    for title, names, own in main.tier_rows:
        header = ["Tier", *names]
        if entry in own:
            rows.append(Row([title, own[entry][0] or "not ranked", *own[entry][1:]]))
    return Table(header, [("", rows)], frozenset({0, 1, len(header) - 1})) if rows else None


def _results(folder: Folder, entry: str) -> list[tuple[str, Table]]:
    """Return the entry's rows in the tables of a protocol, one row a block."""
    found = [(f"Protocol {folder.name}", _of_blocks(folder, entry))] if folder.block_rows else []
    if folder.stress is not None:
        for test in folder.stress.tests:
            if entry in test.reasons:
                rows = [
                    Row([stress_page.heading(test, name), stress_page.shown(test, entry, name)])
                    for name in test.metrics
                ]
                rows.append(Row(["Status", test.reasons[entry] or "ok"]))
                title = f"Stress test {test.split} on {test.task}"
                found.append((title, Table(["What is left", "Value"], [("", rows)], frozenset({0}))))
    return found


def _of_blocks(folder: Folder, entry: str) -> Table:
    """Return all blocks of an entry: score and main metrics with intervals, and how the cell ended."""
    own = {block: columns for block, columns in folder.block_rows.items() if entry in columns[1]}
    names = list(dict.fromkeys(name for columns, _ in own.values() for name in columns if name != "Status"))
    rows = []
    for block, (columns, by_entry) in own.items():
        texts = dict(zip(columns, by_entry[entry], strict=True))
        rows.append(Row([*block, *(texts.get(name, NOTHING) for name in names), texts["Status"]]))
    header = ["Task", "Split", *(LABELS.get(name, name) for name in names), "Status"]
    return Table(header, [("", rows)], frozenset({0, 1, len(header) - 1}))


def _provenance(there: Sequence[Folder], entry: str, card: Card | None) -> Table:
    """Return where records come from: one row for all that were made alike."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for folder in there:
        for record in folder.of[entry]:
            versions = ", ".join(f"{name} {value}" for name, value in sorted(record.versions.items()))
            same = "" if card is None or record.method_hash != card.code_hash else " (the file as it is now)"
            key = (
                folder.name,
                record.commit or "not said",
                record.method_hash + same,
                record.machine,
                versions,
            )
            found.setdefault(key, []).append(record)
    rows: list[Row] = []
    for made, own in found.items():
        blocks = sorted({f"{record.task} / {record.split}" for record in own})
        timed = sum(record.seconds is not None for record in own)
        said = f"{len(own)} cells: {', '.join(blocks)}"
        rows.append(Row([made[0], said, *made[1:], f"{timed} of {len(own)}"]))
    header = ["Protocol", "Records", "Commit", "Hash of the method's file", "Machine", "Versions", "Timed"]
    return Table(header, [("", rows)], frozenset(range(len(header))))


# Drawing ------------------------------------------------------------------------------------------------------


def strip(outcome: Outcome, entry: str) -> dict[str, Any]:
    """Return the drawing of an entry's score and axes block by block, as positions for an SVG."""
    blocks = outcome.blocks
    rows: list[dict[str, Any]] = []
    for block in blocks.board.blocks:
        result = blocks.results.get((*block, entry))
        if result is None:
            continue
        half = math.nan if result.reason else blocks.half(block, entry, S)
        rows.append(
            {
                "label": " / ".join(block),
                "y": STEP * len(rows) + 30,
                "x": _x(result.score),
                "low": _x(max(result.score - half, 0.0)) if math.isfinite(half) else None,
                "high": _x(min(result.score + half, 1.0)) if math.isfinite(half) else None,
                "axes": [
                    {"name": LABELS[axis], "axis": axis, "x": _x(value), "text": number(value)}
                    for axis in AXES
                    if math.isfinite(value := blocks.value(block, entry, axis))
                ],
                "text": number(result.score),
                "reason": result.reason or blocks.facts[block]["reason"],
            }
        )
    ticks = [{"x": _x(value), "text": f"{value:g}"} for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    height = STEP * len(rows) + 44
    return {"rows": rows, "ticks": ticks, "width": WIDTH, "height": height, "left": LEFT}


def _x(value: float) -> str | None:
    """Return the place of a score, None where there is none."""
    return f"{LEFT + (WIDTH - LEFT - 20) * min(max(value, 0.0), 1.0):.1f}" if math.isfinite(value) else None


def facts_of(results: Results, entry: str) -> Mapping[str, str]:
    """Return what the comparison says of an entry beside its numbers."""
    card, outcome = results.card(entry), results.main.outcome
    group = "" if outcome is None or entry not in outcome.blocks.entries else group_of(outcome.blocks, entry)
    return {
        "Family": str(card.fact("family")) if card else "unregistered",
        "Track": TRACKS[track_of(_kind(card), entry)] + (", incomplete" if group == "incomplete" else ""),
        "Needs": ", ".join(map(str, card.fact("needs", ()))) if card else NOTHING,
        "Cost, gradient passes": str(card.fact("cost")) or NOTHING if card else NOTHING,
        "Paper": str(card.fact("paper")) if card else NOTHING,
        "Records": "verified" if results.main.is_verified(entry) else "reported",
    }
