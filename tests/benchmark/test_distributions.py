"""Gaussian ensembles have known distances; exact unlearning reads the null; what must not matter does not."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import energy_distance, ks_2samp, kstest, norm, wasserstein_distance

from regunlearn.benchmark import distributions as dist
from regunlearn.benchmark import metrics
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.statistics import around, calibrate, jackknife

PER_ROW: dict[str, Callable[[Array, Array], Array]] = {
    "total_variation": dist.total_variation,
    "klom_r": lambda u, r: dist.klom_r(u, r, scale=1.0),
    "kolmogorov_smirnov": dist.kolmogorov_smirnov,
    "wasserstein": lambda u, r: dist.wasserstein(u, r, spread=dist.spread_of(r)),
    "energy": lambda u, r: dist.energy(u, r, spread=dist.spread_of(r)),
    "epsilon": dist.epsilon,
    "certified_epsilon": dist.certified_epsilon,
}


def pair(models: int, rows: int, seed: int = 0, outputs: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(models, rows, outputs)), rng.normal(size=(models, rows, outputs))


def mean_tv(u: Array, r: Array) -> float:
    return float(dist.total_variation(u, r).mean())


def mean_klom(u: Array, r: Array) -> float:
    return float(dist.klom_r(u, r, scale=1.0).mean())


# Total variation ----------------------------------------------------------------------------------------------


def test_closed_form_equals_the_grid() -> None:
    rng = np.random.default_rng(0)
    mean = 2 * rng.normal(size=200)
    sd_a, sd_b = np.exp(rng.normal(size=(2, 200)))
    edge = np.maximum(9 * sd_a, np.abs(mean) + 9 * sd_b)
    grid = np.linspace(-edge, edge, 4001)
    densities = norm.pdf(grid, 0, sd_a) - norm.pdf(grid, mean, sd_b)
    expected = 0.5 * np.trapezoid(np.abs(densities), grid, axis=0)
    np.testing.assert_allclose(dist.gaussian_tv(np.zeros(200), sd_a, mean, sd_b), expected, atol=1e-3)


@given(shift=st.floats(0, 20), width=st.sampled_from([0.0, 1e-15, 1e-12, 1e-9, 1e-6]))
def test_closed_form_is_continuous_where_widths_are_equal(shift: float, width: float) -> None:
    one = np.ones(1)
    found = dist.gaussian_tv(0 * one, one, shift * one, one + width)
    assert found[0] == pytest.approx(2 * ndtr(shift / 2) - 1, abs=1e-6)


def test_points_have_total_variation_zero_or_one() -> None:
    mean_b, sd_a, sd_b = np.array([[0, 1, 0, 0.0], [0, 0, 0, 0], [0, 0, 1, 1e-14]])
    np.testing.assert_array_equal(dist.gaussian_tv(np.zeros(4), sd_a, mean_b, sd_b), [0, 1, 1, 1])
    same = np.full((5, 3, 1), 0.1)
    assert dist.total_variation(same, same[:4]).max() == 0


@pytest.mark.parametrize(
    ("models", "shifted", "null"), [(32, 0.389, 0.118), (64, 0.385, 0.077), (128, 0.379, 0.055)]
)
def test_total_variation_of_a_shift_and_its_null(models: int, shifted: float, null: float) -> None:
    u, r = pair(models, 3000)
    assert mean_tv(u + 1, r) == pytest.approx(shifted, abs=0.008)
    assert mean_tv(u, r) == pytest.approx(null, abs=0.006)
    assert 2 * ndtr(0.5) - 1 == pytest.approx(0.383, abs=1e-3)


# KLOM-R -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "bias", "p95"), [(16, 0.149, 0.283), (32, 0.068, 0.127), (64, 0.033, 0.057)]
)
def test_debiased_null_is_zero_and_plug_in_is_not(models: int, bias: float, p95: float) -> None:
    u, r = pair(models, 4000, seed=1)
    values = dist.klom_r(u, r, scale=1.0, floor=0.0)
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert dist.summarise(values).p95 == pytest.approx(p95, abs=0.015 if models > 32 else 0.04)
    assert dist.klom_r_plug_in(u, r, scale=1.0, floor=0.0).mean() == pytest.approx(bias, abs=0.005)


def test_plug_in_bias_at_128_models() -> None:
    u, r = pair(128, 2000)
    assert dist.klom_r_plug_in(u, r, scale=1.0, floor=0.0).mean() == pytest.approx(0.016, abs=0.002)


@pytest.mark.parametrize("spread", [10.0, 0.5, 0.05, 0.005, 0.0])
def test_the_floor_leaves_the_null_unbiased_at_any_spread(spread: float) -> None:
    u, r = pair(16, 3000, seed=2)
    values = dist.klom_r(spread * u, spread * r, scale=1.0)
    assert abs(values.mean()) <= 4 * values.std() / math.sqrt(len(values)) + 1e-6


def test_shift_and_scale() -> None:
    u, r = pair(64, 8000, seed=3)
    klom = {
        name: float(dist.klom_r(a, b, scale=1.0, floor=0.0).mean())
        for name, a, b in (("shift", u + 1, r), ("narrow", 0.5 * u, r), ("wide", r, 0.5 * u))
    }
    assert klom["shift"] == pytest.approx(0.5, rel=0.02)
    assert klom["narrow"] == pytest.approx(math.log(2) + 0.125 - 0.5, rel=0.02)
    assert klom["wide"] == pytest.approx(-math.log(2) + 2 - 0.5, rel=0.02)


def test_the_floor_is_in_units_of_each_outputs_scale() -> None:
    u, r = pair(16, 50, outputs=2)
    scale = np.array([1.0, 100.0])
    alone = dist.klom_r(u[:, :, :1], r[:, :, :1], scale=1.0)
    np.testing.assert_allclose(
        dist.klom_r(u[:, :, [0, 0]] * scale, r[:, :, [0, 0]] * scale, scale=scale), alone
    )


# Ranks --------------------------------------------------------------------------------------------------------


def test_rank_distances_equal_scipys() -> None:
    rng = np.random.default_rng(4)
    u, r = rng.normal(size=(9, 20, 1)), rng.normal(0.4, 2, size=(14, 20, 1)).round(1)
    u[:, ::2] = u[:, ::2].round(1)  # ties within and between
    columns = [(u[:, i, 0], r[:, i, 0]) for i in range(20)]
    np.testing.assert_allclose(dist.kolmogorov_smirnov(u, r), [ks_2samp(*c).statistic for c in columns])
    np.testing.assert_allclose(dist.wasserstein(u, r), [wasserstein_distance(*c) for c in columns])
    within = [
        np.abs(np.subtract.outer(x, x)).sum() / (n * n * (n - 1))
        for c in columns
        for x in c
        for n in [len(x)]
    ]
    biased = dist.energy(u, r) + np.reshape(within, (20, 2)).sum(axis=1)
    np.testing.assert_allclose(biased, [energy_distance(*c) ** 2 for c in columns], atol=1e-12)


def test_known_distances_of_gaussians() -> None:
    u, r = pair(20_000, 4, seed=5)
    assert dist.wasserstein(u + 3, r).mean() == pytest.approx(3, abs=0.02)
    assert dist.wasserstein(u, 2 * r).mean() == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)
    assert math.sqrt(dist.energy(u + 1, r).mean()) == pytest.approx(0.7361, abs=0.01)


def test_null_of_rank_distances_at_64_models() -> None:
    u, r = pair(64, 2000, seed=6)
    assert dist.wasserstein(u, r, spread=dist.spread_of(r)).mean() == pytest.approx(0.225, abs=0.01)
    values = dist.energy(u, r)
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(2000)
    assert values.min() < 0
    assert dist.kolmogorov_smirnov(u, r).mean() == pytest.approx(0.15, abs=0.01)


# Epsilon ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "epsilon", "quality"), [(16, 1.84, 0.118), (32, 2.02, 0.096), (64, 2.21, 0.070)]
)
def test_null_of_epsilon_and_quality(models: int, epsilon: float, quality: float) -> None:
    u, r = pair(models, 600, seed=7)
    assert dist.epsilon(u, r).mean() == pytest.approx(epsilon, abs=0.05)
    assert dist.forgetting_quality(u, r) == pytest.approx(quality, abs=0.012)


def test_epsilon_by_hand() -> None:
    u, r = np.array([0.0, 1, 2, 3, 10])[:, None, None], np.array([2.5, 4, 5, 6, 7])[:, None, None]
    # "u is below 2.25": FNR 2/5 and FPR 0, left out; "r is between 3.5 and 8.5": FNR 1/5, FPR 0, left out;
    # "u is below 3.5": FNR 1/5 of u above, FPR 1/5 of r below.
    assert dist.epsilon(u, r)[0] == pytest.approx(math.log((1 - 1e-5 - 0.2) / 0.2))


def test_epsilon_is_capped() -> None:
    u, r = pair(8, 3)
    assert (dist.epsilon(u + 100, r) == dist.EPSILON_CAP).all()
    assert (dist.epsilon(1e-6 * u, r) == dist.EPSILON_CAP).all()
    assert dist.forgetting_quality(u + 100, r) == 0
    same = np.ones((8, 3, 1))
    assert (dist.epsilon(same, same) == 0).all()


def test_certified_epsilon() -> None:
    u, r = pair(64, 400, seed=8)
    assert dist.certified_epsilon(u, r).mean() < 0.005
    assert dist.certified_epsilon(u + 8, r).max() == pytest.approx(math.log(32) - 1.3, abs=0.08)
    assert dist.certified_epsilon(0.05 * u, r).mean() > 1


def test_certified_epsilon_keeps_its_confidence() -> None:
    """No epsilon above the true one at this delta is certified in more than 5% of rows."""
    u, r = pair(64, 2000, seed=9)
    truth = brentq(lambda e: dist.gaussian_delta(e, 0.3) - 0.05, 0.0, 10.0)
    assert (dist.certified_epsilon(u + 0.3, r, delta=0.05) > truth).mean() < 0.05


def test_analytic_epsilon() -> None:
    assert brentq(lambda e: dist.gaussian_delta(e, 1.0) - 0.05, 0.01, 10.0) == pytest.approx(1.57, abs=0.005)


# Permutation test ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paired", [False, True])
def test_false_positive_rate_with_shared_offsets(paired: bool) -> None:
    rng = np.random.default_rng(10)
    values = []
    for draw in range(60):
        offsets = rng.normal(size=(2, 8, 1, 1))  # rows of one model are not independent
        u, r = rng.normal(size=(2, 8, 40, 1)) + offsets
        values.append(dist.permutation_test(u, r, paired=paired, permutations=199, seed=draw).p_value)
    assert np.mean(np.array(values) <= 0.05) <= 0.08
    assert kstest(values, "uniform").pvalue > 0.01


def test_pairs_that_share_a_seed_must_be_swapped_within() -> None:
    rng = np.random.default_rng(11)
    shared = rng.normal(size=(16, 50, 1))
    u, r = shared + 0.05 * rng.normal(size=shared.shape) + 0.05, shared + 0.05 * rng.normal(size=shared.shape)
    assert dist.permutation_test(u, r, paired=True).p_value == pytest.approx(0.001, abs=0.001)
    assert dist.permutation_test(u, r).p_value > 0.9


def test_power_and_the_smallest_p_value() -> None:
    u, r = pair(8, 100, seed=12)
    assert dist.permutation_test(u + 1, r, permutations=399).p_value == pytest.approx(1 / 400)
    assert dist.permutation_test(0.3 * u, r, permutations=399).p_value == pytest.approx(1 / 400)
    assert dist.permutation_test(r, r, paired=True).p_value == 1


def test_permutation_statistic() -> None:
    u, r = pair(6, 7, seed=13)
    pooled = np.sqrt((u.var(axis=0, ddof=1) + r.var(axis=0, ddof=1)) / 2)
    logs = 0.5 * np.abs(np.log(u.var(axis=0) / r.var(axis=0)))
    expected = (np.abs(u.mean(axis=0) - r.mean(axis=0)) / pooled + logs).mean()
    assert dist.permutation_test(u, r, permutations=1).statistic == pytest.approx(expected)


def test_rows_without_spread_say_nothing() -> None:
    u, r = pair(6, 5, seed=14)
    u[:, 0] = r[:, 0] = 0.1
    found = dist.permutation_test(u, r)
    rest = dist.permutation_test(u[:, 1:], r[:, 1:])
    assert found.p_value == rest.p_value
    assert found.statistic == pytest.approx(rest.statistic * 4 / 5)


# Calibration and jackknife ------------------------------------------------------------------------------------


def ensembles(seed: int, models: int = 32, rows: int = 150) -> tuple[Array, Array, Array]:
    """Retrained models around the row's truth, originals that memorised the labels, and other retrained models."""
    rng = np.random.default_rng(seed)
    truth, label = rng.normal(size=(2, rows, 1))
    retrained, again = (
        truth + 0.1 * rng.normal(size=(2, models, rows, 1)) + 0.02 * rng.normal(size=(2, models, 1, 1))
    )
    original = truth + 0.9 * label + 0.02 * rng.normal(size=(models, rows, 1))
    return original, retrained, again


