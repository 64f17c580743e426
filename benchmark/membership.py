"""Membership attacks: can someone who sees a model's residuals tell what it was asked to forget?

U-LiRA needs an audit pool: K models in complementary pairs (2j, 2j + 1), of which a random half of the pool's rows
was trained on and unlearned by one, the other half by the other. The population attacks of the second part need one
model and at most a few retrained ones. Residuals are signed, f(x) - y, in standard deviations of the target.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import rankdata

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.metrics import auc
from regunlearn.benchmark.statistics import DRAWS, LEVEL, Interval, Mask, around, jackknife_variance

MAX_FPR = 0.01


def signed_residuals(predictions: Array, targets: Array, scale: Array | float) -> Array:
    """Return the mean over outputs of (f(x) - y) / scale: predictions (models, rows, outputs) to (models, rows).

    The attack's statistic for regression: it is Gaussian for many models, and unlike |r| it keeps the side.
    """
    residuals: Array = ((predictions - targets) / scale).mean(axis=-1)
    return residuals


# U-LiRA -------------------------------------------------------------------------------------------------------


class Lira(NamedTuple):
    """What the attack achieves on an audit pool.

    Attributes:
        auc: over all (model, row), with its jackknife interval over model pairs. 0.5 = blind.
        tpr: the largest true-positive rate at a false-positive rate of at most 1%.
        row_p95: 95th percentile over rows of the row's own AUC: the worst-protected rows.
        advantage: |2 AUC - 1|; an AUC below 0.5 is leakage too (over-forgetting).
    """

    auc: Interval
    tpr: float
    row_p95: float
    advantage: float


def u_lira(residuals: Array, inside: Mask, *, prior: float | None = None) -> Lira:
    """Attack an audit pool: residuals and `inside` (unlearned by the model, else never seen) have shape (K, m).

    To AUC 0.5. Null .500, 95th percentile of rows .61, TPR .01 at K = 64; no unlearning near 1. N(0,1) against
    N(d,1): Phi(d / sqrt 2) for many models, .01 less at K = 64. U-LiRA of Hayes et al., SaTML 2025, arXiv:2403.01218,
    with the signed residual, the target's pair left out and shrunk variances. Fails by destruction: a
    re-initialised model gets 0.5, so the score counts only behind the utility gate.
    """
    scores = lira_scores(residuals, inside, prior=prior)
    overall = jackknife_auc(residuals, inside, prior=prior)
    worst = float(np.quantile(row_auc(scores, inside), 0.95))
    tpr = tpr_at(scores[inside], scores[~inside])
    return Lira(overall, tpr, worst, abs(2 * overall.estimate - 1))


def lira_scores(
    residuals: Array, inside: Mask, *, prior: float | None = None, leave_one_out: bool = False
) -> Array:
    """Return the log likelihood ratio "unlearned" against "never seen" of every (model, row), shape (K, m).

    log t(s; in) - log t(s; out), each the Student predictive of the row's statistic over the other models that
    unlearned it (never saw it), the target and its partner left out: mean m, variance
    (nu0 vbar + SS) / (nu0 + n - 1) (1 + 1/n), degrees nu0 + n - 1, with vbar the pool's mean variance. Vectorised:
    sums over all models less those of the pair. nu0 is `prior`, by default `prior_degrees(K)`.

    `leave_one_out` leaves out only the target, for the test that shows its bias: the target is then always in the
    smaller group, so that its own offset makes it less likely there (AUC .2 on models that know nothing, K = 8).
    """
    k = _checked(residuals, inside)
    prior = prior_degrees(k) if prior is None else prior
    centred = residuals - residuals.mean(axis=0)
    likelihoods = []
    for group in (inside, ~inside):
        powers = np.stack(
            [group.astype(np.float64), np.where(group, centred, 0.0), np.where(group, centred, 0.0) ** 2]
        )
        out = powers if leave_one_out else _of_pairs(powers)
        n, total, squares = powers.sum(axis=1, keepdims=True) - out
        mean = total / n
        scatter = np.maximum(squares - n * mean**2, 0.0)
        pool = (scatter / (n - 1)).mean(axis=1, keepdims=True)
        degrees = prior + n - 1
        variance = (prior * pool + scatter) / degrees * (1 + 1 / n)
        likelihoods.append(_log_student(centred - mean, variance, degrees))
    return likelihoods[0] - likelihoods[1]


def prior_degrees(models: int) -> float:
    """Return nu0, the weight of the pool's variance in models: 4 up to K = 16, falling with log K to 1 from K = 64.

    Few models estimate a row's variance badly (unshrunk, TPR collapses at K = 8); many need no help, and a pooled
    variance then hides how much the memorised rows differ.
    """
    return float(np.clip(4 - 1.5 * np.log2(models / 16), 1.0, 4.0))


def _of_pairs(values: Array) -> Array:
    """Sum of each model's and its partner's values: shape (..., K, m) to the same."""
    *first, k, m = values.shape
    return np.repeat(values.reshape(*first, k // 2, 2, m).sum(axis=-2), 2, axis=-2)


def _log_student(gap: Array, variance: Array, degrees: Array) -> Array:
    """Log density of Student's t with this squared scale, `gap` from its centre.

    Zero variance stands for rows on which all models agree: the smallest positive number keeps the ratio finite.
    """
    variance = np.maximum(variance, np.finfo(np.float64).tiny)
    constant = gammaln((degrees + 1) / 2) - gammaln(degrees / 2) - 0.5 * np.log(np.pi * degrees)
    density: Array = (
        constant - 0.5 * np.log(variance) - (degrees + 1) / 2 * np.log1p(gap**2 / variance / degrees)
    )
    return density


def _checked(residuals: Array, inside: Mask, least: int = 6) -> int:
    k = len(residuals)
    if residuals.shape != inside.shape or residuals.ndim != 2 or k < least or k % 2:
        raise BenchmarkError(
            f"the audit pool has residuals {residuals.shape} and membership {inside.shape}: expected both of shape "
            f"(models, rows) with an even number of at least {least} models."
        )
    if not (inside[0::2] ^ inside[1::2]).all():
        raise BenchmarkError(
            "models 2j and 2j + 1 of the audit pool are no complementary pairs: expected each row in exactly one of "
            "them. Order the models as they were drawn."
        )
    if not np.isfinite(residuals).all():
        raise BenchmarkError(
            "the audit pool has residuals that are not finite: the method fails the utility gate."
        )
    return k


# Operating curves ---------------------------------------------------------------------------------------------


def tpr_at(positives: Array, negatives: Array, max_fpr: float = MAX_FPR) -> float:
    """Return the largest true-positive rate over thresholds whose false-positive rate is at most `max_fpr`.

    Null: `max_fpr`. Not the rate at the nearest FPR, which may lie above the limit. Below 100 negatives only
    thresholds without any false positive count.
    """
    ordered = np.sort(negatives)[::-1]
    allowed = int(np.floor(max_fpr * len(ordered) + 1e-9))
    return float((positives > ordered[allowed]).mean()) if allowed < len(ordered) else 1.0


def row_auc(scores: Array, inside: Mask) -> Array:
    """Return each row's AUC over models, shape (m,): positives and negatives are the models inside and outside."""
    ranks = rankdata(scores, axis=0)
    n = inside.sum(axis=0)
    rows: Array = (np.where(inside, ranks, 0.0).sum(axis=0) - n * (n + 1) / 2) / (n * (len(scores) - n))
    return rows


