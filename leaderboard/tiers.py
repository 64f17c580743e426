"""Overall scores of entries with intervals, and their ranks within tiers of cost.

The overall score is the interquartile mean over blocks. Its uncertainty is that of the ensembles: each block's models
are deleted in turn (the same ones for all entries, so that differences are paired), and blocks are independent.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regunlearn.benchmark.statistics import LEVEL, Mask, fronts, interquartile_mean, t_quantile
from regunlearn.leaderboard.blocks import Blocks, base_of

Array = NDArray[np.float64]

TOLERANCE = 1e-6
CURVE = "truncated_retrain"
NULL, NOTHING_DONE = "retrain", "original"
BADGE = 0.05
"""An entry is not told from the retrained models in a block where the permutation test's p is above this."""


# Formulas -----------------------------------------------------------------------------------------------------


def iqm_replicates(scores: Array, replicates: Sequence[Array]) -> list[Array]:
    """Return the interquartile mean over blocks with one block's score in turn replaced by its delete-one values.

    Args:
        scores: shape (entries, blocks).
        replicates: of each block, shape (entries, units of the block).

    Returns:
        Of each block, shape (entries, units of the block).
    """
    found = []
    for block, own in enumerate(replicates):
        changed = np.repeat(scores[:, None, :], own.shape[1], axis=1)
        changed[:, :, block] = own
        found.append(interquartile_mean(changed))
    return found


def jackknife_errors(replicates: Sequence[Array]) -> tuple[Array, Array]:
    """Return standard errors by the stratified delete-one jackknife: of each entry, and of each paired difference.

    variance = sum over strata of (n - 1)/n sum_k (x_k - mean)^2, the strata being independent; of a difference, x_k is
    the difference of both entries without the same unit k.

    Args:
        replicates: of each stratum, shape (entries, n).

    Returns:
        Shapes (entries,) and (entries, entries).
    """
    entries = len(replicates[0])
    single, paired = np.zeros(entries), np.zeros((entries, entries))
    for own in replicates:
        units = own.shape[1]
        single += (units - 1) * own.var(axis=1)
        paired += (units - 1) * (own[:, None, :] - own[None, :, :]).var(axis=2)
    return np.sqrt(single), np.sqrt(paired)


def half_null(null: Array) -> float:
    """Return half the mean over blocks of TV_null, shape (blocks,): what retrained models differ by is no difference.

    Blocks where it is not defined are left out; 0 if none is left.
    """
    return float(np.nanmean(null)) / 2 if np.isfinite(null).any() else 0.0


def tied(gaps: Array, errors: Array, quantile: float, margin: float) -> Mask:
    """Return which entries tie: the 95% interval of the paired difference contains 0, or it is below the margin.

    Shapes (entries, entries). Symmetric, not transitive.
    """
    sizes = np.abs(gaps)
    ties: Mask = (sizes <= quantile * errors) | (sizes < margin) | (gaps == 0)
    return ties


def ranks(scores: Array, ties: Mask) -> NDArray[np.int64]:
    """Return the rank of each entry, 1 for the highest score; who ties with the best of a group shares its rank.

    Going down from the highest score, an entry that does not tie with the best of the current group opens the next
    one, whose rank is its position (as `scores.ranks` does for single models).

    Args:
        scores: shape (entries,). Equal scores keep their order.
        ties: shape (entries, entries).
    """
    result = np.zeros(len(scores), dtype=np.int64)
    best = -1
    for position, index in enumerate(np.argsort(-scores, kind="stable")):
        if best >= 0 and ties[best, index]:
            result[index] = result[best]
        else:
            best, result[index] = int(index), position + 1
    return result


