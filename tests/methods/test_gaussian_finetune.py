"""Known answers for the draws of Gaussian-Amnesiac."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from regunlearn.benchmark.spec import Rows
from regunlearn.methods.gaussian_finetune import gaussian_finetune, gaussian_targets

Make = Callable[..., Any]


def rows(targets: list[float], first: int, universe: int) -> Rows:
    values = torch.tensor(targets, dtype=torch.float64)[:, None]
    return Rows((values,), values, torch.arange(first, first + len(targets)), universe)


def test_draws_have_the_moments_of_all_training_targets(make: Make) -> None:
    retain, forget = [1.0, 2.0, 4.0], [-10.0] * 40_000
    request = replace(make().request(), retain=rows(retain, 0, 40_003), forget=rows(forget, 3, 40_003))
    draws = gaussian_targets(request)[:, 0].numpy()
    mean, spread = np.mean(retain + forget), np.std(retain + forget, ddof=1)
    assert draws.shape == (40_000,)
    assert abs(draws.mean() - mean) < 5 * spread / 200
    assert abs(draws.std() / spread - 1) < 0.02


def test_spread_is_the_sample_standard_deviation(make: Make) -> None:
    # Of two targets the sample and the population value differ by the square root of two.
    request = make().request()
    request = replace(request, retain=rows([0.0], 0, 2), forget=rows([2.0], 1, 2))
    draw = torch.randn(1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(gaussian_targets(request), 1 + 2**0.5 * draw)


def test_draws_are_not_clipped_to_the_range_of_the_targets(make: Make) -> None:
    targets = [0.0, 1.0] * 500
    request = replace(make().request(), retain=rows([0.0], 0, 1001), forget=rows(targets, 1, 1001))
    draws = gaussian_targets(request)
    assert draws.min() < 0
    assert draws.max() > 1


def test_each_forget_row_has_one_draw_for_all_epochs(make: Make, monkeypatch: Any) -> None:
    request, seen = make().request(), list[tuple[float, float]]()
    loss = request.loss

    def spy(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.extend(targets[:, 0].tolist())
        return loss(predictions, targets)

    monkeypatch.setattr(type(request), "loss", lambda self, p, t: spy(p, t))
    gaussian_finetune(request, share=0.25)  # 5 epochs of 48 rows
    true = set(request.retain.targets[:, 0].tolist())
    drawn = [value for value in seen if value not in true]
    assert len(seen) == 5 * 48
    assert len(set(drawn)) == len(request.forget)
    assert all(drawn.count(value) == 5 for value in drawn)
    assert not set(drawn) & set(request.forget.targets[:, 0].tolist())