def test_other_retrained_models_score_one_and_originals_zero() -> None:
    p_values = []
    for seed in range(40):
        original, retrained, again = ensembles(seed, models=16, rows=40)
        score = calibrate(mean_tv, again, original, retrained, seed=seed).score
        assert score is not None
        assert 0.9 <= score <= 1
        assert calibrate(mean_tv, original, original, retrained, seed=seed).score == 0
        assert calibrate(mean_tv, retrained, original, retrained, seed=seed).score == 1
        p_values.append(dist.permutation_test(again, retrained, permutations=199, seed=seed).p_value)
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_permuted_predictions_fool_pooled_wasserstein_only() -> None:
    original, retrained, again = ensembles(0)
    shuffled = again[:, np.random.default_rng(1).permutation(again.shape[1])]
    assert metrics.wasserstein(again[0], shuffled[0]) == pytest.approx(0, abs=1e-12)
    score = calibrate(mean_tv, shuffled, original, retrained).score
    assert score is not None
    assert score < 0.1


def test_calibration_compares_equal_numbers_of_models() -> None:
    """Twice as many models have a null .8 times as large: a null at other numbers would be a gift or a penalty."""
    original, retrained, again = ensembles(1, rows=400)
    found = calibrate(mean_tv, again, original, retrained)
    assert found.null == pytest.approx(0.17, abs=0.02)
    assert abs(found.excess) < 0.02
    few = calibrate(mean_tv, again[:8], original, retrained)
    assert few.null > found.null
    assert abs(few.excess) < 0.03
    quality = calibrate(dist.forgetting_quality, again, original, retrained, splits=2)
    assert quality.ratio == pytest.approx(1, abs=0.25)


