"""The training loop is the plain one, bit for bit, and leaves everything else as it was."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark import augmentation, networks, tasks, training
from regunlearn.benchmark.errors import UnknownName
from regunlearn.benchmark.spec import Recipe, Rows, Shape
from regunlearn.benchmark.training import DivergedError
from regunlearn.datasets.ridge import closed_form

CPU = torch.device("cpu")
FLAT, IMAGES, SEQUENCES = Shape(((5,),), 1), Shape(((1, 8, 8),), 1), Shape(((7, 3),), 1)
MLP = partial(networks.MLP, width=8)
RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.01, precision="float64")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int = 70, shape: Shape = FLAT, dtype: torch.dtype = torch.float64) -> Rows:
    draw = generator(1)
    inputs = torch.randn(n, *shape.inputs[0], generator=draw, dtype=dtype)
    return Rows((inputs,), torch.randn(n, shape.outputs, generator=draw, dtype=dtype), torch.arange(n), n)


def network(
    recipe: Recipe = RECIPE, build: Callable[[Shape], nn.Module] = MLP, shape: Shape = FLAT
) -> nn.Module:
    return training.new_network(build, shape, recipe, 0, CPU)


def same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(values, state[name]) for name, values in one.state_dict().items())


# The loop


def by_hand(
    model: nn.Module,
    data: Rows,
    recipe: Recipe,
    optimiser: Callable[..., torch.optim.Optimizer],
    augment: Callable[[Tensor, torch.Generator], Tensor] = lambda images, draw: images,
) -> nn.Module:
    model.train()
    draw, steps = optimiser(model.parameters(), recipe.learning_rate), generator(3)
    size = recipe.batch_size or len(data)
    total, step = recipe.epochs * (len(data) // size), 0
    loss = {"mse": functional.mse_loss, "l1": functional.l1_loss}[recipe.loss]
    for _ in range(recipe.epochs):
        order = torch.randperm(len(data), generator=steps)
        for start in range(0, len(data) - size + 1, size):
            batch = order[start : start + size]
            if recipe.schedule == "cosine":
                for group in draw.param_groups:
                    group["lr"] = recipe.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            draw.zero_grad()
            inputs = augment(data.inputs[0][batch], steps)
            loss(model(inputs), data.targets[batch]).backward()  # type: ignore[no-untyped-call]
            draw.step()
            step += 1
    return model.eval()


ADAM = partial(torch.optim.Adam, fused=True)
LOOPS: dict[str, tuple[Recipe, Callable[..., torch.optim.Optimizer]]] = {
    "adam": (RECIPE, ADAM),
    "cosine": (replace(RECIPE, schedule="cosine"), ADAM),
    "l1": (replace(RECIPE, loss="l1"), ADAM),
    "adamw": (replace(RECIPE, weight_decay=0.1), partial(torch.optim.AdamW, weight_decay=0.1, fused=True)),
    "sgd": (replace(RECIPE, optimiser="sgd", weight_decay=0.1), partial(torch.optim.SGD, weight_decay=0.1)),
    "full batch": (replace(RECIPE, batch_size=0), ADAM),
}


@pytest.mark.parametrize("case", LOOPS)
def test_fit_is_the_plain_loop_bit_for_bit(case: str) -> None:
    recipe, optimiser = LOOPS[case]
    data = rows()
    fitted = training.fit(network(recipe), data, recipe, generator(3))
    expected = by_hand(network(recipe), data, recipe, optimiser)
    assert same(fitted, expected)
    assert not same(fitted, network(recipe))
    assert not fitted.training


def test_fit_with_augmentation_and_batch_norm_is_the_plain_loop() -> None:
    recipe = replace(RECIPE, augment="crop_and_flip", channels_last=True, epochs=1)
    build, data = partial(networks.AllCNN, widths=(2, 4)), rows(40, IMAGES)
    fitted = training.fit(network(recipe, build, IMAGES), data, recipe, generator(3))

    def augment(images: Tensor, draw: torch.Generator) -> Tensor:
        return augmentation.crop_and_flip(images.contiguous(memory_format=torch.channels_last), draw)

    expected = by_hand(network(recipe, build, IMAGES), data, recipe, ADAM, augment).state_dict()
    for name, values in fitted.state_dict().items():  # memory formats may differ in the last bit
        torch.testing.assert_close(values, expected[name], rtol=1e-9, atol=1e-9)


def test_the_seed_decides() -> None:
    one, again, other = (training.fit(network(), rows(), RECIPE, generator(seed)) for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)


def test_frozen_parameters_stay() -> None:
    model = network()
    model.get_submodule("head").requires_grad_(False)
    fitted = training.fit(model, rows(), replace(RECIPE, optimiser="sgd"), generator())
    assert same(fitted.get_submodule("head"), network().get_submodule("head"))
    assert not same(fitted, network())


def test_ridge_reaches_the_closed_form() -> None:
    task = tasks.load("ridge", CPU)
    for part in (task.rows, task.rows.take(torch.arange(30, 300))):
        model = training.fit(task.new_network(1), part, task.recipe, generator())
        weight, bias = closed_form(part.inputs[0].numpy(), part.targets.numpy(), task.recipe.weight_decay)
        head = model.state_dict()
        np.testing.assert_allclose(head["head.weight"].numpy(), weight, atol=1e-6)
        np.testing.assert_allclose(head["head.bias"].numpy(), bias, atol=1e-6)


@pytest.mark.parametrize(
    "recipe", [replace(RECIPE, learning_rate=1e300), replace(RECIPE, optimiser="sgd", learning_rate=1e8)]
)
def test_divergence_is_an_error(recipe: Recipe) -> None:
    with pytest.raises(DivergedError, match="not finite"):
        training.fit(network(recipe), rows(), replace(recipe, epochs=20), generator())


# Order


def orders(data: Rows, size: int, steps: int, seed: int = 0) -> list[list[int]]:
    """The original row numbers of each batch; the batch's rows must be those."""
    batches = []
    for inputs, targets, places in training.shuffled(data, size, steps, generator(seed)):
        assert torch.equal(inputs[0], data.inputs[0][places])
        assert torch.equal(targets, data.targets[places])
        batches.append(data.index[places].tolist())
    return batches


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 40), forget=st.integers(1, 20), seed=st.integers(0, 99), epochs=st.integers(1, 3))
def test_original_and_retrained_share_their_order(n: int, forget: int, seed: int, epochs: int) -> None:
    everything = rows(n + forget)
    kept = torch.randperm(n + forget, generator=generator(seed))[:n].sort().values
    one = [orders(everything, n + forget, epochs, seed)[k] for k in range(epochs)]
    other = [orders(everything.take(kept), n, epochs, seed)[k] for k in range(epochs)]
    retained = set(kept.tolist())
    assert [[row for row in epoch if row in retained] for epoch in one] == other
    assert all(sorted(epoch) == sorted(retained) for epoch in other)


