"""Whatever a method does to the process is undone."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from regunlearn.benchmark.isolation import isolated

CPU = torch.device("cpu")


def state() -> tuple[Any, ...]:
    legacy = np.random.get_state()  # noqa: NPY002
    return (
        random.getstate(),
        tuple(legacy[1].tolist()),  # type: ignore[index]
        tuple(torch.get_rng_state().tolist()),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
    )


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


CHANGES: dict[str, Callable[[], object]] = {
    "draws": draw,
    "python seed": lambda: random.seed(1),
    "numpy seed": lambda: np.random.seed(1),  # noqa: NPY002
    "torch seed": lambda: torch.manual_seed(1),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "default device": lambda: torch.set_default_device("meta"),
    "deterministic": lambda: torch.use_deterministic_algorithms(True),
}


@pytest.fixture(autouse=True)
def restored() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_default_device(None)
    torch.use_deterministic_algorithms(False)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_changes_are_undone(change: str, error: type[BaseException] | None) -> None:
    before = state()
    try:
        with isolated(0, CPU):
            CHANGES[change]()
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert state() == before


def test_every_stream_is_seeded() -> None:
    found = []
    for seed in (7, 7, 2**62 + 1):
        draw()
        with isolated(seed, CPU):
            found.append(draw())
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], found[2], strict=True))


def test_gradients_are_on_inside() -> None:
    with torch.no_grad():
        with isolated(0, CPU):
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()


def test_blocks_nest() -> None:
    with isolated(0, CPU):
        expected = (draw(), draw())
    with isolated(0, CPU):
        first = draw()
        with isolated(1, CPU):
            draw()
        assert (first, draw()) == expected


def test_no_default_device_is_left_behind() -> None:
    """One that is set, even the same, puts a Python call around every later function of torch."""
    with isolated(0, torch.device("cpu")):
        torch.set_default_device("meta")
    assert torch.overrides._len_torch_function_stack() == 0
    with isolated(0, torch.device("cpu")):
        pass
    assert torch.overrides._len_torch_function_stack() == 0
