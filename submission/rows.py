"""Which rows of a board a submission changes: before and after, tier by tier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from regunlearn.benchmark import grid
from regunlearn.benchmark.grid import STRESS_TESTS
from regunlearn.benchmark.records import Record, parse, read_all
from regunlearn.leaderboard import blocks, comparison
from regunlearn.leaderboard.text import Row, Table, markdown, number
from regunlearn.submission.changes import before


class Place(NamedTuple):
    """Where an entry stands in a tier: its rank (0 for not ranked), overall score and interval, passes, and status."""

    rank: int
    score: float
    low: float
    high: float
    passes: float


def places(records: Sequence[Record], home: Path) -> dict[tuple[str, str], Place]:
    """Return where every entry stands, by the title of the tier and its name.

    Raises:
        BenchmarkError: the records cannot be compared.
    """
    own = [record for record in records if record.split not in STRESS_TESTS]
    if not own:
        return {}
    outcome = comparison.outcome(blocks.blocks(own, grid.load(home), blocks.read_gates(home / blocks.GATES)))
    cost = {str(name): float(value) for name, value in outcome.means["passes"].items()}
    return {
        (tier.title, name): Place(tier.ranks.get(name, 0), *outcome.standing.interval(name), cost[name])
        for tier in outcome.tiers
        for names in tier.groups.values()
        for name in names
    }


def earlier(root: Path, start: str, home: Path, method: str) -> list[Record]:
    """Return the records of a protocol as of a commit: only those of `method` can differ from the ones here."""
    others = [record for record in read_all(home) if record.method.partition("-")[0] != method]
    own = []
    for path in sorted((home / "records").glob("*.jsonl")):
        if path.stem.partition("-")[0] == method:
            text = before(root, start, path.relative_to(root).as_posix()) or ""
            own += [parse(line, f"{path.name} as of {start[:12]}") for line in text.splitlines()]
    return [*others, *own]


def report(old: Mapping[tuple[str, str], Place], new: Mapping[tuple[str, str], Place], method: str) -> str:
    """Return the rows that change as Markdown: those of `method` in full, of others only the ranks that they move to.

    A score of another entry cannot change, since its records do not; where one does, its row stands in full too.
    """
    keys = [*new, *(key for key in old if key not in new)]
    full = [key for key in keys if _changed(old.get(key), new.get(key), key[1].partition("-")[0] == method)]
    header = ["Tier", "Entry", "Rank before", "Rank", "S before", "S (95% interval)", "Passes / retrain's"]
    if not full:
        return "No row changes."
    rows = [Row([*key, *_pair(old.get(key), new.get(key))]) for key in full]
    return "\n".join([markdown(Table(header, [("", rows)], frozenset({0, 1}))), *_moves(old, new, full)])


def _changed(old: Place | None, new: Place | None, own: bool) -> bool:
    """Return whether a row stands in full: all that changes of one's own rows, scores alone of the others."""
    if old is None or new is None:
        return old is not new
    return _seen(old) != _seen(new) if own else _seen(old)[1:] != _seen(new)[1:]


def _moves(
    old: Mapping[tuple[str, str], Place],
    new: Mapping[tuple[str, str], Place],
    full: Sequence[tuple[str, str]],
) -> list[str]:
    """Return a line a tier on the other entries that move in rank."""
    moved: dict[str, dict[tuple[int, int], list[str]]] = {}
    for (tier, name), place in new.items():
        before = old.get((tier, name))
        if before is not None and before.rank != place.rank and (tier, name) not in full:
            moved.setdefault(tier, {}).setdefault((before.rank, place.rank), []).append(name)
    return [
        f"{tier}: "
        + "; ".join(f"rank {was} to {now}: {', '.join(names)}" for (was, now), names in ranks.items())
        for tier, ranks in moved.items()
    ]


def _seen(place: Place) -> tuple[object, ...]:
    return (place.rank, number(place.score), number(place.low), number(place.high))


def _pair(old: Place | None, new: Place | None) -> list[str]:
    def rank(place: Place | None) -> str:
        return "" if place is None else str(place.rank or "not ranked")

    interval = "" if new is None else f"{number(new.score)} ({number(new.low)} to {number(new.high)})"
    return [
        rank(old),
        rank(new) if new else "gone",
        "" if old is None else number(old.score),
        interval,
        number(new.passes) if new else "",
    ]