def test_partial_batches_are_dropped_and_each_epoch_is_new() -> None:
    batches = orders(rows(10), 4, 5)
    assert [len(batch) for batch in batches] == [4] * 5
    epochs = [batches[0] + batches[1], batches[2] + batches[3]]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize(
    ("size", "n", "epochs", "steps", "passes"),
    [
        (16, 70, None, 12, 12 * 16),
        (16, 70, 0.5, 2, None),
        (16, 70, 0.01, 1, None),
        (16, 70, 2.9, 12, None),
        (0, 70, None, 3, 3 * 70),
        (100, 70, None, 3, 3 * 70),
        (70, 70, 1, 1, None),
    ],
)
def test_steps_and_passes(size: int, n: int, epochs: float | None, steps: int, passes: int | None) -> None:
    recipe = replace(RECIPE, batch_size=size)
    assert training.steps_of(recipe, n, epochs) == steps
    if passes is not None:
        assert training.passes_of(recipe, n) == passes
    seen = count_steps(recipe, n, epochs=epochs)
    assert len(seen) == steps
    assert set(seen) == {training.batch_size_of(recipe, n)}


def count_steps(recipe: Recipe, n: int, **options: Any) -> list[int]:
    model, seen = network(recipe), list[int]()
    model.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    training.fit(model, rows(n), recipe, generator(), **options)
    return seen


def test_a_piece_of_a_run_is_its_beginning() -> None:
    recipe = replace(RECIPE, schedule="cosine", epochs=4)
    assert len(count_steps(recipe, 70, steps=5)) == 5
    assert len(count_steps(recipe, 70, steps=500)) == 16
    piece = training.fit(network(recipe), rows(), recipe, generator(), steps=16)
    assert same(piece, training.fit(network(recipe), rows(), recipe, generator()))


def rates(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, **options: Any) -> list[float]:
    found: list[float] = []
    plain = training.optimiser_of

    def watched(*arguments: Any) -> torch.optim.Optimizer:
        optimiser = plain(*arguments)
        optimiser.register_step_pre_hook(lambda o, a, k: found.append(o.param_groups[0]["lr"]))
        return optimiser

    monkeypatch.setattr(training, "optimiser_of", watched)
    training.fit(network(recipe), rows(64), recipe, generator(), **options)
    return found


def test_cosine_falls_from_the_rate_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(monkeypatch, replace(RECIPE, schedule="cosine", epochs=25))
    assert len(found) == 100
    assert found[0] == 0.01
    assert found[50] == pytest.approx(0.005)
    assert found[-1] == pytest.approx(0.005 * (1 + math.cos(math.pi * 99 / 100)))
    assert 0 < found[-1] < 1e-5
    assert found == sorted(found, reverse=True)


def test_cosine_is_stretched_over_other_epochs_and_another_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    found = rates(monkeypatch, replace(RECIPE, schedule="cosine"), epochs=0.5, learning_rate=1.0)
    assert found == pytest.approx([1.0, 0.5])