def test_no_gap_no_score() -> None:
    _, retrained, again = ensembles(2)
    assert calibrate(lambda u, r: 1.0, again, again, retrained).score is None
    assert calibrate(lambda u, r: 0.0, again, again, retrained).ratio is None
    with pytest.raises(BenchmarkError, match="expected at least 2, 2 and 4"):
        calibrate(mean_tv, again, again, retrained[:3])


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_jackknife_coverage(offset: float) -> None:
    """Nominal 95% intervals of the mean KL cover the truth in at least 90%, with offsets shared by a model's rows."""
    rng = np.random.default_rng(15)
    variance = 1 + offset**2
    truth = 0.5 * 0.25 / (variance + dist.FLOOR**2)
    covered = []
    for _ in range(60):
        u, r = rng.normal(size=(2, 32, 80, 1)) + offset * rng.normal(size=(2, 32, 1, 1))
        found = jackknife(mean_klom, u + 0.5, r)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.9


def test_paired_jackknife_sees_the_pairing() -> None:
    rng = np.random.default_rng(16)
    r = rng.normal(size=(16, 1, 1)) + rng.normal(size=(16, 20, 1))
    u = r + 0.1 * rng.normal(size=r.shape)
    gap = lambda a, b: float(a.mean() - b.mean())  # noqa: E731
    together, apart = jackknife(gap, u, r, paired=True), jackknife(gap, u, r)
    assert together.high - together.low < 0.2 * (apart.high - apart.low)
    values = (u - r).mean(axis=(1, 2))
    assert together == pytest.approx(around(values.mean(), values.var(ddof=1) / 16, 15))


