"""A network for pairs of sentences: one LSTM reads both (Tarun et al., "Deep Regression Unlearning", ICML 2023)."""

import torch
from torch import Tensor, nn

from regunlearn.benchmark.spec import Shape


class SiameseLSTM(nn.Module):
    """One LSTM layer over each of two sequences, their last states together through three hidden layers to a head.

    As published: dropout on the LSTM's outputs, hidden layers of 64, 32 and 16 units with ReLU. 104,577 parameters for
    300 features and 64 units. Padding is read like words, as zeros. Both sequences go through the LSTM in one call.

    `layers` are the published code's activations: the states of each sequence after dropout (`first`, `second`, which
    are there to be tapped), and the first two hidden layers before their ReLU.
    """

    def __init__(self, shape: Shape, *, width: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        (_, features), _ = shape.inputs
        self.encoder = nn.LSTM(features, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.first, self.second = nn.Identity(), nn.Identity()
        self.linear1 = nn.Linear(2 * width, 64)
        self.linear2 = nn.Linear(64, 32)
        self.linear3 = nn.Linear(32, 16)
        self.head = nn.Linear(16, shape.outputs)
        self.layers = ("first", "second", "linear1", "linear2")

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for sequences of shape (n, time, features), padded on the left."""
        states, _ = self.encoder(torch.cat((first, second)))
        one, two = self.dropout(states).chunk(2)
        pair = torch.cat((self.first(one)[:, -1], self.second(two)[:, -1]), dim=1)
        hidden = self.linear2(self.linear1(pair).relu()).relu()
        return self.head(self.linear3(hidden).relu())  # type: ignore[no-any-return]
