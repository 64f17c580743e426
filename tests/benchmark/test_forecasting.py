"""The Temporal Fusion Transformer: each test fails on one known defect of a published implementation, D12 to D17.

Where it is not plain that a test can fail, it is shown on a network that has the defect.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.forecasting import TFT, VariableSelection
from regunlearn.benchmark.metrics import crossings
from regunlearn.benchmark.spec import Shape
from regunlearn.benchmark.taps import listening

PAST, HORIZON, WIDTH, LEVELS = 9, 5, 8, (0.1, 0.5, 0.9)
SHAPE = Shape(((PAST, 4), (HORIZON, 3), (1,)), HORIZON)
CATEGORIES = 6

Inputs = tuple[Tensor, Tensor, Tensor]


def network(seed: int = 0, *, shape: Shape = SHAPE, dropout: float = 0.0) -> TFT:
    torch.manual_seed(seed)
    made = TFT(
        shape, width=WIDTH, heads=2, quantiles=LEVELS, categories=CATEGORIES, dropout=dropout, deviation=1.0
    )
    return made.eval()


def rows(n: int, seed: int = 1, *, shape: Shape = SHAPE) -> Inputs:
    draw = torch.Generator().manual_seed(seed)
    past, future = (torch.randn(n, *part, generator=draw) for part in shape.inputs[:2])
    return past, future, torch.randint(CATEGORIES, (n, 1), generator=draw).float()


def activations(model: TFT, inputs: Inputs) -> dict[str, Tensor]:
    heard: dict[str, Tensor] = {}
    with listening(model, model.layers, heard.__setitem__), torch.no_grad():
        model(*inputs)
    return heard


def weights(model: TFT, inputs: Inputs, name: str) -> Tensor:
    """Return the second output of a submodule: the weights by which it selects or attends."""
    kept: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda _, given, output: kept.append(output[1]))
    with torch.no_grad():
        model(*inputs)
    handle.remove()
    return kept[0]


# D12: rows do not reach each other


def mixes_rows(model: Callable[..., Tensor], inputs: Inputs) -> bool:
    """Whether another first row changes what is predicted for the other rows, or their order does."""
    with torch.no_grad():
        before = model(*inputs)
        for k in range(3):
            other = tuple(values.clone() for values in inputs)
            other[k][0] = (other[k][0] + 1) % CATEGORIES
            after = model(*other)
            if not torch.allclose(after[1:], before[1:], atol=1e-6) or torch.allclose(
                after[0], before[0], atol=1e-6
            ):
                return True
        order = torch.randperm(len(before))
        return not torch.allclose(model(*(values[order] for values in inputs)), before[order], atol=1e-6)


def test_rows_are_independent() -> None:
    assert not mixes_rows(network(), rows(8))


def test_a_view_in_place_of_a_transpose_is_caught() -> None:
    model = network()

    def scrambled(past: Tensor, future: Tensor, static: Tensor) -> Tensor:
        n, time, variables = past.shape
        return model(past.reshape(time, n, variables).transpose(0, 1), future, static)  # type: ignore[no-any-return]

    assert mixes_rows(scrambled, rows(8))


# D13: selection among variables


def selects(weights: Tensor) -> bool:
    """Whether weights (n, time, variables) are shares of the variables, and not the same everywhere."""
    shares = bool((weights >= 0).all()) and torch.allclose(weights.sum(-1), torch.ones(weights.shape[:2]))
    varied = [bool((weights.std(dim=axis) > 1e-4).any()) for axis in (0, 1)]
    return shares and all(varied)


@pytest.mark.parametrize("name", ["select_past", "select_future"])
def test_selection_weights_sum_to_one_over_variables(name: str) -> None:
    selected = weights(network(), rows(6), name)
    assert selected.shape[-1] == (4 if name == "select_past" else 3)
    assert selects(selected)


def test_a_softmax_over_time_is_caught() -> None:
    logits = torch.randn(6, PAST, 4)
    assert selects(logits.softmax(-1))
    assert not selects(logits.softmax(1))
    assert not selects(torch.full((6, PAST, 4), 0.25))


def test_a_selection_follows_its_weights() -> None:
    """What has weight 0 does not count: a selection network that is told to look at one variable ignores the others."""
    torch.manual_seed(0)
    selection = VariableSelection(3, WIDTH, 0.0)
    with torch.no_grad():
        for part in (selection.skip, selection.value):
            part.weight.zero_()
            part.bias.zero_()
        selection.skip.bias[1] = 200.0
    values, context = torch.randn(4, PAST, 3), torch.randn(4, WIDTH)
    other = values.clone()
    other[..., [0, 2]] += 1
    torch.testing.assert_close(selection(values, context)[0], selection(other, context)[0])
    other[..., 1] += 1
    assert not torch.allclose(selection(values, context)[0], selection(other, context)[0])


def test_a_single_variable_needs_no_selection() -> None:
    shape = Shape(((PAST, 1), (HORIZON, 1), (1,)), HORIZON)
    model, inputs = network(shape=shape), rows(4, shape=shape)
    torch.testing.assert_close(weights(model, inputs, "select_past"), torch.ones(4, PAST, 1))
    assert not untrained(model, inputs)


# D14: normalisation


def odd_norms(model: nn.Module) -> list[str]:
    """Return the names of batch-norms, and of normalisations with an eps that blots out what they normalise."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "eps", 0) >= 1e-3
    ]