# Invariances --------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(scale=st.sampled_from([-3.0, 0.01, 250.0]), offset=st.sampled_from([0.0, -7.0, 1000.0]))
def test_the_targets_unit_does_not_matter(scale: float, offset: float) -> None:
    u, r = pair(12, 15, seed=17)
    u = 0.7 * u + 0.5
    for name, function in PER_ROW.items():
        if name != "klom_r":
            found = function(scale * u + offset, scale * r + offset)
            np.testing.assert_allclose(found, function(u, r), rtol=1e-6, atol=1e-9, err_msg=name)
    klom = dist.klom_r(scale * u + offset, scale * r + offset, scale=abs(scale))
    np.testing.assert_allclose(klom, dist.klom_r(u, r, scale=1.0), rtol=1e-6)
    moved = dist.permutation_test(scale * u + offset, scale * r + offset, permutations=99)
    assert moved.p_value == dist.permutation_test(u, r, permutations=99).p_value


@pytest.mark.parametrize("name", PER_ROW)
def test_order_of_rows_models_and_chunks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = PER_ROW[name]
    u, r = pair(12, 15, seed=18, outputs=2)
    r = r[:9]
    expected = function(u, r)
    rows = np.random.default_rng(0).permutation(15)
    np.testing.assert_allclose(function(u[:, rows], r[:, rows]), expected[rows])
    if name != "certified_epsilon":  # whose halves are drawn by position
        np.testing.assert_allclose(function(u[::-1], r[::-1]), expected)
    monkeypatch.setattr(dist, "CELLS", 300)
    np.testing.assert_allclose(function(u, r), expected)


