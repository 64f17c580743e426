"""Windows: against cutting them out one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.benchmark import windows
from regunlearn.benchmark.errors import BenchmarkError

PARTS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=5)


@given(PARTS, st.integers(1, 6), st.integers(1, 7))
def test_places_are_all_windows_inside_the_parts(
    parts: list[tuple[int, int]], length: int, stride: int
) -> None:
    first, stop = (np.array(column) for column in zip(*parts, strict=True))
    who, start = windows.places(first, stop, length, stride)
    expected = [(k, s) for k, (a, b) in enumerate(parts) for s in range(a, b - length + 1, stride)]
    assert list(zip(who.tolist(), start.tolist(), strict=True)) == expected
    assert who.dtype == start.dtype == np.int64


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_cut_windows_are_slices(series: int, features: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(series, 12, features)).astype(np.float32)
    who, start = windows.places(np.zeros(series, int), np.full(series, 12), length)
    order = rng.permutation(len(who))
    who, start = who[order], start[order]
    made = windows.cut(values, (who, start), length)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert made.flags.owndata or made.base is None or not np.shares_memory(made, values)
    expected = [values[k, s : s + length] for k, s in zip(who, start, strict=True)]
    np.testing.assert_array_equal(made, np.stack(expected))


def test_no_window_is_no_row() -> None:
    places = windows.places(np.array([3]), np.array([5]), 4)
    assert windows.cut(np.zeros((1, 9, 2)), places, 4).shape == (0, 4, 2)


@pytest.mark.parametrize("start", [-1, 7])
def test_a_window_beyond_its_series_is_refused(start: int) -> None:
    with pytest.raises(BenchmarkError, match="inside the series of 9 steps"):
        windows.cut(np.zeros((1, 9, 2)), (np.array([0]), np.array([start])), 3)
