"""Overall scores, ties, ranks, fronts and tiers: known answers and properties."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regunlearn.benchmark.statistics import interquartile_mean, jackknife_variance
from regunlearn.leaderboard import blocks
from regunlearn.leaderboard.blocks import Blocks
from regunlearn.leaderboard.tiers import (
    half_null,
    iqm_replicates,
    jackknife_errors,
    overall,
    paired_dominance,
    ranks,
    stand,
    tied,
    tiers,
)

TASK = ("california-mlp",)
shares = st.floats(0, 1, allow_nan=False).map(lambda value: round(value, 6))


def board(made: SimpleNamespace, methods: "tuple[str, ...] | None" = None) -> Blocks:
    return blocks.blocks(made.ensembles(methods), made.protocol(), made.gates(), made.catalogue())


# Formulas -----------------------------------------------------------------------------------------------------


def test_iqm_replicates_by_hand() -> None:
    scores = np.array([[0.1, 0.4, 0.6, 0.9]])  # the middle half: 0.4 and 0.6
    block = [np.array([[0.1, 0.2]]), np.array([[0.2, 0.5]]), np.array([[0.6, 0.6]]), np.array([[0.9, 0.0]])]
    found = iqm_replicates(scores, block)
    np.testing.assert_allclose(found, [[[0.5, 0.5]], [[0.4, 0.55]], [[0.5, 0.5]], [[0.5, 0.25]]])


def test_jackknife_errors_by_hand() -> None:
    one, other = np.array([[0.1, 0.3], [0.2, 0.2]]), np.array([[0.5, 0.5, 0.8], [0.5, 0.5, 0.8]])
    single, paired = jackknife_errors([one, other])
    # strata: 1/2 * 0.02 = 0.01 and 2/3 * 0.06 = 0.04; the second one cancels in the difference
    np.testing.assert_allclose(single, np.sqrt([0.05, 0.04]))
    np.testing.assert_allclose(paired, [[0, 0.1], [0.1, 0]], atol=1e-12)


@given(arrays(float, (3, 7), elements=shares), arrays(float, (3, 5), elements=shares))
def test_errors_agree_with_the_plain_jackknife(one: np.ndarray, other: np.ndarray) -> None:  # type: ignore[type-arg]
    single, paired = jackknife_errors([one, other])
    for a in range(3):
        assert single[a] ** 2 == pytest.approx(sum(jackknife_variance(own[a]) for own in (one, other)))
        for b in range(3):
            expected = sum(jackknife_variance(own[a] - own[b]) for own in (one, other))
            assert paired[a, b] ** 2 == pytest.approx(expected, abs=1e-12)


@given(arrays(float, (2, 6), elements=shares), arrays(float, (2, 4), elements=shares))
def test_fewer_than_four_blocks_are_a_mean(scores: np.ndarray, own: np.ndarray) -> None:  # type: ignore[type-arg]
    scores = scores[:, :3]
    found = iqm_replicates(scores, [own, own, own])
    for at, replicate in enumerate(found):
        rest = np.delete(scores, at, axis=1).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(replicate, (rest + own) / 3)


def test_half_null() -> None:
    assert half_null(np.array([0.1, 0.2])) == pytest.approx(0.075)
    assert half_null(np.array([0.1, np.nan])) == pytest.approx(0.05)
    assert half_null(np.array([np.nan])) == 0


def test_ties_are_by_interval_or_by_margin() -> None:
    scores = np.array([0.9, 0.7, 0.68, 0.4])
    errors = np.array([[0, 0.01, 0.2, 0], [0.01, 0, 0.001, 0], [0.2, 0.001, 0, 0], [0, 0, 0, 0]])
    ties = tied(scores[:, None] - scores, errors, 2.0, 0.03)
    np.testing.assert_array_equal(
        ties,
        [
            [True, False, True, False],
            [False, True, True, False],
            [True, True, True, False],
            [False] * 3 + [True],
        ],
    )


def test_a_tie_shares_the_rank_of_the_best_of_its_group() -> None:
    scores = np.array([0.4, 0.9, 0.8, 0.7])
    ties = np.eye(4, dtype=bool)
    ties[1, 2] = ties[2, 1] = True  # 0.9 ~ 0.8
    ties[2, 3] = ties[3, 2] = True  # 0.8 ~ 0.7, but 0.7 is not tied with 0.9
    np.testing.assert_array_equal(ranks(scores, ties), [4, 1, 1, 3])
    assert ranks(np.zeros(0), np.zeros((0, 0), dtype=bool)).size == 0


@given(arrays(float, st.integers(1, 8).map(lambda n: (n,)), elements=shares), st.floats(0, 0.5))
def test_ranks_follow_the_scores(scores: np.ndarray, margin: float) -> None:  # type: ignore[type-arg]
    gaps = scores[:, None] - scores
    found = ranks(scores, tied(gaps, np.zeros_like(gaps), 2.0, margin))
    assert found.min() == 1
    assert all(found[a] <= found[b] for a in range(len(scores)) for b in range(len(scores)) if gaps[a, b] > 0)
    assert found[np.argmax(scores)] == 1


def test_dominance_by_paired_intervals_and_measured_costs() -> None:
    scores = np.array([0.5, 0.48, 0.2, 0.5])
    errors = np.full((4, 4), 0.05)
    np.fill_diagonal(errors, 0)
    costs = np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 0.2], [np.nan, 0.05]])
    found = paired_dominance(scores[:, None] - scores, errors, 2.0, costs)
    expected = np.zeros((4, 4), dtype=bool)
    expected[0, 2] = expected[1, 2] = True  # significantly higher and cheaper; 0 and 1 are not told apart
    np.testing.assert_array_equal(found, expected)


def test_an_entry_of_the_same_score_is_dominated_by_a_cheaper_one() -> None:
    zeros = np.zeros((2, 2))
    found = paired_dominance(zeros, zeros, 2.0, np.array([[1.0, 0.1], [1.0, 0.2]]))
    np.testing.assert_array_equal(found, [[False, True], [False, False]])


# The board ----------------------------------------------------------------------------------------------------


def test_standing_is_the_iqm_with_a_clipped_interval(made: SimpleNamespace) -> None:
    standing = stand(board(made))
    assert standing.names == sorted(made.entries)
    np.testing.assert_allclose(standing.iqm, interquartile_mean(standing.scores))
    assert (standing.low <= standing.iqm).all()
    assert (standing.iqm <= standing.high).all()
    assert standing.low.min() == 0
    assert standing.high.max() <= 1
    assert standing.margin == pytest.approx(0.04)
    assert standing.interval("reinitialised") == (0, 0, 0)
    assert math.isnan(standing.interval("nobody")[0])
    # eight units at the least: pairs of sixteen models
    assert standing.quantile == pytest.approx(2.364624)


def test_an_entry_without_a_scored_block_is_incomplete(made: SimpleNamespace) -> None:
    records = [
        r for r in made.ensembles() if (r.method, r.task, r.split) != ("amnesiac", "sentiment-lstm", "band")
    ]
    lacking = blocks.blocks(records, made.protocol(), made.gates(), made.catalogue())
    assert "amnesiac" not in stand(lacking).names
    last = tiers(lacking, stand(lacking), overall(lacking))[-1]
    assert list(last.groups["incomplete"]) == ["amnesiac"]
    assert "amnesiac" not in last.ranks
    # a block that is not scored may be missing
    failed = made.gates(failed=(("sentiment-lstm", "band"),))
    assert "amnesiac" in stand(blocks.blocks(records, made.protocol(), failed, made.catalogue())).names


def test_tiers_by_the_most_expensive_block(made: SimpleNamespace) -> None:
    records = made.ensembles()
    for at, record in enumerate(records):
        if record.key[:3] == ("california-mlp", "tail", "gaussian_finetune"):
            records[at] = dataclasses.replace(record, passes=0.100001)  # beyond the tolerance
        if record.key[:3] == ("california-mlp", "tail", "fine_tune"):
            records[at] = dataclasses.replace(record, passes=0.1 * (1 + 5e-7))
    own = blocks.blocks(records, made.protocol(), made.gates(), made.catalogue())
    cheap, middle, dear, free = tiers(own, stand(own), overall(own))
    assert list(cheap.groups["ranked"]) == ["fine_tune-tuned"]
    assert sorted(middle.groups["ranked"]) == ["fine_tune", "fine_tune-tuned"]
    assert "gaussian_finetune" in dear.groups["ranked"]
    assert [tier.label for tier in (cheap, middle, dear, free)] == ["0.02", "0.1", "0.25", "any"]
    assert list(cheap.groups["curve"]) == ["truncated_retrain-2"]
    assert list(middle.groups["curve"]) == ["truncated_retrain-10", "truncated_retrain-2"]
    for tier in (cheap, middle, dear):
        assert list(tier.groups["anchor"]) == ["retrain", "original"]
        assert not tier.groups["sentinel"]
    assert sorted(free.groups["sentinel"]) == ["constant", "head_distillation", "reinitialised"]
    assert set(free.ranks) == set(free.groups["ranked"])


def test_overall_means_are_over_scored_blocks_that_ended_well(made: SimpleNamespace) -> None:
    records = made.ensembles(("fine_tune", "retrain"), ("california-mlp",))
    records[0] = dataclasses.replace(
        records[0], status="error", reason="x", metrics={}, curves={}, passes=0.4
    )
    own = blocks.blocks(
        records, made.protocol(("california-mlp",)), made.gates(("california-mlp",)), made.catalogue()
    )
    means = overall(own)
    ok = [record.metrics["tv"] for record in records[1:4]]
    assert means["tv"].to_dict()["fine_tune"] == pytest.approx(np.mean(ok))
    assert means["passes"].to_dict() == {"fine_tune": 0.4, "retrain": 1.0}
    assert means["badges"].to_dict() == {"fine_tune": 0, "retrain": 4}
    assert means["tested"].to_dict() == {"fine_tune": 3, "retrain": 4}
