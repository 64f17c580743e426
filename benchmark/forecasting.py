"""A Temporal Fusion Transformer.

B. Lim, S. O. Arik, N. Loeff and T. Pfister, "Temporal Fusion Transformers for Interpretable Multi-horizon Time Series
Forecasting", International Journal of Forecasting 37 (2021), arXiv:1912.09363; equation numbers are of the arXiv paper.

Differs from the paper in:
- One static variable, the category (a home, a customer): there is nothing to select among static variables.
- The logits of a variable selection are not normalised before their softmax. Over two variables a layer-norm leaves of
  the logits only which is larger.
- The attention is asked at the future steps only. What it would answer at past steps reaches no forecast.
- Query, key and value maps have no bias: a key's bias cancels in the softmax and would never be trained.
- Embeddings of categories start small. A category that training never saw, as after retraining without it, is then
  close to the mean category, and models that never saw it agree about it as far as their other weights do.

Tensors have the rows (series windows) first, then time. Inside a variable selection the variables come first, so that
the networks of all variables are one batched matrix product.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Shape


class GroupedLinear(nn.Module):
    """As many linear layers of one size as there are groups, in one batched product."""

    def __init__(self, groups: int, before: int, after: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(before)  # as nn.Linear starts
        self.weight = nn.Parameter(torch.empty(groups, before, after).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(groups, 1, after).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        """Map (groups, n, before) to (groups, n, after)."""
        return torch.baddbmm(self.bias, values, self.weight)


class GroupedNorm(nn.Module):
    """Layer-norm over the last axis with weights for each group: (groups, n, width) to the same."""

    def __init__(self, groups: int, width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(groups, 1, width))
        self.bias = nn.Parameter(torch.zeros(groups, 1, width))

    def forward(self, values: Tensor) -> Tensor:
        """Normalise each row of each group."""
        normal = functional.layer_norm(values, values.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias, normal, self.weight)


class GatedSkip(nn.Module):
    """LayerNorm(skip + GLU(dropout(values))), equations 2, 5 and 17."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, skip: Tensor) -> Tensor:
        """Add what the gate lets through of `values` to `skip`, shape (..., width) each."""
        values = self.dropout(values)
        return self.norm(torch.addcmul(skip, self.value(values), self.gate(values).sigmoid()))  # type: ignore[no-any-return]


