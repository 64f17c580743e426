"""From the records of a tuning run to the chosen point.

A point scores, on each dev task and forget split, the mean over seeds of clip(1 - |1 - RNC|, 0, 1); 0 if the models
are not of use any more (the utility gate of the board), and 0 for each run that failed or went over the budget. Its
score is the mean over tasks and splits. The best point is kept, of equal ones the cheaper.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from regunlearn.benchmark import machine, metrics, references, rules, runner, space
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.engine import Outcome
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Cell, Protocol
from regunlearn.benchmark.records import Record, Store
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.runner import Settings

SLACK = 1e-6
"""Relative excess over the budget that rounding explains."""

Blocks = Mapping[str, Sequence[str]]
"""By task, the names of its forget splits."""


class Block(NamedTuple):
    """A task and forget split."""

    task: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one choice of hyperparameters brought.

    Attributes:
        hyperparameters: those of the search space.
        score: mean over tasks and splits, from 0 to 1.
        passes: gradient passes of a run, as a share of a retrain's: mean over the runs that ended; None if none did.
        failures: runs that failed or went over the budget.
    """

    hyperparameters: Mapping[str, Any]
    score: float
    passes: float | None
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The outcome for one method.

    Attributes:
        method, method_hash: what was tuned.
        budget: most gradient passes of a run, as a share of a retrain's.
        search: the space, as the decorator says it.
        points: in the order in which they were drawn.
        default: what the method's defaults bring; for information.
        outside: hyperparameters whose default is not in the space.
        cost: gradient passes of all runs of the points, in retrains of their task; a run without a count, because it
            failed, is taken for the whole budget.
        seeds, reference_seeds: of the runs, and of the models over which means and nulls are taken.
        tasks: by task, the splits that were scored.
        unscored: tasks and splits left out because retrained models differ as much as an original from one of them.
        reasons: how runs of the points failed, the most frequent first.
        fresh, kept: runs of this call, and runs that were there already.
        commit: of the code.
    """

    method: str
    method_hash: str
    budget: float
    search: Mapping[str, Sequence[Any]]
    points: Sequence[Point]
    default: Point
    outside: Sequence[str]
    cost: float
    seeds: Sequence[int]
    reference_seeds: Sequence[int]
    tasks: Blocks
    unscored: Sequence[Block]
    reasons: Sequence[str]
    fresh: int
    kept: int
    commit: str | None

    @property
    def ranked(self) -> list[Point]:
        """The points, best first: by score, then by cost, then as drawn."""
        return sorted(self.points, key=lambda p: (-p.score, np.inf if p.passes is None else p.passes))

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """First quartile, median and third quartile of the points' scores."""
        low, median, high = np.percentile([point.score for point in self.points], [25, 50, 75])
        return float(low), float(median), float(high)


# From records to scores


Records = Mapping[str, Mapping[Block, Sequence[Record]]]
"""By method or configuration, then by task and split: a record a seed."""


def records_of(cells: Sequence[Cell], folder: Path) -> Records:
    """Return the records of a run folder by method or configuration, then by task and split."""
    store = Store(folder)
    found: dict[str, dict[Block, list[Record]]] = {}
    for cell in cells:
        record = store.get(cell.key)
        assert record is not None, cell.key
        found.setdefault(cell.method, {}).setdefault(Block(cell.task, cell.split), []).append(record)
    return found


def judge(card: Card, protocol: Protocol, found: Records, outcome: Outcome, settings: Settings) -> Tuning:
    """Score every point, and the defaults, from a record of each cell of the protocol.

    Raises:
        BenchmarkError: RNC is defined on no task and split.
    """
    blocks = [
        Block(task, split) for task in sorted(protocol.splits) for split in sorted(protocol.splits[task])
    ]
    unscored = [block for block in blocks if not _has_gap(block, found)]
    if len(unscored) == len(blocks):
        raise BenchmarkError(
            f"{card.name} is not tuned: RNC is not defined on any of {', '.join(map('/'.join, blocks))}, because two "
            "retrained models differ there as much as an original from one of them. Choose other tasks."
        )
    limits = {b: _limit(b, protocol, settings) for b in blocks if b not in unscored}

    def point(name: str, values: Mapping[str, Any]) -> Point:
        runs = [record for block in limits for record in found[name][block]]
        passes = [record.passes for record in runs if record.status == "ok" and record.passes is not None]
        return Point(
            hyperparameters=values,
            score=float(np.mean([block_score(found[name][b], limits[b], protocol.share) for b in limits])),
            passes=float(np.mean(passes)) if passes else None,
            failures=sum(not is_within(record, protocol.share) for record in runs),
        )

    search = card.fact("search")
    named = protocol.configurations
    spent = [record for name in named for block in blocks for record in found[name][block]]
    return Tuning(
        method=card.name,
        method_hash=card.code_hash,
        budget=protocol.share,
        search=search,
        points=[point(name, values) for name, values in named.items()],
        default=point(card.name, {name: card.hyperparameters[name] for name in search}),
        outside=space.outside(space.parse(search, card.hyperparameters), card.hyperparameters),
        cost=float(sum(protocol.share if r.passes is None else r.passes for r in spent)),
        seeds=protocol.seeds,
        reference_seeds=protocol.reference_seeds,
        tasks={
            task: [b.split for b in limits if b.task == task]
            for task in dict.fromkeys(b.task for b in limits)
        },
        unscored=unscored,
        reasons=_reasons(spent),
        fresh=len(outcome.done),
        kept=outcome.kept,
        commit=machine.commit(),
    )


