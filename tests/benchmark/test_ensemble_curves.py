"""Known answers for what figures show of an ensemble."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from regunlearn.benchmark import ensemble_curves as curves
from regunlearn.benchmark import membership
from regunlearn.benchmark.statistics import Mask


def test_equal_models_lie_in_the_first_bin_and_distant_ones_in_the_last() -> None:
    draw = np.random.default_rng(0)
    same = draw.normal(size=(16, 30, 1))
    assert curves.row_distances(same, same)["counts"] == [30.0, *[0.0] * (curves.BINS - 1)]
    assert curves.row_distances(same + 100, same)["counts"] == [*[0.0] * (curves.BINS - 1), 30.0]


def test_a_shift_lies_at_its_total_variation() -> None:
    draw = np.random.default_rng(1)
    models = draw.normal(size=(2000, 50, 1))
    counts = curves.row_distances(models + 1.0, models)["counts"]
    assert np.argmax(counts) == int((2 * norm.cdf(0.5) - 1) * curves.BINS)  # 0.383
    assert sum(counts) == 50


def exposure(models: int, rows: int) -> Mask:
    half = np.arange(models)[:, None] % 2 == np.arange(rows) % 2
    return np.asarray(half)


def test_an_attack_that_sees_nothing_is_on_the_diagonal() -> None:
    inside = exposure(64, 400)
    roc = curves.attack_roc(np.random.default_rng(2).normal(size=inside.shape), inside)
    assert np.allclose(roc["tpr"], roc["fpr"], atol=0.02)
    assert roc["fpr"][0] == 0.001
    assert roc["tpr"][-1] == 1.0


def test_an_attack_on_what_is_remembered_is_in_the_corner() -> None:
    inside = exposure(64, 100)
    residuals = np.random.default_rng(3).normal(size=inside.shape) + 20.0 * inside
    assert min(curves.attack_roc(residuals, inside)["tpr"]) > 0.99


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0))
def test_the_rates_are_those_of_tpr_at_and_rise(seed: int, shift: float) -> None:
    inside = exposure(8, 30)
    residuals = np.random.default_rng(seed).normal(size=inside.shape) + shift * inside
    scores = membership.lira_scores(residuals, inside)
    roc = curves.attack_roc(residuals, inside)
    for fpr, tpr in zip(roc["fpr"], roc["tpr"], strict=True):
        assert tpr == pytest.approx(membership.tpr_at(scores[inside], scores[~inside], fpr), abs=1e-4)
    assert roc["tpr"] == sorted(roc["tpr"])


@pytest.mark.parametrize("rows", [1, 7, 40, 333])
def test_predictions_are_means_in_the_order_of_the_targets(rows: int) -> None:
    draw = np.random.default_rng(4)
    targets = draw.permutation(rows).astype(float)[:, None]
    unlearned = np.stack([targets - 1, targets + 3])
    found = curves.mean_predictions(unlearned, unlearned - 1, targets)
    assert len(found["target"]) == min(rows, curves.SHOWN)
    assert found["target"] == sorted(found["target"])
    assert (found["target"][0], found["target"][-1]) == (0, rows - 1)
    assert np.allclose(found["unlearned"], np.array(found["target"]) + 1, rtol=1e-3)
    assert np.allclose(found["retrained"], found["target"], rtol=1e-3)