class GatedResidual(nn.Module):
    """Gated residual network of one width, equations 2 to 5."""

    def __init__(self, width: int, dropout: float, *, context: bool = False) -> None:
        super().__init__()
        self.enter = nn.Linear(width, width)
        self.context = nn.Linear(width, width, bias=False) if context else None
        self.inner = nn.Linear(width, width)
        self.skip = GatedSkip(width, dropout)

    def forward(self, values: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (n, time, width), with a context of shape (n, width) for all its times, to (n, time, width)."""
        hidden = self.enter(values)
        if self.context is not None and context is not None:
            hidden = hidden + self.context(context)[:, None]
        return self.skip(self.inner(functional.elu(hidden)), values)  # type: ignore[no-any-return]


class GroupedResidual(nn.Module):
    """Gated residual networks of several groups, without context: (groups, n, width) to the same."""

    def __init__(self, groups: int, width: int, dropout: float) -> None:
        super().__init__()
        self.enter, self.inner, self.value, self.gate = (
            GroupedLinear(groups, width, width) for _ in range(4)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = GroupedNorm(groups, width)

    def forward(self, values: Tensor) -> Tensor:
        """Apply each group's network to its own rows."""
        inner = self.dropout(self.inner(functional.elu(self.enter(values))))
        return self.norm(torch.addcmul(values, self.value(inner), self.gate(inner).sigmoid()))  # type: ignore[no-any-return]


class VariableSelection(nn.Module):
    """Weighs the variables of each row and time against each other, equations 6 to 8."""

    def __init__(self, variables: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embed = GroupedLinear(variables, 1, width)
        self.residual = GroupedResidual(variables, width, dropout)
        self.several = variables > 1  # the weight of a single variable is 1: nothing to train
        if self.several:
            self.enter = nn.Linear(variables * width, width)
            self.context = nn.Linear(width, width, bias=False)
            self.inner = nn.Linear(width, width)
            self.dropout = nn.Dropout(dropout)
            self.value = nn.Linear(width, variables)
            self.gate = nn.Linear(width, variables)
            self.skip = nn.Linear(variables * width, variables)

    def forward(self, values: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Select among variables.

        Args:
            values: shape (n, time, variables).
            context: of the category, shape (n, width).

        Returns:
            The selected features, shape (n, time, width), and the weights, shape (n, time, variables).
        """
        n, time, variables = values.shape
        embedded = self.embed(values.reshape(-1, variables).T.unsqueeze(-1))
        weights = self._logits(embedded, context, n).T.contiguous().softmax(dim=0)  # over variables
        selected = (self.residual(embedded) * weights.unsqueeze(-1)).sum(dim=0)
        return selected.reshape(n, time, -1), weights.T.reshape(n, time, variables)

    def _logits(self, embedded: Tensor, context: Tensor, n: int) -> Tensor:
        """Return logits, shape (n * time, variables), of embedded variables, shape (variables, n * time, width)."""
        if not self.several:
            return embedded[..., 0].T
        flat = embedded.transpose(0, 1).flatten(1)
        hidden = self.enter(flat).unflatten(0, (n, -1)) + self.context(context)[:, None]
        inner = self.dropout(self.inner(functional.elu(hidden).flatten(0, 1)))
        return torch.addcmul(self.skip(flat), self.value(inner), self.gate(inner).sigmoid())


class InterpretableAttention(nn.Module):
    """Attention of several heads that share their values, so that one mean weight tells all, equations 13 to 16."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise BenchmarkError(f"a width of {width} cannot be shared by {heads} heads: choose a multiple.")
        self.heads, self.size = heads, width // heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, self.size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.size, width)

    def forward(self, future: Tensor, everything: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from each future step to all past steps, to itself and to the future steps before it.

        Args:
            future: shape (n, horizon, width), the last steps of `everything`.
            everything: shape (n, time, width).

        Returns:
            Shape (n, horizon, width), and the weights, mean over heads, shape (n, horizon, time).
        """
        query = self.query(future).unflatten(-1, (self.heads, self.size)).transpose(1, 2)
        key = self.key(everything).unflatten(-1, (self.heads, self.size)).permute(0, 2, 3, 1)
        horizon, time = future.shape[1], everything.shape[1]
        later = torch.full((horizon, time), -torch.inf, dtype=key.dtype, device=key.device)
        scores = (query / math.sqrt(self.size)) @ key + later.triu(time - horizon + 1)
        weights = self.dropout(scores.softmax(dim=-1)).sum(dim=1) / self.heads
        return self.output(weights @ self.value(everything)), weights


class TFT(nn.Module):
    """Temporal Fusion Transformer: quantile forecasts from past values, known future values and a category.

    Inputs, in this order: `past`, shape (n, encoder, variables); `future`, what is known of the future in advance,
    shape (n, horizon, variables); `static`, shape (n, 1), the number of the category as a float.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        width: int,
        heads: int,
        quantiles: Sequence[float],
        categories: int,
        dropout: float,
        embedding: int = 8,
        deviation: float = 0.01,
    ) -> None:
        """Build the network.

        Args:
            shape: of past, future and static inputs; its outputs are the steps of the future.
            width: of all hidden layers, a multiple of `heads`.
            heads: of the attention.
            quantiles: levels of the forecasts, ascending.
            categories: how many there are; the static input is below it.
            dropout: share of units that is left out in training.
            embedding: numbers by which a category is described.
            deviation: of these numbers before training.
        """
        super().__init__()
        if len(shape.inputs) != 3 or [len(part) for part in shape.inputs] != [2, 2, 1]:
            raise BenchmarkError(
                f"a TFT takes past (time, variables), future (time, variables) and static (1,), got {shape.inputs}."
            )
        (_, observed), (horizon, known), (static,) = shape.inputs
        if horizon != shape.outputs or static != 1 or sorted(set(quantiles)) != list(quantiles):
            raise BenchmarkError(
                f"a TFT forecasts the steps of the known future ({horizon}, got {shape.outputs} outputs), of "
                f"one category (got {static}), at ascending levels (got {list(quantiles)})."
            )
        self.embedding = nn.Embedding(categories, embedding)
        nn.init.normal_(self.embedding.weight, std=deviation)
        self.enter = nn.Linear(embedding, width)
        self.contexts = GroupedResidual(4, width, dropout)
        self.select_past = VariableSelection(observed, width, dropout)
        self.select_future = VariableSelection(known, width, dropout)
        self.encoder = nn.LSTM(width, width, batch_first=True)
        self.decoder = nn.LSTM(width, width, batch_first=True)
        self.recurrent = GatedSkip(width, dropout)
        self.enrich = GatedResidual(width, dropout, context=True)
        self.attention = InterpretableAttention(width, heads, dropout)
        self.attended = GatedSkip(width, dropout)
        self.position = GatedResidual(width, dropout)
        self.decoded = GatedSkip(width, 0.0)
        self.head = nn.Linear(width, len(quantiles))
        self.states = nn.Identity()  # to be tapped: the states of both LSTMs
        self.layers = ("select_past", "select_future", "states", "enrich", "attention", "position")

    def forward(self, past: Tensor, future: Tensor, static: Tensor) -> Tensor:
        """Return forecasts, shape (n, horizon * levels), level fastest."""
        category = self.enter(self.embedding(static[:, 0].long()))
        selection, enrichment, hidden, cell = self.contexts(category.expand(4, -1, -1))
        before, _ = self.select_past(past, selection)
        after, _ = self.select_future(future, selection)
        encoded, state = self.encoder(before, (hidden[None].contiguous(), cell[None].contiguous()))
        decoded, _ = self.decoder(after, state)
        states = self.states(torch.cat([encoded, decoded], dim=1))
        local = self.recurrent(states, torch.cat([before, after], dim=1))
        enriched = self.enrich(local, enrichment)
        steps = future.shape[1]
        asked = enriched[:, -steps:]
        attended, _ = self.attention(asked, enriched)
        fused = self.position(self.attended(attended, asked))
        return self.head(self.decoded(fused, local[:, -steps:])).flatten(1)  # type: ignore[no-any-return]
