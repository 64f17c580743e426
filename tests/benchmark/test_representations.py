"""Probes find linear knowledge of known size; similarity is what algebra says."""

import math

import numpy as np
import pytest

from regunlearn.benchmark import representations as rep
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array


def layer(targets: Array, noise: float, rng: np.random.Generator, width: int = 8) -> Array:
    """Features that know the target up to noise of this size, mixed with others that do not."""
    known = targets + noise * rng.normal(size=targets.shape)
    mixed = np.concatenate([known, rng.normal(size=(len(targets), width - targets.shape[1]))], axis=1)
    return mixed @ np.linalg.qr(rng.normal(size=(width, width)))[0]


# Probe recovery -----------------------------------------------------------------------------------------------


def test_probe_error_of_known_noise() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=(2000, 1))
    z = layer(y, 0.5, rng)
    expected = math.sqrt(2 / math.pi) * 0.5 / math.sqrt(1.25)  # residual of the regression of y on y + noise
    assert rep.probe_error(z[:1500], y[:1500], z[1500:], y[1500:]) == pytest.approx(expected, rel=0.08)


def test_an_edit_of_the_head_recovers_everything() -> None:
    """The head-distillation cheat: whatever its outputs say, its features are the original's."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=(600, 1))
    seeds = [(layer(y, 0.1, rng), layer(y, 2.0, rng), layer(y, 2.0, rng)) for _ in range(4)]
    errors = np.array(
        [[rep.probe_error(z[:400], y[:400], z[400:], y[400:]) for z in models] for models in seeds]
    )
    original, retrained, again = errors.T
    assert rep.recovery(original, original, retrained) == 1
    found = rep.recovery(again, original, retrained)
    assert found is not None
    assert found < 0.05
    assert rep.recovery(original, retrained, original) is None
    assert rep.recovery(retrained + 1, original, retrained) == 0


# Probe information --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_information_of_noisy_targets(noise: float) -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=(4000, 2)) * [1.0, 10.0]
    z = y + [noise, 10 * noise] * rng.normal(size=y.shape)
    assert rep.gaussian_information(z, y) == pytest.approx(0.5 * math.log(1 + 1 / noise**2), abs=0.03)


def test_a_random_layer_knows_nothing_and_a_dead_one_too() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(1000, 1))
    assert abs(rep.gaussian_information(rng.normal(size=(1000, 16)), y)) < 0.02
    assert abs(rep.gaussian_information(np.zeros((1000, 4)), y)) < 0.02
    wide = rng.normal(size=(60, 200))  # wider than there are rows: does not interpolate
    assert abs(rep.gaussian_information(wide, y[:60])) < 0.3


def test_information_does_not_depend_on_units() -> None:
    rng = np.random.default_rng(4)
    y = rng.normal(size=(300, 1))
    z = layer(y, 0.5, rng)
    expected = rep.gaussian_information(z, y)
    assert rep.gaussian_information(50 * z - 3, -7 * y + 100) == pytest.approx(expected, rel=1e-6)
    rows = rng.permutation(300)
    assert rep.gaussian_information(z[rows], y[rows]) == pytest.approx(expected, abs=0.02)


def test_information_difference() -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(size=(1500, 1))
    original, retrained, again, half, less = (
        [layer(y, noise, rng), layer(y, 2 * noise, rng)] for noise in (0.2, 1.0, 1.0, 0.5, 5.0)
    )
    difference = {
        name: rep.information_difference(layers, original, retrained, y)
        for name, layers in {"none": original, "null": again, "half": half, "less": less}.items()
    }
    assert difference["none"] == 1
    assert difference["null"] == pytest.approx(0, abs=0.03)
    assert difference["half"] is not None
    assert 0.2 < difference["half"] < 0.6
    assert difference["less"] is not None
    assert difference["less"] < -0.05  # not clipped
    assert rep.information_difference(again, retrained, original, y) is None


def test_balanced_rows() -> None:
    rows = rep.balanced_rows(30, 200, seed=1)
    assert len(np.unique(rows)) == 30
    assert rows.max() < 200
    np.testing.assert_array_equal(rows, rep.balanced_rows(30, 200, seed=1))
    assert len(rep.balanced_rows(300, 200)) == 200


# Similarity ---------------------------------------------------------------------------------------------------


def hsic_of_kernels(a: Array, b: Array) -> float:
    """Song et al., equation 5, as it reads, on features that are not centred."""
    n = len(a)
    k, l = a @ a.T, b @ b.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    one = np.ones(n)
    trace = np.trace(k @ l) + one @ k @ one * (one @ l @ one) / ((n - 1) * (n - 2))
    return float((trace - 2 / (n - 2) * (one @ k @ l @ one)) / (n * (n - 3)))


def test_cka_equals_its_definition() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(1.0, 1.0, size=(30, 5)), rng.normal(-2.0, 1.0, size=(30, 9))
    b[:, 0] += a[:, 0]
    expected = hsic_of_kernels(a, b) / math.sqrt(hsic_of_kernels(a, a) * hsic_of_kernels(b, b))
    assert rep.linear_cka(a, b) == pytest.approx(expected, rel=1e-9)


def test_cka_ignores_rotation_scale_and_shift() -> None:
    rng = np.random.default_rng(7)
    z = rng.normal(size=(100, 12))
    rotated = -3.7 * z @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + 5
    assert rep.linear_cka(z, rotated) == pytest.approx(1)
    rows = rng.permutation(100)
    other = z + rng.normal(size=z.shape)
    assert rep.linear_cka(z[rows], other[rows]) == pytest.approx(rep.linear_cka(z, other))


def test_debiased_cka_of_unrelated_features_is_zero() -> None:
    """Also for more features than rows, where the biased one is near 1."""
    rng = np.random.default_rng(8)
    values = np.array([rep.linear_cka(*rng.normal(size=(2, 50, 64))) for _ in range(200)])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert values.min() < 0


def test_cka_of_features_that_do_not_vary() -> None:
    assert math.isnan(rep.linear_cka(np.ones((10, 3)), np.random.default_rng(0).normal(size=(10, 3))))


def test_delta_cka_is_zero_for_retrained_and_sees_the_rest() -> None:
    rng = np.random.default_rng(9)
    base, other = rng.normal(size=(2, 80, 6))
    retrained, again, worse = (
        [base + size * rng.normal(size=base.shape) for _ in range(10)] for size in (0.5, 0.5, 2.0)
    )
    assert rep.delta_cka(retrained, retrained).estimate == 0
    null = rep.delta_cka(again, retrained)
    assert null.low < 0 < null.high
    assert rep.delta_cka(worse, retrained).high < -0.1
    assert rep.delta_cka([other] * 10, retrained).high < -0.5


def test_what_does_not_fit_is_refused() -> None:
    z = np.zeros((12, 2))
    with pytest.raises(BenchmarkError, match="too few to cross-fit"):
        rep.gaussian_information(z[:8], z[:8])
    with pytest.raises(BenchmarkError, match="layers of features"):
        rep.information_difference([z], [z, z], [z], z)
    with pytest.raises(BenchmarkError, match="the same rows"):
        rep.linear_cka(z, z[:5])
    with pytest.raises(BenchmarkError, match="expected pairs"):
        rep.delta_cka([z], [z, z])
