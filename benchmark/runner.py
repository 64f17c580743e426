"""Run one cell: the only place with a clock around a method."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from regunlearn.benchmark import curves, machine, metrics, references, registry, tasks, training
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
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Evidence
from regunlearn.benchmark.grid import Cell
from regunlearn.benchmark.isolation import isolated
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.references import References
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.request import EngineRequest
from regunlearn.benchmark.spec import ForgetSplit
from regunlearn.benchmark.splits import seed_of
from regunlearn.benchmark.tasks import Task
from regunlearn.benchmark.training import DivergedError

log = logging.getLogger("regunlearn")

WARM_UP_CALLS = 20
PIECE_STEPS, PIECE_SECONDS = 20, 0.15
REASON_LENGTH = 300
METHOD_FAILURES = (DivergedError, OutOfTimeError, OverBudgetError, registry.RegistryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how cells are run; none of it changes what comes out, but for the device.

    Attributes:
        cache: folder of checkpoints.
        device: "auto", "cpu" or "cuda".
        threads: processor threads of one cell, fixed so that sums are taken in the same order everywhere.
        timed: measure seconds and memory, with a retrain timed beside each cell; run one cell at a time.
        methods: another folder of methods than the package's.
    """

    cache: Path
    device: str = "auto"
    threads: int = 1
    timed: bool = False
    methods: Path | None = None


@cache
def open_task(name: str, settings: Settings) -> References:
    """Return a task with its reference models; kept for the life of the process."""
    torch.set_num_threads(settings.threads)
    task = tasks.load(name, tasks.resolve_device(settings.device))
    return References(task, Cache(settings.cache))


def identity(cell: Cell, settings: Settings) -> dict[str, Any]:
    """Return the hashes and hyperparameters under which the cell's record is made and found again."""
    return _identity(cell, open_task(cell.task, settings), _card(cell, settings))


def _card(cell: Cell, settings: Settings) -> Card:
    return registry.discover("method", settings.methods).get(cell.method)


def _identity(cell: Cell, models: References, card: Card) -> dict[str, Any]:
    return {
        "protocol": cell.protocol.name,
        "method": cell.method,
        "method_hash": card.code_hash,
        "hyperparameters": dict(card.hyperparameters),
        "task": cell.task,
        "task_hash": models.task.content_hash,
        "split": cell.split,
        "split_hash": models.make_split(cell.split).hash,
        "seed": cell.seed,
    }


def run_cell(cell: Cell, settings: Settings) -> Record:
    """Run a method on a task and split with a seed, and return the record of how it went.

    A failure of the method is a status with its reason. Only what is not the method's fault (data that cannot be
    had, a full disk) raises.
    """
    models = open_task(cell.task, settings)
    split, device = models.make_split(cell.split), models.task.device
    card, result = _card(cell, settings), Result()
    status, reason = "ok", None
    try:
        with isolated(_seed(cell), device):
            _unlearn(cell, card, models, split, settings, result)
        with isolated(_seed(cell), device):
            evidence = gather(cell, models, split, result)
        values = metrics.evaluate(evidence)
        result.metrics, result.curves = values, curves.draw(evidence, models.task, split)
    except Exception as error:
        if isinstance(error, BenchmarkError) and not isinstance(error, METHOD_FAILURES):
            raise
        status, reason = _status_of(error)
        log.debug("cell %s failed", cell.key, exc_info=error)
        result.seconds = result.retrain_seconds = result.peak_bytes = None
    return Record(
        **_identity(cell, models, card),
        status=status,
        reason=reason,
        metrics=result.metrics,
        curves=result.curves,
        passes=result.passes,
        seconds=result.seconds,
        retrain_seconds=result.retrain_seconds,
        peak_bytes=result.peak_bytes,
        machine=machine.identity(),
        versions=machine.versions(),
        commit=machine.commit(),
    )


