"""Numbers about predictions: errors averaged both ways, correlations, constants, the published density histogram.

Predictions and targets have shape (n,) and the target's unit, rows in file order.
"""

import math
from collections.abc import Mapping

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from regunlearn.benchmark.evidence import Array

BINS, LARGEST = 50, 5.0
"""Of the density histogram: equal bins from 0 to LARGEST; what lies above is counted as beyond."""


def losses(predictions: Array, targets: Array, loss: str) -> Array:
    """Return the loss of each row: squared for "mse", absolute for "l1"; shape (n,)."""
    gaps = predictions - targets
    return np.square(gaps) if loss == "mse" else np.abs(gaps)


def weights(n: int, batch: int | None) -> Array:
    """Return what each of n rows weighs in a mean over rows, or, with a batch size, in a mean of batch means.

    >>> weights(3, 2).tolist()
    [0.25, 0.25, 0.5]
    """
    if batch is None:
        return np.full(n, 1 / n)
    sizes = np.minimum(batch, n - np.arange(0, n, batch))
    return np.repeat(1 / (sizes * len(sizes)), sizes)


def error(predictions: Array, targets: Array, loss: str, batch: int | None = None) -> float:
    """Return the mean loss over rows, or the mean of the means over batches of `batch` rows in order."""
    return float(weights(len(targets), batch) @ losses(predictions, targets, loss))


def best_constant(targets: Array, loss: str) -> float:
    """Return the constant with the lowest mean loss: the mean for "mse", the median for "l1"."""
    return float(np.mean(targets) if loss == "mse" else np.median(targets))


def constant_with(
    level: float, forget: Array, retain: Array, loss: str, batch: int | None = None
) -> float | None:
    """Return the constant, on the side of the retain targets, whose error on the forget targets is `level`.

    None where every constant has a larger error than `level`.
    """

    def excess(constant: float) -> float:
        return error(np.full(len(forget), constant), forget, loss, batch) - level

    shares = weights(len(forget), batch)
    if loss == "mse":
        start = float(shares @ forget)
    else:
        order = np.argsort(forget, kind="stable")
        start = float(forget[order][np.searchsorted(np.cumsum(shares[order]), 0.5)])
    if excess(start) > 0:
        return None
    side = 1.0 if retain.mean() > forget.mean() else -1.0
    reach = 1.0
    while excess(start + side * reach) < 0:
        reach *= 2
    return float(brentq(excess, start, start + side * reach, xtol=1e-10))


def errors(
    retain: tuple[Array, Array], forget: tuple[Array, Array], loss: str, batch: int
) -> dict[str, float]:
    """Return the errors on both test parts, averaged both ways, and what a constant of equal forget error has.

    Args:
        retain: predictions and targets of the retain test rows.
        forget: the same of the forget test rows.
        loss: "mse" or "l1".
        batch: rows of a batch where batch means are averaged.
    """
    values: dict[str, float] = {}
    for name, size in (("rows", None), ("batches", batch)):
        values[f"test_retain_{name}"] = error(*retain, loss, size)
        values[f"test_forget_{name}"] = error(*forget, loss, size)
        constant = constant_with(values[f"test_forget_{name}"], forget[1], retain[1], loss, size)
        if constant is not None:
            same = np.full(len(retain[1]), constant)
            values[f"constant_retain_{name}"] = error(same, retain[1], loss, size)
    return values


def correlations(parts: Mapping[str, tuple[Array, Array]]) -> dict[str, float]:
    """Return Pearson and Spearman correlation of predictions and targets, by part; none where either is constant."""
    values: dict[str, float] = {}
    for part, (predictions, targets) in parts.items():
        if min(np.ptp(predictions), np.ptp(targets)) > 0:
            values[f"pearson_{part}"] = float(stats.pearsonr(predictions, targets).statistic)
            values[f"spearman_{part}"] = float(stats.spearmanr(predictions, targets).statistic)
    return {name: value for name, value in values.items() if math.isfinite(value)}


def density(predictions: Array, wanted: Array, targets: Array) -> dict[str, list[float]]:
    """Return the histogram of |prediction - wanted| / target; targets are positive."""
    ratios = np.abs(predictions - wanted) / targets
    edges = np.linspace(0.0, LARGEST, BINS + 1)
    inside = ratios[ratios <= LARGEST]
    counts, _ = np.histogram(inside, bins=edges)
    return {
        "edges": edges.tolist(),
        "counts": counts.astype(float).tolist(),
        "beyond": [float(len(ratios) - len(inside))],
    }
