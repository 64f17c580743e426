"""The network for pairs of sentences: its size, its shared weights, its taps, batches of any size."""

import pytest
import torch
from torch import Tensor, nn

from regunlearn.benchmark import taps
from regunlearn.benchmark.siamese import SiameseLSTM
from regunlearn.benchmark.spec import Shape

SHAPE = Shape(((10, 12), (10, 12)), 1)


def pairs(rows: int, features: int = 12) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, rows, 10, features, generator=draw)
    first[:, :6] = 0
    return first, second


def network(shape: Shape = SHAPE) -> SiameseLSTM:
    torch.manual_seed(0)
    return SiameseLSTM(shape).eval()


def tapped(model: SiameseLSTM, *inputs: Tensor) -> dict[str, Tensor]:
    heard: dict[str, Tensor] = {}
    with taps.listening(model, model.layers, heard.__setitem__):
        model(*inputs)
    return heard


def test_it_has_the_published_size() -> None:
    model = network(Shape(((10, 300), (10, 300)), 1))
    assert sum(values.numel() for values in model.parameters()) == 104_577
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in linear] == [64, 32, 16, 1]
    assert model.head is linear[-1]
    assert model.dropout.p == 0.3


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("training", [False, True])
def test_any_batch_size(rows: int, training: bool) -> None:
    model = network().train(training)
    made = model(*pairs(rows))
    assert made.shape == (rows, 1)
    made.sum().backward()
    for name, values in model.named_parameters():
        assert values.grad is not None, name
        assert values.grad.isfinite().all(), name


def test_a_row_does_not_depend_on_its_batch() -> None:
    model, (first, second) = network(), pairs(7)
    torch.testing.assert_close(model(first, second)[3:4], model(first[3:4], second[3:4]))


def test_it_is_what_two_calls_of_one_lstm_give() -> None:
    model, (first, second) = network(), pairs(5)
    states = [model.encoder(sentence)[0] for sentence in (first, second)]
    hidden = torch.cat([state[:, -1] for state in states], dim=1)
    for layer in (model.linear1, model.linear2, model.linear3):
        hidden = torch.relu(layer(hidden))
    torch.testing.assert_close(model(first, second), model.head(hidden))


def test_swapped_sentences_swap_their_taps() -> None:
    model, (first, second) = network(), pairs(5)
    one, other = tapped(model, first, second), tapped(model, second, first)
    torch.testing.assert_close(one["first"], other["second"])
    torch.testing.assert_close(one["second"], other["first"])
    assert not torch.equal(one["first"], one["second"])


def test_the_taps_are_the_published_activations() -> None:
    model, (first, second) = network().train(), pairs(5)
    heard = tapped(model, first, second)
    assert {name: tuple(values.shape) for name, values in heard.items()} == {
        "first": (5, 10, 64),
        "second": (5, 10, 64),
        "linear1": (5, 64),
        "linear2": (5, 32),
    }
    assert (heard["first"] == 0).any(), "states are tapped after dropout"
    assert (heard["linear1"] < 0).any(), "hidden layers are tapped before their ReLU"


def test_tapped_states_carry_the_gradient_of_attention_losses() -> None:
    model = network()
    heard = tapped(model, *pairs(5))
    sum(values.square().sum() for values in heard.values()).backward()  # type: ignore[union-attr]
    gradient = model.encoder.weight_ih_l0.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_padding_alone_is_no_reason_for_nan() -> None:
    nothing = torch.zeros(3, 10, 12)
    made = network()(nothing, nothing)
    assert made.isfinite().all()
    assert (made == made[0]).all()
