"""Known answers for the draws of amnesiac unlearning."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from regunlearn.benchmark.spec import Rows
from regunlearn.methods.amnesiac import marginal_targets

Make = Callable[..., Any]


def test_targets_follow_the_marginal_of_all_training_targets(make: Make) -> None:
    values = torch.tensor([5.0] * 3000 + [7.0] * 1000 + [-2.0] * 6000)[:, None]
    rows = Rows((values,), values, torch.arange(10_000), 10_000)
    picked = torch.arange(10_000)
    request = replace(make().request(), retain=rows.take(picked[:4000]), forget=rows.take(picked[4000:]))
    draws = marginal_targets(request)
    assert draws.shape == (6000, 1)
    for value, share in ((5.0, 0.3), (7.0, 0.1), (-2.0, 0.6)):
        assert abs((draws == value).double().mean() - share) < 0.025


def test_outputs_of_one_row_stay_together(make: Make) -> None:
    request = make("two_outputs").request()
    known = {tuple(t) for t in torch.cat([request.retain.targets, request.forget.targets]).tolist()}
    assert {tuple(t) for t in marginal_targets(request).tolist()} <= known
