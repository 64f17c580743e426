"""What the engine costs over a hand-written loop of the same recipe, both in one run, taken in turns."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from regunlearn.benchmark import networks, training
from regunlearn.benchmark.spec import Recipe, Rows, Shape

CPU = torch.device("cpu")
LIMIT = 1.05
ROUNDS = 15


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Case:
    """A network, its rows and how long one measurement trains."""

    build: Callable[[Shape], nn.Module]
    shape: Shape
    rows: int
    recipe: Recipe

    def network(self) -> nn.Module:
        return training.new_network(self.build, self.shape, self.recipe, 0, CPU)

    def data(self) -> Rows:
        draw = torch.Generator().manual_seed(0)
        inputs = torch.randn(self.rows, *self.shape.inputs[0], generator=draw)
        targets = torch.randn(self.rows, self.shape.outputs, generator=draw)
        return Rows((inputs,), targets, torch.arange(self.rows), self.rows)


CASES = {
    "mlp": Case(
        partial(networks.MLP, width=128),
        Shape(((8,),), 1),
        4000,
        Recipe(epochs=8, batch_size=128, learning_rate=1e-3, schedule="cosine"),
    ),
    "allcnn": Case(
        partial(networks.AllCNN, widths=(16, 32)),
        Shape(((1, 28, 28),), 1),
        512,
        Recipe(epochs=1, batch_size=64, learning_rate=1e-3, loss="l1", schedule="cosine", channels_last=True),
    ),
    "lstm": Case(
        partial(networks.LSTM, width=64),
        Shape(((24, 50),), 1),
        1024,
        Recipe(epochs=1, batch_size=128, learning_rate=1e-3, schedule="cosine"),
    ),
}


def by_hand(model: nn.Module, rows: Rows, recipe: Recipe) -> nn.Module:
    """Train as a careful user would: tensors in memory, one permutation an epoch, a fused optimiser."""
    (inputs,), targets, n, size = rows.inputs, rows.targets, len(rows), recipe.batch_size
    loss = {"mse": functional.mse_loss, "l1": functional.l1_loss}[recipe.loss]
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate, fused=True)
    total, step, draw = recipe.epochs * (n // size), 0, torch.Generator().manual_seed(1)
    model.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(n, generator=draw)
        for start in range(0, n - size + 1, size):
            batch = order[start : start + size]
            x = inputs[batch]
            if recipe.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            optimiser.param_groups[0]["lr"] = (
                recipe.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            )
            optimiser.zero_grad()
            loss(model(x), targets[batch]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
    return model.eval()


def by_engine(model: nn.Module, rows: Rows, recipe: Recipe) -> nn.Module:
    return training.fit(model, rows, recipe, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", CASES)
def test_training_costs_what_a_plain_loop_costs(name: str, benchmark: Any) -> None:
    case = CASES[name]
    rows, seconds = case.data(), {by_hand: list[float](), by_engine: list[float]()}
    models = [train(case.network(), rows, case.recipe).state_dict() for train in (by_hand, by_engine)]
    for key, values in models[0].items():
        torch.testing.assert_close(models[1][key], values, rtol=1e-3, atol=1e-4)

    def turn() -> None:
        order = (by_hand, by_engine) if len(seconds[by_hand]) % 2 else (by_engine, by_hand)
        for train in order:
            model = case.network()
            start = time.perf_counter()
            train(model, rows, case.recipe)
            seconds[train].append(time.perf_counter() - start)

    benchmark.pedantic(turn, rounds=ROUNDS, warmup_rounds=1)
    ratio = statistics.median(e / h for e, h in zip(seconds[by_engine], seconds[by_hand], strict=True))
    plain, engine = (statistics.median(seconds[train]) for train in (by_hand, by_engine))
    benchmark.extra_info.update(plain_seconds=plain, engine_seconds=engine, ratio=ratio)
    print(f"\n{name}: plain loop {plain:.3f} s, engine {engine:.3f} s, ratio {ratio:.3f}")
    assert ratio <= LIMIT
