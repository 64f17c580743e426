"""Comparison of two ensembles of predictions, row by row: can unlearned models be told from retrained ones?

Ensembles have the shape (models, rows, outputs) in the target's unit; the number of models may differ between the
two. Per-row values are taken for each output and averaged over outputs: shape (rows,). Every distance is above 0
for finitely many models even if unlearning is exact, so none is a score by itself: `calibrate` gives its null value
(retrained against retrained, at the same numbers of models) and its no-unlearning value (originals).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, psi

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.statistics import CELLS, Indices

Counts = NDArray[np.int32]

FLOOR = 0.05
"""Standard deviations of the target that KLOM-R cannot resolve: memorised rows have next to no spread."""
DELTA, EPSILON_CAP = 1e-5, 50.0
PERMUTATIONS = 999


class Summary(NamedTuple):
    """Mean and 95th percentile over rows."""

    mean: float
    p95: float


def summarise(values: Array) -> Summary:
    """Return mean and 95th percentile over rows of per-row values, shape (rows,)."""
    return Summary(float(values.mean()), float(np.quantile(values, 0.95)))


# Gaussian fits ------------------------------------------------------------------------------------------------


def total_variation(unlearned: Array, retrained: Array) -> Array:
    """Return the total variation of Gaussian fits, per row.

    TV_i = 1/2 int |p_u - p_r| = max over attackers of (TPR - FPR) at telling an unlearned model from a retrained one
    by its prediction on row i. Towards 0. Null value .16, .11, .08 at 16, 32, 64 models; shift by d standard
    deviations: 2 Phi(d/2) - 1. The quantity bounded by (epsilon, delta) in the NeurIPS 2023 challenge, as an
    advantage. Fails to see what a Gaussian fit cannot show (two modes: compare `kolmogorov_smirnov`), and is near 1
    for every bad method on band forgetting (there KLOM-R orders them).
    """
    u, r = _checked(unlearned, retrained)
    mean: Array = gaussian_tv(u.mean(axis=0), spread_of(u), r.mean(axis=0), spread_of(r)).mean(axis=1)
    return mean


def gaussian_tv(mean_a: Array, sd_a: Array, mean_b: Array, sd_b: Array) -> Array:
    """Return the total variation of N(mean_a, sd_a^2) and N(mean_b, sd_b^2), elementwise.

    In units of the narrower one, with the wider at distance d and of width w, the densities cross at the roots of
    (w^2 - 1) z^2 + 2 d z - d^2 - 2 w^2 ln w = 0, between which the narrower is the higher: TV is the difference
    there of the two probabilities. A width of 0 is a point: TV is 1 unless both are the same point.
    """
    narrow, wide = np.minimum(sd_a, sd_b), np.maximum(sd_a, sd_b)
    gap = np.abs(mean_a - mean_b)
    rounding = 1e-13 * (np.abs(mean_a) + np.abs(mean_b))
    point = narrow <= np.maximum(1e-12 * wide, rounding)
    same = (wide <= rounding) & (gap <= rounding)
    unit = np.where(point, 1.0, narrow)
    w, d = np.where(point, 2.0, wide / unit), np.where(point, 1.0, gap / unit)
    excess, log = (w - 1) * (w + 1), np.log(w)
    root = w * np.sqrt(d**2 + 2 * excess * log)
    # Each root in the form without cancellation: their product is -(d^2 + 2 w^2 ln w) / (w^2 - 1).
    upper = np.divide(d**2 + 2 * w**2 * log, d + root, out=np.zeros_like(d), where=root > 0)
    lower = np.divide(-d - root, excess, out=np.full_like(d, -np.inf), where=excess > 0)
    inside = ndtr(upper) - ndtr(lower) - ndtr((upper - d) / w) + ndtr((lower - d) / w)
    advantage: Array = np.where(root > 0, np.clip(inside, 0.0, 1.0), 0.0)
    return np.where(point, np.where(same, 0.0, 1.0), advantage)


def klom_r(unlearned: Array, retrained: Array, *, scale: Array | float, floor: float = FLOOR) -> Array:
    """Return KLOM-R, the debiased Gaussian KL(unlearned || retrained) of the predictions, per row, in nats.

    With v = s^2 + (floor scale)^2, q = s^2 / v, nu = (models - 1) / q^2 (Satterthwaite's degrees of freedom of v),
    b(nu) = psi(nu/2) - ln(nu/2) and kappa = (nu_r - 2) / nu_r:
    1/2 [ln v_r - b(nu_r) - ln v_u + b(nu_u) + kappa (v_u + (m_u - m_r)^2 - s_u^2/N_u) / v_r - q_r/N_r - 1].
    Without floor this is exactly unbiased for Gaussian samples; with it, nearly so on rows of any spread. To 0, and
    below it by chance. Null 0 (95th percentile over rows .13, .06 at 32, 64 models); shift d: d^2/2; scale s:
    -ln s + s^2/2 - 1/2. KLOM (Rinberg et al., data-unlearning-bench) with the prediction as margin and a Gaussian in
    place of 20 bins, whose null is 1.6 nats at 32 models. Swap the arguments for the other direction. Fails on
    memorised retain rows (next to no spread): use it on forget and test rows. `scale`: sd of the training targets,
    one number or shape (outputs,).
    """
    u, r = _checked(unlearned, retrained)
    if len(r) < 4 or len(u) < 2:
        raise BenchmarkError(
            f"KLOM-R needs 4 retrained models, found {len(r)}: its bias correction needs 3 degrees."
        )
    s_u, s_r, v_u, v_r = _variances(u, r, scale, floor)
    q_u, q_r = np.maximum(s_u / v_u, 1e-6), np.maximum(s_r / v_r, 1e-6)
    nu_u, nu_r = (len(u) - 1) / q_u**2, (len(r) - 1) / q_r**2
    logs = np.log(v_r / v_u) - _log_bias(nu_r) + _log_bias(nu_u)
    square = v_u + np.square(u.mean(axis=0) - r.mean(axis=0)) - s_u / len(u)
    nats: Array = 0.5 * (logs + (1 - 2 / nu_r) * square / v_r - q_r / len(r) - 1).mean(axis=1)
    return nats


def klom_r_plug_in(
    unlearned: Array, retrained: Array, *, scale: Array | float, floor: float = FLOOR
) -> Array:
    """Return the Gaussian KL of the fitted moments without bias correction, per row, in nats.

    1/2 [ln(v_r/v_u) + (v_u + (m_u - m_r)^2) / v_r - 1]. Null 1/2 [nu/(nu-2) (1 + 2/N) - 1], nu = N - 1: .068, .033,
    .016 at 32, 64, 128 models of either kind. For comparison with `klom_r`, not for scores.
    """
    u, r = _checked(unlearned, retrained)
    _, _, v_u, v_r = _variances(u, r, scale, floor)
    gap = np.square(u.mean(axis=0) - r.mean(axis=0))
    nats: Array = 0.5 * (np.log(v_r / v_u) + (v_u + gap) / v_r - 1).mean(axis=1)
    return nats


def _variances(u: Array, r: Array, scale: Array | float, floor: float) -> tuple[Array, Array, Array, Array]:
    s_u, s_r = u.var(axis=0, ddof=1), r.var(axis=0, ddof=1)
    extra = np.square(floor * np.asarray(scale, dtype=np.float64))
    v_u, v_r = s_u + extra, s_r + extra
    if not (v_u.min() > 0 and v_r.min() > 0):
        raise BenchmarkError(
            "a row has the same prediction from all models: KLOM-R needs scale and floor above 0."
        )
    return s_u, s_r, v_u, v_r


def _log_bias(degrees: Array) -> Array:
    """E ln s^2 - ln sigma^2 of a variance with these degrees of freedom."""
    bias: Array = psi(degrees / 2) - np.log(degrees / 2)
    return bias


# Ranks of the pooled values -----------------------------------------------------------------------------------


def kolmogorov_smirnov(unlearned: Array, retrained: Array) -> Array:
    """Return max_t |F_u(t) - F_r(t)| over thresholds t, per row.

    The advantage of the best single threshold: on the scale of TV and without a Gaussian fit, its cross-check. To 0.
    Null value about .86 sqrt(1/N_u + 1/N_r), .15 at 64 models. Fails to see a change of spread (TV does).
    """
    return _by_row(_ks, unlearned, retrained)


def wasserstein(unlearned: Array, retrained: Array, *, spread: Array | float = 1.0) -> Array:
    """Return int |F_u - F_r| / spread, per row; for equal numbers of models the mean |u_(k) - r_(k)|.

    With `spread` = `spread_of(retrained)`, null .22 at 64 models; with 1.0 in the target's unit. To the null, not to
    0. Shift d: d; N(0,1) against N(0,4): .7979. Fails on memorised rows if divided by their own spread: take the
    target's there.
    """
    return _by_row(_w1, unlearned, retrained, spread)


def energy(unlearned: Array, retrained: Array, *, spread: Array | float = 1.0) -> Array:
    """Return the energy distance 2 E|u - r| - E|u - u'| - E|r - r'| over spread, per row, by U-statistics.

    Szekely and Rizzo 2013. To 0, unbiased: null 0 and negative by chance. N(0,1) shifted by 1: .5418 = .7361^2.
    Fails to be comparable over rows unless divided by their spread.
    """
    return _by_row(_energy, unlearned, retrained, spread)


def spread_of(retrained: Array) -> Array:
    """Return the standard deviation over retrained models of each prediction, shape (rows, outputs)."""
    spread: Array = retrained.std(axis=0, ddof=1)
    return spread


def _by_row(
    kernel: Callable[[Array, Array], Array],
    unlearned: Array,
    retrained: Array,
    spread: Array | float = 1.0,
    cost: int = 4,
) -> Array:
    """Apply a kernel on (models, columns) to chunks of columns, divide, and average over outputs."""
    u, r = _checked(unlearned, retrained)
    rows, outputs = u.shape[1:]
    flat_u, flat_r = u.reshape(len(u), -1), r.reshape(len(r), -1)
    step = max(1, CELLS // (cost * (len(u) + len(r))))
    parts = [kernel(flat_u[:, i : i + step], flat_r[:, i : i + step]) for i in range(0, rows * outputs, step)]
    values: Array = (np.concatenate(parts).reshape(rows, outputs) / spread).mean(axis=1)
    return values


def _pool(u: Array, r: Array) -> tuple[Array, Counts, Counts]:
    """Sort both samples together: values (n, columns), and counts of u and r below each of n + 1 boundaries.

    Boundary k lies below the value of rank k. A boundary inside a run of ties repeats the one before the run.
    """
    both = np.concatenate([u, r])
    order = np.argsort(both, axis=0, kind="stable")
    values = np.take_along_axis(both, order, axis=0)
    n = len(values)
    from_u = np.zeros((n + 1, values.shape[1]), dtype=np.int32)
    np.cumsum(order < len(u), axis=0, out=from_u[1:])
    below = np.repeat(np.arange(n + 1, dtype=np.int32)[:, None], values.shape[1], axis=1)
    tied = np.zeros_like(below, dtype=bool)
    tied[1:-1] = values[1:] == values[:-1]
    from_u[tied] = below[tied] = 0
    np.maximum.accumulate(from_u, axis=0, out=from_u)
    np.maximum.accumulate(below, axis=0, out=below)
    return values, from_u, below - from_u


def _ks(u: Array, r: Array) -> Array:
    _, from_u, from_r = _pool(u, r)
    largest: Array = np.abs(from_u / len(u) - from_r / len(r)).max(axis=0)
    return largest


def _w1(u: Array, r: Array) -> Array:
    values, from_u, from_r = _pool(u, r)
    gaps = np.abs(from_u / len(u) - from_r / len(r))[1:-1]
    area: Array = (gaps * np.diff(values, axis=0)).sum(axis=0)
    return area


def _energy(u: Array, r: Array) -> Array:
    centre = u.mean(axis=0)
    u, r = u - centre, r - centre
    n, m = len(u), len(r)
    within_u, within_r = _pair_distances(u), _pair_distances(r)
    across = (_pair_distances(np.concatenate([u, r])) - within_u - within_r) / (n * m)
    distance: Array = 2 * (across - within_u / (n * (n - 1)) - within_r / (m * (m - 1)))
    return distance


def _pair_distances(sample: Array) -> Array:
    """Sum over unordered pairs of |x - x'|, per column: sum_k (2k - n - 1) x_(k)."""
    n = len(sample)
    weights = 2.0 * np.arange(1, n + 1) - n - 1
    total: Array = np.einsum("k,kc->c", weights, np.sort(sample, axis=0))
    return total


# Epsilon ------------------------------------------------------------------------------------------------------


def epsilon(unlearned: Array, retrained: Array, *, delta: float = DELTA) -> Array:
    """Return the empirical epsilon of the NeurIPS 2023 challenge, per row.

    Max over all single thresholds and intervals at midpoints of the pooled values, either ensemble inside, of
    max(ln((1 - delta - FPR)/FNR), ln((1 - delta - FNR)/FPR)); rules with exactly one of FPR and FNR 0 are left out,
    both 0 gives the cap 50, so does a range below 1% of the other's. Towards 0 in name only: null 1.84, 2.18 at 16,
    64 models, growing with their number. google-deepmind/unlearning_evaluation, which takes fixed grids of logits
    and puts inside only the ensemble of smaller range.
    """
    return _by_row(
        partial(_epsilon, delta=delta), unlearned, retrained, cost=_rule_cost(unlearned, retrained)
    )


def forgetting_quality(unlearned: Array, retrained: Array, *, delta: float = DELTA) -> float:
    """Return the challenge's F: mean over rows and outputs of 2^-floor(2 epsilon), 0 from ceil(ln(N - 1)) on.

    Higher is better. Null .07 at 64 models (not 1), and it falls with more of them: only F / F_null is reported.
    Fails for deterministic methods from one original (epsilon 50), hence one original a model.
    """
    end = np.ceil(np.log(max(min(len(unlearned), len(retrained)) - 1, 1)))

    def points(u: Array, r: Array) -> Array:
        values = _epsilon(u, r, delta=delta)
        return np.where(values < end, 2.0 ** -np.floor(2 * values), 0.0)

    return float(_by_row(points, unlearned, retrained, cost=_rule_cost(unlearned, retrained)).mean())


def certified_epsilon(
    unlearned: Array, retrained: Array, *, delta: float = DELTA, confidence: float = 0.95, seed: int = 0
) -> Array:
    """Return a lower bound of epsilon that holds for each row with the given confidence.

    The rule is chosen on a random half of the models; Clopper-Pearson upper bounds of FPR and FNR on the other half,
    each at (1 - confidence)/2, enter the formula of `epsilon`; at least 0. To 0. Null 0; at most about
    ln(N/2) - 1.3, 2.1 at 64 models. Fails to certify small leaks at any affordable number of models: 0 is no proof.
    """
    u, r = _checked(unlearned, retrained)
    if min(len(u), len(r)) < 4:
        raise BenchmarkError(f"a certified epsilon needs 4 models of each kind, found {len(u)} and {len(r)}.")
    rng = np.random.default_rng(seed)
    halves = (rng.permutation(len(u))[: len(u) // 2], rng.permutation(len(r))[: len(r) // 2])
    kernel = partial(_certified, halves=halves, delta=delta, tail=(1 - confidence) / 2)
    return _by_row(kernel, u, r, cost=_rule_cost(unlearned, retrained))


def gaussian_delta(epsilon: float, shift: float) -> float:
    """Return the delta at which N(0, 1) and N(shift, 1) are epsilon-indistinguishable.

    Phi(d/2 - e/d) - exp(e) Phi(-d/2 - e/d): Balle and Wang, ICML 2018, theorem 8. The known answer of this section.
    """
    return float(ndtr(shift / 2 - epsilon / shift) - np.exp(epsilon) * ndtr(-shift / 2 - epsilon / shift))


class _Rules(NamedTuple):
    """All decision rules "what lies between two edges comes from one ensemble", on one chunk of columns.

    Edges: the n + 1 boundaries of the pooled values, shape (n + 1, columns). Starts and ends, shape (rules,), are
    boundaries: first those of the half-lines above a threshold, then those of the intervals. `of_u` and `of_r`
    (rules, columns) count the models inside.
    """

    edges: Array
    starts: Indices
    ends: Indices
    of_u: Counts
    of_r: Counts


def _rules(u: Array, r: Array) -> _Rules:
    values, from_u, from_r = _pool(u, r)
    n = len(values)
    first, last = np.triu_indices(n - 1, 1)
    starts, ends = np.append(np.arange(1, n), first + 1), np.append(np.full(n - 1, n), last + 1)
    outer = np.full((1, values.shape[1]), np.inf)
    edges = np.concatenate([-outer, (values[1:] + values[:-1]) / 2, outer])
    edges = np.take_along_axis(edges, from_u + from_r, axis=0)
    return _Rules(edges, starts, ends, from_u[ends] - from_u[starts], from_r[ends] - from_r[starts])


def _rule_cost(u: Array, r: Array) -> int:
    """Numbers that a column needs for all rules, relative to those of its values."""
    return 2 * (len(u) + len(r))


def _log_odds(fpr: Array, fnr: Array, delta: float) -> Array:
    """max(ln((1 - delta - FPR)/FNR), ln((1 - delta - FNR)/FPR)), at least 0, for rates above 0."""
    top = np.maximum(np.maximum(1 - delta - fpr, 1e-300) / fnr, np.maximum(1 - delta - fnr, 1e-300) / fpr)
    odds: Array = np.log(np.maximum(top, 1.0))
    return odds


def _epsilon(u: Array, r: Array, *, delta: float) -> Array:
    rules = _rules(u, r)
    by_mistakes = np.zeros((len(u) + 1, len(r) + 1))
    rates = np.arange(1, len(u) + 1)[:, None] / len(u), np.arange(1, len(r) + 1) / len(r)
    by_mistakes[1:, 1:] = _log_odds(*rates, delta=delta)
    by_mistakes[0, 0] = EPSILON_CAP
    by_inside = np.maximum(by_mistakes[::-1], by_mistakes[:, ::-1])  # calls what lies inside u, or r
    best = np.minimum(by_inside[rules.of_u, rules.of_r].max(axis=0), EPSILON_CAP)
    small, large = np.sort([np.ptp(u, axis=0), np.ptp(r, axis=0)], axis=0)
    values: Array = np.where(small < 0.01 * large, EPSILON_CAP, best)
    return values


def _certified(u: Array, r: Array, *, halves: tuple[Indices, Indices], delta: float, tail: float) -> Array:
    first_u, first_r = halves
    rules = _rules(u[first_u], r[first_r])
    by_mistakes = _bounds(len(first_u), len(first_r), delta, tail)
    if_u, if_r = by_mistakes[::-1], by_mistakes[:, ::-1]
    best = np.maximum(if_u, if_r)[rules.of_u, rules.of_r].argmax(axis=0)
    columns = np.arange(u.shape[1])
    low, high = rules.edges[rules.starts[best], columns], rules.edges[rules.ends[best], columns]
    of_u, of_r = rules.of_u[best, columns], rules.of_r[best, columns]
    calls_u = if_u[of_u, of_r] >= if_r[of_u, of_r]
    u, r = np.delete(u, first_u, axis=0), np.delete(r, first_r, axis=0)
    wrong_u = (((u > low) & (u <= high)) != calls_u).sum(axis=0)
    wrong_r = (((r > low) & (r <= high)) == calls_u).sum(axis=0)
    values: Array = _bounds(len(u), len(r), delta, tail)[wrong_u, wrong_r]
    return values


def _bounds(n_u: int, n_r: int, delta: float, tail: float) -> Array:
    """Certified epsilon for every number of mistakes on u and on r: shape (n_u + 1, n_r + 1)."""
    upper = [
        np.append(betaincinv(np.arange(1, n + 1), np.arange(n, 0, -1), 1 - tail), 1.0) for n in (n_u, n_r)
    ]
    return _log_odds(upper[0][:, None], upper[1], delta)


# Permutation test ---------------------------------------------------------------------------------------------


class PermutationTest(NamedTuple):
    """Statistic of the two ensembles, and the share of relabellings with one at least as large."""

    statistic: float
    p_value: float


def permutation_test(
    unlearned: Array,
    retrained: Array,
    *,
    paired: bool = False,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> PermutationTest:
    """Test whether the two ensembles are exchangeable; p > 0.05 earns "not distinguishable at this N".

    T = mean over rows and outputs of |m_u - m_r| / s_pooled + 1/2 |ln(s_u^2 / s_r^2)|. Labels of whole models are
    permuted, all rows together; with `paired` (model k of both shares its seed) the two of a pair are swapped.
    p = (1 + #{T* >= T}) / (1 + permutations), uniform or larger under the null whatever the distribution. Fails as a
    score: with enough models every approximate method is told apart.
    """
    u, r = _checked(unlearned, retrained)
    if paired and len(u) != len(r):
        raise BenchmarkError(f"paired ensembles have {len(u)} and {len(r)} models: expected the same number.")
    rng = np.random.default_rng(seed)
    labels = np.arange(len(u) + len(r)) < len(u)
    if paired:
        swap = rng.integers(2, size=(permutations, len(u)), dtype=np.int8).astype(bool)
        drawn = np.concatenate([~swap, swap], axis=1)
    else:
        drawn = rng.permuted(np.tile(labels, (permutations, 1)), axis=1)
    labelled = np.concatenate([labels[None], drawn]).astype(np.float64)
    flat_u, flat_r = u.reshape(len(u), -1), r.reshape(len(r), -1)
    step = max(1, CELLS // (2 * len(labelled)))
    values = np.zeros(len(labelled))
    for i in range(0, flat_u.shape[1], step):
        values += _contrasts(labelled, np.concatenate([flat_u[:, i : i + step], flat_r[:, i : i + step]]))
    as_large = int((values[1:] >= values[0] * (1 - 1e-9) - 1e-9).sum())
    return PermutationTest(float(values[0]) / flat_u.shape[1], (1 + as_large) / (1 + permutations))


def _contrasts(labels: Array, both: Array) -> Array:
    """Sum of T's terms over a chunk of columns, for each labelling (labellings, models) of (models, columns)."""
    n, total = labels[0].sum(), len(both)
    m = total - n
    centred = both - both.mean(axis=0)
    centred[:, np.ptp(both, axis=0) == 0] = 0.0  # what rounding leaves is no spread
    squares = np.square(centred)
    sums, of_u, scatter = labels @ centred, labels @ squares, squares.sum(axis=0)
    mean_u, mean_r = sums / n, -sums / m
    least = np.where(scatter > 0, 1e-12 * scatter, 1.0)  # keeps rows without spread finite
    within_u = np.maximum(of_u - n * mean_u**2, least)
    within_r = np.maximum(scatter - of_u - m * mean_r**2, least)
    pooled = np.sqrt((within_u + within_r) / (total - 2))
    logs = np.log((within_u / (n - 1)) / (within_r / (m - 1)))
    terms: Array = (np.abs(mean_u - mean_r) / pooled + 0.5 * np.abs(logs)).sum(axis=1)
    return terms


def _checked(unlearned: Array, retrained: Array) -> tuple[Array, Array]:
    u, r = np.asarray(unlearned, dtype=np.float64), np.asarray(retrained, dtype=np.float64)
    if u.ndim != 3 or u.shape[1:] != r.shape[1:] or min(len(u), len(r)) < 2 or not u[0].size:
        raise BenchmarkError(
            f"ensembles have shapes {u.shape} and {r.shape}: expected (models, rows, outputs) each, at least 2 models, "
            "and the same rows and outputs."
        )
    if not (np.isfinite(u).all() and np.isfinite(r).all()):
        raise BenchmarkError(
            "an ensemble has predictions that are not finite: its method fails the utility gate."
        )
    return u, r
