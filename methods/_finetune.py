"""The loop that fine-tuning methods share: Adam on the original model, constant learning rate, no weight decay."""

from collections.abc import Iterable

import torch
from torch import nn

from regunlearn.benchmark.spec import Batch, Request


def finetune(request: Request, batches: Iterable[Batch], *, rate: float) -> nn.Module:
    """Train the original model in place towards the batches' targets; return it in evaluation mode.

    Args:
        request: of the cell.
        batches: what to train on, one step each.
        rate: learning rate as a share of the recipe's.
    """
    model = request.model.train()
    optimiser = torch.optim.Adam(model.parameters(), rate * request.recipe.learning_rate)
    for batch in batches:
        optimiser.zero_grad()
        request.loss(model(*batch.inputs), batch.targets).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return model.eval()
