"""Stacked against looped training of one task's models, both in one run, taken in turns.

`REGUNLEARN_BENCH_DEVICE=cuda` measures a GPU.
"""

import copy
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch

from regunlearn.benchmark import networks, stacking, training
from regunlearn.benchmark.spec import Recipe, Rows, Shape

DEVICE = torch.device(os.environ.get("REGUNLEARN_BENCH_DEVICE", "cpu"))
COUNTS, WIDTHS, BATCHES = (8, 16, 64), (64, 128, 256), (64, 128, 256)
TARGET = 3.0  # times faster: 64 models of width 128 at batch 128 on two cores
NEVER_SLOWER = 1.1
LOOPED = 4  # models whose loop is timed
STEPS, TRIALS = 10, 4
PATIENCE = 45.0  # seconds after which nothing is measured again because another process got in the way
ROWS = 2048
SHAPE = Shape(((8,),), 1)


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@dataclass
class Cell:
    """One size: its models, and the best seconds of a step of one model either way."""

    count: int
    width: int
    batch: int
    loop: float = float("inf")
    stacked: float = float("inf")
    choice: str = ""

    def __post_init__(self) -> None:
        self.recipe = Recipe(
            epochs=100_000, batch_size=self.batch, learning_rate=1e-3, loss="l1", schedule="cosine"
        )
        build = partial(networks.MLP, width=self.width)
        self.models = [
            training.new_network(build, SHAPE, self.recipe, seed, DEVICE) for seed in range(self.count)
        ]

    def choose(self, rows: Rows) -> None:
        self.choice = stacking.choose(self.models, rows, ROWS, self.recipe)

    def measure(self, rows: Rows) -> None:
        subset = torch.arange(ROWS, device=DEVICE)
        alone = copy.deepcopy(self.models[:LOOPED])
        chunk = stacking.chunk_of(self.models[0], rows, ROWS, self.recipe)
        parts = stacking._parts(self.count, chunk)
        stacks = [stacking._Stack(self.models[part], rows, self.recipe) for part in parts]

        def loop(steps: int) -> None:
            for seed, model in enumerate(alone):
                training.fit(model, rows, self.recipe, torch.Generator().manual_seed(seed), steps=steps)

        def stacked(steps: int) -> None:
            for part, stack in zip(parts, stacks, strict=True):
                draws = [torch.Generator().manual_seed(seed) for seed in range(self.count)[part]]
                stack.train([subset] * len(draws), draws, steps)

        *_, seconds = islice(stacking.step_seconds([loop, stacked], DEVICE, STEPS), TRIALS)
        self.loop = min(self.loop, seconds[0] / LOOPED)
        self.stacked = min(self.stacked, seconds[1] / self.count)

    @property
    def ratio(self) -> float:
        return self.loop / self.stacked

    @property
    def excess(self) -> float:
        """How many times slower the chosen way is than the other."""
        return 1 / self.ratio if self.choice == "stacked" else self.ratio

    @property
    def wanted(self) -> float:
        return TARGET if (self.count, self.width, self.batch) == (64, 128, 128) else 0.0

    @property
    def passes(self) -> bool:
        return bool(self.choice) and self.ratio >= self.wanted and self.excess <= NEVER_SLOWER

    def __str__(self) -> str:
        times = f"{self.loop * 1e3:10.3f} {self.stacked * 1e3:10.3f} {self.ratio:7.1f}"
        return f"{self.count:4} {self.width:6} {self.batch:6} {times}   {self.choice}"


def test_stacked_training_is_faster_and_the_choice_is_right(benchmark: Any) -> None:
    draw = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(ROWS, 8, generator=draw), torch.randn(ROWS, 1, generator=draw)
    rows = Rows((inputs.to(DEVICE),), targets.to(DEVICE), torch.arange(ROWS, device=DEVICE), ROWS)
    cells = [Cell(count, width, batch) for width in WIDTHS for batch in BATCHES for count in COUNTS]

    def table() -> None:
        start = time.monotonic()
        while again := [cell for cell in cells if not cell.passes]:
            for cell in again:
                stacking._CHOICES.clear()
                cell.choose(rows)
                cell.measure(rows)
            if time.monotonic() - start > PATIENCE:
                break

    benchmark.pedantic(table, rounds=1)
    benchmark.extra_info.update(device=str(DEVICE), threads=torch.get_num_threads())
    benchmark.extra_info["cells"] = [
        {"models": c.count, "width": c.width, "batch": c.batch, "choice": c.choice, "ratio": c.ratio}
        for c in cells
    ]
    print(f"\nms per step of one model on {DEVICE}, {torch.get_num_threads()} threads")
    print("   K  width  batch       loop    stacked   ratio   choice")
    print("\n".join(map(str, cells)))
    failed = [str(cell) for cell in cells if not cell.passes]
    assert not failed
