"""The table of the first page: one row an entry, and what its cells read on every part of the grid and in every tier.

A part is a task, a split, or both: its numbers are those of the board that the records of these blocks alone would
give, by the same functions. Of single models there are parts of one block only, as their scores are means over blocks.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regunlearn.leaderboard import ensemble_tables, tables
from regunlearn.leaderboard.blocks import Block, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.site_data import Folder, Results, subset
from regunlearn.leaderboard.tables import Numbers, at
from regunlearn.leaderboard.text import NOTHING, Table, spread
from regunlearn.leaderboard.tiers import NOTHING_DONE, NULL, Tier

EVERY = ""
"""Stands for all tasks or all splits."""
RANK, METHOD, FRONT = "Rank", "Method", "Front"
OWN = (RANK, METHOD, FRONT, "Family", "Status")
"""Columns that a page shows in its own way."""
TRACKS: Mapping[str, str] = {
    "default": "defaults",
    "tuned": "tuned",
    "configured": "other configuration",
    "exact": "exact",
    "curve": "retrain cut short",
    "reference": "reference",
    "sentinel": "sentinel",
}
"""How an entry came to be, which a switch of the page chooses by."""
METRICS: Mapping[str, str] = {
    ensemble_tables.SCORE: "score",
    tables.SCORE: "score",
    "TV (null)": "tv",
    "KLOM-R p95": "klom_r_p95",
    "U-LiRA AUC / TPR@1%": "u_lira_auc",
    "RR": "probe_recovery",
    "RNC": "rnc",
    "Utility ratio": "utility_ratio",
    "Loss-AUC gap": "loss_auc_gap",
    "Badge": "permutation_p",
}
"""The metric whose page explains a column."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a row says whatever part of the grid is looked at.

    Attributes:
        name: of the entry.
        role: what it stands for, "" for a method like others.
        track: a key of `TRACKS`.
        family: of its method.
        needs: words for what the method uses.
        verified: whether its records were run again.
        anchor: whether it stays in sight when others are filtered: the null and doing nothing.
    """

    name: str
    role: str
    track: str
    family: str
    needs: Sequence[str]
    verified: bool
    anchor: bool


@dataclass(frozen=True, kw_only=True)
class Level:
    """A tier of a view: its members from the best, with ranks and fronts."""

    title: str
    members: Sequence[str]
    ranks: Mapping[str, int]
    fronts: Mapping[str, int]
    note: str


@dataclass(frozen=True, kw_only=True)
class View:
    """The table of one part of the grid.

    Attributes:
        blocks: how many blocks there are, and how many of them are scored.
        cells: text of the measured columns by entry.
        status: how its cells ended, by entry.
        levels: tiers, the last one of any cost.
    """

    blocks: tuple[int, int]
    cells: Mapping[str, Sequence[str]]
    status: Mapping[str, str]
    levels: Sequence[Level]

    def plain(self) -> dict[str, Any]:
        """Return the view as JSON."""
        return {
            "blocks": list(self.blocks),
            "cells": {name: [*cells, self.status[name]] for name, cells in self.cells.items()},
            "levels": [
                {
                    "title": level.title,
                    "members": list(level.members),
                    "ranks": dict(level.ranks),
                    "fronts": dict(level.fronts),
                    "note": level.note,
                }
                for level in self.levels
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Face:
    """The table of a protocol.

    Attributes:
        columns: headings of the measured columns.
        entries: facts of the rows.
        views: the different tables, the first one of the whole grid.
        parts: which of them a task and split ("" for all) has.
    """

    columns: Sequence[str]
    entries: Sequence[Entry]
    views: Sequence[View]
    parts: Mapping[tuple[str, str], int]

    @property
    def tasks(self) -> list[str]:
        """Tasks that there are views of."""
        return sorted({task for task, _ in self.parts} - {EVERY})

    @property
    def splits(self) -> list[str]:
        """Splits that there are views of, of one task or of all."""
        return sorted({split for _, split in self.parts} - {EVERY})


def face(results: Results, folder: Folder) -> Face:
    """Return the table of a protocol of ensembles or of single models."""
    if folder.outcome is not None:
        return _of_ensembles(results, folder, folder.outcome)
    assert folder.numbers is not None
    return _of_models(results, folder, folder.numbers)


def parts_of(there: Sequence[Block]) -> Iterator[tuple[tuple[str, str], list[Block]]]:
    """Yield every part of a grid with its blocks: all, each task, each split, each block."""
    for task in [EVERY, *sorted({task for task, _ in there})]:
        for split in [EVERY, *sorted({split for _, split in there})]:
            own = [block for block in there if task in (EVERY, block[0]) and split in (EVERY, block[1])]
            if own:
                yield (task, split), own


def track_of(kind: str, entry: str) -> str:
    """Return the key of `TRACKS` of an entry, by the kind of its method."""
    if kind == "reference":
        return "reference" if entry in (NULL, NOTHING_DONE) else "curve"
    if kind in ("exact", "sentinel"):
        return kind
    if entry == base_of(entry):
        return "default"
    return "tuned" if entry.endswith("-tuned") else "configured"


# Parts --------------------------------------------------------------------------------------------------------

_ROLES = {NULL: "null: another retrain", NOTHING_DONE: "no unlearning"}


def _entries(results: Results, folder: Folder, kinds: Mapping[Any, Any], names: Sequence[str]) -> list[Entry]:
    found = []
    for name in names:
        card, kind = results.card(name), str(kinds[name])
        found.append(
            Entry(
                name=name,
                role=_ROLES.get(name, ""),
                track=track_of(kind, name),
                family=str(card.fact("family")) if card else "unregistered",
                needs=sorted(map(str, card.fact("needs", ()))) if card else [],
                verified=folder.is_verified(name),
                anchor=name in _ROLES,
            )
        )
    return found


def _of_ensembles(results: Results, folder: Folder, outcome: Outcome) -> Face:
    views: list[View] = []
    known: dict[tuple[Block, ...], int] = {}
    parts: dict[tuple[str, str], int] = {}
    for part, own in parts_of(outcome.blocks.board.blocks):
        if tuple(own) not in known:
            known[tuple(own)] = len(views)
            whole = len(own) == len(outcome.blocks.board.blocks)
            views.append(_view(outcome if whole else subset(folder, own, results.methods)))
        parts[part] = known[tuple(own)]
    table = ensemble_tables.main_table(outcome, outcome.tiers[-1])
    order = [name for _, rows in table.groups for name in (row.cells[1] for row in rows)]
    return Face(
        columns=[name for name in table.header if name not in OWN],
        entries=_entries(results, folder, outcome.blocks.board.methods["kind"].to_dict(), order),
        views=views,
        parts=parts,
    )


def _view(outcome: Outcome) -> View:
    table = ensemble_tables.main_table(outcome, outcome.tiers[-1])
    scored = len(outcome.blocks.scored)
    return View(
        blocks=(len(outcome.blocks.board.blocks), scored),
        cells=_measured(table),
        status=_column(table, "Status"),
        levels=[_level(outcome, tier) for tier in outcome.tiers],
    )


def _level(outcome: Outcome, tier: Tier) -> Level:
    return Level(
        title=tier.title,
        members=[name for group in tier.groups.values() for name in group],
        ranks=tier.ranks,
        fronts=tier.fronts,
        note=ensemble_tables.against_curve(outcome, tier),
    )


def _measured(table: Table) -> dict[str, list[str]]:
    kept = [place for place, name in enumerate(table.header) if name not in OWN]
    name = list(table.header).index(METHOD)
    rows = [row.cells for _, own in table.groups for row in own]
    return {cells[name]: [cells[place] for place in kept] for cells in rows}


def _column(table: Table, heading: str) -> dict[str, str]:
    name, place = list(table.header).index(METHOD), list(table.header).index(heading)
    return {row.cells[name]: row.cells[place] for _, own in table.groups for row in own}


# Single models ------------------------------------------------------------------------------------------------


def _of_models(results: Results, folder: Folder, numbers: Numbers) -> Face:
    table = tables.main_table(numbers)
    columns = [name for name in table.header if name not in OWN]
    members = [name for own in numbers.order.values() for name in own]
    ranks = numbers.scores.methods["rank"].dropna().astype(int).to_dict()
    level = Level(
        title="Any cost",
        members=members,
        ranks={str(name): int(rank) for name, rank in ranks.items()},
        fronts={},
        note="",
    )
    there = numbers.board.blocks
    scored = sum(bool(value) for value in numbers.scores.gates["scored"])
    views = [
        View(
            blocks=(len(there), scored),
            cells=_measured(table),
            status=_column(table, "Status"),
            levels=[level],
        )
    ]
    parts = {(EVERY, EVERY): 0}
    for block in there:
        parts[block] = len(views)
        views.append(_block_view(numbers, block, columns, members))
    return Face(
        columns=columns,
        entries=_entries(results, folder, numbers.board.methods["kind"].to_dict(), members),
        views=views,
        parts=parts,
    )


_OF_BLOCK = {
    "RNC": "rnc",
    "RR": "probe_recovery",
    "Utility ratio": "utility_ratio",
    "Loss-AUC gap": "loss_auc_gap",
}
_OF_BLOCK |= {"Gradient passes / retrain's": "passes", "Seconds / retrain's": "time_ratio"}


def _block_view(numbers: Numbers, block: Block, columns: Sequence[str], members: Sequence[str]) -> View:
    """Return means over the seeds of one block; there are no ranks within one."""
    own, results = numbers.blocks.get(block), numbers.scores.blocks
    means: dict[Any, float] = {} if own is None else own["mean"].to_dict()
    halves: dict[Any, float] = {} if own is None else own["half"].to_dict()
    reasons = results["reason"].to_dict()
    cells, status = {}, {}
    for name in members:
        key = (*block, name)
        texts = {tables.SCORE: spread(at(results, key, "score"), at(results, key, "half"))}
        for column, metric in _OF_BLOCK.items():
            place = (name, metric)
            texts[column] = spread(means.get(place, math.nan), halves.get(place, math.nan))
        cells[name] = [texts.get(column, NOTHING) for column in columns]
        status[name] = str(reasons[key]) or "ok"
    level = Level(title="Any cost", members=members, ranks={}, fronts={}, note="")
    gate = bool(numbers.scores.gates["scored"].to_dict()[block])
    return View(blocks=(1, int(gate)), cells=cells, status=status, levels=[level])
