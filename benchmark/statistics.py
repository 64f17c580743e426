"""Intervals, aggregation over tasks, ranks and comparisons of methods, on arrays of scores.

Scores are higher = better and have the shape (methods, seeds, blocks): a block is one task and forget split, and the
seeds of a block are the seeds of its original models, shared by all methods. Every random draw has a seed; one draw
of seeds serves all methods, so that differences between methods are paired.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array

Mask = NDArray[np.bool_]
Indices = NDArray[np.intp]

Statistic = Callable[[Array, Array], float]
"""(unlearned, retrained) -> one number, of two ensembles of shape (models, rows, outputs)."""

LEVEL, DRAWS, SPLITS = 0.95, 10_000, 20
CELLS = 1 << 21
"""Numbers that one chunk of a vectorised computation may hold: 16 MiB of float64."""


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval."""

    estimate: float
    low: float
    high: float


# Intervals ----------------------------------------------------------------------------------------------------


def t_interval(values: Array, level: float = LEVEL) -> Interval:
    """Return the mean of independent values, shape (n,), with its Student interval.

    mean -+ t_{n-1} sd / sqrt(n), for single-model metrics over original-model seeds. Null: the interval of paired
    differences covers 0. Fails for few values far from normal (shares near 0 or 1): then bootstrap.
    """
    n = len(values)
    if n < 2:
        raise BenchmarkError(f"an interval needs at least 2 values, found {n}: run more seeds.")
    return around(float(np.mean(values)), float(np.var(values, ddof=1)) / n, n - 1, level)


def around(estimate: float, variance: float, degrees: float, level: float = LEVEL) -> Interval:
    """Return estimate -+ t_degrees sqrt(variance): a jackknife variance has as many degrees as models less one."""
    half = float(t_quantile((1 + level) / 2, degrees)) * float(np.sqrt(variance))
    return Interval(estimate, estimate - half, estimate + half)


def t_quantile(share: float, degrees: ArrayLike) -> Array:
    """Return the quantile of Student's distribution; NaN without a degree of freedom.

    `scipy.stats.t.ppf` gives the same from a package that takes longer to import than most boards to compute.
    """
    return np.asarray(stdtrit(np.asarray(degrees, dtype=float), share))


def jackknife_variance(replicates: Array) -> float:
    """Return (n - 1)/n sum_i (theta_(-i) - mean)^2 of n delete-one values, shape (n,).

    Quenouille and Tukey. Fails for statistics that are not smooth in the sample (a median, a maximum).
    """
    return float(len(replicates) - 1) * float(np.var(replicates))


def jackknife(
    statistic: Statistic, unlearned: Array, retrained: Array, *, paired: bool = False, level: float = LEVEL
) -> Interval:
    """Return a statistic of two ensembles with its delete-one jackknife interval over whole models.

    The variances of deleting unlearned and of deleting retrained models are summed; with `paired` (model k of both
    shares its seed) both are deleted together. Degrees of freedom: models of the smaller ensemble less one. A
    bootstrap would duplicate models, which inflates KL and TV. Covers the statistic's expectation at this number of
    models, so a biased statistic (TV) is compared with its null, not with 0.
    """
    estimate = statistic(unlearned, retrained)
    if paired:
        both = [
            statistic(np.delete(unlearned, k, axis=0), np.delete(retrained, k, axis=0))
            for k in range(len(unlearned))
        ]
        variance = jackknife_variance(np.array(both))
    else:
        of_u = [statistic(np.delete(unlearned, k, axis=0), retrained) for k in range(len(unlearned))]
        of_r = [statistic(unlearned, np.delete(retrained, k, axis=0)) for k in range(len(retrained))]
        variance = jackknife_variance(np.array(of_u)) + jackknife_variance(np.array(of_r))
    return around(estimate, variance, min(len(unlearned), len(retrained)) - 1, level)


# Calibration against the null ---------------------------------------------------------------------------------


