"""Run other people's code without letting it change the process."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Seed every global random stream inside the block; restore them and the process's settings of torch after it."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved so that it can be restored
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    default, deterministic = torch.get_default_device(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            torch.set_grad_enabled(True)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            torch.set_num_threads(threads)
            # Setting a default device, even the same one, would slow every later call of torch.
            if torch.get_default_device() != default:
                torch.set_default_device(None if default.type == "cpu" else default)
            torch.use_deterministic_algorithms(deterministic)
