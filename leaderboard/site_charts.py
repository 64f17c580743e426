"""What the pages with scripts of their own get as data: the scatter of score against cost, and entries side by side."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from regunlearn.benchmark.records import rounded
from regunlearn.leaderboard.ensemble_tables import LABELS
from regunlearn.leaderboard.pareto import FREE
from regunlearn.leaderboard.scores import pareto_front
from regunlearn.leaderboard.site_data import Folder, Results
from regunlearn.leaderboard.site_entries import facts_of
from regunlearn.leaderboard.site_views import TRACKS, Face
from regunlearn.leaderboard.style import COLOURED, family_colour
from regunlearn.leaderboard.tables import at

GREY = "#808080"


def scatter(folder: Folder, face: Face) -> dict[str, Any]:
    """Return points of score and cost, who of the ranked is on the front, and the budgets of the tiers.

    Front: over overall score and gradient passes of the ranked entries, as in the board's figure.
    """
    points = {name: point for name in folder.entries if (point := _point(folder, name)) is not None}
    ranked = [name for name in face.views[0].levels[-1].ranks if name in points]
    on = pareto_front([points[name]["score"] for name in ranked], [points[name]["cost"] for name in ranked])
    front = {name for name, here in zip(ranked, on, strict=True) if here}
    rows = []
    for entry in face.entries:
        if entry.name in points:
            kind = _kinds(folder)[entry.name]
            rows.append(
                {
                    "name": entry.name,
                    "track": TRACKS[entry.track],
                    "family": entry.family if kind in COLOURED else entry.role or TRACKS[entry.track],
                    "colour": family_colour(entry.family) if kind in COLOURED else GREY,
                    "front": entry.name in front,
                    "curve": entry.track == "curve" or entry.name == "retrain",
                    "rank": face.views[0].levels[-1].ranks.get(entry.name),
                    **points[entry.name],
                }
            )
    budgets = [] if folder.outcome is None else [tier.budget for tier in folder.outcome.tiers[:-1]]
    data: dict[str, Any] = rounded({"points": rows, "budgets": budgets, "free": FREE})
    return data


def _kinds(folder: Folder) -> Mapping[str, str]:
    board = folder.outcome.blocks.board if folder.outcome is not None else None
    board = folder.numbers.board if board is None and folder.numbers is not None else board
    assert board is not None
    return {str(name): str(kind) for name, kind in board.methods["kind"].items()}


def _point(folder: Folder, entry: str) -> dict[str, float] | None:
    """Return score with its interval and cost in gradient passes, None for an entry without an overall score."""
    if folder.outcome is not None:
        if entry not in folder.outcome.standing.index:
            return None
        values = [*folder.outcome.standing.interval(entry), at(folder.outcome.means, entry, "passes")]
    else:
        assert folder.numbers is not None
        own = folder.numbers.scores.methods
        values = [at(own, entry, name) for name in ("score", "low", "high")]
        values.append(at(folder.numbers.overall, entry, "passes"))
    if not all(map(math.isfinite, values)):
        return None
    return dict(zip(("score", "low", "high", "cost"), values, strict=True))


def side_by_side(results: Results, face: Face) -> dict[str, Any]:
    """Return what the comparison shows: facts, overall numbers, each block, and paired differences.

    Differences are those of overall scores with half the width of their 95% interval, and whether the board's rule
    calls them a tie; of single models there are none.
    """
    main, whole = results.main, face.views[0]
    names = [entry.name for entry in face.entries]
    blocks = [
        {
            "name": " / ".join(block),
            "columns": [LABELS.get(name, name) for name in columns],
            "rows": {name: list(rows[name]) for name in names if name in rows},
        }
        for block, (columns, rows) in main.block_rows.items()
    ]
    return {
        "names": names,
        "facts": {name: dict(facts_of(results, name)) for name in names},
        "columns": [*face.columns, "Status"],
        "ranks": dict(whole.levels[-1].ranks),
        "overall": {name: [*whole.cells[name], whole.status[name]] for name in names},
        "blocks": blocks,
        "pairs": _pairs(main),
    }


def _pairs(folder: Folder) -> dict[str, Any]:
    """Return scores, half-widths of paired differences (upper triangle, row by row) and ties as signs."""
    if folder.outcome is None or not folder.outcome.standing.names:
        return {"names": [], "scores": [], "halves": [], "ties": []}
    standing = folder.outcome.standing
    upper = np.triu_indices(len(standing.names), 1)
    halves = (standing.quantile * standing.errors)[upper]
    ties = ["".join("1" if tie else "0" for tie in row) for row in standing.ties]
    return {
        "names": list(standing.names),
        "scores": [float(f"{score:.4g}") for score in standing.iqm],
        "halves": [float(f"{half:.2g}") for half in halves],
        "ties": ties,
    }
