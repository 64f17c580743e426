"""Entries against each other: average ranks, cliques, wins, probability of improvement, and how far the axes agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from regunlearn.benchmark.statistics import (
    LEVEL,
    average_ranks,
    cliques,
    kendall_tau,
    performance_profile,
    t_quantile,
    wilcoxon_holm,
)
from regunlearn.leaderboard.blocks import AXES, Blocks
from regunlearn.leaderboard.tiers import (
    Standing,
    Tier,
    half_null,
    jackknife_errors,
    overall,
    stand,
    tied,
    tiers,
)

Array = NDArray[np.float64]

FEWEST = 8
"""Scored blocks from which on ranks over blocks are tested; below, no p of a signed-rank test is small enough."""
ALPHA = 0.05
COMPARED = 16
"""Ranked entries that are compared pair by pair: the best ones."""
THRESHOLDS: Array = np.linspace(0.0, 1.0, 201)


# Formulas -----------------------------------------------------------------------------------------------------


def improvement(scores: Array, errors: Sequence[Array]) -> Array:
    """Return the mean over blocks of Phi(difference / its standard error): shape (entries, entries).

    A block counts 0.5 where both are equal, and 1 or 0 where they differ without an error. The matrix and its
    transpose sum to 1.

    Args:
        scores: shape (entries, blocks).
        errors: of each block, standard errors of the paired differences, shape (entries, entries).
    """
    total = np.zeros((len(scores), len(scores)))
    for own, error in zip(scores.T, errors, strict=True):
        gaps = own[:, None] - own[None, :]
        sure = np.select([gaps > 0, gaps < 0], [np.inf, -np.inf])
        total += ndtr(np.divide(gaps, error, out=sure, where=(error > 0) & (gaps != 0)))
    chances: Array = total / scores.shape[1]
    return chances


def wins(scores: Array, ties: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Return how many blocks each entry wins, ties and loses against each other: shape (entries, entries, 3).

    Args:
        scores: shape (entries, blocks).
        ties: of each block, shape (entries, entries).
    """
    counts = np.zeros((len(scores), len(scores), 3), dtype=np.int64)
    for own, tie in zip(scores.T, ties, strict=True):
        higher = own[:, None] > own[None, :]
        for place, mask in enumerate((higher & ~tie, tie, higher.T & ~tie)):
            counts[:, :, place] += mask
    return counts


def least_p(entries: int, blocks: int) -> float:
    """Return the smallest p that Wilcoxon-Holm can give a pair: 2^(1 - blocks) times the number of pairs, at most 1."""
    return min(2.0 ** (1 - blocks) * (entries * (entries - 1) / 2), 1.0)


# Comparison ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What the compared entries (ranked ones and retrains cut short, best first) are to each other.

    Attributes:
        names: of the entries.
        ranks: average rank over blocks, shape (entries,).
        cliques: runs of entries that Wilcoxon-Holm tells not apart, as indices; None below `FEWEST` blocks.
        improvement: probability that the row's score is above the column's, shape (entries, entries).
        wins: blocks won, tied and lost, shape (entries, entries, 3).
        profiles: share of blocks with a score of at least `THRESHOLDS`, shape (entries, thresholds).
        axes: which axes there are.
        tau: Kendall's tau-b between the rankings by them, shape (axes, axes).
    """

    names: Sequence[str]
    ranks: Array
    cliques: Sequence[Sequence[int]] | None
    improvement: Array
    wins: NDArray[np.int64]
    profiles: Array
    axes: Sequence[str]
    tau: Array


def compare(blocks: Blocks, standing: Standing, tier: Tier) -> Comparison | None:
    """Return the comparison of a tier's ranked entries and retrains cut short, None for fewer than two.

    Of more than `COMPARED` ranked entries only the best: a test of all pairs of fifty would find nothing. How far the
    axes agree is asked of all of them.
    """
    own = {
        group: [standing.index[name] for name in tier.groups[group] if name in standing.index]
        for group in ("ranked", "curve")
    }
    rows = [*own["ranked"][:COMPARED], *own["curve"]]
    rows.sort(key=lambda at: (-standing.iqm[at], standing.names[at]))
    if len(rows) < 2:
        return None
    names, scores = [standing.names[at] for at in rows], standing.scores[rows]
    replicates = [own[rows] for own in standing.replicates]
    errors = [jackknife_errors([own])[1] for own in replicates]
    enough = scores.shape[1] >= FEWEST
    places = average_ranks(scores)
    axes, tau = _agreement(blocks, [standing.names[at] for group in own.values() for at in group])
    return Comparison(
        names=names,
        ranks=places,
        cliques=cliques(places, wilcoxon_holm(scores), ALPHA) if enough else None,
        improvement=improvement(scores, errors),
        wins=wins(scores, _ties(blocks, scores, errors)),
        profiles=performance_profile(scores[:, None, :], THRESHOLDS),
        axes=axes,
        tau=tau,
    )


def _ties(blocks: Blocks, scores: Array, errors: Sequence[Array]) -> list[NDArray[np.bool_]]:
    """Return who ties in each scored block, by the rule for overall scores with the block's own margin."""
    found = []
    table = blocks.table.loc[blocks.scored]
    for at, (own, error) in enumerate(zip(scores.T, errors, strict=True)):
        quantile = float(t_quantile((1 + LEVEL) / 2, int(table["units"].iloc[at]) - 1))
        margin = half_null(table["tv_null"].to_numpy(dtype=float)[[at]])
        found.append(tied(own[:, None] - own[None, :], error, quantile, margin))
    return found


def axis_means(blocks: Blocks, names: Sequence[str]) -> pd.DataFrame:
    """Return the mean of each axis over the scored blocks that have it: one row an entry, one column an axis.

    A cell that did not end well counts 0 on every axis that the block has. The utility gate does not.
    """
    columns: dict[str, list[float]] = {}
    for axis in AXES:
        own = [b for b in blocks.scored if axis != "s_privacy" or blocks.facts[b]["pool"]]
        values = np.array([[blocks.value(block, name, axis) for block in own] for name in names])
        if values.size and np.isfinite(values).any():
            columns[axis] = np.nan_to_num(values, nan=0.0).mean(axis=1).tolist()
    return pd.DataFrame(columns, index=list(names))


def _agreement(blocks: Blocks, names: Sequence[str]) -> tuple[list[str], Array]:
    means = axis_means(blocks, names)
    if means.empty:
        return [], np.zeros((0, 0))
    return [str(axis) for axis in means.columns], kendall_tau(means.to_numpy(dtype=float).T)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """All that tables and figures show of a protocol of ensembles.

    Attributes:
        blocks: one result an entry and block.
        standing: overall scores.
        means: over the scored blocks, as `tiers.overall` gives them.
        tiers: from the cheapest; the last one holds everything.
        comparison: of the last tier; None where fewer than two entries can be compared.
    """

    blocks: Blocks
    standing: Standing
    means: pd.DataFrame
    tiers: Sequence[Tier]
    comparison: Comparison | None


def outcome(blocks: Blocks) -> Outcome:
    """Work out everything that follows from the results."""
    standing, means = stand(blocks), overall(blocks)
    levels = tiers(blocks, standing, means)
    return Outcome(
        blocks=blocks,
        standing=standing,
        means=means,
        tiers=levels,
        comparison=compare(blocks, standing, levels[-1]),
    )
