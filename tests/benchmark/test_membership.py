"""Attacks find what can be found, and nothing in models that know nothing."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import t as student

from regunlearn.benchmark import distributions
from regunlearn.benchmark import membership as attack
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.metrics import auc

Pool = tuple[Array, NDArray[np.bool_]]


def pool(models: int, rows: int, shift: float = 0.0, *, offset: float = 0.0, seed: int = 0) -> Pool:
    """Residuals N(0, 1) of rows inside, N(shift, 1) of rows outside, plus an offset of each model."""
    rng = np.random.default_rng(seed)
    half = rng.permuted(np.tile(np.arange(rows) < rows // 2, (models // 2, 1)), axis=1)
    inside = np.stack([half, ~half], axis=1).reshape(models, rows)
    residuals = rng.normal(size=(models, rows)) + offset * rng.normal(size=(models, 1))
    return residuals + np.where(inside, 0.0, shift), inside


def overall(scores: Array, inside: NDArray[np.bool_]) -> float:
    value = auc(scores[inside], scores[~inside])
    assert value is not None
    return value


def by_hand(residuals: Array, inside: NDArray[np.bool_], prior: float, leave_one_out: bool) -> Array:
    """The same scores by loops, as the formula reads."""
    k, m = residuals.shape
    scores = np.zeros((k, m))
    for model in range(k):
        others = [j for j in range(k) if j != model and (leave_one_out or j // 2 != model // 2)]
        for group, sign in ((inside, 1), (~inside, -1)):
            samples = [residuals[[j for j in others if group[j, i]], i] for i in range(m)]
            pooled = np.mean([sample.var(ddof=1) for sample in samples])
            for i, sample in enumerate(samples):
                n, degrees = len(sample), prior + len(sample) - 1
                scatter = ((sample - sample.mean()) ** 2).sum()
                variance = (prior * pooled + scatter) / degrees * (1 + 1 / n)
                density = student.logpdf(residuals[model, i], degrees, sample.mean(), math.sqrt(variance))
                scores[model, i] += sign * density
    return scores


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_scores_equal_the_loops(leave_one_out: bool) -> None:
    residuals, inside = pool(8, 12, 0.5, offset=1.0)
    expected = by_hand(residuals, inside, 4.0, leave_one_out)
    found = attack.lira_scores(residuals, inside, prior=4.0, leave_one_out=leave_one_out)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(("models", "expected"), [(16, 0.720), (32, 0.738), (64, 0.751)])
def test_auc_of_a_shift(models: int, expected: float) -> None:
    values = [
        overall(attack.lira_scores(*p), p[1])
        for p in (pool(models, 200, 1.0, seed=seed) for seed in range(3))
    ]
    assert np.mean(values) == pytest.approx(expected, abs=0.012)
    assert np.mean(values) < ndtr(1 / math.sqrt(2)) == pytest.approx(0.760, abs=1e-3)


def test_null_is_blind() -> None:
    found = [attack.u_lira(*pool(64, 200, seed=seed)) for seed in range(5)]
    for lira in found:
        standard_error = (lira.auc.high - lira.auc.low) / 4
        assert abs(lira.auc.estimate - 0.5) < 3 * standard_error
        assert lira.tpr == pytest.approx(0.01, abs=0.005)
        assert lira.row_p95 == pytest.approx(0.61, abs=0.025)
        assert lira.advantage == pytest.approx(abs(2 * lira.auc.estimate - 1))
    assert np.mean([lira.auc.estimate for lira in found]) == pytest.approx(0.5, abs=0.012)


def test_leaving_out_one_model_is_biased_and_a_pair_is_not() -> None:
    """Spec: LPO within .5 -+ .03 at K = 8 with per-model offsets; LOO clearly below."""
    values = np.array(
        [
            [overall(attack.lira_scores(*p, leave_one_out=one), p[1]) for one in (False, True)]
            for p in (pool(8, 100, offset=1.5, seed=seed) for seed in range(40))
        ]
    )
    pair, one = values.mean(axis=0)
    assert pair == pytest.approx(0.5, abs=0.03)
    assert one < 0.475
    large = [overall(attack.lira_scores(*p, leave_one_out=True), p[1]) for p in [pool(64, 100, offset=1.5)]]
    assert large[0] == pytest.approx(0.5, abs=0.03)


def test_a_model_that_knows_the_rows_is_found() -> None:
    lira = attack.u_lira(*pool(16, 100, 8.0))
    assert lira.auc.estimate > 0.999
    assert lira.tpr > 0.99
    assert lira.row_p95 == 1
    assert lira.auc.low <= lira.auc.estimate <= lira.auc.high


def test_rows_with_the_same_residual_from_all_models() -> None:
    residuals, inside = pool(8, 10)
    residuals[:, 0] = 1.0
    scores = attack.lira_scores(residuals, inside)
    assert np.isfinite(scores).all()
    assert np.isfinite(attack.lira_scores(np.zeros((8, 10)), inside)).all()
    assert attack.u_lira(np.zeros((8, 10)), inside).auc.estimate == 0.5


@pytest.mark.parametrize(("models", "prior"), [(8, 4), (16, 4), (32, 2.5), (64, 1), (256, 1)])
def test_prior_falls_with_the_number_of_models(models: int, prior: float) -> None:
    assert attack.prior_degrees(models) == prior


# Intervals ----------------------------------------------------------------------------------------------------


def test_bootstrap_counts_every_comparison() -> None:
    residuals, inside = pool(12, 30, 0.5)
    scores = np.round(attack.lira_scores(residuals, inside), 1)  # with ties
    found = attack.bootstrap_auc(scores, inside, draws=200)
    assert found.estimate == pytest.approx(overall(scores, inside))
    assert found.low < found.estimate < found.high
    rng = np.random.default_rng(0)
    weights = rng.multinomial(6, np.full(6, 1 / 6), size=1)[0]
    models = np.repeat(np.arange(12).reshape(6, 2), weights, axis=0).ravel()
    one = attack.bootstrap_auc(scores, inside, draws=1)
    assert one.low == pytest.approx(overall(scores[models], inside[models]))


def test_jackknife_covers_the_null_and_the_bootstrap_does_not() -> None:
    covered = []
    for seed in range(40):
        residuals, inside = pool(16, 60, seed=seed)
        scores = attack.lira_scores(residuals, inside)
        intervals = (attack.jackknife_auc(residuals, inside), attack.bootstrap_auc(scores, inside, draws=300))
        covered.append([i.low <= 0.5 <= i.high for i in intervals])
    jackknife, bootstrap = np.mean(covered, axis=0)
    assert jackknife >= 0.9
    assert bootstrap < 0.9


def test_jackknife_covers_a_leak() -> None:
    truth = np.mean(
        [overall(attack.lira_scores(*p), p[1]) for p in (pool(32, 60, 1.0, seed=s) for s in range(60))]
    )
    intervals = [attack.jackknife_auc(*pool(32, 60, 1.0, seed=seed)) for seed in range(100, 140)]
    assert np.mean([i.low <= truth <= i.high for i in intervals]) >= 0.85


# Operating points ---------------------------------------------------------------------------------------------


def test_tpr_never_exceeds_the_allowed_false_positive_rate() -> None:
    negatives = np.arange(200.0)
    assert attack.tpr_at(np.array([196.5, 197.5, 198.5, 199.5]), negatives) == 0.75  # 2 of 200 may be above
    assert attack.tpr_at(np.array([99.0, 98.0]), np.arange(100.0)) == 0.5  # tied with the one allowed
    assert attack.tpr_at(np.array([99.0, 100.0]), np.arange(99.0)) == 1.0  # none allowed, 98 is the highest
    assert attack.tpr_at(np.array([0.0]), np.arange(4.0), max_fpr=1.0) == 1.0
    assert attack.tpr_at(np.ones(5), np.ones(500)) == 0.0


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_tpr_is_the_largest_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positives, negatives = rng.integers(0, 12, 40) + 2.0, rng.integers(0, 12, 150) + 0.0
    thresholds = np.append(np.unique(np.concatenate([positives, negatives])), np.inf)
    rates = [(positives >= c).mean() for c in thresholds if (negatives >= c).mean() <= 0.01]
    assert attack.tpr_at(positives, negatives) == pytest.approx(max(rates))


def test_row_auc() -> None:
    scores, inside = pool(10, 7, 1.0)
    expected = [overall(scores[:, [i]], inside[:, [i]]) for i in range(7)]
    np.testing.assert_allclose(attack.row_auc(scores, inside), expected)


def test_privacy_score() -> None:
    assert attack.privacy_score(0.95, null=0.02, none=0.95) == 0
    assert attack.privacy_score(0.02, null=0.02, none=0.95) == 1
    assert attack.privacy_score(0.0, null=0.02, none=0.95) == 1
    assert attack.privacy_score(0.5, null=0.0, none=0.8) == pytest.approx(0.375)
    assert attack.privacy_score(0.5, null=0.1, none=0.1) is None


# Invariances --------------------------------------------------------------------------------------------------


def test_unit_and_order_of_rows_do_not_matter() -> None:
    residuals, inside = pool(16, 40, 0.7, offset=0.3)
    rows = np.random.default_rng(0).permutation(40)
    pairs = np.arange(16).reshape(8, 2)[::-1, ::-1].ravel()
    expected = attack.u_lira(residuals, inside)
    for same in (
        attack.u_lira(-30 * residuals + 7, inside),
        attack.u_lira(residuals[:, rows], inside[:, rows]),
        attack.u_lira(residuals[pairs], inside[pairs]),
    ):
        assert same.auc == pytest.approx(expected.auc, rel=1e-9)
        assert same[1:] == pytest.approx(expected[1:], rel=1e-9)


def test_exposure_splits_memory_from_drift() -> None:
    residuals, inside = pool(32, 200, 1.0)
    values = np.stack([residuals, -residuals], axis=2)
    split = attack.by_exposure(values, inside)
    assert split.inside.shape == split.outside.shape == (16, 200, 2)
    np.testing.assert_array_equal(split.inside[:, 3, 0], residuals[inside[:, 3], 3])
    np.testing.assert_array_equal(split.outside[:, 3, 1], -residuals[~inside[:, 3], 3])
    never = 1.0 + np.random.default_rng(1).normal(size=(16, 200, 1))
    memory = distributions.total_variation(split.inside[:, :, :1], never).mean()
    drift = distributions.total_variation(split.outside[:, :, :1], never).mean()
    assert memory - drift > 0.2
    assert drift < 0.2


def test_residuals_are_in_standard_deviations() -> None:
    predictions, targets = np.full((4, 3, 2), 5.0), np.array([[1.0, 3.0]] * 3)
    np.testing.assert_allclose(
        attack.signed_residuals(predictions, targets, np.array([2.0, 1.0])), np.full((4, 3), 2.0)
    )


# Population attacks -------------------------------------------------------------------------------------------


def residuals_of(
    rows: int, references: int, memorised: bool, seed: int, extra: float = 0.0
) -> attack.Residuals:
    """Label noise N(0, 1) that only the attacked model may have memorised."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=rows)
    own = (0.2 if memorised else 1.0) * noise + 0.1 * rng.normal(size=rows)
    return attack.Residuals(own, noise + 0.1 * rng.normal(size=(references, rows)))


