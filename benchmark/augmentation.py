"""Batched augmentation on the device: one call a batch, no loop over rows."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from regunlearn.benchmark.errors import UnknownName

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


def crop_and_flip(images: Tensor, generator: torch.Generator, *, padding: int = 16) -> Tensor:
    """Shift each image by up to `padding` pixels (zeros come in) and mirror half of them.

    The paper's image pipeline: random crop of the padded image at its own size, random horizontal flip.

    Args:
        images: shape (n, channels, height, width), on any device.
        generator: on the CPU.
        padding: pixels on each side.
    """
    n, _, height, width = images.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, n), generator=generator).to(images.device)
    flip = (torch.rand(n, generator=generator) < 0.5).to(images.device)
    padded = functional.pad(images, (padding,) * 4)
    rows = top[:, None] + torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device).expand(n, width)
    columns = left[:, None] + torch.where(flip[:, None], width - 1 - across, across)
    index = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


AUGMENTATIONS: Mapping[str, Augmentation] = {"crop_and_flip": crop_and_flip}


def get(name: str | None) -> Augmentation | None:
    """Return an augmentation by name, None for None.

    Raises:
        UnknownName: with the known names.
    """
    if name is not None and name not in AUGMENTATIONS:
        raise UnknownName("augmentation", name, AUGMENTATIONS)
    return None if name is None else AUGMENTATIONS[name]
