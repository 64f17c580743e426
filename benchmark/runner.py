"""Run one cell: the only place with a clock around a method."""

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from regunlearn.benchmark import curves, machine, metrics, registry, scoring, tasks, trainers, training
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.cost import (
    Meter,
    OutOfTimeError,
    OverBudgetError,
    PeakMemory,
    WarmedUp,
    time_limit,
    timed,
)
from regunlearn.benchmark.ensembles import Ensembles
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.grid import Cell, Design
from regunlearn.benchmark.isolation import isolated
from regunlearn.benchmark.records import MEASURED, Record
from regunlearn.benchmark.references import References
from regunlearn.benchmark.request import EngineRequest
from regunlearn.benchmark.sharded import Mean, network_of
from regunlearn.benchmark.shipped import Layered, Shipped
from regunlearn.benchmark.spec import ForgetSplit, Indices
from regunlearn.benchmark.splits import seed_of
from regunlearn.benchmark.stress import STRESS, StressEnsembles, open_stress
from regunlearn.benchmark.tasks import Task
from regunlearn.benchmark.training import DivergedError

log = logging.getLogger("regunlearn")

WARM_UP_CALLS = 20
PIECE_STEPS, PIECE_SECONDS = 20, 0.15
REASON_LENGTH = 300
OUT_OF_MEMORY = (
    "DefaultCPUAllocator: ",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What messages of torch say that has no exception of its own: on the CPU, and of libraries on CUDA."""
METHOD_FAILURES = (DivergedError, OutOfTimeError, OverBudgetError, registry.RegistryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how cells are run; none of it changes what comes out, but for the device.

    Attributes:
        cache: folder of checkpoints.
        device: "auto", "cpu" or "cuda".
        threads: processor threads of one cell, fixed so that sums are taken in the same order everywhere.
        timed: measure seconds and memory, with a retrain timed beside each cell; run one cell at a time.
        timed_seeds: of a timed run, the number of seeds of each task and split whose cells are timed; None for all.
        methods: another folder of methods than the package's.
        references: folder of a protocol that ships reference models, which are then not trained.
        epochs: of every recipe, for a trial; None for what the recipes say. Part of a task's hash, as a recipe is.
    """

    cache: Path
    device: str = "auto"
    threads: int = 1
    timed: bool = False
    timed_seeds: int | None = None
    methods: Path | None = None
    references: Path | None = None
    epochs: int | None = None


@cache
def open_task(name: str, settings: Settings) -> References:
    """Return a task with its reference models; kept for the life of the process."""
    torch.set_num_threads(settings.threads)
    task = tasks.load(name, tasks.resolve_device(settings.device))
    if settings.epochs is not None:
        task = replace(task, recipe=replace(task.recipe, epochs=settings.epochs))
    store = Cache(settings.cache)
    if settings.references is not None:
        store = Layered(settings.cache, Shipped(settings.references))
    return References(task, store)


@cache
def open_ensembles(design: Design, settings: Settings) -> Ensembles | StressEnsembles:
    """Return the ensembles of a task and forget split, or stress test; kept for the life of the process."""
    models = open_task(design.task, settings)
    if design.split in STRESS:
        return open_stress(models, design.split, design.size, design.retrained)
    return Ensembles(models, design.split, design.size, pool=design.pool, retrained=design.retrained)


def open_scored(design: Design, settings: Settings) -> Ensembles:
    """Return the ensembles of a forget split, which can be gated and verified.

    Raises:
        UsageError: the design is a stress test.
    """
    found = open_ensembles(design, settings)
    if isinstance(found, StressEnsembles):
        raise UsageError(
            f"{design.task} / {design.split} is a stress test: it has no gates and ships no models."
        )
    return found


def card_of(cell: Cell, settings: Settings) -> registry.Card:
    """Return the card of the cell's method.

    Raises:
        UsageError: the cell's configuration names what is no hyperparameter of it.
    """
    card = registry.discover("method", settings.methods).get(cell.entry)
    strange = sorted(set(cell.configuration) - (set(card.hyperparameters) - set(card.fact("parts", ()))))
    if strange:
        raise UsageError(
            f"configuration {cell.method!r}: {', '.join(strange)} are no hyperparameters of {card.name} to choose. "
            f"Known: {', '.join(card.hyperparameters)}."
        )
    return card


def identity(cell: Cell, settings: Settings) -> dict[str, Any]:
    """Return the hashes and hyperparameters under which the cell's record is made and found again."""
    card, setting = card_of(cell, settings), setting_of(cell, settings)
    return {
        "protocol": cell.protocol.name,
        "method": cell.method,
        "method_hash": card.code_hash,
        "hyperparameters": {**card.hyperparameters, **cell.configuration},
        "task": cell.task,
        "task_hash": setting.models.task.content_hash,
        "split": cell.split,
        "split_hash": setting.whole.hash,
        "seed": cell.seed,
    }


class Setting(NamedTuple):
    """What a cell's method is run on.

    Attributes:
        models: reference models of the task.
        whole: the forget split that the cell names.
        split: what the model of the cell's seed is to forget of it.
        unseen: training rows that its retrained model has not seen.
    """

    models: References
    whole: ForgetSplit
    split: ForgetSplit
    unseen: Indices


def setting_of(cell: Cell, settings: Settings) -> Setting:
    """Return what the cell's method is run on; loads the task's data and makes its splits."""
    if cell.protocol.ensembles:
        found = open_ensembles(cell.design, settings)
        return Setting(
            found.models, found.whole, found.split(cell.seed), found.without("retrained", cell.seed)
        )
    models = open_task(cell.task, settings)
    split = models.make_split(cell.split)
    return Setting(models, split, split, split.unseen)


def run_cell(cell: Cell, settings: Settings, *, timed: bool | None = None) -> Record:
    """Run a method on a task and split with a seed, and return the record of how it went.

    A failure of the method is a status with its reason. Only what is not the method's fault (data that cannot be
    had, a full disk) raises. `timed` is as for `attempt`.
    """
    return finish(attempt(cell, settings, timed=timed), settings)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a method call brought, before anything is evaluated.

    Attributes:
        cell: what was run; `identity`: under which hashes and hyperparameters.
        state: weights of the unlearned model, on the CPU; None if there are none.
        status, reason: as in a record.
        passes: gradient passes as a share of a retrain's.
        training_passes: likewise, of a training of the original that the method does in its own way.
        seconds, retrain_seconds, peak_bytes: as in a record.
        after: seconds of a retrain, by the piece that was timed after the call.
    """

    cell: Cell
    identity: Mapping[str, Any]
    state: Mapping[str, Tensor] | None = None
    status: str = "ok"
    reason: str | None = None
    passes: float | None = None
    seconds: float | None = None
    retrain_seconds: float | None = None
    peak_bytes: int | None = None
    training_passes: float | None = None
    after: float | None = None

    def failed(self, error: Exception) -> "Attempt":
        """Return the attempt with the error's status, or raise the error if it is not the method's."""
        if isinstance(error, BenchmarkError) and not isinstance(error, METHOD_FAILURES):
            raise error
        log.debug("cell %s failed", self.cell.key, exc_info=error)
        status, reason = _status_of(error)
        nothing = dict.fromkeys(("state", *MEASURED, "training_passes", "after"))
        return replace(self, status=status, reason=reason, **nothing)  # type: ignore[arg-type]


def attempt(
    cell: Cell, settings: Settings, *, timed: bool | None = None, before: float | None = None
) -> Attempt:
    """Call the method of a cell, under the clock if it is timed.

    Args:
        cell: what to run.
        settings: where and how.
        timed: whether it is; what the settings say if None.
        before: seconds of a retrain of the same split, as timed a moment ago; timed here if it is None.
    """
    setting, blank = setting_of(cell, settings), Attempt(cell=cell, identity=identity(cell, settings))
    try:
        with isolated(_seed(cell), setting.models.task.device):
            clocked = settings.timed if timed is None else timed
            return _unlearn(blank, setting, settings, clocked=clocked, before=before)
    except Exception as error:
        tried = blank.failed(error)
    if tried.status == "out_of_memory" and setting.models.task.device.type == "cuda":
        torch.cuda.empty_cache()  # what the method left reserved is for the next cell
    return tried


def finish(tried: Attempt, settings: Settings) -> Record:
    """Evaluate what an attempt brought and return the record of the cell."""
    cell = tried.cell
    models = open_task(cell.task, settings)
    split, task = models.make_split(cell.split), models.task
    values: Mapping[str, float] = {}
    drawn: curves.Curves = {}
    if tried.state is not None:
        try:
            with isolated(_seed(cell), task.device):
                model = network_of(tried.state, partial(task.new_network, 0))
                evidence = scoring.gather(cell, models, split, model)
            evidence = replace(evidence, training_passes=tried.training_passes)
            values, drawn = metrics.evaluate(evidence), curves.draw(evidence, task, split)
        except Exception as error:
            tried = tried.failed(error)
    return Record(
        **tried.identity,
        status=tried.status,
        reason=tried.reason,
        metrics=values,
        curves=drawn,
        passes=tried.passes,
        seconds=tried.seconds,
        retrain_seconds=tried.retrain_seconds,
        peak_bytes=tried.peak_bytes,
        machine=machine.identity(),
        versions=machine.versions(),
        commit=machine.commit(),
    )


def lost(work: Cell | Attempt, settings: Settings, reason: str) -> Record:
    """Return the record of a cell whose worker process ended abruptly, again and again."""
    cell = work if isinstance(work, Cell) else work.cell
    blank = Attempt(
        cell=cell, identity=identity(cell, settings), status="error", reason=reason[:REASON_LENGTH]
    )
    return finish(blank, settings)


def _seed(cell: Cell) -> int:
    return seed_of("method", cell.entry, cell.task, cell.split, cell.seed)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory was short: of the device, of the machine, or of what a library may have."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def _status_of(error: Exception) -> tuple[str, str]:
    kinds: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        ((DivergedError, FloatingPointError), "diverged"),
        (OutOfTimeError, "timeout"),
        (OverBudgetError, "over_budget"),
    ]
    text = " ".join(str(error).encode("utf-8", "replace").decode().split())[:REASON_LENGTH] or "no message"
    for kind, status in kinds:
        if isinstance(error, kind):
            return status, text
    if is_out_of_memory(error):
        return "out_of_memory", text
    return "error", f"{type(error).__name__}: {text}"[:REASON_LENGTH]


# The method, under the clock


def make_request(
    cell: Cell, models: References, split: ForgetSplit, meter: Meter, card: registry.Card | None = None
) -> EngineRequest:
    """Return what the method gets: fresh copies of rows and model, all models metered."""
    needs = card.fact("needs", ()) if card else ()
    task = models.task
    model = meter.attach(models.model(cell.seed, split.absent))
    factory = partial(_fresh, task.build, task.dataset.shape, task.recipe, task.device)
    return EngineRequest(
        model=model,
        retain=task.training_rows(np.setdiff1d(task.train, split.unseen)),
        forget=task.training_rows(split.forget),
        validation=task.rows_of(split.validation),
        recipe=task.recipe,
        layers=getattr(model, "layers", ()),
        head="head",
        generator=torch.Generator().manual_seed(_seed(cell)),
        device=task.device,
        share=cell.protocol.share,
        factory=factory,
        meter=meter,
        trajectory=models.trajectory(cell.seed, split.absent) if "trajectory" in needs else {},
        exact=card is not None and card.fact("track") == "exact",
    )


def _fresh(build: Any, shape: Any, recipe: Any, device: torch.device, seed: int) -> nn.Module:
    return training.new_network(build, shape, recipe, seed, device)


def _unlearn(
    blank: Attempt, setting: Setting, settings: Settings, *, clocked: bool, before: float | None
) -> Attempt:
    cell, models, split = blank.cell, setting.models, setting.split
    card, task = registry.discover("method", settings.methods).get(cell.entry), models.task
    method = partial(registry.load(card), **cell.configuration)
    granted = [models.model(cell.seed, setting.unseen)] if card.fact("cheat") == "retrained" else []
    retrain_passes = trainers.passes_of(
        task.recipe, len(task.train) - len(split.unseen), len(split.validation)
    )
    if clocked:
        warm = make_request(cell, models, split, Meter(forwards=WARM_UP_CALLS), card)
        with isolated(_seed(cell), task.device), suppress(WarmedUp):
            method(warm, *granted)
        before = time_retrain(models, split) if before is None else before
    meter = Meter(limit=cell.protocol.share * retrain_passes * (1 + 1e-9), seconds=cell.protocol.time_limit)
    request = make_request(cell, models, split, meter, card)
    try:
        with PeakMemory(task.device) as memory, time_limit(cell.protocol.time_limit):
            unlearned, seconds = timed(lambda: method(request, *granted), task.device)
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error}: a method may not end the process") from error
    except UnknownName as error:  # of a part that a combinator names: its own fault
        raise registry.RegistryError(str(error)) from error
    meter.check_time()
    done = replace(blank, passes=meter.passes / retrain_passes)
    if request.exact:
        done = replace(done, training_passes=meter.prepared_passes / retrain_passes)
        seconds -= meter.prepared_seconds
    if clocked and before is not None:
        after = time_retrain(models, split)
        mean = float(np.mean([before, after]))
        done = replace(done, seconds=seconds, retrain_seconds=mean, peak_bytes=memory.bytes, after=after)
    try:
        state = _accepted(unlearned, task).state_dict()
    except Exception as error:
        return done.failed(error)
    return replace(done, state={name: values.cpu() for name, values in state.items()})


def _accepted(unlearned: object, task: Task) -> nn.Module:
    """Move what the method returned into a clean network, or say why it is not acceptable."""
    if not isinstance(unlearned, nn.Module):
        raise TypeError(f"the method returned {type(unlearned).__name__}, expected an nn.Module")
    state = unlearned.state_dict()
    if isinstance(unlearned, Mean):  # what `Request.average` gives on the exact track
        model = network_of(state, partial(task.new_network, 0))
        training.require_finite(model)
        return model
    model = task.new_network(0)
    found, expected = ({k: tuple(v.shape) for k, v in s.items()} for s in (state, model.state_dict()))
    if found != expected:
        differ = sorted(k for k in {*found, *expected} if found.get(k) != expected.get(k))
        raise TypeError(
            f"the method returned another architecture: {', '.join(differ[:5])} differ from the original"
        )
    model.load_state_dict(state)
    training.require_finite(model)
    return model


def time_retrain(models: References, split: ForgetSplit) -> float:
    """Return the seconds that a retrain would take, from a timed piece of one run right now.

    All steps of a retrain cost the same, so a piece of at least 20 steps and 0.15 s stands for the whole; of a recipe
    that looks at validation rows, of at least one epoch.
    """
    task = models.task
    rows = task.training_rows(np.setdiff1d(task.train, split.unseen))
    total = trainers.steps_of(task.recipe, len(rows))
    validation = task.rows_of(split.validation) if trainers.validates(task.recipe) else None

    def piece(steps: int) -> float:
        model, generator = task.new_network(0), torch.Generator().manual_seed(0)
        _, seconds = timed(
            lambda: trainers.fit(model, rows, task.recipe, generator, validation=validation, steps=steps),
            task.device,
        )
        return seconds / min(steps, total)

    steps = max(PIECE_STEPS, int(PIECE_SECONDS / piece(5)))
    if validation is not None:
        per_epoch = trainers.steps_of(task.recipe, len(rows), 1)
        steps = per_epoch * math.ceil(steps / per_epoch)
    return piece(steps) * total