def test_loss_auc_is_one_number_a_model() -> None:
    rng = np.random.default_rng(0)
    forget, held_out = 0.5 * rng.normal(size=(3, 3000)), rng.normal(size=(3, 2000))
    forget[2] *= 2
    found = attack.loss_auc(forget, held_out)
    assert found[0] == pytest.approx(auc(-np.abs(forget[0]), -np.abs(held_out[0])))
    assert found[0] > 0.65
    assert found[2] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("references", [1, 4, 16])
def test_reference_attacks_are_blind_at_the_null_and_see_memory(references: int) -> None:
    held_out, population = (residuals_of(2500, references, False, seed) for seed in (1, 2))
    sigma = attack.root_mean_square(held_out.own)
    for memorised, low, high in ((False, 0.46, 0.54), (True, 0.8, 1.0)):
        forget = residuals_of(2500, references, memorised, 3)
        assert low < attack.calibrated_loss_auc(forget, held_out) < high
        for size in (sigma, 0.2 * sigma):
            assert low < attack.rmia_auc(forget, held_out, population, sigma=size) < high


def test_rmia_by_hand() -> None:
    forget = attack.Residuals(np.array([0.0]), np.array([[2.0], [1.0]]))
    held_out = attack.Residuals(np.array([1.0]), np.array([[1.0], [1.0]]))
    population = attack.Residuals(np.array([1.0, 0.5]), np.array([[1.0, 1.0], [1.0, 1.0]]))
    # ratios: forget 1 / mean(e^-2, e^-.5) = 2.69; held out 1; population 1 and e^(.5 - .125) = 1.45
    assert attack.rmia_auc(forget, held_out, population, sigma=1.0) == 1
    assert attack.rmia_auc(forget, held_out, population, sigma=1.0, gamma=0.9) == 1
    assert attack.rmia_auc(forget, held_out, population, sigma=1.0, gamma=3.0) == 0.5  # both above none
    assert attack.root_mean_square(np.array([3.0, -4.0])) == pytest.approx(math.sqrt(12.5))


def test_what_does_not_fit_is_refused() -> None:
    residuals, inside = pool(8, 10)
    with pytest.raises(BenchmarkError, match="even number of at least 6"):
        attack.lira_scores(residuals[:5], inside[:5])
    with pytest.raises(BenchmarkError, match="at least 8 models"):
        attack.jackknife_auc(residuals[:6], inside[:6])
    with pytest.raises(BenchmarkError, match="no complementary pairs"):
        attack.lira_scores(residuals, np.roll(inside, 1, axis=0))
    with pytest.raises(BenchmarkError, match="not finite"):
        attack.lira_scores(np.where(residuals > 1, np.inf, residuals), inside)
    empty = attack.Residuals(np.zeros(0), np.zeros((1, 0)))
    with pytest.raises(BenchmarkError, match="one of the two sets is empty"):
        attack.calibrated_loss_auc(empty, residuals_of(5, 1, False, 0))
