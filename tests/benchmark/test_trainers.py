"""Recipes with validation rows, quantiles, the published order: each option by hand; plain ones stay as they were."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark import networks, trainers, training
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.spec import Recipe, Rows, Shape

CPU = torch.device("cpu")
SHAPE = Shape(((5,),), 1)
PLAIN = Recipe(epochs=3, batch_size=16, learning_rate=0.01, precision="float64")
LEVELS = (0.1, 0.5, 0.9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int = 70, seed: int = 1, outputs: int = 1) -> Rows:
    draw = generator(seed)
    inputs = torch.randn(n, 5, generator=draw, dtype=torch.float64)
    return Rows((inputs,), torch.randn(n, outputs, generator=draw, dtype=torch.float64), torch.arange(n), n)


def network(recipe: Recipe = PLAIN, outputs: int = 1) -> nn.Module:
    return training.new_network(partial(networks.MLP, width=8), Shape(((5,),), outputs), recipe, 0, CPU)


def same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(values, state[name]) for name, values in one.state_dict().items())


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_plain_recipe_is_trained_by_the_plain_loop(schedule: str) -> None:
    recipe = replace(PLAIN, schedule=schedule)
    one = trainers.fit(network(), rows(), recipe, generator(), validation=rows(20, 2))
    assert same(one, training.fit(network(), rows(), recipe, generator()))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_an_option_that_changes_nothing_gives_the_plain_weights(schedule: str) -> None:
    recipe = replace(PLAIN, schedule=schedule)
    one = trainers.fit(network(), rows(), replace(recipe, clip=1e9), generator())
    assert same(one, training.fit(network(), rows(), recipe, generator()))


def test_the_best_weights_are_those_of_the_epoch_with_the_lowest_validation_error() -> None:
    recipe, data, held = replace(PLAIN, epochs=25, learning_rate=0.1), rows(), rows(30, 2)
    errors, states = [], []
    for epochs in range(1, 26):
        steps = epochs * training.steps_of(recipe, len(data), 1)
        model = training.fit(network(), data, recipe, generator(), steps=steps)
        errors.append(trainers.validation_error(model, held, recipe))
        states.append(deepcopy(model))
    lowest = int(np.argmin(errors))
    assert 0 < lowest < 24 or errors[0] == min(errors)
    kept = trainers.fit(network(), data, replace(recipe, keep="best"), generator(), validation=held)
    assert same(kept, states[lowest])
    asked = trainers.fit(network(), data, recipe, generator(), validation=held, keep="best")
    assert same(asked, kept)


def test_plateau_cuts_the_rate_after_more_than_ten_epochs_without_a_lower_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors = iter([1.0, *[2.0] * 11, 0.5, *[2.0] * 20])
    monkeypatch.setattr(trainers, "validation_error", lambda *_: next(errors))
    rates = []
    make = training.optimiser_of

    def noted(recipe: Recipe, model: nn.Module, rate: float) -> torch.optim.Optimizer:
        optimiser = make(recipe, model, rate)
        optimiser.register_step_pre_hook(lambda opt, *_: rates.append(opt.param_groups[0]["lr"]))
        return optimiser

    monkeypatch.setattr(training, "optimiser_of", noted)
    recipe = replace(PLAIN, epochs=26, batch_size=70, schedule="plateau")
    trainers.fit(network(), rows(), recipe, generator(), validation=rows(10, 2))
    assert rates[:12] == [0.01] * 12
    assert rates[12:24] == [pytest.approx(0.001)] * 12
    assert rates[24:] == [pytest.approx(0.0001)] * 2


def test_clipping_bounds_each_step_of_gradient_descent() -> None:
    recipe = replace(PLAIN, epochs=1, optimiser="sgd", learning_rate=1.0, clip=1e-3, batch_size=70)
    before, model = network(), network()
    trainers.fit(model, rows(), recipe, generator())
    pairs = zip(model.state_dict().values(), before.state_dict().values(), strict=True)
    moved = math.sqrt(sum(float((a - b).square().sum()) for a, b in pairs))
    assert moved == pytest.approx(1e-3, rel=1e-3)


def places(recipe: Recipe, n: int = 10, size: int = 4, steps: int = 6) -> list[list[int]]:
    return [p.tolist() for *_, p in trainers.shuffled(rows(n), recipe, size, steps, generator())]


def test_a_fixed_order_repeats_and_a_new_one_does_not() -> None:
    fixed = places(replace(PLAIN, order="fixed", partial=True))
    assert fixed[:3] == fixed[3:]
    assert [len(batch) for batch in fixed] == [4, 4, 2, 4, 4, 2]
    assert sorted(place for batch in fixed[:3] for place in batch) == list(range(10))
    anew = places(replace(PLAIN, partial=True))
    assert anew[:3] != anew[3:]
    whole = places(replace(PLAIN, order="fixed"), steps=4)
    assert [len(batch) for batch in whole] == [4] * 4
    assert whole[:2] == whole[2:]


def test_a_retrained_model_sees_its_rows_in_the_original_s_order() -> None:
    recipe = replace(PLAIN, order="fixed", partial=True)
    left = rows(10).take(torch.tensor([0, 2, 3, 5, 6, 9]))
    whole, part = (
        [int(k) for *_, p in trainers.shuffled(data, recipe, 3, steps, generator()) for k in data.index[p]]
        for data, steps in ((rows(10), 4), (left, 2))
    )
    assert part == [k for k in whole if k in (0, 2, 3, 5, 6, 9)]


def test_steps_and_passes_count_partial_batches_and_looks() -> None:
    assert trainers.steps_of(PLAIN, 70) == 12
    assert trainers.passes_of(PLAIN, 70, 30) == 3 * 64
    recipe = replace(PLAIN, partial=True, keep="best")
    assert trainers.steps_of(recipe, 70) == 15
    assert trainers.passes_of(recipe, 70, 30) == 3 * 70 + 3 * 30 / 3


def test_batch_means_weigh_a_short_last_batch_like_a_full_one() -> None:
    recipe = replace(PLAIN, batch_size=4, average="batches", keep="best")
    predictions, targets = torch.zeros(5, 1), torch.tensor([[1.0], [1.0], [1.0], [1.0], [3.0]])
    assert trainers.averaged(functional.mse_loss, predictions, targets, recipe) == pytest.approx((1 + 9) / 2)
    by_rows = replace(recipe, average="rows")
    assert trainers.averaged(functional.mse_loss, predictions, targets, by_rows) == pytest.approx(13 / 5)


# Quantiles


def test_pinball_by_hand() -> None:
    predictions = torch.tensor([[0.0, 1.0, 4.0, 2.0, 2.0, 2.0]])
    targets = torch.tensor([[3.0, 2.0]])
    expected = ((0.1 * 3 + 0.5 * 2 + 0.1 * 1) + 0) / 2
    assert float(trainers.pinball(predictions, targets, levels=LEVELS)) == pytest.approx(expected)


def test_pinball_of_the_true_quantiles_is_the_density_there() -> None:
    draws = torch.randn(200_000, 1, generator=generator(), dtype=torch.float64)
    found = trainers.pinball(torch.tensor(norm.ppf(LEVELS)).repeat(len(draws), 1), draws, levels=LEVELS)
    assert float(found) == pytest.approx(norm.pdf(norm.ppf(LEVELS)).sum(), abs=5e-3)


def test_quantiles_of_another_model_are_met_one_by_one() -> None:
    a, b = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 4.0]])
    assert float(trainers.pinball(a, b, levels=LEVELS)) == 1.0


def test_training_on_the_pinball_loss_finds_the_quantiles_of_the_targets() -> None:
    recipe = replace(PLAIN, epochs=1500, batch_size=0, learning_rate=0.02, loss="pinball", quantiles=LEVELS)
    model, data = network(recipe, outputs=3), rows(500)
    constant = Rows((torch.zeros_like(data.inputs[0]),), data.targets, data.index, data.universe)
    trainers.fit(model, constant, recipe, generator())
    found = model(*constant.inputs)[0]
    expected = torch.quantile(data.targets, torch.tensor(LEVELS, dtype=torch.float64))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


# What does not fit


@pytest.mark.parametrize("field", ["loss", "schedule", "keep", "order", "average", "optimiser"])
def test_an_unknown_choice_is_named(field: str) -> None:
    with pytest.raises(UnknownName, match="nothing"):
        trainers.check(replace(PLAIN, **{field: "nothing"}))


@pytest.mark.parametrize(
    "options",
    [
        {"loss": "pinball"},
        {"quantiles": LEVELS},
        {"loss": "pinball", "quantiles": (0.1, 0.9)},
        {"loss": "pinball", "quantiles": (0.5, 0.1)},
        {"loss": "pinball", "quantiles": (0.5, 1.0)},
    ],
)
def test_quantiles_must_fit_the_loss(options: dict[str, object]) -> None:
    with pytest.raises(BenchmarkError, match="quantiles"):
        trainers.check(replace(PLAIN, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("validation", [None, rows(10).take(torch.arange(0))])
def test_looking_at_validation_rows_needs_some(validation: Rows | None) -> None:
    with pytest.raises(BenchmarkError, match="expected validation rows"):
        trainers.fit(network(), rows(), replace(PLAIN, keep="best"), generator(), validation=validation)


def test_weights_that_are_not_finite_are_an_error() -> None:
    data = rows()
    broken = data.with_targets(torch.full_like(data.targets, math.nan))
    with pytest.raises(training.DivergedError):
        trainers.fit(network(), broken, replace(PLAIN, partial=True), generator())


def test_evaluation_leaves_the_model_in_training_mode() -> None:
    class Noting(networks.MLP):
        modes: list[bool]

        def forward(self, inputs: Tensor) -> Tensor:
            self.modes.append(self.training)
            return super().forward(inputs)

    model = Noting(SHAPE, width=4).double()
    model.modes = []
    recipe = replace(PLAIN, epochs=2, batch_size=35, keep="best")
    assert not trainers.fit(model, rows(), recipe, generator(), validation=rows(10, 2)).training
    assert model.modes == [True, True, False] * 2
