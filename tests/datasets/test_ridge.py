"""The closed form of the ridge task is the minimum of what training minimises, and what descent converges to."""

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import registry
from regunlearn.datasets.ridge import closed_form, ridge


def standardised() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    data = ridge()
    targets = data.targets[data.train]
    inputs = data.inputs["features"][data.train].astype(np.float64)
    return inputs, (targets - targets.mean()) / targets.std()


def gradient(
    inputs: NDArray[np.float64],
    targets: NDArray[np.float64],
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    weight_decay: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    residual = inputs @ weight.T + bias - targets
    scale = 2 / len(inputs)
    return scale * residual.T @ inputs + weight_decay * weight, scale * residual.sum(
        axis=0
    ) + weight_decay * bias


def test_gradient_is_zero_at_the_closed_form() -> None:
    inputs, targets = standardised()
    weight, bias = closed_form(inputs, targets, 1e-2)
    assert weight.shape == (1, 8)
    assert bias.shape == (1,)
    for part in gradient(inputs, targets, weight, bias, 1e-2):
        np.testing.assert_allclose(part, 0, atol=1e-14)


def test_no_decay_is_least_squares() -> None:
    inputs, targets = standardised()
    weight, bias = closed_form(inputs, targets, 0.0)
    rows = np.column_stack([inputs, np.ones(len(inputs))])
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0][:, 0]
    np.testing.assert_allclose([*weight[0], *bias], expected, atol=1e-12)


def test_the_recipe_converges_to_it() -> None:
    recipe = registry.discover("task").get("ridge").facts["recipe"]
    inputs, targets = standardised()
    weight, bias = np.zeros((1, 8)), np.zeros(1)
    for _ in range(recipe["epochs"]):
        steps = gradient(inputs, targets, weight, bias, recipe["weight_decay"])
        weight, bias = weight - recipe["learning_rate"] * steps[0], bias - recipe["learning_rate"] * steps[1]
    expected = closed_form(inputs, targets, recipe["weight_decay"])
    np.testing.assert_allclose(weight, expected[0], atol=1e-12)
    np.testing.assert_allclose(bias, expected[1], atol=1e-12)
