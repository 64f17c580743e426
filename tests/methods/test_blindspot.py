"""Known answers for Blindspot: its loss by hand, its attention term's bounds, its proxy left alone."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regunlearn.benchmark.spec import Batch
from regunlearn.methods.blindspot import (
    attention_gap,
    blindspot,
    corrected_map,
    objective,
    published_map,
    unlearn,
)

Make = Callable[..., Any]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_loss_of_one_batch_by_hand(make: Make) -> None:
    request = make().request()  # mean squared error
    batch = Batch(
        (torch.zeros(4, 5),), torch.tensor([[1.0], [2.0], [3.0], [9.0]]), torch.tensor([0, 0, 0, 1]) > 0
    )
    predictions = torch.tensor([[1.5], [2.0], [1.0], [4.0]])
    advice, gap = torch.tensor([[2.0]]), torch.tensor(0.03)
    # forget: (4 - 2)^2 = 4 and 50 * 0.03 = 1.5, weight 1/4; retain: (0.25 + 0 + 4) / 3, weight 3/4
    found = objective(request, batch, predictions, advice, 50.0 * gap)
    assert float(found) == pytest.approx(0.25 * (4 + 1.5) + 0.75 * 4.25 / 3)


@pytest.mark.parametrize("forget", [True, False])
def test_missing_part_of_a_batch_adds_nothing(make: Make, forget: bool) -> None:
    request = make().request()
    batch = Batch((torch.zeros(2, 5),), torch.tensor([[1.0], [2.0]]), torch.full((2,), forget))
    predictions = torch.tensor([[0.0], [0.0]])
    advice = torch.tensor([[3.0], [1.0]]) if forget else predictions[:0]
    expected = 5.0 + 7.0 if forget else 2.5
    assert float(objective(request, batch, predictions, advice, torch.tensor(7.0))) == pytest.approx(expected)


def test_published_attention_by_hand() -> None:
    # Two channels on a 1 x 2 map: means of squares (5, 10) and (2, 0), unit vectors (1, 2) / sqrt 5 and (1, 0).
    mine = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
    wanted = torch.tensor([[[[2.0, 0.0]], [[0.0, 0.0]]]])
    root = 5**0.5
    expected = ((1 / root - 1) ** 2 + (2 / root) ** 2) / 2
    torch.testing.assert_close(published_map(mine), torch.tensor([[5.0, 10.0]]) / 125**0.5)
    found = attention_gap({"a": mine}, {"a": wanted}, published=True)
    assert float(found) == pytest.approx(expected)
    assert float(attention_gap({"a": mine}, {"a": wanted}, published=False)) == pytest.approx(2 * expected)


@pytest.mark.parametrize("side", [1, 2, 5, 16])
def test_published_attention_vanishes_with_the_size_of_the_map(side: int) -> None:
    gap = attention_gap({"a": draw(6, 3, side, side)}, {"a": draw(6, 3, side, side, seed=1)}, published=True)
    assert 0 <= float(gap) <= 2 / side**2
    opposite = torch.zeros(2, 1, 1, side**2 + 1, dtype=torch.float64)
    opposite[0, ..., 0] = opposite[1, ..., 1] = 3.0
    worst = attention_gap({"a": opposite[:1]}, {"a": opposite[1:]}, published=True)
    assert float(worst) == pytest.approx(2 / (side**2 + 1))
    assert float(attention_gap({"a": opposite[:1]}, {"a": opposite[1:]}, published=False)) == pytest.approx(2)


def test_published_attention_is_blind_to_activations_without_positions() -> None:
    mine = draw(6, 9).requires_grad_()
    gap = attention_gap({"a": mine}, {"a": draw(6, 9, seed=1)}, published=True)
    (gradient,) = torch.autograd.grad(gap, mine)
    assert float(gap.detach()) == 0
    assert float(gradient.abs().max()) < 1e-12
    assert float(attention_gap({"a": mine.detach()}, {"a": draw(6, 9, seed=1)}, published=False)) > 0.1


def test_corrected_attention_of_a_sequence_is_over_time() -> None:
    states = draw(4, 7, 3)
    assert published_map(states).shape == (4, 3)
    assert corrected_map(states).shape == (4, 7)
    assert corrected_map(draw(4, 3, 5, 6)).shape == (4, 30)
    torch.testing.assert_close(corrected_map(states).norm(dim=1), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("setting", ["mlp", "batch_norm", "cnn", "lstm"])
def test_zero_weight_is_the_same_as_no_attention(make: Make, setting: str) -> None:
    states = [
        blindspot(make(setting).request(), share=0.1, beta=beta, attention=attention).state_dict()
        for beta, attention in ((0.0, "published"), (0.0, "corrected"), (50.0, "none"))
    ]
    for other in states[1:]:
        assert all(torch.equal(v, other[k]) for k, v in states[0].items())


@pytest.mark.parametrize("attention", ["published", "corrected"])
def test_attention_is_felt(make: Make, attention: str) -> None:
    none, some = (
        blindspot(make("cnn").request(), attention=which).state_dict() for which in ("none", attention)
    )
    assert any(not torch.equal(v, some[k]) for k, v in none.items())


def test_the_proxy_is_left_as_it_is(make: Make) -> None:
    request = make("batch_norm").request()
    proxy = request.fit(request.new_model(), request.retain, epochs=2)
    before = copy.deepcopy(proxy.state_dict())
    student = unlearn(request, proxy, epochs=5, rate=0.1, beta=50.0, attention="corrected")
    assert all(torch.equal(v, before[k]) for k, v in proxy.state_dict().items())
    assert not proxy.training
    assert student is request.model


def test_forget_rows_come_to_agree_with_the_proxy(make: Make) -> None:
    request = make().request()
    proxy = request.fit(request.new_model(), request.retain, epochs=20)

    def gap(model: nn.Module) -> float:
        difference = request.predict(model, request.forget) - request.predict(proxy, request.forget)
        return float(difference.abs().mean())

    before = gap(request.model)
    unlearn(request, proxy, epochs=100, rate=1.0, beta=0.0, attention="none")
    assert gap(request.model) < 0.3 * before


def test_the_proxy_s_training_is_counted(make: Make) -> None:
    # 2 epochs of 2 batches of 16 retain rows, then 1 epoch of 3 batches of 16 among 48 rows; the proxy's
    # forward passes over the 12 forget rows cost a third.
    request = make().request()
    blindspot(request)
    assert request.meter.backward_rows == 2 * 2 * 16 + 3 * 16
    assert request.meter.passes == pytest.approx(2 * 2 * 16 + 3 * 16 + 12 / 3)


def test_unknown_attention_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="published, corrected, none"):
        blindspot(make().request(), attention="spatial")
