"""Known answers for the deliberately wrong methods."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from regunlearn.benchmark import training
from regunlearn.methods.constant import constant
from regunlearn.methods.head_distillation import head_distillation, least_squares
from regunlearn.methods.reinitialised import reinitialised

Make = Callable[..., Any]


@pytest.mark.parametrize("setting", ["mlp", "two_outputs", "cnn", "lstm", "linear"])
def test_constant_predicts_the_median_of_retain_targets(make: Make, setting: str) -> None:
    request = make(setting).request()
    predictions = request.predict(constant(request), request.validation)
    expected = np.median(request.retain.targets.numpy(), axis=0)
    np.testing.assert_allclose(predictions, np.broadcast_to(expected, predictions.shape), rtol=1e-6)
    assert request.meter.backward_rows == 0


def test_reinitialised_is_another_network_each_time(make: Make) -> None:
    request = make().request()
    one, other = reinitialised(request), reinitialised(request)
    assert request.meter.passes == 0
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize("setting", ["mlp", "batch_norm", "two_outputs", "cnn", "lstm"])
def test_head_distillation_leaves_the_encoder_bit_for_bit(make: Make, setting: str) -> None:
    harness = make(setting)
    original, teacher = harness.models()
    state = head_distillation(harness.request(), teacher).state_dict()
    for name, values in original.state_dict().items():
        assert torch.equal(values, state[name]) is not name.startswith("head."), name


@pytest.mark.parametrize("setting", ["mlp", "two_outputs", "cnn"])
def test_head_distillation_is_the_least_squares_fit(make: Make, setting: str) -> None:
    harness = make(setting, precision="float64")
    original, teacher = harness.models()
    request, (rows, _) = harness.request(), harness.rows()
    features = training.predict(original, rows.inputs, head="head")[1]
    wanted = training.predict(teacher, rows.inputs)[0]
    best = LinearRegression().fit(features, wanted).predict(features)
    found = request.predict(head_distillation(request, teacher), rows)
    np.testing.assert_allclose(found, best.reshape(found.shape), atol=1e-6)
    assert request.meter.backward_rows == 0


def test_head_distillation_recovers_a_teacher_with_the_same_encoder(make: Make) -> None:
    harness = make(precision="float64")
    request, teacher = harness.request(), harness.models()[0]
    with torch.no_grad():
        teacher.head.weight.mul_(-2)
        teacher.head.bias.add_(1)
    wanted = request.predict(teacher, request.validation)
    torch.testing.assert_close(
        request.predict(head_distillation(request, teacher), request.validation), wanted, atol=1e-6, rtol=0
    )


def test_least_squares_bears_units_that_are_off_and_no_units_on() -> None:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(30, 4, generator=draw)
    features[:, 2] = 0
    targets = features[:, :1] * 3 - features[:, 3:] + 0.5
    weight, bias = least_squares(features, targets, 1e-9)
    assert weight.dtype == torch.float64
    torch.testing.assert_close(
        weight[0], torch.tensor([3.0, 0, 0, -1], dtype=torch.float64), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(bias, torch.tensor([0.5], dtype=torch.float64), atol=1e-5, rtol=0)
    weight, bias = least_squares(torch.zeros(30, 4), targets, 1e-9)
    assert not weight.any()
    torch.testing.assert_close(bias, targets.double().mean(0))
