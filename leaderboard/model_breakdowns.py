"""The board of a protocol of single models broken down: by block, by cost, by needs, and the metrics of the paper.

Every table has its own files, as Markdown, CSV and LaTeX.
"""

import math
from collections.abc import Mapping
from typing import Any

from regunlearn.benchmark.registry import Catalogue
from regunlearn.leaderboard.breakdowns import needs_table
from regunlearn.leaderboard.scores import DSR_LIMIT
from regunlearn.leaderboard.table_files import Titled
from regunlearn.leaderboard.tables import GROUPS, SCORE, TABS, Numbers, at, block_tables, main_table
from regunlearn.leaderboard.text import NOTHING, Row, Table, number, spread

TITLES: Mapping[str, str] = {
    "blocks": "By task and forget split",
    "cost": "Cost",
    "needs": "Needs",
    "paper": "Metrics of the paper",
}
"""Heading of every breakdown, by the name of its files."""
WORDS: Mapping[str, str] = {
    "blocks": "Mean score over seeds ± half-width of its 95% t interval. A column in brackets is not scored: its DSR "
    f"is below {DSR_LIMIT:g}.",
    "cost": "Means over blocks of the means over seeds: gradient passes and seconds of a call as shares of a "
    "retrain's, the seconds themselves a task, and the peak memory, the largest of all blocks. *Retrain's, s* is the "
    "retrain timed beside it.",
    "needs": "What of the request a method uses, as its card declares and the conformance suite checks. The words are "
    "explained in docs/methods.md.",
    "paper": 'Metrics of "Deep Regression Unlearning" (ICML 2023) block by block, beside another retrain (`retrain`) '
    "and no unlearning (`original`).",
}
_MIB = 2**20


def tables(numbers: Numbers, catalogue: Catalogue) -> dict[str, Titled]:
    """Return the tables that these records give, by the name of their files."""
    title = dict(TABS)["paper"]
    paper = [
        (f"{TITLES['paper']}: {' / '.join(block)}", table)
        for block in numbers.board.blocks
        for heading, table in block_tables(numbers, block)
        if heading == title
    ]
    entries = [name for group, _ in GROUPS for name in numbers.order[group]]
    found: dict[str, Titled] = {
        "blocks": [(TITLES["blocks"], block_table(numbers))],
        "cost": [(TITLES["cost"], cost_table(numbers))],
        "needs": [(TITLES["needs"], needs_table(entries, catalogue))],
    }
    return {**found, "paper": paper} if paper else found


def block_table(numbers: Numbers) -> Table:
    """Return the overall score beside that of every block, failures as their reason."""
    board = numbers.board
    overall = main_table(numbers, ["Method", SCORE])
    scored = numbers.scores.gates["scored"].to_dict()
    groups = []
    for title, rows in overall.groups:
        shown = []
        for row in rows:
            cells = [_score(numbers, (*block, row.cells[0])) for block in board.blocks]
            shown.append(Row([*row.cells, *cells], row.bold))
        groups.append((title, shown))
    heads = [" / ".join(block) if scored[block] else f"({' / '.join(block)})" for block in board.blocks]
    return Table(["Method", SCORE, *heads], groups, frozenset({0}))


def _score(numbers: Numbers, key: tuple[str, str, str]) -> str:
    score, half, why = numbers.results[key]
    text, reason = spread(score, half), why.partition(":")[0]
    return f"{text} ({reason})" if reason and text != NOTHING else reason or text


def cost_table(numbers: Numbers) -> Table:
    """Return what every method costs, on all blocks and on each task."""
    tasks = sorted({task for task, _ in numbers.board.blocks})
    means = numbers.long.pivot_table(
        index=["method", "task"], columns="metric", values="mean", aggfunc="mean"
    )
    peaks = numbers.long[numbers.long["metric"] == "peak_bytes"].groupby("method")["mean"].max().to_dict()
    known: dict[str, dict[Any, float]] = {
        name: means[name].to_dict() for name in ("seconds", "retrain_seconds") if name in means
    }
    timed = [task for task in tasks if any(place[1] == task for place in known.get("seconds", {}))]
    groups = []
    for group, title in GROUPS:
        rows = []
        for method in numbers.order[group]:
            overall = [at(numbers.overall, method, name) for name in ("passes", "time_ratio", "speed_up")]
            peak = peaks.get(method, math.nan)
            seconds = [number(known[name].get((method, task), math.nan)) for task in timed for name in known]
            shown = [number(overall[0]), number(overall[1]), _times(overall[2])]
            rows.append(Row([method, *shown, *seconds, number(peak / _MIB)]))
        if rows:
            groups.append((title, rows))
    heads = [text for task in timed for text in (f"{task}, s", "Retrain's, s")]
    header = ["Method", "Passes / retrain's", "Seconds / retrain's", "Speed-up", *heads, "Peak memory, MiB"]
    return Table(header, groups, frozenset({0}))


def _times(value: float) -> str:
    text = number(value)
    return text if text == NOTHING else f"{text}×"