def test_constant_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(rates(monkeypatch, RECIPE)) == {0.01}


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "mes"},
        {"optimiser": "adm"},
        {"schedule": "cosin"},
        {"precision": "float3"},
        {"augment": "crop"},
    ],
)
def test_unknown_names_in_a_recipe(changes: dict[str, str]) -> None:
    recipe = replace(RECIPE, **changes)  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        training.fit(training.new_network(MLP, FLAT, recipe, 0, CPU), rows(), recipe, generator())


# Networks


def test_new_networks_are_seeded_and_leave_the_global_stream() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, again = network(), network()
    other = training.new_network(MLP, FLAT, RECIPE, 1, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(one, again)
    assert not same(one, other)
    assert not one.training
    assert {p.dtype for p in one.parameters()} == {torch.float64}


def test_channels_last() -> None:
    model = network(replace(RECIPE, channels_last=True), networks.AllCNN, IMAGES)
    weight = model.get_parameter("blocks.1.0.weight")
    assert weight.is_contiguous(memory_format=torch.channels_last)


NETWORKS: dict[str, tuple[Callable[[Shape], nn.Module], Shape]] = {
    "linear": (networks.Linear, FLAT),
    "mlp": (MLP, FLAT),
    "batch_norm": (partial(networks.MLP, width=8, batch_norm=True), Shape(((5,),), 2)),
    "allcnn": (partial(networks.AllCNN, widths=(4, 8)), IMAGES),
    "lstm": (partial(networks.LSTM, width=6, hidden=4), SEQUENCES),
}


@pytest.mark.parametrize("case", NETWORKS)
@pytest.mark.parametrize("mode", [True, False])
def test_predict(case: str, mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = NETWORKS[case]
    recipe = replace(RECIPE, precision="float32")
    data = rows(50, shape, torch.float32)
    model = training.fit(network(recipe, build, shape), data, recipe, generator(), epochs=1).train(mode)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    predictions, features = training.predict(model, data.inputs, head="head")
    assert model.training is mode
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    assert predictions.shape == (50, shape.outputs)
    assert not predictions.requires_grad
    assert features is not None
    head = model.get_submodule("head")
    torch.testing.assert_close(head(features), predictions, rtol=0, atol=1e-6)
    monkeypatch.setattr(training, "EVALUATION_BATCH", 7)
    again, nothing = training.predict(model, data.inputs)
    assert nothing is None
    torch.testing.assert_close(again, predictions, rtol=0, atol=1e-6)
    assert not head._forward_pre_hooks


def test_predict_leaves_the_mode_of_every_part() -> None:
    """A model that is trained with batch-norm frozen stays so when it is looked at in between."""
    build, shape = NETWORKS["batch_norm"]
    model = training.train_without_noise(network(build=build, shape=shape))
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    training.predict(model, rows(5).inputs)
    assert [module.training for module in model.modules()] == modes


def test_predict_leaves_the_mode_when_the_model_raises() -> None:
    model = network().train()
    with pytest.raises(RuntimeError):
        training.predict(model, (torch.zeros(3, 99, dtype=torch.float64),), head="head")
    assert model.training
    assert not model.get_submodule("head")._forward_pre_hooks


def test_train_without_noise_moves_weights_only() -> None:
    build, shape = NETWORKS["batch_norm"]
    model = training.train_without_noise(network(build=build, shape=shape))
    before = {name: values.clone() for name, values in model.named_buffers()}
    model(rows(20).inputs[0])
    assert all(torch.equal(values, before[name]) for name, values in model.named_buffers())
    dropout = training.train_without_noise(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    assert [module.training for module in dropout.children()] == [True, False]


def test_require_finite_names_the_tensor() -> None:
    model = network()
    training.require_finite(model)
    with torch.no_grad():
        model.get_parameter("head.bias")[0] = math.nan
    with pytest.raises(DivergedError, match=r"head\.bias"):
        training.require_finite(model)


# Augmentation


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 3),
    padding=st.integers(0, 4),
    seed=st.integers(0, 99),
)
def test_crop_and_flip_is_the_loop(
    n: int, height: int, width: int, channels: int, padding: int, seed: int
) -> None:
    images = torch.randn(n, channels, height, width, generator=generator(seed))
    found = augmentation.crop_and_flip(images, generator(seed), padding=padding)
    draw = generator(seed)
    corners = torch.randint(0, 2 * padding + 1, (2, n), generator=draw)
    flips = torch.rand(n, generator=draw) < 0.5
    for k in range(n):
        top, left = corners[:, k].tolist()
        image = functional.pad(images[k], (padding,) * 4)[:, top : top + height, left : left + width]
        assert torch.equal(found[k], image.flip(-1) if flips[k] else image)
    assert found.shape == images.shape


def test_crop_and_flip_draws_per_image() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(200, 1, 8, 8)
    found = augmentation.crop_and_flip(images, generator(), padding=4)
    assert len({tuple(image.flatten().tolist()) for image in found}) > 80  # of 2 * 81
    flipped = augmentation.crop_and_flip(images, generator(), padding=0)
    share = (flipped[:, 0, 0, 0] == 7).double().mean()
    assert share == pytest.approx(0.5, abs=0.12)
    assert augmentation.get(None) is None
    assert augmentation.get("crop_and_flip") is augmentation.crop_and_flip