def _has_gap(block: Block, found: Records) -> bool:
    """Tell whether RNC is defined, which is a property of the reference models; if no run ended, suppose so."""
    ended = [record for by_block in found.values() for record in by_block[block] if record.status == "ok"]
    return not ended or any("rnc" in record.metrics for record in ended)


def _limit(block: Block, protocol: Protocol, settings: Settings) -> float:
    """Return the highest mean MAE on the retained test rows that passes the utility gate, in the target's unit."""
    models = runner.open_task(block.task, settings)
    targets = references.targets_of(models.task, models.make_split(block.split))["test_retain"]
    errors = [
        metrics.mean_absolute_error(
            models.evidence(seed, split_name=block.split, retrained=True).predictions["test_retain"], targets
        )
        for seed in protocol.reference_seeds
    ]
    known = [error for error in errors if error is not None]
    return rules.utility_limit(known) if known else float("inf")


def is_within(record: Record, budget: float) -> bool:
    """Tell whether a run ended well and within the budget.

    The engine stops a run at the forward pass that goes over; the last backward pass of a run is counted here.
    """
    return record.status == "ok" and record.passes is not None and record.passes <= budget * (1 + SLACK)


def block_score(runs: Sequence[Record], limit: float, budget: float) -> float:
    """Return the score on one task and split: mean closeness over the runs, 0 for each that failed.

    Args:
        runs: a record a seed.
        limit: highest mean MAE on the retained test rows that passes; above it the block scores 0.
        budget: as a share of a retrain's gradient passes.
    """
    good = [record for record in runs if is_within(record, budget)]
    errors = [r.metrics["mae_test_retain"] for r in good if "mae_test_retain" in r.metrics]
    if errors and float(np.mean(errors)) > limit:
        return 0.0
    scores = [float(rules.closeness(record.metrics["rnc"])) for record in good if "rnc" in record.metrics]
    return sum(scores) / len(runs)


def _reasons(runs: Sequence[Record]) -> list[str]:
    counts = Counter(f"{record.status}: {record.reason}" for record in runs if record.status != "ok")
    return [f"{count} x {reason}" for reason, count in counts.most_common(3)]


# What is shown and kept

SHOWN = 5


def table(found: Tuning) -> list[dict[str, str]]:
    """Return the best points and the defaults as rows of text."""
    names = [(f"{place}", point) for place, point in enumerate(found.ranked[:SHOWN], start=1)]
    return [
        {
            "point": name,
            "score": f"{point.score:.3f}",
            "cost": "" if point.passes is None else f"{point.passes:.3f}",
            "failed": str(point.failures),
            "values": ", ".join(
                f"{key}={f'{value:.3g}' if isinstance(value, float) else value}"
                for key, value in point.hyperparameters.items()
            ),
        }
        for name, point in [*names, ("default", found.default)]
    ]


def notes(found: Tuning) -> list[str]:
    """Return what else is to be said, a line each."""
    low, median, high = found.quartiles
    lines = [
        f"{found.fresh} runs made, {found.kept} kept; {sum(p.failures for p in found.points)} runs of points failed",
        f"scores of {len(found.points)} points: median {median:.3f}, quartiles {low:.3f} to {high:.3f}",
        f"cost of the search: {found.cost:.3g} retrains",
        *(f"failed: {reason}" for reason in found.reasons),
    ]
    if found.outside:
        lines.append(f"the default of {', '.join(found.outside)} lies outside of the search space")
    if found.unscored:
        lines.append(f"not scored, as RNC is not defined there: {', '.join(map('/'.join, found.unscored))}")
    return lines


def write(found: Tuning, path: Path) -> None:
    """Write the outcome as JSON, whole or not at all; numbers but hyperparameters have 7 significant digits.

    Raises:
        BenchmarkError: no point scores above 0, so there is nothing to choose.
    """
    best = found.ranked[0]
    if best.score <= 0:
        raise BenchmarkError(
            f"{found.method} is not tuned: none of {len(found.points)} points scores above 0. "
            f"{'; '.join(found.reasons) or 'All fail the utility gate or leave the model where it was.'} "
            "Nothing is written. Widen the search space or raise --budget."
        )
    low, median, high = found.quartiles
    kept = ("method", "method_hash", "budget", "search", "seeds", "reference_seeds", "tasks", "commit")
    facts = {name: getattr(found, name) for name in kept} | {
        "hyperparameters": best.hyperparameters,
        "score": _rounded(best.score),
        "default_score": _rounded(found.default.score),
        "points": [
            asdict(p) | {"score": _rounded(p.score), "passes": _rounded(p.passes)} for p in found.points
        ],
        "median": _rounded(median),
        "iqr": _rounded(high - low),
        "cost": _rounded(found.cost),
    }
    write_text(path, json.dumps(facts, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{space.DIGITS}g}")
