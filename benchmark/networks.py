"""Networks that a task may name. Each is a plain `nn.Module` whose last linear layer is called `head`.

`LAYERS` of a network are the modules that attention and feature methods tap, named as in `named_modules`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from regunlearn.benchmark.spec import Shape


class MLP(nn.Module):
    """Fully connected network: `depth` hidden layers of `width` units with ReLU.

    With `batch_norm`, each hidden layer is normalised before its ReLU.
    """

    def __init__(self, shape: Shape, *, width: int, depth: int = 2, batch_norm: bool = False) -> None:
        super().__init__()
        (row,) = shape.inputs
        sizes = [int(torch.Size(row).numel()), *[width] * depth]
        blocks = []
        for before, after in pairwise(sizes):
            norm = [nn.BatchNorm1d(after)] if batch_norm else []
            blocks.append(nn.Sequential(nn.Linear(before, after), *norm, nn.ReLU()))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(sizes[-1], shape.outputs)
        self.layers = tuple(f"blocks.{k}" for k in range(depth))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for inputs of shape (n, ...)."""
        return self.head(self.blocks(inputs.flatten(1)))  # type: ignore[no-any-return]


class Linear(nn.Module):
    """Linear regression: one affine map."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        (row,) = shape.inputs
        self.head = nn.Linear(int(torch.Size(row).numel()), shape.outputs)
        self.layers: tuple[str, ...] = ()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for inputs of shape (n, ...)."""
        return self.head(inputs.flatten(1))  # type: ignore[no-any-return]


class AllCNN(nn.Module):
    """All-convolutional network with batch-norm (Springenberg et al., arXiv:1412.6806, as used by Tarun et al.).

    Eight convolutions: three of `widths[0]` channels, five of `widths[1]`, the third and sixth with stride 2, the
    last 1x1; each with batch-norm and ReLU; then the mean over positions and a linear head. The published network
    has widths (96, 192) and pools 8x8 maps, so that it takes 32x32 images only; the mean takes any size from 4x4.
    """

    def __init__(self, shape: Shape, *, widths: Sequence[int] = (96, 192)) -> None:
        super().__init__()
        ((channels, _, _),) = shape.inputs
        narrow, wide = widths
        outputs = [narrow, narrow, narrow, wide, wide, wide, wide, wide]
        strides, kernels = [1, 1, 2, 1, 1, 2, 1, 1], [3] * 7 + [1]
        blocks = []
        for before, after, stride, kernel in zip(
            [channels, *outputs[:-1]], outputs, strides, kernels, strict=True
        ):
            convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU()))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(wide, shape.outputs)
        self.layers = tuple(f"blocks.{k}" for k in range(len(blocks)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for images of shape (n, channels, height, width)."""
        return self.head(self.blocks(inputs).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class LSTM(nn.Module):
    """One LSTM layer over a sequence, each unit's highest state through a hidden layer to a linear head.

    The highest state over time, not the last: one telling word may stand anywhere in a sentence.
    """

    def __init__(self, shape: Shape, *, width: int, hidden: int = 32) -> None:
        super().__init__()
        ((_, features),) = shape.inputs
        self.encoder = nn.LSTM(features, width, batch_first=True)
        self.hidden = nn.Sequential(nn.Linear(width, hidden), nn.ReLU())
        self.head = nn.Linear(hidden, shape.outputs)
        self.layers = ("encoder", "hidden")

    def forward(self, inputs: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for sequences of shape (n, time, features), padded on the left."""
        states, _ = self.encoder(inputs)
        return self.head(self.hidden(states.amax(dim=1)))  # type: ignore[no-any-return]
