"""Admission gates: whether a task and forget split can be scored at all, measured on its reference models.

G1 something to forget: original and retrained models differ on the forget rows more than two retrained ones do.
G2 a model that is worth something: the retrained model beats the best constant clearly.
G3 no conflict: the original is about as good as the retrained model on what is kept, so that being useful and being
close to the retrained model are not at odds.
G4 like with like: original and retrained models take the same epochs in full batches.
G5 no way back: no forget row has an identical twin among the retain rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import composites, membership, training
from regunlearn.benchmark import distributions as between
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.ensembles import Ensembles
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.grid import Design
from regunlearn.benchmark.spec import Indices
from regunlearn.benchmark.statistics import Interval, around, calibrate, jackknife_variance

LEAST_DSR, LEAST_CONTRAST, WORST_TO_CONSTANT, UTILITY, BATCHES = 1.5, 3.0, 0.8, 0.10, 0.10


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: what was measured, with a 95% interval where it is a statistic, and the range in which it passes."""

    name: str
    what: str
    value: Interval
    least: float
    most: float

    @property
    def passed(self) -> bool:
        """Whether the measured value lies in the range."""
        return self.least <= self.value.estimate <= self.most


FILE = "gates.json"


def table(design: Design, found: Sequence[Gate]) -> list[dict[str, Any]]:
    """Return the gates of a task and forget split as rows of plain values."""
    return [
        {
            "task": design.task,
            "split": design.split,
            "design": "pool" if design.pool else "fixed set",
            "originals": design.size,
            "retrained": design.retrained,
            "gate": gate.name,
            "what": gate.what,
            "value": gate.value.estimate,
            "low": gate.value.low,
            "high": gate.value.high,
            "least": gate.least,
            "most": gate.most if np.isfinite(gate.most) else None,
            "passed": gate.passed,
        }
        for gate in found
    ]


def save(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write the rows to `gates.json` of a protocol's folder; those of other tasks and splits stay.

    Raises:
        BenchmarkError: the file that is there does not hold gates.
    """
    path = folder / FILE
    fresh = {(row["task"], row["split"]) for row in rows}
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        kept = [row for row in before if (row["task"], row["split"]) not in fresh]
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(
            f"{path}: expected the gates of a protocol, found {error!r:.100}. Restore or delete it."
        ) from error
    rounded = [{k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    ordered = sorted([*kept, *rounded], key=lambda row: (row["task"], row["split"]))
    write_text(path, json.dumps(ordered, indent=1) + "\n")


def gates(references: Ensembles) -> list[Gate]:
    """Measure every gate of a task and forget split.

    Intervals are delete-one jackknifes over seeds (original and retrained model of a seed together). A gate is judged
    by the measured value, not by the end of its interval.
    """
    original, retrained = (references.ensemble(role).forget for role in ("original", "retrained"))
    asked = membership.by_exposure(original, references.inside).inside if references.pool else original
    paired = retrained[: len(asked)]

    def dsr(keep: Indices) -> float:
        return composites.ensemble_dsr(asked[keep], paired[keep]) or 0.0

    def contrast(keep: Indices) -> float:
        calibrated = calibrate(_tv, asked[keep], asked[keep], retrained, paired=not references.pool)
        return calibrated.none / max(calibrated.null, 1e-12)

    (to_constant, utility), batches = _errors(references), _exact(_batches(references))
    found = [
        (
            "G1",
            "DSR, D(original, retrained) / D(retrained, other)",
            _jackknifed(dsr, len(asked)),
            LEAST_DSR,
            np.inf,
        ),
        (
            "G1",
            "TV of originals / of retrained models",
            _jackknifed(contrast, len(asked)),
            LEAST_CONTRAST,
            np.inf,
        ),
        ("G2", "retrained MAE / best constant's", to_constant, 0.0, WORST_TO_CONSTANT),
        ("G3", "original MAE / retrained MAE on what is kept", utility, 1 - UTILITY, 1 + UTILITY),
        ("G4", "rows trained on an epoch, original / retrained", batches, 1 - BATCHES, 1 + BATCHES),
        ("G5", "forget rows with a twin among the retain rows", _exact(twins(references)), 0.0, 0.0),
    ]
    return [Gate(name, what, value, least, most) for name, what, value, least, most in found]


def _tv(u: Array, r: Array) -> float:
    return float(between.total_variation(u, r).mean())


def _exact(value: float) -> Interval:
    return Interval(value, value, value)


def _jackknifed(statistic: Callable[[Indices], float], models: int) -> Interval:
    everyone = np.arange(models)
    replicates = np.array([statistic(np.delete(everyone, k)) for k in everyone])
    return around(statistic(everyone), jackknife_variance(replicates), models - 1)


def _errors(references: Ensembles) -> tuple[Interval, Interval]:
    """MAE on the retained test rows: the retrained models' over a constant's, and the originals' over theirs."""
    task, split = references.task, references.whole
    kept, targets = np.searchsorted(task.test, split.test_retain), task.dataset.targets[split.test_retain]
    of_o, of_r = (
        np.abs(references.ensemble(role).test[:, kept] - targets).mean(axis=(1, 2))
        for role in ("original", "retrained")
    )
    constant = np.abs(targets - np.median(targets, axis=0)).mean()
    return (
        _jackknifed(lambda keep: float(of_r[keep].mean() / constant), len(of_r)),
        _jackknifed(lambda keep: float(of_o[keep].mean() / of_r[keep].mean()), references.size),
    )


def _batches(references: Ensembles) -> float:
    """Share of the rows that an epoch trains on: 1 unless partial batches cost one of the two much more."""
    task, split = references.task, references.split(0)
    sizes = (len(task.train) - len(split.absent), len(task.train) - len(split.unseen))
    steps = [training.steps_of(task.recipe, n) * training.batch_size_of(task.recipe, n) / n for n in sizes]
    return steps[0] / steps[1]


def twins(references: Ensembles) -> int:
    """Return how many forget rows have the very inputs of a retain row."""
    task, split = references.task, references.whole
    arrays: list[NDArray[Any]] = [values.reshape(len(values), -1) for values in task.dataset.inputs.values()]
    _, labels = np.unique(np.concatenate(arrays, axis=1), axis=0, return_inverse=True)
    retain = np.setdiff1d(task.train, split.unseen)
    return int(np.isin(labels.ravel()[split.forget], labels.ravel()[retain]).sum())
