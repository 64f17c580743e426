"""One function a table of a protocol of ensembles, and its tidy CSV. `text` renders them."""

import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from regunlearn.leaderboard.blocks import AXES, Block, S, limit_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.tables import at
from regunlearn.leaderboard.text import NOTHING, Row, Table, number, spread
from regunlearn.leaderboard.tiers import GROUPS, Tier

SCORE = "S, IQM (95% interval)"
LABELS: Mapping[str, str] = {
    "s_forget": "S_F",
    "s_privacy": "S_P",
    "s_weights": "S_W",
    "tv": "TV",
    "klom_r_p95": "KLOM-R p95",
    "u_lira_auc": "U-LiRA AUC",
    "u_lira_tpr": "TPR@1%",
    "probe_recovery": "RR",
    "utility_ratio": "Utility ratio",
    "passes": "Passes / retrain's",
    "time_ratio": "Seconds / retrain's",
    "permutation_p": "p",
}
"""Metrics that the first table of a block shows, in this order; the others follow in a second one."""
_APART = {S, "models", "utility_limit", "tv_null", "tv_none", "u_lira_null", "u_lira_none", "retrain_seconds"}
"""What headings and captions say, or other columns."""
# Main tables --------------------------------------------------------------------------------------------------

Show = Callable[[Outcome, Tier, str], str]


def _mean(metric: str) -> Show:
    def show(outcome: Outcome, _: Tier, entry: str) -> str:
        return number(mean_of(outcome, entry, metric))

    return show


def mean_of(outcome: Outcome, entry: str, metric: str) -> float:
    """Return an entry's mean of a metric over the scored blocks, NaN where no block has it."""
    return at(outcome.means, entry, metric) if metric in outcome.means else math.nan


def _pair(one: str, other: str, form: str) -> Show:
    def show(outcome: Outcome, _: Tier, entry: str) -> str:
        values = [number(mean_of(outcome, entry, name)) for name in (one, other)]
        return NOTHING if values[0] == NOTHING else form.format(*values)

    return show


def _score(outcome: Outcome, _: Tier, entry: str) -> str:
    score, low, high = outcome.standing.interval(entry)
    return NOTHING if math.isnan(score) else f"{number(score)} ({number(low)} to {number(high)})"


def _badge(outcome: Outcome, _: Tier, entry: str) -> str:
    badges, tested = (int(mean_of(outcome, entry, name)) for name in ("badges", "tested"))
    return f"{badges} of {tested}" if tested else NOTHING


def status_of(outcome: Outcome, entry: str) -> str:
    """Return "ok", or what went wrong in how many of the scored blocks, without the free text of the reasons."""
    blocks = outcome.blocks
    scored, lacking = len(blocks.scored), len(blocks.lacking(entry))
    parts = [f"missing {lacking} of {scored} scored blocks"] if lacking else []
    found = [
        blocks.results[(*block, entry)].reason.partition(":")[0]
        for block in blocks.scored
        if (*block, entry) in blocks.results
    ]
    parts += [
        f"{'utility gate failed' if reason == 'utility' else reason} in {found.count(reason)} of {scored} blocks"
        for reason in sorted(set(found) - {""})
    ]
    return "; ".join(parts) or ("ok" if scored else "no block is scored")


_COLUMNS: Mapping[str, Show] = {
    "Rank": lambda _, tier, entry: str(tier.ranks.get(entry, "")),
    "Method": lambda _, __, entry: entry,
    SCORE: _score,
    "Front": lambda _, tier, entry: str(tier.fronts.get(entry, "")),
    "TV (null)": _pair("tv", "tv_null", "{} ({})"),
    "KLOM-R p95": _mean("klom_r_p95"),
    "U-LiRA AUC / TPR@1%": _pair("u_lira_auc", "u_lira_tpr", "{} / {}"),
    "RR": _mean("probe_recovery"),
    "Utility ratio": _mean("utility_ratio"),
    "Passes / retrain's": _mean("passes"),
    "Seconds / retrain's": _mean("time_ratio"),
    "Badge": _badge,
    "Records": lambda outcome, _, entry: "verified" if entry in outcome.blocks.verified else "reported",
    "Status": lambda outcome, _, entry: status_of(outcome, entry),
}
COMPACT = (
    "Rank",
    "Method",
    SCORE,
    "Front",
    "TV (null)",
    "RR",
    "Utility ratio",
    "Passes / retrain's",
    "Badge",
)
"""Columns of the table in the README."""
TERMINAL = ("Rank", "Method", SCORE, "Front", "Passes / retrain's", "Badge", "Status")
"""Columns of the table on the terminal."""
_WORDS = {"Method", "Records", "Status"}


def main_table(outcome: Outcome, tier: Tier, columns: Sequence[str] = tuple(_COLUMNS)) -> Table:
    """Return one row an entry of a tier; name and score of those on the first rank are bold."""
    best = frozenset(place for place, name in enumerate(columns) if name in ("Method", SCORE))
    groups = []
    for group, title in GROUPS:
        rows = [
            Row(
                [_COLUMNS[name](outcome, tier, entry) for name in columns],
                best
                if tier.ranks.get(entry) == 1 and outcome.standing.interval(entry)[0] > 0
                else frozenset(),
            )
            for entry in tier.groups[group]
        ]
        if rows:
            groups.append((title, rows))
    return Table(columns, groups, frozenset(place for place, name in enumerate(columns) if name in _WORDS))


