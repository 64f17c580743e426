"""Every formula against a known answer, and the gates on small boards."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regunlearn.leaderboard import scores
from regunlearn.leaderboard.frame import board

numbers = st.floats(-10, 10, allow_nan=False)
unit = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("rnc", "expected"), [(0, 0), (0.5, 0.5), (1, 1), (1.25, 0.75), (2, 0), (3, 0), (-1, 0)]
)
def test_closeness_peaks_at_another_retrain(rnc: float, expected: float) -> None:
    assert scores.closeness(rnc) == expected


@pytest.mark.parametrize(("recovered", "expected"), [(0, 1), (0.25, 0.75), (1, 0), (1.5, 0), (-0.5, 1)])
def test_whitebox_is_what_a_probe_does_not_recover(recovered: float, expected: float) -> None:
    assert scores.whitebox(recovered) == expected


@pytest.mark.parametrize(
    ("rnc", "recovered", "expected"),
    [(0.8, 0.5, 0.5), (0.3, 0.5, 0.3), (0.8, np.nan, 0.8), (np.nan, 0.5, np.nan), (np.nan, np.nan, np.nan)],
)
def test_cell_score_is_the_smaller_view(rnc: float, recovered: float, expected: float) -> None:
    np.testing.assert_allclose(scores.cell_score(rnc, recovered), expected)


@given(numbers, numbers)
def test_cell_score_is_in_the_unit_interval_and_never_above_either_view(rnc: float, recovered: float) -> None:
    score = scores.cell_score(rnc, recovered)
    assert 0 <= score <= min(scores.closeness(rnc), scores.whitebox(recovered))
    assert scores.closeness(1 + (rnc - 1)) == pytest.approx(scores.closeness(1 - (rnc - 1)))


def test_utility_limit_by_hand() -> None:
    # mean 2, sd 1, standard error 1 / sqrt(3)
    assert scores.utility_limit([1.0, 2.0, 3.0]) == pytest.approx(2.1 + 2 / np.sqrt(3))
    assert scores.utility_limit([2.0]) == pytest.approx(2.1)


@pytest.mark.parametrize(("dsr", "expected"), [(1.49, False), (1.5, True), (20, True), (np.nan, True)])
def test_dsr_gate(dsr: float, expected: bool) -> None:
    assert scores.something_to_forget(dsr) is expected


def test_t_half_width_is_that_of_a_textbook() -> None:
    # n = 3: t(0.975, 2) = 4.302653
    assert scores.t_half_width(1.0, 3) == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    np.testing.assert_array_equal(scores.t_half_width([1.0, np.nan], [1, 0]), [np.nan, np.nan])


def test_t_interval_covers() -> None:
    sample = np.random.default_rng(3).normal(size=(4000, 3))
    half = scores.t_half_width(sample.std(axis=1, ddof=1), np.full(4000, 3))
    assert np.mean(np.abs(sample.mean(axis=1)) <= half) == pytest.approx(0.95, abs=0.015)


def test_bootstrap_of_one_block_has_the_variance_of_the_mean() -> None:
    values = np.array([[0.0], [0.3], [0.9], [0.2]])
    drawn = scores.bootstrap([values], draws=40_000)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.003)
    assert drawn.var() == pytest.approx(values.var() / 4, rel=0.03)


def test_bootstrap_keeps_blocks_apart_and_methods_paired() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(size=(3, 1)), rng.uniform(size=(5, 1))
    drawn = scores.bootstrap([np.hstack([first, first - 0.1]), np.hstack([second, second - 0.3])])
    np.testing.assert_allclose(drawn[:, 0] - drawn[:, 1], 0.2)
    variance = (first.var() / 3 + second.var() / 5) / 4
    assert drawn[:, 0].var() == pytest.approx(variance, rel=0.06)
    np.testing.assert_array_equal(
        drawn, scores.bootstrap([np.hstack([first, first - 0.1]), np.hstack([second, second - 0.3])])
    )


@given(st.lists(unit, min_size=1, max_size=5))
@settings(max_examples=25)
def test_bootstrap_interval_lies_within_the_sample(values: list[float]) -> None:
    low, high = scores.interval(scores.bootstrap([np.array(values)[:, None]], draws=200))
    assert min(values) - 1e-9 <= low[0] <= high[0] <= max(values) + 1e-9


def test_ranks_share_while_the_best_of_the_group_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(scale=0.02, size=(5000, 4))
    values = np.array([0.50, 0.53, 0.48, 0.20])
    # 0.53 leads; 0.50 is tied with it (difference 0.03, interval about 0.055), 0.48 is too; 0.20 is not.
    np.testing.assert_array_equal(scores.ranks(values, values + noise), [1, 1, 1, 4])
    # Without noise nothing is tied, but for equal scores.
    np.testing.assert_array_equal(scores.ranks(values, np.tile(values, (10, 1))), [2, 1, 3, 4])
    even = np.array([0.5, 0.5, 0.4])
    np.testing.assert_array_equal(scores.ranks(even, np.tile(even, (10, 1))), [1, 1, 3])


def test_a_tie_is_with_the_best_of_the_group_not_with_the_neighbour() -> None:
    noise = np.random.default_rng(1).normal(scale=0.02, size=(5000, 3))
    values = np.array([0.50, 0.46, 0.42])  # neighbours overlap, the ends do not
    np.testing.assert_array_equal(scores.ranks(values, values + noise), [1, 1, 3])


@given(st.lists(st.tuples(unit, unit), min_size=1, max_size=12))
def test_pareto_front_is_what_no_point_dominates(points: list[tuple[float, float]]) -> None:
    up, down = np.array(points).T
    slow = [
        not any((u >= up[i] and d <= down[i]) and (u > up[i] or d < down[i]) for u, d in points)
        for i in range(len(points))
    ]
    np.testing.assert_array_equal(scores.pareto_front(up, down), slow)


def test_pareto_front_by_hand() -> None:
    front = scores.pareto_front([0.9, 0.5, 0.4, 0.9, np.nan], [1.0, 0.2, 0.3, 1.0, 0.1])
    np.testing.assert_array_equal(front, [True, True, False, True, False])


# Boards -------------------------------------------------------------------------------------------------------


def test_toy_by_hand(made: SimpleNamespace) -> None:
    result = scores.score(board(made.toy(), made.toy_catalogue()))
    blocks = result.blocks["score"]
    assert blocks["toy-mlp", "band", "alpha"] == pytest.approx((0.75 + 0.7) / 2)  # RR caps the first at 0.75
    assert blocks["toy-mlp", "random", "alpha"] == pytest.approx((0.6 + 0.75) / 2)
    assert blocks["toy-mlp", "band", "beta"] == pytest.approx((0.5 + 0.0) / 2)  # diverged counts 0
    assert blocks["toy-mlp", "random", "beta"] == pytest.approx((0.4 + 0.5) / 2)  # 1.5 is 0.5 beyond
    methods = result.methods
    assert methods["score"]["alpha"] == pytest.approx(0.7)
    assert methods["score"]["beta"] == pytest.approx(0.35)
    assert methods["rank"].to_dict() == {"alpha": 1, "beta": 2, "retrain": pytest.approx(np.nan, nan_ok=True)}
    assert methods["status"]["beta"] == "diverged in 1 of 4 cells"
    half = stats.t.ppf(0.975, 1) * np.std([0.75, 0.7], ddof=1) / np.sqrt(2)
    assert result.blocks["half"]["toy-mlp", "band", "alpha"] == pytest.approx(half)


def test_utility_gate_scores_zero_with_its_reason(made: SimpleNamespace) -> None:
    records = [
        made.record(seed=seed, method=method, metrics=metrics)
        for seed in (0, 1)
        for method, metrics in {
            "fine_tune": {"rnc": 0.8, "mae_test_retain": 1.04, "gap_test_retain": 0.04},
            "amnesiac": {"rnc": 0.9, "mae_test_retain": 1.06, "gap_test_retain": 0.06},
        }.items()
    ]
    result = scores.score(board(records, made.catalogue()))
    assert result.gates["limit"].iloc[0] == pytest.approx(1.05)
    assert result.methods["score"].to_dict() == {"amnesiac": 0.0, "fine_tune": pytest.approx(0.8)}
    assert result.blocks["reason"].to_list() == ["utility", ""]
    assert result.methods["status"]["amnesiac"] == "utility gate failed in 1 of 1 blocks"


def test_utility_gate_is_on_the_mean_over_seeds(made: SimpleNamespace) -> None:
    maes = (1.2, 0.8)  # one seed beyond the limit, the mean within
    records = [
        made.record(seed=seed, metrics={"rnc": 0.5, "mae_test_retain": mae, "gap_test_retain": mae - 1.0})
        for seed, mae in enumerate(maes)
    ]
    assert scores.score(board(records, made.catalogue())).methods["score"]["fine_tune"] == pytest.approx(0.5)


def test_a_block_with_nothing_to_forget_is_shown_and_not_scored(made: SimpleNamespace) -> None:
    records = [
        made.record(split=split, split_hash=split, metrics={"rnc": rnc, "dsr": dsr})
        for split, rnc, dsr in (("band", 0.6, 9.0), ("random", 0.1, 1.2))
    ]
    result = scores.score(board(records, made.catalogue()))
    assert result.methods["score"]["fine_tune"] == pytest.approx(0.6)
    assert result.gates["reason"].to_list() == ["", "nothing to forget (DSR 1.2)"]
    assert np.isnan(result.blocks["score"]["california-mlp", "random", "fine_tune"])


def test_a_block_without_rnc_is_not_scored_even_where_a_method_failed(made: SimpleNamespace) -> None:
    records = [
        made.record(metrics={"dsr": 5.0}),
        made.record(method="amnesiac", status="timeout", reason="600 s", metrics={}),
    ]
    result = scores.score(board(records, made.catalogue()))
    assert result.methods["score"].isna().all()
    assert result.methods["rank"].isna().all()
    assert result.methods["status"]["amnesiac"] == "timeout in 1 of 1 cells"
    assert result.gates["reason"].iloc[0] == "nothing to forget (RNC not defined)"


def test_a_method_alone_without_rnc_scores_zero(made: SimpleNamespace) -> None:
    records = [made.record(), made.record(method="amnesiac", metrics={"dsr": 5.0})]
    result = scores.score(board(records, made.catalogue()))
    assert result.methods["score"]["amnesiac"] == 0
    assert result.methods["status"]["amnesiac"] == "RNC not defined in 1 of 1 cells"


def test_a_method_with_holes_gets_no_score_and_takes_none_from_others(made: SimpleNamespace) -> None:
    records = made.toy()
    whole = scores.score(board(records, made.toy_catalogue()))
    holey = scores.score(
        board([r for r in records if r.key != ("toy-mlp", "band", "beta", 0)], made.toy_catalogue())
    )
    assert np.isnan(holey.methods["score"]["beta"])
    assert np.isnan(holey.methods["rank"]["beta"])
    assert holey.methods["status"]["beta"] == "missing 1 of 4 cells; diverged in 1 of 4 cells"
    assert holey.blocks["reason"]["toy-mlp", "band", "beta"].startswith("missing 1 of 2 cells; diverged")
    assert holey.blocks["score"]["toy-mlp", "random", "beta"] == pytest.approx(0.45)
    assert holey.methods.loc["alpha", "score"] == whole.methods.loc["alpha", "score"]


def test_references_sentinels_and_cheats_are_never_ranked(made: SimpleNamespace) -> None:
    result = scores.score(board(made.grid(tasks=("california-mlp",)), made.catalogue()))
    ranked = set(result.methods.index[result.methods["rank"].notna()])
    assert ranked == {"blindspot", "bad_teacher", "gaussian_finetune", "fine_tune", "amnesiac"}
    assert result.methods["score"]["retrain"] > 0.9
    assert result.methods["score"]["head_distillation"] < 0.1  # its RNC is 0.97: the probe sees it
    assert result.methods["score"]["reinitialised"] == 0


def test_a_mixed_history_of_a_method_is_said(made: SimpleNamespace) -> None:
    records = made.toy()
    records[0] = dataclasses.replace(records[0], method_hash="other")
    result = scores.score(board(records, made.toy_catalogue()))
    assert result.methods["status"]["alpha"] == "records of 2 versions of the method's file"