class Result:
    """What a cell has brought so far."""

    def __init__(self) -> None:
        self.unlearned: nn.Module | None = None
        self.metrics: Mapping[str, float] = {}
        self.curves: Mapping[str, Mapping[str, list[float]]] = {}
        self.passes: float | None = None
        self.seconds: float | None = None
        self.retrain_seconds: float | None = None
        self.peak_bytes: int | None = None


def _seed(cell: Cell) -> int:
    return seed_of("method", cell.method, cell.task, cell.split, cell.seed)


def _status_of(error: Exception) -> tuple[str, str]:
    kinds: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        ((DivergedError, FloatingPointError), "diverged"),
        ((torch.OutOfMemoryError, MemoryError), "out_of_memory"),
        (OutOfTimeError, "timeout"),
        (OverBudgetError, "over_budget"),
    ]
    text = " ".join(str(error).encode("utf-8", "replace").decode().split())[:REASON_LENGTH] or "no message"
    for kind, status in kinds:
        if isinstance(error, kind):
            return status, text
    return "error", f"{type(error).__name__}: {text}"[:REASON_LENGTH]


# The method, under the clock


def make_request(cell: Cell, models: References, split: ForgetSplit, meter: Meter) -> EngineRequest:
    """Return what the method gets: fresh copies of rows and model, all models metered."""
    task = models.task
    model = meter.attach(models.model(cell.seed))
    factory = partial(_fresh, task.build, task.dataset.shape, task.recipe, task.device)
    return EngineRequest(
        model=model,
        retain=task.training_rows(np.setdiff1d(task.train, split.forget)),
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
    )


def _fresh(build: Any, shape: Any, recipe: Any, device: torch.device, seed: int) -> nn.Module:
    return training.new_network(build, shape, recipe, seed, device)


def _unlearn(
    cell: Cell, card: Card, models: References, split: ForgetSplit, settings: Settings, result: Result
) -> None:
    method, task = registry.load(card), models.task
    granted = [models.model(cell.seed, split)] if card.fact("cheat") == "retrained" else []
    retrain_passes = training.passes_of(task.recipe, len(task.train) - len(split.forget))

    def call(meter: Meter) -> nn.Module:
        request = make_request(cell, models, split, meter)
        return method(request, *granted)  # type: ignore[no-any-return]

    pieces = []
    if settings.timed:
        with isolated(_seed(cell), task.device), suppress(WarmedUp):
            call(Meter(forwards=WARM_UP_CALLS))
        pieces.append(time_retrain(models, split))
    meter = Meter(limit=cell.protocol.share * retrain_passes * (1 + 1e-9), seconds=cell.protocol.time_limit)
    request = make_request(cell, models, split, meter)
    try:
        with PeakMemory(task.device) as memory, time_limit(cell.protocol.time_limit):
            unlearned, seconds = timed(lambda: method(request, *granted), task.device)
    except SystemExit as error:
        raise RuntimeError(f"SystemExit: {error}: a method may not end the process") from error
    meter.check_time()
    meter.limit = meter.deadline = None
    result.passes = meter.passes / retrain_passes
    if settings.timed:
        pieces.append(time_retrain(models, split))
        result.seconds, result.retrain_seconds = seconds, float(np.mean(pieces))
        result.peak_bytes = memory.bytes
    result.unlearned = _accepted(unlearned, task)


