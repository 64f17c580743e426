"""Curves stored with a record, for the figures: they too are made from raw predictions by the engine."""

from collections.abc import Mapping

import numpy as np

from regunlearn.benchmark.evidence import Evidence
from regunlearn.benchmark.spec import ForgetSplit
from regunlearn.benchmark.tasks import Task

TARGET_BINS = 12
DIFFERENCE_BINS, LARGEST_DIFFERENCE = 40, 2.0

Curves = Mapping[str, Mapping[str, list[float]]]


def draw(evidence: Evidence, task: Task, split: ForgetSplit) -> Curves:
    """Return all curves of a cell by name."""
    return {
        "error_by_target": error_by_target(evidence, task, split),
        "relative_difference": relative_difference(evidence),
    }


def error_by_target(evidence: Evidence, task: Task, split: ForgetSplit) -> dict[str, list[float]]:
    """MAE on all test rows in 12 equal bins of the target; -1 marks a bin without rows.

    Columns: `edges` (13) and `mae` (12), in the target's unit; `forget_low` and `forget_high`, one number each for a
    band split and none otherwise.
    """
    everything = task.dataset.targets[:, 0]
    edges = np.linspace(everything.min(), everything.max(), TARGET_BINS + 1)
    same = split.test_forget is split.test_retain
    parts = ("test_retain",) if same else ("test_forget", "test_retain")
    targets = np.concatenate([evidence.targets[part] for part in parts])
    predictions = np.concatenate([evidence.unlearned.predictions[part] for part in parts])
    errors = np.abs(predictions - targets).mean(axis=1)
    place = np.clip(np.searchsorted(edges, targets[:, 0], side="right") - 1, 0, TARGET_BINS - 1)
    counts = np.bincount(place, minlength=TARGET_BINS)
    sums = np.bincount(place, weights=errors, minlength=TARGET_BINS)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -1.0)
    low, high = ([split.band[0]], [split.band[1]]) if split.band else ([], [])
    return {"edges": edges.tolist(), "mae": means.tolist(), "forget_low": low, "forget_high": high}


def relative_difference(evidence: Evidence) -> dict[str, list[float]]:
    """Histogram over the forget rows of |f_unlearned - f_retrained| in standard deviations of the target.

    The published figure divides by the label, which has no meaning for targets around zero. 40 equal bins from 0 to
    2; what lies above counts in the last.
    """
    part = "train_forget"
    gaps = evidence.unlearned.predictions[part] - evidence.retrained.predictions[part]
    sizes = np.abs(gaps).mean(axis=1) / evidence.scale
    edges = np.linspace(0.0, LARGEST_DIFFERENCE, DIFFERENCE_BINS + 1)
    counts, _ = np.histogram(np.minimum(sizes, LARGEST_DIFFERENCE), bins=edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