def paired_dominance(gaps: Array, errors: Array, quantile: float, costs: Array) -> Mask:
    """Return who dominates whom over score, utility and cost: shape (entries, entries).

    [a, b] is true if a's score is not below b's (the paired interval of the difference does not lie below 0), none of
    a's costs is higher, and a is strictly better in one: its interval lies above 0, or a cost is lower.

    Args:
        gaps: differences of scores, shape (entries, entries).
        errors: their standard errors, same shape.
        quantile: of the interval.
        costs: lower = better, taken as measured, shape (entries, axes); NaN counts as the highest.
    """
    known = np.where(np.isnan(costs), np.inf, costs)
    one, other = known[:, None, :], known[None, :, :]
    half = quantile * errors
    matrix: Mask = (gaps + half >= 0) & (one <= other).all(axis=2)
    return matrix & ((gaps - half > 0) | (one < other).any(axis=2))


# Standing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Overall scores of the entries that have all scored blocks, and their differences.

    Attributes:
        names: of the entries, sorted.
        scores: by entry and block, shape (entries, blocks).
        replicates: of each block, shape (entries, units).
        iqm, low, high: overall score with its 95% interval, shape (entries,).
        errors: standard errors of paired differences, shape (entries, entries).
        quantile: Student quantile of the intervals; its degrees are the fewest units of a block less one.
        margin: below this difference of overall scores, two entries tie.
    """

    names: Sequence[str]
    scores: Array
    replicates: Sequence[Array]
    iqm: Array
    low: Array
    high: Array
    errors: Array
    quantile: float
    margin: float

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of an entry."""
        return {name: at for at, name in enumerate(self.names)}

    @cached_property
    def gaps(self) -> Array:
        """Differences of overall scores, shape (entries, entries)."""
        return np.asarray(self.iqm[:, None] - self.iqm[None, :])

    @cached_property
    def ties(self) -> Mask:
        """Who ties with whom, shape (entries, entries)."""
        return tied(self.gaps, self.errors, self.quantile, self.margin)

    def interval(self, name: str) -> tuple[float, float, float]:
        """Return an entry's overall score and the ends of its interval, NaN for one without."""
        if name not in self.index:
            return math.nan, math.nan, math.nan
        at = self.index[name]
        return float(self.iqm[at]), float(self.low[at]), float(self.high[at])


def stand(blocks: Blocks) -> Standing:
    """Return the overall scores of a board's complete entries."""
    names = blocks.complete
    own = blocks.table.loc[blocks.scored]
    scores = np.array([[blocks.results[(*block, n)].score for block in blocks.scored] for n in names])
    replicates = [
        np.stack([blocks.results[(*block, name)].replicates for name in names])
        for block in (blocks.scored if names else [])
    ]
    if not names:
        none = np.zeros(0)
        return Standing(
            names=names,
            scores=np.zeros((0, len(own))),
            replicates=(),
            iqm=none,
            low=none,
            high=none,
            errors=np.zeros((0, 0)),
            quantile=math.nan,
            margin=0.0,
        )
    single, paired = jackknife_errors(iqm_replicates(scores, replicates))
    quantile = float(t_quantile((1 + LEVEL) / 2, int(own["units"].min()) - 1))
    iqm = interquartile_mean(scores)
    return Standing(
        names=names,
        scores=scores,
        replicates=replicates,
        iqm=iqm,
        low=np.clip(iqm - quantile * single, 0.0, 1.0),
        high=np.clip(iqm + quantile * single, 0.0, 1.0),
        errors=paired,
        quantile=quantile,
        margin=half_null(own["tv_null"].to_numpy(dtype=float)),
    )


# Means --------------------------------------------------------------------------------------------------------


def overall(blocks: Blocks) -> pd.DataFrame:
    """Return means over the scored blocks: one row an entry, one column a metric; NaN where no block has it.

    `passes` is instead the largest over all blocks, and there are `badges` (scored blocks with a permutation p above
    0.05) out of `tested`.
    """
    values = blocks.values
    of_scored = pd.MultiIndex.from_arrays(
        [values.index.get_level_values(0), values.index.get_level_values(1)]
    ).isin(blocks.scored)
    chosen = values[of_scored]
    means = chosen.groupby(level="method").mean().reindex(blocks.entries)
    cells = blocks.board.cells
    means["passes"] = cells["passes"].groupby(cells["method"]).max().reindex(blocks.entries)
    p = chosen["permutation_p"] if "permutation_p" in chosen else chosen["passes"] * np.nan
    means["badges"] = (p > BADGE).groupby(level="method").sum().reindex(blocks.entries, fill_value=0)
    means["tested"] = p.notna().groupby(level="method").sum().reindex(blocks.entries, fill_value=0)
    return means