def _accepted(unlearned: object, task: Task) -> nn.Module:
    """Move what the method returned into a clean network, or say why it is not acceptable."""
    if not isinstance(unlearned, nn.Module):
        raise TypeError(f"the method returned {type(unlearned).__name__}, expected an nn.Module")
    model, state = task.new_network(0), unlearned.state_dict()
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

    All steps of a retrain cost the same, so a piece of at least 20 steps and 0.15 s stands for the whole.
    """
    task = models.task
    rows = task.training_rows(np.setdiff1d(task.train, split.forget))
    total = training.steps_of(task.recipe, len(rows))

    def piece(steps: int) -> float:
        model, generator = task.new_network(0), torch.Generator().manual_seed(0)
        _, seconds = timed(
            lambda: training.fit(model, rows, task.recipe, generator, steps=steps), task.device
        )
        return seconds / min(steps, total)

    steps = max(PIECE_STEPS, int(PIECE_SECONDS / piece(5)))
    return piece(steps) * total


# What came out


def gather(cell: Cell, models: References, split: ForgetSplit, result: Result) -> Evidence:
    """Evaluate the unlearned model beside the references.

    Raises:
        DivergedError: a prediction is not finite.
    """
    task, seeds = models.task, cell.protocol.reference_seeds
    assert result.unlearned is not None
    outputs = references.outputs_of(result.unlearned, task)
    if not (np.isfinite(outputs.train).all() and np.isfinite(outputs.test).all()):
        raise DivergedError("predictions are not finite")
    reference = partial(models.evidence, split_name=cell.split)
    return Evidence(
        targets=references.targets_of(task, split),
        scale=float(np.mean(task.scale)),
        unlearned=references.evidence_of(outputs, task, split),
        original=reference(cell.seed, retrained=False),
        retrained=reference(cell.seed, retrained=True),
        originals=[reference(seed, retrained=False) for seed in seeds],
        retrains=[reference(seed, retrained=True) for seed in seeds],
        seed=cell.seed,
        relearning=relearn(cell, models, split, result.unlearned),
    )


RELEARN_STEPS, RELEARN_ROWS, RELEARN_RATE = 60, 128, 0.3


def relearn(
    cell: Cell, models: References, split: ForgetSplit, unlearned: nn.Module
) -> dict[str, list[float]]:
    """Return the curves that the AIN is read from: forget error over the original's after each relearning step.

    Copies of the unlearned and the retrained model are trained on forget rows at 0.3 of the recipe's learning rate,
    in the same order, for at most 60 steps; the error is the MAE on at most 128 forget rows. (At the full rate the
    first steps wreck every model, and on all training rows few models relearn within 200 steps: the ratio would
    then only measure the cap.)
    """
    task = models.task
    rows = task.training_rows(split.forget)
    probe = rows.take(torch.arange(min(RELEARN_ROWS, len(rows)), device=task.device))

    def error(model: nn.Module) -> float:
        return float((training.predict(model, probe.inputs)[0] - probe.targets).abs().mean())

    @cache
    def base() -> float:
        return error(models.model(cell.seed))

    def curve(model: nn.Module) -> list[float]:
        size = training.batch_size_of(task.recipe, len(rows))
        generator = torch.Generator().manual_seed(seed_of("relearn", task.name, split.name, cell.seed))
        optimiser = torch.optim.Adam(model.parameters(), RELEARN_RATE * task.recipe.learning_rate)
        loss, values = training.loss_of(task.recipe), [error(model) / base()]
        training.train_without_noise(model)
        for inputs, targets, _ in training.shuffled(rows, size, RELEARN_STEPS, generator):
            optimiser.zero_grad()
            loss(model(*inputs), targets).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            values.append(error(model) / base())
            if values[-1] <= metrics.RELEARN_MARGIN:
                break
        return values

    if base() <= 0:
        return {}
    copy = task.new_network(0)
    copy.load_state_dict(unlearned.state_dict())
    facts = {"relearn": [RELEARN_STEPS, RELEARN_ROWS, RELEARN_RATE], "split": split.hash, "seed": cell.seed}
    facts |= {
        "task": task.name,
        "content": task.content_hash,
        "device": task.device.type,
        "torch": torch.__version__,
    }
    stored = models.store.load(facts)
    if stored is None:
        stored = {"retrained": torch.tensor(curve(models.model(cell.seed, split)), dtype=torch.float64)}
        models.store.save(facts, stored)
    return {"unlearned": curve(copy), "retrained": stored["retrained"].tolist()}
