"""The tidy CSV of a protocol of ensembles: one row a number."""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from regunlearn.leaderboard.blocks import AXES, S
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.frame import BLOCK
from regunlearn.leaderboard.tables import EVERY


def csv(outcome: Outcome, more: pd.DataFrame | None = None) -> str:
    """Return everything as tidy CSV: task, split, method, metric, value, low, high, tier.

    One row a number. `score` of a block is the one that counts (after gates), `score_measured` the one before. Task
    and split "*" are over all scored blocks: `score` (IQM) with its interval once, `rank` and `front` by tier. `more`
    are further rows without a tier.
    """
    long: list[dict[str, Any]] = [*_block_rows(outcome)]
    for entry in outcome.blocks.complete:
        value, low, high = outcome.standing.interval(entry)
        long.append(
            {"method": entry, "metric": "score", "value": value, "low": low, "high": high, "tier": ""}
        )
    for tier in outcome.tiers:
        for metric, places in (("rank", tier.ranks), ("front", tier.fronts)):
            long += [
                {"method": entry, "metric": metric, "value": place, "tier": tier.label}
                for entry, place in sorted(places.items())
            ]
    if outcome.comparison is not None:
        names = zip(outcome.comparison.names, outcome.comparison.ranks, strict=True)
        long += [
            {"method": entry, "metric": "average_rank", "value": float(rank), "tier": "any"}
            for entry, rank in names
        ]
    if more is not None:
        long += [{str(name): value for name, value in row.items()} for row in more.to_dict("records")]
    columns = [*BLOCK, "method", "metric", "value", "low", "high", "tier"]
    frame = pd.DataFrame(long, columns=columns).fillna({"task": EVERY, "split": EVERY, "tier": ""})
    frame = frame.astype({"value": float, "low": float, "high": float})
    frame = frame.sort_values([*BLOCK, "method", "metric", "tier"], ignore_index=True)
    return frame.to_csv(index=False, float_format="%.7g", lineterminator="\n")


def _block_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    blocks = outcome.blocks
    for (task, split, entry), result in sorted(blocks.results.items()):
        block = (task, split)
        row = {"task": task, "split": split, "method": entry, "tier": ""}
        if not math.isnan(result.score):
            half = 0.0 if result.reason else blocks.half(block, entry, S)
            ends = {"low": max(result.score - half, 0.0), "high": min(result.score + half, 1.0)}
            yield {**row, "metric": "score", "value": result.score, **ends}
        for metric in map(str, blocks.values.columns):
            value = blocks.value(block, entry, metric)
            if math.isnan(value) or metric.endswith(("_low", "_high")):
                continue
            ends = {end: blocks.value(block, entry, f"{metric}_{end}") for end in ("low", "high")}
            if metric in (S, *AXES):
                half = blocks.half(block, entry, metric)
                ends = {"low": max(value - half, 0.0), "high": min(value + half, 1.0)}
                ends = ends if math.isfinite(half) else {}
            yield {**row, "metric": "score_measured" if metric == S else metric, "value": value, **ends}