def test_normalisation() -> None:
    model = network()
    assert sum("norm" in name for name, _ in model.named_modules()) >= 8
    assert odd_norms(model) == []
    assert odd_norms(nn.Sequential(nn.BatchNorm1d(160), nn.LayerNorm(160, eps=160))) == ["0", "1"]


# D15: all of it is trained


def untrained(model: nn.Module, inputs: Inputs) -> list[str]:
    """Return the names of parameters that the loss does not reach."""
    model.zero_grad()
    predictions = model(*inputs)
    functional.mse_loss(predictions, torch.randn(predictions.shape)).backward()
    largest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    return [
        name
        for name, p in model.named_parameters()
        if p.grad is None or float(p.grad.abs().max()) < 1e-6 * largest
    ]


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_gradients_reach_every_parameter(dropout: float) -> None:
    assert untrained(network(dropout=dropout).train(), rows(16)) == []


def test_a_part_whose_output_is_overwritten_is_caught() -> None:
    class Overwritten(TFT):
        def forward(self, past: Tensor, future: Tensor, static: Tensor) -> Tensor:
            self.enrich.register_forward_hook(lambda _, given, output: given[0])
            return super().forward(past, future, static)

    torch.manual_seed(0)
    model = Overwritten(SHAPE, width=WIDTH, heads=2, quantiles=LEVELS, categories=CATEGORIES, dropout=0.0)
    assert "enrich.enter.weight" in untrained(model, rows(16))


# D16: any number of rows, nothing kept between calls, two different initial states


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_any_number_of_rows(n: int) -> None:
    model, inputs = network(), rows(64)
    with torch.no_grad():
        everything = model(*inputs)
        some = model(*(values[:n] for values in inputs))
    assert some.shape == (n, HORIZON * len(LEVELS))
    torch.testing.assert_close(some, everything[:n], atol=1e-5, rtol=1e-5)


def test_nothing_is_kept_between_calls() -> None:
    model, inputs = network(), rows(5)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():
        first = model(*inputs)
        model(*rows(3, seed=9))
        assert torch.equal(model(*inputs), first)
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def states(model: TFT, inputs: Inputs) -> dict[str, tuple[Tensor, Tensor]]:
    """Return hidden and cell state that encoder and decoder begin with, and that the encoder ends with."""
    kept: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(
            _: nn.Module, given: tuple[Tensor, tuple[Tensor, Tensor]], output: tuple[Tensor, ...]
        ) -> None:
            kept[name], kept[f"{name}'s end"] = given[1], output[1]  # type: ignore[assignment]

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in ("encoder", "decoder")]
    with torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return kept


def test_hidden_and_cell_state_are_two() -> None:
    model, inputs = network(), rows(5)
    kept = states(model, inputs)
    for name in ("encoder", "decoder"):
        hidden, cell = kept[name]
        assert hidden.shape == cell.shape == (1, 5, WIDTH)
        assert not torch.allclose(hidden, cell)
    for begun, ended in zip(kept["decoder"], kept["encoder's end"], strict=True):
        assert torch.equal(begun, ended)
    model.contexts.register_forward_hook(lambda _, given, output: output[[0, 1, 2, 2]])  # the defect
    assert torch.allclose(*states(model, inputs)["encoder"])


# D17: rows first


def test_activations_have_the_rows_first() -> None:
    model, inputs = network(), rows(7)
    heard = activations(model, inputs)
    assert set(heard) == set(model.layers)
    assert len(model.layers) == 6
    mask = torch.tensor([True, False, True, True, False, False, True])
    chosen = activations(model, tuple(values[mask] for values in inputs))  # type: ignore[arg-type]
    for name, activation in heard.items():
        assert activation.shape[0] == 7, name
        assert activation.shape[-1] == WIDTH, name
        torch.testing.assert_close(activation[mask], chosen[name], atol=1e-5, rtol=1e-5)
    assert heard["states"].shape[1] == heard["enrich"].shape[1] == PAST + HORIZON
    assert heard["attention"].shape[1] == heard["position"].shape[1] == HORIZON


