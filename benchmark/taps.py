"""Activations of named layers, by hooks, so that any `nn.Module` works."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def listening(model: nn.Module, layers: Sequence[str], hear: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `hear(name, output)` at each forward pass of each named layer inside the block.

    Of a layer with several outputs (a recurrent one), the first counts: its states.
    """

    def hook_of(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, inputs, output: hear(name, output[0] if isinstance(output, tuple) else output)

    handles = [model.get_submodule(name).register_forward_hook(hook_of(name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pooled(activation: Tensor) -> Tensor:
    """Average over positions (n, channels, height, width) or time (n, time, units): shape (n, width)."""
    if activation.ndim == 4:
        return activation.mean(dim=(2, 3))
    return activation.mean(dim=1) if activation.ndim == 3 else activation