# Tiers --------------------------------------------------------------------------------------------------------

GROUPS = (
    ("ranked", "Methods"),
    ("incomplete", "Incomplete, not ranked"),
    ("exact", "Exact unlearning, a track of its own: it trains the original in its own way"),
    ("curve", "Curve to beat: retrain cut short"),
    ("anchor", "References, not ranked"),
    ("sentinel", "Sentinels and cheats, not ranked"),
)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Entries that cost at most a budget.

    Attributes:
        budget: share of a retrain's gradient passes, infinite for the last tier.
        groups: entries by group of `GROUPS`, the highest overall score first.
        ranks: of the ranked ones.
        fronts: index of the Pareto front over score, utility and cost, 1 = dominated by nobody; of ranked ones,
            retrains cut short and anchors.
    """

    budget: float
    groups: Mapping[str, Sequence[str]]
    ranks: Mapping[str, int]
    fronts: Mapping[str, int]

    @property
    def title(self) -> str:
        """What the tier is called."""
        return (
            "Any cost" if math.isinf(self.budget) else f"Up to {100 * self.budget:.3g}% of a retrain's cost"
        )

    @property
    def label(self) -> str:
        """The budget in the CSV: a number, or "any"."""
        return "any" if math.isinf(self.budget) else f"{self.budget:g}"


def tiers(blocks: Blocks, standing: Standing, means: pd.DataFrame) -> list[Tier]:
    """Return the protocol's tiers, from the cheapest, and one for any cost."""
    budgets = [*sorted(set(map(float, blocks.protocol.tiers))), math.inf]
    return [_tier(budget, blocks, standing, means) for budget in budgets]


def group_of(blocks: Blocks, entry: str) -> str:
    """Return the group of `GROUPS` that an entry belongs to."""
    kind = blocks.kinds[entry]
    if kind == "honest":
        return "incomplete" if blocks.lacking(entry) else "ranked"
    if kind == "exact":
        return kind
    if kind == "reference":
        return "curve" if base_of(entry) == CURVE else "anchor"
    return "sentinel"


def _tier(budget: float, blocks: Blocks, standing: Standing, means: pd.DataFrame) -> Tier:
    groups: dict[str, list[str]] = {group: [] for group, _ in GROUPS}
    passes = {str(name): float(value) for name, value in means["passes"].items()}
    known = {name: standing.interval(name)[0] for name in blocks.entries}
    order = sorted(blocks.entries, key=lambda n: (-known[n] if known[n] >= 0 else 1.0, n))
    for name in order:
        group = group_of(blocks, name)
        always = math.isinf(budget) or name in (NULL, NOTHING_DONE)
        cheap = passes[name] <= budget * (1 + TOLERANCE) and group != "sentinel"
        if always or cheap:
            groups[group].append(name)
    placed = [standing.index[name] for name in groups["ranked"] if name in standing.index]
    rank = ranks(standing.iqm[placed], standing.ties[np.ix_(placed, placed)])
    compared = [
        name for group in ("ranked", "curve", "anchor") for name in groups[group] if name in standing.index
    ]
    rows = [standing.index[name] for name in compared]
    costs = means.reindex(index=compared, columns=["utility_ratio", "passes"]).to_numpy(dtype=float)
    dominates = paired_dominance(
        standing.gaps[np.ix_(rows, rows)], standing.errors[np.ix_(rows, rows)], standing.quantile, costs
    )
    return Tier(
        budget=budget,
        groups=groups,
        ranks={standing.names[at]: int(place) for at, place in zip(placed, rank, strict=True)},
        fronts=dict(zip(compared, map(int, fronts(dominates)), strict=True)),
    )
