"""Run one cell of an ensemble protocol: the method unlearns every original, and all its models are scored together.

What an unlearning run leaves is its view, kept in the cache under everything that it depends on, so that an
interrupted cell goes on where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from regunlearn.benchmark import machine, runner
from regunlearn.benchmark.assess import Assessment, assess
from regunlearn.benchmark.ensembles import Ensembles
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Cell
from regunlearn.benchmark.isolation import isolated
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.runner import Attempt, Settings
from regunlearn.benchmark.sharded import network_of
from regunlearn.benchmark.stress import StressEnsembles, assess_stress
from regunlearn.benchmark.training import DivergedError

TIMED_SEEDS = 3
"""Models of a cell whose method call is timed, each beside a retrain."""
PASSES, TRAINING_PASSES = "passes", "training_passes"


class Run(NamedTuple):
    """How one unlearning run of a cell went; its view is in the cache if the status is ok."""

    cell: Cell
    status: str
    reason: str | None
    passes: float | None


def seeds_of(cell: Cell) -> list[Cell]:
    """Return the unlearning runs that a cell consists of, as cells with a seed each."""
    return [replace(cell, seed=seed) for seed in range(cell.design.size)]


def unlearn(cell: Cell, settings: Settings) -> Run:
    """Run the method on the original of the cell's seed and keep the view of what it returns, unless it is there."""
    references = runner.open_ensembles(cell.design, settings)
    facts, store = _facts(cell, references, settings), references.models.store
    stored = store.load(facts)
    if stored is not None:
        return Run(cell, "ok", None, float(stored[PASSES]))
    tried = runner.attempt(cell, replace(settings, timed=False))
    if tried.state is None:
        return Run(cell, tried.status, tried.reason, tried.passes)
    try:
        with isolated(cell.seed, references.task.device):
            model = network_of(tried.state, partial(references.task.new_network, 0))
            view = references.look(model, cell.seed)
        values = {name: np.asarray(array) for name, array in vars(view).items()}
        if not all(np.isfinite(array).all() for array in values.values()):
            raise DivergedError("predictions are not finite")
    except Exception as error:
        tried = tried.failed(error)
        return Run(cell, tried.status, tried.reason, tried.passes)
    assert tried.passes is not None
    tensors = {name: torch.from_numpy(array) for name, array in values.items()}
    costs = {PASSES: tried.passes, TRAINING_PASSES: tried.training_passes}
    known = {k: torch.tensor(v, dtype=torch.float64) for k, v in costs.items() if v is not None}
    store.save(facts, {**tensors, **known})
    return Run(cell, "ok", None, tried.passes)


def lost(cell: Cell, settings: Settings, reason: str) -> Run:
    """Return how an unlearning run went whose worker process ended abruptly, again and again."""
    return Run(cell, "error", reason, None)


def _view(
    cell: Cell, references: Ensembles | StressEnsembles, settings: Settings
) -> Mapping[str, torch.Tensor]:
    """Return the view that a run left; one that was damaged since is made again.

    Raises:
        BenchmarkError: it cannot be.
    """
    facts, store = _facts(cell, references, settings), references.models.store
    stored = store.load(facts)
    if stored is None:
        run = unlearn(cell, settings)
        stored = store.load(facts)
        if stored is None:
            raise BenchmarkError(
                f"{cell.task} / {cell.split} / {cell.method}, seed {cell.seed}: the cache lost what the method left, "
                f"and could not make it again ({run.status}: {run.reason}). Check the disk of {store.folder}, and run "
                "the same command again."
            )
    return stored


def _assess(references: Ensembles | StressEnsembles, views: Sequence[Any]) -> Assessment:
    if isinstance(references, StressEnsembles):
        return Assessment(assess_stress(references, references.stack(views)), {})
    return assess(references, references.stack(views))


def _facts(cell: Cell, references: Ensembles | StressEnsembles, settings: Settings) -> dict[str, Any]:
    """Return what makes an unlearned model's view what it is."""
    identity = runner.identity(cell, settings)
    split = references.split(cell.seed)
    made = references.models.facts("unlearned", cell.seed, split.absent)
    left = {name: identity[name] for name in ("method_hash", "hyperparameters")}
    limits = {"share": cell.protocol.share, "version": references.version}
    return {**made, **left, **limits, "method": cell.entry, "split": split.hash}


def record(cell: Cell, runs: Sequence[Run], timings: Sequence[Attempt], settings: Settings) -> Record:
    """Score the runs of a cell together.

    Args:
        cell: the whole ensemble.
        runs: of all its seeds, in their order.
        timings: timed calls of the same method on some of the seeds, or none.
        settings: as for the runs.
    """
    references = runner.open_ensembles(cell.design, settings)
    failed = [run for run in runs if run.status != "ok"]
    status, reason = "ok", None
    metrics: dict[str, float] = {}
    curves: dict[str, Any] = {}
    if failed:
        first = failed[0]
        status, reason = (
            first.status,
            f"{len(failed)} of {len(runs)} models; seed {first.cell.seed}: {first.reason}",
        )
    else:
        stored = [_view(run.cell, references, settings) for run in runs]
        views: list[Any] = [
            references.view_type(
                **{k: v.numpy() for k, v in one.items() if k not in (PASSES, TRAINING_PASSES)}
            )
            for one in stored
        ]
        found = _assess(references, views)
        metrics, curves = {**found.metrics, "models": float(len(views))}, dict(found.curves)
        trained = [float(one[TRAINING_PASSES]) for one in stored if TRAINING_PASSES in one]
        if trained:
            metrics[TRAINING_PASSES] = float(np.mean(trained))
    return Record(
        **runner.identity(cell, settings),
        status=status,
        reason=reason,
        metrics=metrics,
        curves=curves,
        passes=_mean([run.passes for run in runs]),
        seconds=_mean([timing.seconds for timing in timings]),
        retrain_seconds=_mean([timing.retrain_seconds for timing in timings]),
        peak_bytes=max((t.peak_bytes for t in timings if t.peak_bytes is not None), default=None),
        machine=machine.identity(),
        versions=machine.versions(),
        commit=machine.commit(),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
