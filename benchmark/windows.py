"""Windows out of several series of one clock: where they lie, and their values, without a loop over windows."""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from regunlearn.benchmark.errors import BenchmarkError

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Of each window: the number of its series and its first step, shape (n,) each."""


def places(first: NDArray[np.int64], stop: NDArray[np.int64], length: int, stride: int = 1) -> Places:
    """Return all windows of a length in a part of each series, by series and then by time.

    Args:
        first: step with which the part of each series begins, shape (series,).
        stop: step before which it ends, shape (series,).
        length: steps of a window.
        stride: steps from one window to the next of the same series.

    >>> who, start = places(np.array([0, 5]), np.array([4, 7]), length=2, stride=2)
    >>> who.tolist(), start.tolist()
    ([0, 0, 1], [0, 2, 5])
    """
    counts = np.maximum((stop - first - length) // stride + 1, 0)
    who = np.repeat(np.arange(len(first)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return who.astype(np.int64), (first[who] + stride * within).astype(np.int64)


def cut(series: NDArray[Any], places: Places, length: int) -> NDArray[Any]:
    """Return the values of windows, shape (n, length, features), as a copy that lies row after row.

    Args:
        series: shape (series, time, features).
        places: series and first step of each window.
        length: steps of a window.

    Raises:
        BenchmarkError: a window reaches beyond its series.
    """
    who, start = places
    if len(start) and not 0 <= start.min() <= start.max() <= series.shape[1] - length:
        raise BenchmarkError(
            f"windows of {length} steps begin at {start.min()} to {start.max()}: expected them inside the series of "
            f"{series.shape[1]} steps."
        )
    views = sliding_window_view(series, length, axis=1).swapaxes(-1, -2)
    return np.ascontiguousarray(views[who, start])