def against_curve(outcome: Outcome, tier: Tier) -> str:
    """Return one sentence on how many ranked entries of a tier beat its best retrain cut short, "" without one."""
    standing = outcome.standing
    curve = [name for name in tier.groups["curve"] if name in standing.index]
    ranked = [name for name in tier.groups["ranked"] if name in standing.index]
    if not curve or not ranked:
        return ""
    best = standing.index[curve[0]]
    counts = [0, 0, 0]
    for name in ranked:
        own = standing.index[name]
        tie = bool(standing.ties[own, best])
        counts[1 if tie else 0 if standing.gaps[own, best] > 0 else 2] += 1
    return (
        f"Curve to beat: {curve[0]}, {number(float(standing.iqm[best]))}. Of the {len(ranked)} ranked, {counts[0]} "
        f"score above it, {counts[1]} tie with it and {counts[2]} score below it."
    )


def leaders(outcome: Outcome) -> list[str]:
    """Return one line a tier on who holds its first rank, for a terminal."""
    lines = []
    for tier in outcome.tiers:
        first = [
            f"{entry} {number(outcome.standing.interval(entry)[0])}"
            for entry, rank in tier.ranks.items()
            if rank == 1
        ]
        lines.append(
            f"{tier.title}: {', '.join(first) or 'nobody is ranked'}. {against_curve(outcome, tier)}".strip()
        )
    return [part for line in lines for part in textwrap.wrap(line, 118, subsequent_indent="  ")]


# Block by block -----------------------------------------------------------------------------------------------


def block_tables(outcome: Outcome, block: Block) -> Iterator[tuple[str, Table]]:
    """Yield two tables of one block, one row an entry: scores and main metrics, then all other metrics."""
    blocks = outcome.blocks
    there = blocks.metrics_of(block)
    first = [name for name in LABELS if name in there]
    ends = {f"{name}_{end}" for name in there for end in ("low", "high")}
    rest = [name for name in there if name not in first and name not in _APART | ends]
    limits = [
        v for entry in blocks.entries if math.isfinite(v := blocks.value(block, entry, "utility_limit"))
    ]
    notes = {**blocks.facts[block], "limit": median(limits) if limits else math.nan}
    header = ["Method", "S", *(_heading(name, notes) for name in first), "Status"]
    yield "Scores", _rows(outcome, block, header, first)
    if rest:
        header = ["Method", *rest]
        yield "Other metrics", _rows(outcome, block, header, rest)


def _rows(outcome: Outcome, block: Block, header: Sequence[str], names: Sequence[str]) -> Table:
    blocks, groups = outcome.blocks, []
    full = header[-1] == "Status"
    for group, title in GROUPS:
        rows = []
        for entry in outcome.tiers[-1].groups[group]:
            result = blocks.results.get((*block, entry))
            cells = [_shown(outcome, block, entry, name) for name in names]
            if full and result is None:
                cells = [NOTHING, *cells, "missing"]
            elif full and result is not None:
                half = math.nan if result.reason else blocks.half(block, entry, S)
                cells = [spread(result.score, half), *cells, result.reason or "ok"]
            rows.append(Row([entry, *cells]))
        if rows:
            groups.append((title, rows))
    return Table(header, groups, frozenset({0, len(header) - 1} if full else {0}))


def _shown(outcome: Outcome, block: Block, entry: str, name: str) -> str:
    """Return one number, with its interval where the record has one."""
    blocks = outcome.blocks
    value = blocks.value(block, entry, name)
    if name in AXES:
        return spread(value, blocks.half(block, entry, name))
    low, high = (blocks.value(block, entry, f"{name}_{end}") for end in ("low", "high"))
    return f"{number(value)} ({number(low)} to {number(high)})" if math.isfinite(low) else number(value)


def _heading(name: str, notes: Mapping[str, Any]) -> str:
    """Return a column's heading with the null and no-unlearning values, or the limit, of the block."""
    if name in ("tv", "u_lira_auc"):
        null, none = (notes[f"{name.removesuffix('_auc')}_{anchor}"] for anchor in ("null", "none"))
        if math.isfinite(null) and math.isfinite(none):
            return f"{LABELS[name]} (null {number(null)}, none {number(none)})"
    if name == "utility_ratio" and math.isfinite(notes["limit"]):
        return f"{LABELS[name]} (limit {number(notes['limit'])})"
    return LABELS[name]


# Gates ------------------------------------------------------------------------------------------


def gate_table(outcome: Outcome) -> Table | None:
    """Return every gate of every block with its value, interval, limit and verdict; None where none was measured."""
    rows = []
    for gate in outcome.blocks.gates.to_dict("records"):
        value, low, high = (float(gate[name]) for name in ("value", "low", "high"))
        shown = number(value) if low == high else f"{number(value)} ({number(low)} to {number(high)})"
        passed = bool(gate["passed"])
        texts = [str(gate[name]) for name in ("task", "split", "gate", "what")]
        rows.append(
            Row(
                [*texts, shown, limit_of(gate), "pass" if passed else "FAIL"],
                frozenset() if passed else frozenset({6}),
            )
        )
    header = ["Task", "Split", "Gate", "What is measured", "Value (95% interval)", "Passes", "Verdict"]
    return Table(header, [("", rows)], frozenset({0, 1, 2, 3, 5, 6})) if rows else None
