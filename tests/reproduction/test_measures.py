"""Errors averaged both ways, constants, correlations and the density, against answers known by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.reproduction import measures


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from(["mse", "l1"]))
def test_batch_means_are_the_mean_of_the_means_of_batches(n: int, batch: int, loss: str) -> None:
    rng = np.random.default_rng(n)
    predictions, targets = rng.normal(size=(2, n))
    rows = measures.losses(predictions, targets, loss)
    expected = np.mean([rows[start : start + batch].mean() for start in range(0, n, batch)])
    assert measures.error(predictions, targets, loss, batch) == pytest.approx(expected)
    assert measures.error(predictions, targets, loss) == pytest.approx(rows.mean())


def test_a_short_last_batch_weighs_as_much_as_a_full_one() -> None:
    targets = np.array([0.0, 0.0, 3.0])
    assert measures.error(np.zeros(3), targets, "l1") == pytest.approx(1.0)
    assert measures.error(np.zeros(3), targets, "l1", batch=2) == pytest.approx(1.5)


def test_the_best_constant_is_the_mean_or_the_median() -> None:
    targets = np.array([0.0, 1.0, 8.0])
    assert measures.best_constant(targets, "mse") == pytest.approx(3.0)
    assert measures.best_constant(targets, "l1") == pytest.approx(1.0)


@pytest.mark.parametrize("loss", ["mse", "l1"])
@pytest.mark.parametrize("batch", [None, 7])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_constant_with_an_error_has_it_and_lies_on_the_retain_side(
    loss: str, batch: int | None, side: float
) -> None:
    rng = np.random.default_rng(3)
    forget, retain = side * rng.uniform(0, 2, 30), side * rng.uniform(2, 5, 40)
    found = measures.constant_with(4.0, forget, retain, loss, batch)
    assert found is not None
    assert measures.error(np.full(30, found), forget, loss, batch) == pytest.approx(4.0)
    assert side * found > side * forget.mean()


def test_the_constant_by_the_formula_for_squared_errors() -> None:
    forget = np.array([0.0, 2.0])  # mean 1, variance 1: (c - 1)^2 + 1 = 5 at c = 3
    assert measures.constant_with(5.0, forget, np.array([4.0]), "mse") == pytest.approx(3.0)
    assert measures.constant_with(0.5, forget, np.array([4.0]), "mse") is None


def test_errors_hold_both_averages_and_the_constant() -> None:
    rng = np.random.default_rng(0)
    retain, forget = (rng.uniform(2, 5, 20), np.sort(rng.uniform(2, 5, 20))), (np.full(10, 3.0), np.zeros(10))
    found = measures.errors(retain, forget, "mse", 8)
    assert set(found) == {
        f"{name}_{average}"
        for name in ("test_retain", "test_forget", "constant_retain")
        for average in ("rows", "batches")
    }
    assert found["constant_retain_rows"] == pytest.approx(np.square(3.0 - retain[1]).mean())


def test_a_constant_has_no_correlation() -> None:
    targets = np.array([1.0, 2.0, 3.0])
    found = measures.correlations({"test": (targets**3, targets), "retain": (np.ones(3), targets)})
    assert set(found) == {"pearson_test", "spearman_test"}
    assert found["spearman_test"] == pytest.approx(1.0)


def test_the_density_counts_every_row_once() -> None:
    found = measures.density(
        np.array([10.0, 11.0, 100.0, 10.5]), np.full(4, 10.0), np.array([10.0, 10, 10, 5])
    )
    assert found["edges"][:2] == pytest.approx([0.0, 0.1])
    assert found["counts"][0] == 1
    assert found["counts"][1] == 2  # 0.1 belongs to the bin that it opens
    assert found["beyond"] == [1.0]
    assert sum(found["counts"]) + found["beyond"][0] == 4