@pytest.mark.parametrize("name", PER_ROW)
def test_outputs_are_averaged(name: str) -> None:
    u, r = pair(10, 6, seed=19, outputs=3)
    each = np.mean([PER_ROW[name](u[:, :, [k]], r[:, :, [k]]) for k in range(3)], axis=0)
    np.testing.assert_allclose(PER_ROW[name](u, r), each)


def test_permutation_test_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    u, r = pair(6, 40, seed=20)
    expected = dist.permutation_test(u, r)
    monkeypatch.setattr(dist, "CELLS", 7000)
    found = dist.permutation_test(u, r)
    assert found.p_value == expected.p_value
    assert found.statistic == pytest.approx(expected.statistic)


# Errors -------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    u, r = pair(8, 5)
    with pytest.raises(BenchmarkError, match="expected \\(models, rows, outputs\\)"):
        dist.total_variation(u[:, :, 0], r)
    with pytest.raises(BenchmarkError, match="not finite"):
        dist.energy(np.where(u > 1, np.nan, u), r)
    with pytest.raises(BenchmarkError, match="needs 4 retrained models, found 3"):
        dist.klom_r(u, r[:3], scale=1.0)
    with pytest.raises(BenchmarkError, match="same prediction from all models"):
        dist.klom_r(np.zeros_like(u), r, scale=1.0, floor=0.0)
    with pytest.raises(BenchmarkError, match="paired ensembles have 7 and 8"):
        dist.permutation_test(u[:7], r, paired=True)
    with pytest.raises(BenchmarkError, match="needs 4 models of each kind"):
        dist.certified_epsilon(u[:3], r)
