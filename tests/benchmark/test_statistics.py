"""Aggregation, ranks and comparisons agree with their definitions, with scipy, and with simulated coverage."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regunlearn.benchmark import statistics
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array


def scores(*means: float, seeds: int = 8, blocks: int = 6, seed: int = 0, shared: float = 0.0) -> Array:
    """Scores around these means; `shared` is the size of what all methods have in common on a seed."""
    rng = np.random.default_rng(seed)
    common = shared * rng.normal(size=(seeds, blocks))
    return np.array(means)[:, None, None] + common + 0.1 * rng.normal(size=(len(means), seeds, blocks))


# Intervals ----------------------------------------------------------------------------------------------------


def test_t_interval_equals_scipys_and_the_jackknife_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = statistics.t_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    deleted = np.array([np.delete(values, i).mean() for i in range(12)])
    assert statistics.jackknife_variance(deleted) == pytest.approx(values.var(ddof=1) / 12)
    assert statistics.around(values.mean(), statistics.jackknife_variance(deleted), 11) == pytest.approx(
        found
    )
    with pytest.raises(BenchmarkError, match="at least 2 values, found 1"):
        statistics.t_interval(values[:1])


# Aggregation --------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(1, 40))
def test_interquartile_mean_is_scipys_trimmed_mean(size: int) -> None:
    values = np.random.default_rng(size).normal(size=(3, size))
    np.testing.assert_allclose(statistics.interquartile_mean(values), stats.trim_mean(values, 0.25, axis=1))


def test_iqm_ignores_outliers_and_keeps_its_interval() -> None:
    values = scores(0.5, 0.7)
    values[0, 0, 0] = 1e6
    one, two = statistics.iqm_intervals(values, draws=2000)
    assert one.estimate == pytest.approx(0.5, abs=0.03)
    assert one.low < one.estimate < one.high < 0.6 < two.low < 0.7 < two.high
    assert statistics.iqm_intervals(values, draws=2000) == [one, two]
    assert statistics.iqm_intervals(values, draws=2000, seed=1) != [one, two]


def test_bootstrap_draws_seeds_within_blocks_and_the_same_for_all_methods() -> None:
    blocks = np.broadcast_to(np.arange(6.0), (1, 8, 6))  # no variation within a block, much between
    drawn = statistics.bootstrap_iqm(blocks, draws=50)
    np.testing.assert_allclose(drawn, 2.5)
    shifted = np.concatenate([scores(0.5), scores(0.5) + 0.2])
    one, two = statistics.bootstrap_iqm(shifted, draws=500)
    np.testing.assert_allclose(two - one, 0.2)


def test_bootstrap_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "CELLS", 200)
    drawn = statistics.bootstrap_iqm(scores(0.5, 0.7), draws=25)
    assert drawn.shape == (2, 25)
    assert len(np.unique(drawn[0])) == 25


def test_iqm_interval_coverage() -> None:
    """Nominal 95%, 10 seeds, 6 blocks."""
    covered = []
    for seed in range(100):
        found = statistics.iqm_intervals(scores(0.5, seeds=10, seed=seed), draws=400, seed=seed)[0]
        covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) >= 0.88


def test_ties_are_paired_and_have_a_margin() -> None:
    values = scores(0.5, 0.58, 0.9, shared=1.0)
    unpaired = statistics.iqm_intervals(values, draws=1000)
    assert unpaired[0].high > unpaired[1].low
    np.testing.assert_array_equal(statistics.ties(values, draws=1000), np.eye(3, dtype=bool))
    tied = statistics.ties(values, margin=0.15, draws=1000)
    assert tied[0, 1]
    assert tied[1, 0]
    assert not tied[0, 2]
    assert statistics.ties(scores(0.5, 0.5), draws=1000).all()


def test_performance_profile() -> None:
    values = np.array([[[0.0, 0.5]], [[1.0, 0.5]]])
    found = statistics.performance_profile(values, np.array([0.0, 0.5, 0.6, 1.0, 1.1]))
    np.testing.assert_allclose(found, [[1, 0.5, 0, 0, 0], [1, 1, 0.5, 0.5, 0]])


def test_probability_of_improvement() -> None:
    values = scores(0.5, 0.6, 5.0)
    values[1, 0, 0] = values[0, 0, 0]
    found = statistics.probability_of_improvement(values)
    np.testing.assert_allclose(np.diag(found), 0.5)
    np.testing.assert_allclose(found + found.T, 1)
    assert found[2, 0] == 1
    expected = np.mean(
        [stats.mannwhitneyu(values[1, :, b], values[0, :, b]).statistic / 64 for b in range(6)]
    )
    assert found[1, 0] == pytest.approx(expected)


# Ranks --------------------------------------------------------------------------------------------------------


def test_average_ranks_share_ties() -> None:
    values = np.array([[3.0, 1, 2], [2.0, 1, 2], [1.0, 0, 2]])
    np.testing.assert_allclose(
        statistics.average_ranks(values), [(1 + 1.5 + 2) / 3, (2 + 1.5 + 2) / 3, 8 / 3]
    )


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(statistics.holm(np.array([0.01, 0.04, 0.03, 0.5])), [0.04, 0.09, 0.09, 0.5])
    np.testing.assert_allclose(statistics.holm(np.array([0.6, 0.7])), [1, 1])
    assert statistics.holm(np.zeros(0)).shape == (0,)


def test_wilcoxon_holm_equals_scipy_and_forms_cliques() -> None:
    values = scores(0.9, 0.88, 0.3, 0.31, blocks=12, seeds=1, seed=3)[:, 0]
    p = statistics.wilcoxon_holm(values)
    one, other = np.triu_indices(4, 1)
    raw = np.array([stats.wilcoxon(values[a], values[b]).pvalue for a, b in zip(one, other, strict=True)])
    np.testing.assert_allclose(p[one, other], statistics.holm(raw))
    np.testing.assert_array_equal(p, p.T)
    np.testing.assert_array_equal(np.diag(p), 1)
    found = statistics.cliques(statistics.average_ranks(values), p)
    assert sorted(tuple(sorted(clique)) for clique in found) == [(0, 1), (2, 3)]
    assert found[0][0] in (0, 1)


def test_wilcoxon_with_ties_zeros_and_no_difference() -> None:
    values = np.array([[1.0, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1.0, 1, 2, 2, 2, 2, 2, 2, 2, 2], [1.0] * 10])
    p = statistics.wilcoxon_holm(values)
    assert p[0, 2] == 1
    assert p[0, 1] < 0.05
    assert (statistics.wilcoxon_holm(values[:, :1]) == 1).all()


def test_wilcoxon_holm_keeps_its_error_rate() -> None:
    rng = np.random.default_rng(4)
    wrong = [(statistics.wilcoxon_holm(rng.normal(size=(4, 10))) < 0.05).any() for _ in range(100)]
    assert np.mean(wrong) <= 0.1


def test_cliques_are_maximal_and_may_overlap() -> None:
    p = np.ones((4, 4))
    p[0, 2] = p[2, 0] = p[0, 3] = p[3, 0] = 0.01
    assert statistics.cliques(np.array([1.0, 2, 3, 4]), p) == [(0, 1), (1, 2, 3)]
    assert statistics.cliques(np.array([4.0, 3, 2, 1]), p) == [(3, 2, 1), (1, 0)]
    assert statistics.cliques(np.array([1.0, 2, 3, 4]), np.eye(4)) == []


def test_kendall_tau_equals_scipys() -> None:
    axes = np.random.default_rng(5).integers(0, 5, size=(3, 9)).astype(float)
    found = statistics.kendall_tau(axes)
    for a in range(3):
        for b in range(3):
            assert found[a, b] == pytest.approx(stats.kendalltau(axes[a], axes[b]).statistic)
    np.testing.assert_allclose(statistics.kendall_tau(np.stack([axes[0], -axes[0]])), [[1, -1], [-1, 1]])
    constant = statistics.kendall_tau(np.array([[1.0, 1, 1], [1, 2, 3]]))
    assert math.isnan(constant[0, 1])
    assert constant[1, 1] == 1


# Pareto -------------------------------------------------------------------------------------------------------


def test_fronts() -> None:
    points = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.4, 0.4], [0.0, 0.0], [0.4, 0.4]])
    found = statistics.fronts(statistics.dominance(points))
    np.testing.assert_array_equal(found, [1, 1, 1, 2, 3, 2])


def test_fronts_end_on_a_cycle() -> None:
    cycle = np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0]], dtype=bool)
    np.testing.assert_array_equal(statistics.fronts(cycle), [1, 1, 1, 2])


def test_significant_dominance_needs_more_than_noise() -> None:
    rng = np.random.default_rng(6)
    base = rng.normal(size=(10, 2))
    better = base + np.array([0.5, 0.0]) + 0.01 * rng.normal(size=base.shape)
    traded = base + np.array([0.5, -0.5])
    found = statistics.significant_dominance(np.stack([base, better, traded]))
    expected = np.zeros((3, 3), dtype=bool)
    expected[1, 0] = expected[1, 2] = True
    np.testing.assert_array_equal(found, expected)
    noise = base + rng.normal(size=base.shape)
    assert not statistics.significant_dominance(np.stack([base, noise])).any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="\\(methods, seeds, blocks\\)"):
        statistics.performance_profile(np.zeros((3, 4)), np.zeros(2))
    with pytest.raises(BenchmarkError, match="finite"):
        statistics.bootstrap_iqm(np.full((1, 2, 2), np.nan))