def leave_pair_out_auc(residuals: Array, inside: Mask, *, prior: float | None = None) -> Array:
    """Return the attack's AUC over all (model, row) without each pair of models in turn, shape (K/2,).

    A pair is left out of the pool as a whole, so the attack is fitted anew.
    """
    _checked(residuals, inside, least=8)
    prior = prior_degrees(len(inside)) if prior is None else prior
    pairs = np.arange(len(inside)) // 2
    kept = [pairs != pair for pair in range(len(inside) // 2)]
    return np.array(
        [_auc_over_all(lira_scores(residuals[k], inside[k], prior=prior), inside[k]) for k in kept]
    )


def jackknife_auc(
    residuals: Array, inside: Mask, *, prior: float | None = None, level: float = LEVEL
) -> Interval:
    """Return the attack's AUC over all (model, row) with its delete-one interval over model pairs.

    Rows of one model share its quirks, and scores of different models share the models they were fitted on: both are
    in the interval. Simulated coverage of 95% intervals: 100% at the null and 92 to 96% at an AUC of .55 to .75,
    K = 64.
    """
    without = leave_pair_out_auc(residuals, inside, prior=prior)
    whole = _auc_over_all(lira_scores(residuals, inside, prior=prior), inside)
    return around(whole, jackknife_variance(without), len(without) - 1, level)


def _auc_over_all(scores: Array, inside: Mask) -> float:
    return _auc(scores[inside], scores[~inside])


def bootstrap_auc(
    scores: Array, inside: Mask, *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Return the AUC over all (model, row) of given scores with its bootstrap interval over model pairs.

    Pairs of models are drawn, never (model, row). The AUC is a weighted mean of the pairs' win counts
    W[k, l] = #{in of k > out of l} + ties/2, which are counted once. The attack is not fitted anew (a pair drawn
    twice would be its own reference), so the interval is too short: coverage 72 to 84% at the null, where
    `jackknife_auc` is to be used.
    """
    wins, sizes = _wins(scores, inside)
    pairs = len(scores) // 2
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(pairs, np.full(pairs, 1 / pairs), size=draws).astype(np.float64)
    won, of = (((weights @ matrix) * weights).sum(axis=1) for matrix in (wins, sizes))
    low, high = np.quantile(won / of, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(wins.sum() / sizes.sum()), float(low), float(high))


def _wins(scores: Array, inside: Mask) -> tuple[Array, Array]:
    """Win counts and numbers of comparisons between pairs of models: shape (K/2, K/2) each."""
    k = len(scores)
    model = np.nonzero(inside)[0]
    positives = scores[inside]
    wins = np.empty((k, k))
    for other in range(k):
        negatives = np.sort(scores[other, ~inside[other]])
        below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
        wins[:, other] = np.bincount(model, weights=below / 2, minlength=k)
    n = inside.sum(axis=1).astype(np.float64)
    sizes = np.outer(n, inside.shape[1] - n)
    blocks = (k // 2, 2, k // 2, 2)
    return wins.reshape(blocks).sum(axis=(1, 3)), sizes.reshape(blocks).sum(axis=(1, 3))


def privacy_score(advantage: float, null: float, none: float) -> float | None:
    """Return S_P = clip(1 - max(0, A - A_null) / (A_none - A_null), 0, 1), A = |2 AUC - 1|.

    0 = leaks as much as the originals, 1 = as little as retrained models; None where the originals do not leak.
    Null 1 by construction. Fails by destruction, like the attack.
    """
    gap = none - null
    return float(np.clip(1 - max(0.0, advantage - null) / gap, 0.0, 1.0)) if gap > 0 else None


class Exposure(NamedTuple):
    """The models of a pool by what they did with each row: shape (K/2, m, ...) each."""

    inside: Array
    outside: Array


def by_exposure(values: Array, inside: Mask) -> Exposure:
    """Split values of shape (K, m, ...), row by row, into models that unlearned the row and models that never saw it.

    With a distance to retrained models, that of `inside` less that of `outside` is residual memory, and that of
    `outside` less the null is drift: harm to what was never to be forgotten.
    """
    _checked(values.reshape(*inside.shape, -1).mean(axis=2), inside)
    order = np.argsort(~inside, axis=0, kind="stable").reshape(*inside.shape, *[1] * (values.ndim - 2))
    ordered = np.take_along_axis(values, order, axis=0)
    half = len(values) // 2
    return Exposure(ordered[:half], ordered[half:])


# Population attacks -------------------------------------------------------------------------------------------


class Residuals(NamedTuple):
    """Residuals of one model on some rows, shape (n,), and those of R reference models, shape (R, n)."""

    own: Array
    references: Array


def loss_auc(forget: Array, held_out: Array) -> Array:
    """Return each model's AUC of -|r| on forget against held-out rows: (models, n) and (models, m) to (models,).

    To the retrained models' value, .50 to .52; report the difference. Population attack, Yeom et al. 2018. The
    held-out rows must be of the forget distribution (the same band or group), else the shift is measured. Fails to
    see memorised label noise that is half undone.
    """
    ranks = rankdata(-np.abs(np.concatenate([forget, held_out], axis=1)), axis=1)
    n, m = forget.shape[1], held_out.shape[1]
    values: Array = (ranks[:, :n].sum(axis=1) - n * (n + 1) / 2) / (n * m)
    return values


def calibrated_loss_auc(forget: Residuals, held_out: Residuals) -> float:
    """Return the AUC of -(|r| - mean over references of |r|) on forget against held-out rows.

    References are retrained models. To 0.5; null .50 -+ .04; no unlearning rises with the number of references.
    Watson et al., ICLR 2022. Fails, like every population attack, to use what U-LiRA knows of each row: it trails it.
    """
    scores = [np.abs(part.references).mean(axis=0) - np.abs(part.own) for part in (forget, held_out)]
    return _auc(*scores)


def rmia_auc(
    forget: Residuals, held_out: Residuals, population: Residuals, *, sigma: float, gamma: float = 1.0
) -> float:
    """Return the AUC of RMIA on forget against held-out rows.

    p(x) = exp(-r^2 / (2 sigma^2)); ratio = p(x) / mean over references of p(x); the score of x is the share of
    population rows z with ratio_x >= gamma ratio_z. To 0.5; null .50 -+ .04. Zarifzadeh et al., ICML 2024,
    arXiv:2312.03262. Sigma decides: report it with `root_mean_square` of the held-out and of the training residuals.
    Fails for a sigma far from the residuals' size, and the population must be of the forget distribution.
    """
    ratios = [_log_ratio(part, sigma) for part in (forget, held_out, population)]
    ordered = np.sort(ratios[2]) + np.log(gamma)
    return _auc(*(np.searchsorted(ordered, values, "right") / len(ordered) for values in ratios[:2]))


def root_mean_square(residuals: Array) -> float:
    """Return sqrt(mean r^2), the sigma of a Gaussian likelihood centred at 0."""
    return float(np.sqrt(np.square(residuals).mean()))


def _log_ratio(rows: Residuals, sigma: float) -> Array:
    own, references = (-np.square(values) / (2 * sigma**2) for values in rows)
    ratio: Array = own - np.logaddexp.reduce(references, axis=0) + np.log(len(references))
    return ratio


def _auc(positives: Array, negatives: Array) -> float:
    value = auc(positives, negatives)
    if value is None:
        raise BenchmarkError("an attack needs forget and held-out rows: one of the two sets is empty.")
    return value
