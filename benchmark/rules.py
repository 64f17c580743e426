"""The two rules by which a single unlearned model is scored: how close it came, and whether it is still of use."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

UTILITY_MARGIN = 1.05
UTILITY_ERRORS = 2.0


def closeness(rnc: ArrayLike) -> Array:
    """Return clip(1 - |1 - rnc|, 0, 1): 1 at another retrain, 0 at doing nothing and at going as far beyond."""
    return np.clip(1.0 - np.abs(1.0 - np.asarray(rnc, dtype=float)), 0.0, 1.0)


def utility_limit(retrained: ArrayLike) -> float:
    """Return the highest mean error on the retained test rows that passes: 1.05 mean + 2 standard errors.

    Args:
        retrained: MAE of the retrained model on the retained test rows, shape (seeds,), in the target's unit. The
            standard error of its mean is sd / sqrt(seeds), and 0 for a single seed.
    """
    values = np.asarray(retrained, dtype=float)
    error = float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(UTILITY_MARGIN * values.mean() + UTILITY_ERRORS * error)