# What the architecture promises beyond


def test_no_forecast_depends_on_what_is_known_of_later_steps() -> None:
    model, (past, future, static) = network(), rows(4)
    with torch.no_grad():
        before = model(past, future, static).reshape(4, HORIZON, -1)
        for step in range(1, HORIZON):
            changed = future.clone()
            changed[:, step:] += 1
            after = model(past, changed, static).reshape(4, HORIZON, -1)
            torch.testing.assert_close(after[:, :step], before[:, :step], atol=1e-6, rtol=0)
            assert not torch.allclose(after[:, step], before[:, step], atol=1e-4)


def test_attention_weights_are_causal_shares() -> None:
    attended = weights(network(), rows(4), "attention")
    assert attended.shape == (4, HORIZON, PAST + HORIZON)
    torch.testing.assert_close(attended.sum(-1), torch.ones(4, HORIZON))
    for step in range(HORIZON):
        assert (attended[:, step, : PAST + step + 1] > 0).all()
        assert not attended[:, step, PAST + step + 1 :].any()


def test_every_input_counts() -> None:
    model, inputs = network(), [values.requires_grad_() for values in rows(3)]
    past, future, static = inputs
    model(past, future, static).square().sum().backward()
    for values in (past, future):
        assert values.grad is not None
        assert (values.grad.abs() > 0).all()
    with torch.no_grad():
        other = model(past, future, (static + 1) % CATEGORIES)
        assert (other - model(past, future, static)).abs().amax(dim=1).min() > 1e-4


def test_an_unseen_category_starts_near_the_mean() -> None:
    torch.manual_seed(0)
    model = TFT(SHAPE, width=WIDTH, heads=2, quantiles=LEVELS, categories=CATEGORIES, dropout=0.0).eval()
    past, future, _ = rows(3)
    with torch.no_grad():
        made = torch.stack([model(past, future, torch.full((3, 1), float(k))) for k in range(CATEGORIES)])
    assert made.std(dim=0).max() < 0.05 * made.std()


def test_levels_are_the_fastest_axis() -> None:
    model = network()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
        made = model(*rows(2)).reshape(2, HORIZON, 3)
    torch.testing.assert_close(made, torch.tensor([-1.0, 0.0, 1.0]).expand(2, HORIZON, 3))


def test_dropout_is_off_in_evaluation() -> None:
    model, inputs = network(dropout=0.3), rows(4)
    with torch.no_grad():
        assert torch.equal(model(*inputs), model(*inputs))
        model.train()
        assert not torch.equal(model(*inputs), model(*inputs))


def test_it_learns() -> None:
    """The last value of the past, times 1 or 2 by category, is forecast to within a tenth of its size."""
    model, (past, future, static) = network().train(), rows(256)
    targets = (past[:, -1:, 0] * (1 + static % 2)).expand(-1, HORIZON)
    level = torch.tensor(LEVELS)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        errors = targets[..., None] - model(past, future, static).reshape(256, HORIZON, 3)
        torch.maximum(level * errors, (level - 1) * errors).sum(-1).mean().backward()
        optimiser.step()
    with torch.no_grad():
        made = model.eval()(past, future, static).reshape(256, HORIZON, 3)
    assert (made[..., 1] - targets).abs().mean() < 0.1 * targets.abs().mean()


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        (Shape(((9, 4), (5, 3)), 5), {}, "takes past"),
        (Shape(((9, 4), (5, 3), (2,)), 5), {}, "one category"),
        (Shape(((9, 4), (5, 3), (1,)), 4), {}, "forecasts the steps"),
        (SHAPE, {"quantiles": (0.9, 0.5)}, "ascending"),
        (SHAPE, {"heads": 3}, "3 heads"),
    ],
)
def test_what_does_not_fit_is_named(shape: Shape, change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"width": 8, "heads": 2, "quantiles": LEVELS, "categories": 3, "dropout": 0.0}
    with pytest.raises(BenchmarkError, match=message):
        TFT(shape, **{**given, **change})  # type: ignore[arg-type]


# Quantiles that cross


@given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_crossing_rate(n: int, horizon: int, levels: int, seed: int) -> None:
    made = np.random.default_rng(seed).normal(size=(n, horizon, levels))
    crossed = sum(list(one) != sorted(one) for row in made for one in row)
    assert crossings(made) == pytest.approx(crossed / (n * horizon))
    assert crossings(np.sort(made, axis=-1)) == 0
    assert crossings(np.zeros((n, horizon, levels))) == 0
