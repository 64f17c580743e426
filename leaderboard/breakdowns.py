"""The board of a protocol of ensembles broken down: by task, by forget split, by cost, and by what entries need.

Every table has its own files, as Markdown, CSV and LaTeX. A part of the grid is scored as the whole is: the
interquartile mean over its scored blocks, with the stratified jackknife of `tiers.stand`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median

from regunlearn.benchmark.registry import Catalogue
from regunlearn.leaderboard.blocks import Block, Blocks, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_tables import SCORE, status_of
from regunlearn.leaderboard.table_files import Titled
from regunlearn.leaderboard.tables import at
from regunlearn.leaderboard.text import NOTHING, Row, Table, number
from regunlearn.leaderboard.tiers import GROUPS, NULL, Standing, stand

TITLES: Mapping[str, str] = {
    "tasks": "By task",
    "splits": "By forget split",
    "cost": "Cost",
    "needs": "Needs",
}
"""Heading of every breakdown, by the name of its files."""
WORDS: Mapping[str, str] = {
    "tasks": "Interquartile mean of S over the scored blocks of one task, with its 95% jackknife interval.",
    "splits": "The same over the scored blocks of one forget split, of all tasks.",
    "cost": "*Passes*: gradient passes, the largest of all blocks. *Seconds*: of a call over those of the retrain "
    "timed beside it, the median of all blocks and their range; of a task, the mean over its blocks. *Beforehand*: "
    "what an exact method's own way of training costs beyond a plain one. *Peak memory*: the largest rise during a "
    "call above what the process held before it; on the CPU, memory that earlier calls left to the process hides some "
    "of it. *Retrain to the same S*: the smallest budget, of those that were run, at which a retrain from scratch that "
    "is cut short there scores as high; “more” means that none of them does, not even a whole retrain. An entry "
    "whose passes are above it is beaten by stopping a retrain early.",
    "needs": "What of the request a method uses, as its card declares and the conformance suite checks. The words are "
    "explained in docs/methods.md.",
}
_MIB = 2**20


def tables(outcome: Outcome, catalogue: Catalogue) -> dict[str, Titled]:
    """Return the tables that these records give, by the name of their files."""
    found: dict[str, Titled] = {}
    for name, place in (("tasks", 0), ("splits", 1)):
        parts = _parts(outcome.blocks, place)
        if len(parts) > 1:
            found[name] = [(TITLES[name], part_table(outcome, parts))]
    found["cost"] = [(TITLES["cost"], cost_table(outcome))]
    found["needs"] = [(TITLES["needs"], needs_table(_order(outcome), catalogue))]
    return found


# By task and by forget split ----------------------------------------------------------------------------------


def _parts(blocks: Blocks, place: int) -> dict[str, Standing]:
    """Return the standing on the blocks of each task (`place` 0) or forget split (1) that has scored ones."""
    own: dict[str, list[Block]] = {}
    for block in blocks.scored:
        own.setdefault(block[place], []).append(block)
    return {name: stand(_only(blocks, there)) for name, there in sorted(own.items())}


def _only(blocks: Blocks, chosen: Sequence[Block]) -> Blocks:
    """Return the same records with no other blocks scored than the chosen ones."""
    return replace(blocks, table=blocks.table.assign(scored=blocks.table.index.isin(chosen)))


def part_table(outcome: Outcome, parts: Mapping[str, Standing]) -> Table:
    """Return overall scores beside those on parts of the grid; who lacks blocks of a part has none there."""
    groups = []
    for group, title in GROUPS:
        rows = []
        for entry in outcome.tiers[-1].groups[group]:
            standings = [outcome.standing, *parts.values()]
            texts = [_interval(standing, entry) for standing in standings]
            rows.append(Row([entry, *texts, status_of(outcome, entry)]))
        if rows:
            groups.append((title, rows))
    header = ["Method", SCORE, *parts, "Status"]
    return Table(header, groups, frozenset({0, len(header) - 1}))


def _interval(standing: Standing, entry: str) -> str:
    score, low, high = standing.interval(entry)
    return NOTHING if math.isnan(score) else f"{number(score)} ({number(low)} to {number(high)})"


# Cost ---------------------------------------------------------------------------------------------------------


def cost_table(outcome: Outcome) -> Table:
    """Return what every entry costs, and what a retrain costs that is stopped where it scores as high."""
    blocks = outcome.blocks
    timed = [task for task in _tasks(blocks) if _seconds(blocks, NULL, task)]
    budgets = _curve(outcome)
    groups = []
    for group, title in GROUPS:
        rows = [Row(_cost(outcome, entry, timed, budgets)) for entry in outcome.tiers[-1].groups[group]]
        if rows:
            groups.append((title, rows))
    header = [
        "Method",
        SCORE,
        "Passes / retrain's",
        "Seconds / retrain's (range)",
        *(f"{task}, s" for task in timed),
        "Beforehand / retrain's",
        "Peak memory, MiB",
        "Retrain to the same S",
        "Status",
    ]
    return Table(header, groups, frozenset({0, len(header) - 1}))


def _cost(
    outcome: Outcome, entry: str, timed: Sequence[str], budgets: Sequence[tuple[float, float]]
) -> list[str]:
    blocks = outcome.blocks
    there = blocks.board.blocks
    ratios = [v for block in there if math.isfinite(v := blocks.value(block, entry, "time_ratio"))]
    peaks = [v for block in there if math.isfinite(v := blocks.value(block, entry, "peak_bytes"))]
    trained = at(outcome.means, entry, "training_passes") if "training_passes" in outcome.means else math.nan
    seconds = [_seconds(blocks, entry, task) for task in timed]
    spread = (
        f"{number(median(ratios))} ({number(min(ratios), 2)} to {number(max(ratios), 2)})"
        if ratios
        else NOTHING
    )
    return [
        entry,
        _interval(outcome.standing, entry),
        number(at(outcome.means, entry, "passes")),
        spread,
        *(number(sum(own) / len(own)) if own else NOTHING for own in seconds),
        number(trained - 1.0) if math.isfinite(trained) else NOTHING,
        number(max(peaks) / _MIB) if peaks else NOTHING,
        _budget(outcome.standing.interval(entry)[0], budgets),
        status_of(outcome, entry),
    ]


def _tasks(blocks: Blocks) -> list[str]:
    return sorted({task for task, _ in blocks.board.blocks})


def _seconds(blocks: Blocks, entry: str, task: str) -> list[float]:
    own = [block for block in blocks.board.blocks if block[0] == task]
    return [value for block in own if math.isfinite(value := blocks.value(block, entry, "seconds"))]


def _curve(outcome: Outcome) -> list[tuple[float, float]]:
    """Return passes and overall score of every retrain cut short and of a whole one, the cheapest first."""
    names = [*outcome.tiers[-1].groups["curve"], NULL]
    points = [
        (at(outcome.means, name, "passes"), outcome.standing.interval(name)[0])
        for name in names
        if name in outcome.standing.index
    ]
    return sorted(point for point in points if all(map(math.isfinite, point)))


def _budget(score: float, budgets: Sequence[tuple[float, float]]) -> str:
    """Return the cheapest retrain that scores as high, as a share of a whole one."""
    if math.isnan(score) or not budgets:
        return NOTHING
    return next((f"{number(passes)}" for passes, reached in budgets if reached >= score), "more")


# Needs --------------------------------------------------------------------------------------------------------


def needs_table(entries: Sequence[str], catalogue: Catalogue) -> Table:
    """Return which of the declared needs each method has, a row a method of these entries."""
    cards = {
        name: card
        for name in dict.fromkeys(base_of(entry) for entry in entries)
        if (card := catalogue.cards.get(name)) is not None
    }
    known = sorted({str(need) for card in cards.values() for need in card.fact("needs", ())})
    rows = [
        Row(
            [
                name,
                str(card.fact("family")),
                *("yes" if need in card.fact("needs", ()) else "" for need in known),
            ]
        )
        for name, card in cards.items()
    ]
    header = ["Method", "Family", *known]
    return Table(header, [("", rows)], frozenset(range(len(header))))


def _order(outcome: Outcome) -> list[str]:
    return [name for group in outcome.tiers[-1].groups.values() for name in group]
