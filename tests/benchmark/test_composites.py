"""Identity and another retrain get the ends of each scale; corruption and poison leave traces of known size."""

import math

import numpy as np
import pytest
from scipy.stats import kstest

from regunlearn.benchmark import composites
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array

# ToW-R --------------------------------------------------------------------------------------------------------


def test_tow_is_one_for_the_retrained_model_only() -> None:
    retrained = np.array([[2.0, 0.3, 0.5], [2.2, 0.3, 0.6]])
    constant = np.array([1.0, 0.8, 0.8])
    np.testing.assert_array_equal(composites.tow_r(retrained, retrained, constant), [1, 1])
    moved = retrained + np.array([[0.5, 0.0, 0.0], [0.0, 0.4, -0.2]])
    np.testing.assert_allclose(composites.tow_r(moved, retrained, constant), [0.5, 0.5 * 0.75])
    assert composites.tow_r(retrained - 5, retrained, constant).max() == 0
    np.testing.assert_allclose(
        composites.tow_r(30 * moved, 30 * retrained, 30 * constant),
        composites.tow_r(moved, retrained, constant),
    )
    with pytest.raises(BenchmarkError, match="do not vary"):
        composites.tow_r(moved, retrained, np.array([1.0, 0.0, 1.0]))


# Closure of ensembles -----------------------------------------------------------------------------------------


def ensembles(seed: int) -> tuple[Array, Array, Array]:
    """Original, retrained and again retrained models."""
    rng = np.random.default_rng(seed)
    truth, label = rng.normal(size=(2, 200, 1))
    retrained, again = truth + 0.3 * rng.normal(size=(2, 32, 200, 1))
    return truth + label + 0.1 * rng.normal(size=(32, 200, 1)), retrained, again


def test_rnc_of_identity_and_of_another_retrain() -> None:
    original, retrained, again = ensembles(0)
    assert composites.ensemble_rnc(original, original, retrained) == 0
    assert composites.ensemble_rnc(again, original, retrained) == pytest.approx(1, abs=0.02)
    moved = composites.ensemble_rnc(2 * original, original, retrained)
    assert moved is not None
    assert moved < 0
    assert composites.ensemble_rnc(again, retrained, retrained) is None
    scaled = [-7 * ensemble + 100 for ensemble in (again, original, retrained)]
    assert composites.ensemble_rnc(*scaled) == pytest.approx(
        composites.ensemble_rnc(again, original, retrained), rel=1e-9
    )


def test_dsr_is_one_where_there_is_nothing_to_forget() -> None:
    original, retrained, again = ensembles(1)
    assert composites.ensemble_dsr(again, retrained) == pytest.approx(1, abs=0.03)
    dsr = composites.ensemble_dsr(original, retrained)
    assert dsr is not None
    assert dsr > 1.5
    assert composites.ensemble_dsr(original, np.zeros_like(retrained)) is None


def test_null_disagreement_is_the_mean_over_pairs() -> None:
    models = np.random.default_rng(2).normal(size=(5, 7, 2))
    pairs = [np.square(models[a] - models[b]).mean() for a in range(5) for b in range(a)]
    assert composites.null_disagreement(models) == pytest.approx(np.mean(pairs))
    with pytest.raises(BenchmarkError, match="needs 2 of them"):
        composites.null_disagreement(models[:1])


# Interval-shift confusion -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.1, 0.5])
def test_an_intercept_only_model_is_confused_by_rho(rho: float) -> None:
    """Its prediction on the band is the mean target there, which the corruption moves by rho times the shift."""
    shift = 2.0
    clean = np.tile(np.linspace(-1, 1, 10), 10)
    corrupted = np.arange(100) // 10 < 10 * rho  # whole runs, so that both shares have the same mean
    original = np.full((3, 40), (clean + shift * corrupted).mean())
    retrained = np.full((3, 40), clean[~corrupted].mean())
    on_forget = np.full((3, int(corrupted.sum())), original[0, 0])
    found = composites.interval_confusion(original, retrained, shift, on_forget, clean[corrupted], shift)
    np.testing.assert_allclose(found.generalised, rho)
    np.testing.assert_allclose(found.memorised, rho)
    null = composites.interval_confusion(retrained, retrained, shift, on_forget, clean[corrupted], shift)
    np.testing.assert_array_equal(null.generalised, 0)


def test_a_memoriser_is_confused_on_its_own_rows_only() -> None:
    rng = np.random.default_rng(3)
    clean, test = rng.normal(size=20), rng.normal(size=(2, 30))
    shift = np.where(np.arange(20) % 2, 2.0, -2.0)
    found = composites.interval_confusion(test, test, 2.0, np.tile(clean + shift, (2, 1)), clean, shift)
    np.testing.assert_array_equal(found.generalised, 0)
    np.testing.assert_allclose(found.memorised, 1)


# Gaussian poison ----------------------------------------------------------------------------------------------


def test_poison_scores_of_a_model_that_never_saw_it_are_standard_normal() -> None:
    """Of any gradients and any tau: z is N(0, 1) and the p-value uniform, exactly."""
    rng = np.random.default_rng(4)
    tests = []
    for _ in range(200):
        gradients = rng.exponential(size=(60, 5, 3)) * 10.0 ** rng.integers(-6, 6, size=(60, 1, 1))
        scores = composites.poison_scores(gradients, 0.3 * rng.normal(size=gradients.shape), 0.3)
        tests.append(composites.poison_test(scores))
    assert kstest([test.p_value for test in tests], "uniform").pvalue > 0.01
    assert kstest([test.z for test in tests], "norm").pvalue > 0.01


def test_poison_scores_of_a_linear_model_that_was_trained_on_it() -> None:
    """Least squares on x + xi: the error's gradient at the clean input leans against the poison."""
    rng = np.random.default_rng(5)
    n, d, tau = 200, 100, 0.5
    x, y = rng.normal(size=(n, d)), rng.normal(size=n)
    found = {}
    for name, poison in (("trained", tau * rng.normal(size=(n, d))), ("clean", np.zeros((n, d)))):
        weights = np.linalg.lstsq(x + poison, y, rcond=None)[0]
        gradients = (x @ weights - y)[:, None] * weights
        tested = poison if name == "trained" else tau * rng.normal(size=(n, d))
        found[name] = composites.poison_test(composites.poison_scores(gradients, tested, tau))
    assert abs(found["trained"].z) > 4
    assert found["trained"].p_value < 0.001
    assert abs(found["clean"].z) < 3


def test_poison_scores_by_hand_and_rows_without_gradient() -> None:
    gradients, poison = np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[1.0, 2.0], [5.0, 5.0]])
    np.testing.assert_allclose(composites.poison_scores(gradients, poison, 0.5), [11 / 2.5])
    assert composites.poison_test(np.array([1.0, 2.0])).z == pytest.approx(math.sqrt(2) * 1.5)
    with pytest.raises(BenchmarkError, match="no forget row has a gradient"):
        composites.poison_test(composites.poison_scores(gradients[1:], poison[1:], 0.5))