class Calibration(NamedTuple):
    """A distance between ensembles beside its null value and its no-unlearning value.

    Attributes:
        value: of the unlearned ensemble against retrained models.
        null: of retrained models against other retrained models.
        none: of the originals against retrained models.
    """

    value: float
    null: float
    none: float

    @property
    def score(self) -> float | None:
        """clip((none - value) / (none - null), 0, 1): 0 = did nothing, 1 = another retrain; None without a gap."""
        gap = self.none - self.null
        return float(np.clip((self.none - self.value) / gap, 0.0, 1.0)) if gap > 0 else None

    @property
    def excess(self) -> float:
        """The value less its null."""
        return self.value - self.null

    @property
    def ratio(self) -> float | None:
        """The value relative to its null: for F, whose null is not 1."""
        return self.value / self.null if self.null > 0 else None


def calibrate(
    statistic: Statistic,
    unlearned: Array,
    original: Array,
    retrained: Array,
    *,
    splits: int = SPLITS,
    seed: int = 0,
    paired: bool = True,
) -> Calibration:
    """Return a statistic's value, null and no-unlearning value, all at the same numbers of models.

    In each of `splits` random splits of the N retrained models into disjoint parts A and B (A the larger half, B as
    large as the other half or the smallest other ensemble), the null is statistic(B, A). Unlearned and original models
    are compared with retrained ones as `partitions` says. Means over the splits. The score of this for total
    variation is S_F. Fails where the originals are no farther than the null: nothing to forget, so the task does not
    pass its admission gates.

    Args:
        statistic: of two ensembles.
        unlearned: shape (models, rows, outputs).
        original: shape (models, rows, outputs).
        retrained: shape (models, rows, outputs).
        splits: how many.
        seed: of the splits.
        paired: whether model k of all ensembles has seed k; not so where a pool is cut row by row.
    """
    values = np.empty((splits, 3))
    sizes = (len(unlearned), len(original), len(retrained))
    for i, part in enumerate(partitions(*sizes, splits=splits, seed=seed, paired=paired)):
        other = retrained[part.other]
        values[i] = (
            statistic(unlearned[part.unlearned], other),
            statistic(retrained[part.null], retrained[part.rest]),
            statistic(original[part.original], other),
        )
    return Calibration(*map(float, values.mean(axis=0)))


class Partition(NamedTuple):
    """Which models one split compares: unlearned and original with `other`, and `null` with `rest`, retrained all."""

    unlearned: Indices
    original: Indices
    other: Indices
    null: Indices
    rest: Indices


