"""Entries against each other: known answers and properties."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regunlearn.leaderboard import blocks
from regunlearn.leaderboard.comparison import Outcome, improvement, least_p, outcome, wins

TASK = ("california-mlp",)


@pytest.fixture(scope="module")
def full(made: SimpleNamespace) -> Outcome:
    return outcome(blocks.blocks(made.ensembles(), made.protocol(), made.gates(), made.catalogue()))


def test_improvement_by_hand() -> None:
    scores = np.array([[0.5, 0.3, 0.7], [0.4, 0.3, 0.9]])
    errors = [np.array([[0, 0.1], [0.1, 0]]), np.zeros((2, 2)), np.zeros((2, 2))]
    found = improvement(scores, errors)
    # Phi(1) = 0.8413; equal without an error: 0.5; lower without an error: 0
    np.testing.assert_allclose(
        found, [[0.5, (0.841345 + 0.5) / 3], [1 - (0.841345 + 0.5) / 3, 0.5]], atol=1e-6
    )


@given(
    arrays(float, (4, 3), elements=st.floats(0, 1, width=16)),
    st.lists(st.floats(0, 0.5, width=16), min_size=3, max_size=3),
)
def test_improvement_and_its_transpose_sum_to_one(scores: np.ndarray, sizes: list[float]) -> None:  # type: ignore[type-arg]
    found = improvement(scores, [np.full((4, 4), size) for size in sizes])
    np.testing.assert_allclose(found + found.T, 1.0)
    assert ((found >= 0) & (found <= 1)).all()


def test_wins_by_hand() -> None:
    scores = np.array([[0.5, 0.3], [0.4, 0.3]])
    found = wins(scores, [np.eye(2, dtype=bool), np.ones((2, 2), dtype=bool)])
    assert found[0, 1].tolist() == [1, 1, 0]
    assert found[1, 0].tolist() == [0, 1, 1]


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_wins_ties_and_losses_are_all_blocks(entries: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 3, (entries, count)) / 2
    ties = [own[:, None] == own for own in scores.T]
    found = wins(scores, ties)
    assert (found.sum(axis=2) == count).all()
    np.testing.assert_array_equal(found[..., 0], found[..., 2].T)


def test_least_p() -> None:
    assert least_p(2, 8) == 2**-7
    assert least_p(40, 3) == 1


def test_the_comparison_takes_ranked_entries_and_retrains_cut_short_best_first(full: Outcome) -> None:
    compared = full.comparison
    assert compared is not None
    tier = full.tiers[-1]
    assert set(compared.names) == {*tier.groups["ranked"], *tier.groups["curve"]}
    scores = [full.standing.interval(name)[0] for name in compared.names]
    assert scores == sorted(scores, reverse=True)
    assert compared.ranks.sum() == pytest.approx(sum(range(1, len(compared.names) + 1)))
    assert compared.cliques
    np.testing.assert_allclose(np.diag(compared.improvement), 0.5)
    assert (compared.profiles[:, 0] == 1).all()
    assert list(compared.axes) == ["s_forget", "s_privacy", "s_weights"]
    np.testing.assert_allclose(np.diag(compared.tau), 1.0)


def test_few_blocks_have_no_cliques_and_structured_splits_no_privacy(made: SimpleNamespace) -> None:
    splits = ("band", "tail")
    found = outcome(
        blocks.blocks(
            made.ensembles(tasks=TASK, splits=splits),
            made.protocol(TASK, splits),
            made.gates(TASK, splits),
            made.catalogue(),
        )
    )
    assert found.comparison is not None
    assert found.comparison.cliques is None
    assert list(found.comparison.axes) == ["s_forget", "s_weights"]


@pytest.mark.parametrize("methods", [("fine_tune",), ("original",), ("fine_tune", "constant")])
def test_one_entry_cannot_be_compared(made: SimpleNamespace, methods: tuple[str, ...]) -> None:
    own = blocks.blocks(
        made.ensembles(methods, TASK), made.protocol(TASK), made.gates(TASK), made.catalogue()
    )
    found = outcome(own)
    assert found.comparison is None
    assert found.tiers[-1].ranks == ({"fine_tune": 1} if "fine_tune" in methods else {})
