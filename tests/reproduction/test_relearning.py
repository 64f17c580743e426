"""Relearning on a model of one weight: known counts, the cap, and what happens to the model."""

import pytest
import torch
from torch import Tensor, nn

from regunlearn.benchmark.spec import Recipe, Rows
from regunlearn.reproduction import relearning
from regunlearn.reproduction.relearning import Relearned

RECIPE = Recipe(epochs=1, batch_size=2, learning_rate=0.1, loss="l1", partial=True, standardise=False)


class Level(nn.Module):
    """Says the same of every row."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.value.expand(len(inputs), 1)


def rows(target: float, n: int = 5) -> Rows:
    return Rows((torch.zeros(n, 1),), torch.full((n, 1), target), torch.arange(n), n)


def count(model: nn.Module, original_error: float) -> Relearned:
    draws = torch.Generator().manual_seed(0)
    return relearning.relearn(model, rows(10.0), rows(10.0, 3), original_error, RECIPE, draws)


def test_steps_are_counted_until_the_error_is_within_the_margin() -> None:
    model = Level(9.9)  # Adam moves by 0.01 a step: 0.1, 0.09, ... until 0.0525
    assert count(model, 0.05) == Relearned(5, censored=False)
    assert model.value.item() == pytest.approx(9.95, abs=1e-3)
    assert not model.training


def test_a_model_that_knows_it_already_counts_one() -> None:
    assert count(Level(10.0), 1.0) == Relearned(1, censored=False)


def test_the_cap_is_ten_epochs_and_flagged() -> None:
    assert count(Level(0.0), 0.1) == Relearned(30, censored=True)  # 3 batches an epoch, the last one partial


def test_the_index_is_the_ratio_and_says_how_much_was_capped() -> None:
    found = relearning.index(Relearned(3, censored=False), Relearned(30, censored=True))
    assert found == {
        "ain": 0.1,
        "relearning_steps": 3.0,
        "relearning_steps_retrained": 30.0,
        "relearning_censored": 0.5,
    }