def partitions(
    unlearned: int, original: int, retrained: int, *, splits: int = SPLITS, seed: int = 0, paired: bool = True
) -> list[Partition]:
    """Return the splits of `calibrate` for ensembles of these sizes, so that no seed is on both sides.

    With as many models of each kind, the unlearned and original ones with B's seeds are compared with A. With at
    least as many retrained models beyond the M seeds of the others, all M are compared with those. Else, and where
    the ensembles are not paired, random ones are.
    """
    size = min(unlearned, original, retrained // 2)
    if size < 2:
        raise BenchmarkError(
            f"calibration has {unlearned} unlearned, {original} original and {retrained} retrained models: "
            "expected at least 2, 2 and 4."
        )
    rng = np.random.default_rng(seed)
    beyond = paired and unlearned == original == size
    found = []
    for _ in range(splits):
        order = rng.permutation(retrained)
        null, rest = order[:size], order[retrained // 2 :]
        if beyond:
            rest = order[size:]
        same = paired and unlearned == original == retrained
        chosen = [
            null if same else np.arange(size) if beyond else rng.permutation(count)[:size]
            for count in (unlearned, original)
        ]
        other = np.arange(size, retrained) if beyond else rest
        found.append(Partition(chosen[0], chosen[1], other, null, rest))
    return found


# Aggregation over tasks ---------------------------------------------------------------------------------------


def interquartile_mean(values: Array) -> Array:
    """Return the mean of the middle half of the last axis: the lowest and highest floor(n/4) are left out.

    Shape (..., n) to (...). Agarwal et al., NeurIPS 2021, arXiv:2108.13264. Higher is better, null and no-unlearning
    values are those of the score. Fails by design to see what a method does on its worst quarter: the worst decile
    is reported beside it.
    """
    cut = values.shape[-1] // 4
    middle: Array = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
    return middle


def bootstrap_iqm(scores: Array, *, draws: int = DRAWS, seed: int = 0) -> Array:
    """Return IQMs of stratified bootstrap draws: shape (methods, draws) for scores (methods, seeds, blocks).

    Seeds are drawn with replacement within each block, the same ones for every method.
    """
    methods, seeds, blocks = _checked(scores).shape
    rng = np.random.default_rng(seed)
    step = max(1, CELLS // scores.size)
    parts = []
    for start in range(0, draws, step):
        chosen = rng.integers(seeds, size=(min(step, draws - start), seeds, blocks))
        resampled = scores[:, chosen, np.arange(blocks)]
        parts.append(interquartile_mean(resampled.reshape(methods, len(chosen), -1)))
    return np.concatenate(parts, axis=1)


def iqm_intervals(
    scores: Array, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> list[Interval]:
    """Return each method's IQM over seeds and blocks with its stratified percentile bootstrap interval."""
    estimates = interquartile_mean(_checked(scores).reshape(len(scores), -1))
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.quantile(bootstrap_iqm(scores, draws=draws, seed=seed), tails, axis=1)
    return [Interval(*map(float, values)) for values in zip(estimates, low, high, strict=True)]


def ties(scores: Array, *, margin: float = 0.0, draws: int = DRAWS, seed: int = 0) -> Mask:
    """Return which methods tie, shape (methods, methods), symmetric.

    Two methods tie if the paired 95% bootstrap interval of their IQMs' difference contains 0, or if the difference
    is below `margin` (half the null value of the score's distance). Not transitive.
    """
    estimates = interquartile_mean(_checked(scores).reshape(len(scores), -1))
    drawn = bootstrap_iqm(scores, draws=draws, seed=seed)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    ends = np.stack([np.quantile(drawn - one, tails, axis=1) for one in drawn])
    close = np.abs(estimates[:, None] - estimates) < margin
    tied: Mask = close | ((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    return tied


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Return the share of (seed, block) with score >= threshold: shape (methods, thresholds).

    Agarwal et al. 2021, after Dolan and More 2002. Higher is better; a profile above another everywhere dominates.
    """
    flat = np.sort(_checked(scores).reshape(len(scores), -1), axis=1)
    below = np.stack([np.searchsorted(row, thresholds, side="left") for row in flat])
    shares: Array = 1.0 - below / flat.shape[1]
    return shares


def probability_of_improvement(scores: Array) -> Array:
    """Return P(S_a > S_b) + P(S_a = S_b)/2, mean over blocks: shape (methods, methods).

    The Mann-Whitney statistic over all pairs of seeds within a block (Agarwal et al. 2021). Null 0.5; the matrix and
    its transpose sum to 1. Fails to see how large an improvement is.
    """
    rows = []
    for one in _checked(scores):
        gaps = one[None, :, None, :] - scores[:, None, :, :]
        rows.append(((gaps > 0) + 0.5 * (gaps == 0)).mean(axis=(1, 2, 3)))
    return np.stack(rows)


# Ranks --------------------------------------------------------------------------------------------------------


def average_ranks(scores: Array) -> Array:
    """Return each method's mean rank over blocks, 1 = best, ties share their mean: scores (methods, blocks)."""
    from scipy import stats

    ranks: Array = stats.rankdata(-scores, axis=0).mean(axis=1)
    return ranks


def holm(values: Array) -> Array:
    """Return Holm's step-down adjusted p-values, shape (n,): max over smaller ones of (n - rank) p, at most 1."""
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def wilcoxon_holm(scores: Array) -> Array:
    """Return Holm-adjusted two-sided Wilcoxon signed-rank p-values of all pairs: scores (methods, blocks).

    Shape (methods, methods), diagonal 1. Benavoli et al., JMLR 2016: unlike mean-rank post-hoc tests, a pair's p does
    not depend on which other methods are compared. Null uniform. Fails with few blocks: with 5, no p is below 1/16
    before Holm; below 8 blocks print the pairwise matrix instead of cliques.
    """
    from scipy import stats

    methods, blocks = scores.shape
    one, other = np.triu_indices(methods, 1)
    p = np.ones(len(one))
    for i, gap in enumerate(scores[one] - scores[other]):
        if blocks and gap.any():
            p[i] = stats.wilcoxon(gap, method="exact" if _distinct(gap) else "approx").pvalue
    matrix = np.ones((methods, methods))
    matrix[one, other] = matrix[other, one] = holm(p)
    return matrix


def _distinct(gaps: Array) -> bool:
    """Whether the exact null of the signed ranks holds: few enough, no zero, no tie."""
    sizes = np.abs(gaps)
    return len(sizes) <= 50 and bool(sizes.all()) and len(np.unique(sizes)) == len(sizes)


def cliques(ranks: Array, p_values: Array, alpha: float = 0.05) -> list[tuple[int, ...]]:
    """Return the bars of a critical-difference diagram: maximal runs of methods with no significant pair.

    Methods are neighbours by average rank; each clique lists at least two method indices, best first.
    """
    order = np.argsort(ranks, kind="stable")
    same = p_values[np.ix_(order, order)] > alpha
    found: list[tuple[int, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = start + 1
        while end < len(order) and same[start : end + 1, start : end + 1].all():
            end += 1
        if end - start > 1 and end > reached:
            found.append(tuple(int(i) for i in order[start:end]))
            reached = end
    return found


def kendall_tau(axes: Array) -> Array:
    """Return Kendall's tau-b between the rankings by several axes: scores (axes, methods) to (axes, axes).

    1 = the same order, 0 = unrelated. NaN where an axis gives all methods the same score.
    """
    signs = np.sign(axes[:, :, None] - axes[:, None, :]).reshape(len(axes), -1)
    agreement = signs @ signs.T
    sizes = np.diag(agreement)
    norm = np.sqrt(np.outer(sizes, sizes))
    tau: Array = np.divide(agreement, norm, out=np.full_like(agreement, np.nan), where=norm > 0)
    return tau


# Pareto -------------------------------------------------------------------------------------------------------


def dominance(points: Array) -> Mask:
    """Return who dominates whom by value: points (methods, axes), higher = better, to (methods, methods).

    [a, b] is true if a is nowhere worse than b and somewhere better.
    """
    gaps = points[:, None, :] - points[None, :, :]
    matrix: Mask = np.logical_and((gaps >= 0).all(axis=2), (gaps > 0).any(axis=2))
    return matrix


def significant_dominance(values: Array, level: float = LEVEL) -> Mask:
    """Return who dominates whom by paired intervals: values (methods, seeds, axes), higher = better.

    [a, b] is true if no axis' Student interval of the paired difference a - b lies below 0 and one lies above.
    """
    gaps = values[:, None] - values[None, :]
    seeds = values.shape[1]
    half = t_quantile((1 + level) / 2, seeds - 1) * gaps.std(axis=2, ddof=1) / np.sqrt(seeds)
    means = gaps.mean(axis=2)
    matrix: Mask = (means + half >= 0).all(axis=2) & (means - half > 0).any(axis=2)
    return matrix


def fronts(dominates: Mask) -> Indices:
    """Return each method's Pareto front, 1 = dominated by nobody, 2 = only by the first front, and so on.

    Deb et al., IEEE TEC 2002. Significance is not transitive, so dominance may run in a cycle: its methods share a
    front, and dominate together what any of them dominates.
    """
    reach = dominates.copy()
    for via in range(len(reach)):
        reach |= reach[:, [via]] & reach[via]
    above = reach & ~reach.T
    left = np.arange(len(above))
    index = np.zeros(len(above), dtype=np.intp)
    while len(left):
        free = ~above[np.ix_(left, left)].any(axis=0)
        index[left[free]] = index.max(initial=0) + 1
        left = left[~free]
    return index


def _checked(scores: Array) -> Array:
    if scores.ndim != 3 or not scores.size or not np.isfinite(scores).all():
        raise BenchmarkError(
            f"scores have shape {scores.shape}: expected finite values of shape (methods, seeds, blocks). "
            "Score a failed run as 0 rather than leaving it out."
        )
    return scores
