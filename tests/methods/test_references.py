"""Known answers for the anchors and for plain fine-tuning."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from regunlearn.benchmark import training
from regunlearn.methods.fine_tune import fine_tune
from regunlearn.methods.original import original
from regunlearn.methods.retrain import retrain
from regunlearn.methods.truncated_retrain import truncated_retrain

Make = Callable[..., Any]


def test_original_is_the_model_that_was_given(make: Make) -> None:
    request = make().request()
    assert original(request) is request.model
    assert request.meter.passes == 0


@pytest.mark.parametrize("setting", ["mlp", "full_batch"])
def test_retrain_costs_exactly_one_retrain(make: Make, setting: str) -> None:
    request = make(setting).request()
    retrain(request)
    assert request.meter.passes == training.passes_of(request.recipe, len(request.retain))


@pytest.mark.parametrize(("share", "steps"), [(0.2, 8), (0.5, 20), (0.33, 13), (0.001, 1)])
def test_truncated_retrain_takes_its_share_of_the_steps(make: Make, share: float, steps: int) -> None:
    request = make().request()  # 20 epochs of 2 full batches of 16 among 36 rows
    truncated_retrain(request, share=share)
    assert request.meter.backward_rows == request.meter.forward_rows == 16 * steps


def test_truncated_retrain_compresses_the_schedule(make: Make) -> None:
    harness = make("linear")  # cosine: the step after the last would have rate 0
    full, cut = harness.request(), harness.request()
    truncated_retrain(full, share=1.0)
    model = truncated_retrain(cut, share=0.2)
    short = replace(harness.recipe, epochs=4)
    draw = torch.Generator().manual_seed(0)
    seed = int(torch.randint(2**62, (), generator=draw))
    expected = training.fit(harness.factory()(seed), cut.retain, short, draw)
    assert all(map(torch.equal, model.parameters(), expected.parameters()))


def test_fine_tune_never_reads_a_forget_row(make: Make) -> None:
    states = []
    for spoilt in (False, True):
        request = make("batch_norm").request()
        if spoilt:
            for values in (*request.forget.inputs, request.forget.targets):
                values.fill_(torch.nan)
        states.append(fine_tune(request).state_dict())
    assert all(v.isfinite().all() for v in states[1].values())
    assert all(torch.equal(v, states[1][k]) for k, v in states[0].items())


def test_fine_tune_takes_adam_steps_at_its_rate(make: Make) -> None:
    harness = make("full_batch")
    request = harness.request()
    expected = harness.models()[0].train()
    optimiser = torch.optim.Adam(expected.parameters(), 0.1 * request.recipe.learning_rate)
    model = fine_tune(request, share=0.05)  # one step on all retain rows
    (inputs,), targets = request.retain.inputs, request.retain.targets
    request.loss(expected(inputs), targets).backward()
    optimiser.step()
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted)
    assert request.meter.passes == len(request.retain)
