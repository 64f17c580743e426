"""What figures show of an ensemble beyond its metrics: distances row by row, the attack's ROC, predictions.

Short lists, cut to four digits: enough for a picture, and small beside the record. Those of the reference models are in
the records of `original` and `retrain`.
"""

import numpy as np

from regunlearn.benchmark import distributions, membership
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.statistics import Mask

BINS = 20
"""Of the histogram of total variations, between 0 and 1."""
FALSE_POSITIVES = tuple(float(f"{rate:.4g}") for rate in np.logspace(-3, 0, 25))
SHOWN = 40
"""Rows whose predictions are kept."""
DIGITS = 4

Curve = dict[str, list[float]]


def row_distances(unlearned: Array, retrained: Array) -> Curve:
    """Return how many forget rows have which total variation to the retrained models, in `BINS` equal bins of [0, 1].

    Args:
        unlearned: predictions on the forget rows, shape (models, rows, outputs).
        retrained: same of the retrained models.
    """
    values = distributions.total_variation(unlearned, retrained)
    counts, _ = np.histogram(np.clip(values, 0.0, 1.0), bins=BINS, range=(0.0, 1.0))
    return {"counts": [float(count) for count in counts]}


def attack_roc(residuals: Array, inside: Mask) -> Curve:
    """Return the true-positive rates of U-LiRA at the false-positive rates `FALSE_POSITIVES`.

    Each is the largest over thresholds that keep the rate (as `membership.tpr_at`): no interpolation, so that it is
    never higher than an attacker could have.

    Args:
        residuals: signed, shape (models, rows).
        inside: whether the model was asked to forget the row, same shape.
    """
    scores = membership.lira_scores(residuals, inside)
    positives, negatives = np.sort(scores[inside]), np.sort(scores[~inside])[::-1]
    allowed = np.floor(np.array(FALSE_POSITIVES) * len(negatives) + 1e-9).astype(int)
    limits = negatives[np.minimum(allowed, len(negatives) - 1)]
    above = 1 - np.searchsorted(positives, limits, side="right") / len(positives)
    rates = np.where(allowed < len(negatives), above, 1.0)
    return {"fpr": list(FALSE_POSITIVES), "tpr": _cut(rates)}


def mean_predictions(unlearned: Array, retrained: Array, targets: Array) -> Curve:
    """Return mean predictions of the first output for `SHOWN` forget rows, evenly spaced in the order of the targets.

    Args:
        unlearned: in the unit of the target, shape (models, rows, outputs).
        retrained: same of the retrained models.
        targets: shape (rows, outputs).
    """
    order = np.argsort(targets[:, 0], kind="stable")
    kept = order[np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))]
    columns = {"target": targets, "retrained": retrained.mean(axis=0), "unlearned": unlearned.mean(axis=0)}
    return {name: _cut(values[kept, 0]) for name, values in columns.items()}


def _cut(values: Array) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
