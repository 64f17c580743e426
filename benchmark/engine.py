"""Run a grid of cells: references first, then cells, in parallel; each record is written as soon as it is there."""

import json
import logging
import math
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from regunlearn.benchmark import ensemble_runner, gates, grid, machine, runner, signals, trainers, workers
from regunlearn.benchmark.atomic import sweep, write_text
from regunlearn.benchmark.ensemble_runner import Run
from regunlearn.benchmark.ensembles import Role
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Cell, Design
from regunlearn.benchmark.locking import held
from regunlearn.benchmark.records import Key, Record, Store
from regunlearn.benchmark.references import NOTHING, ReferenceDivergedError, References
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.spec import Indices

log = logging.getLogger("regunlearn")


class Progress(Protocol):
    """What the engine tells while it works."""

    def start(self, what: str, total: int) -> None:
        """A phase of so many steps begins."""

    def step(self, what: str) -> None:
        """One of them is done."""


class Silent:
    """Tells nothing."""

    def start(self, what: str, total: int) -> None:
        """Tell nothing."""

    def step(self, what: str) -> None:
        """Tell nothing."""


@dataclass
class Outcome:
    """How a run went.

    Attributes:
        done: records made in this run.
        kept: cells whose record was there already.
        troubles: one message for each task that could not be run, each broken method file, each lost worker.
    """

    done: list[Record] = field(default_factory=list)
    kept: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[Record]:
        """Records of this run whose status is not ok."""
        return [record for record in self.done if record.status != "ok"]


class Reference(NamedTuple):
    """A model to be trained before the cells: the original (no split), or retrained without a split's rows."""

    task: str
    split: str | None
    seed: int


def run(
    cells: Sequence[Cell],
    settings: Settings,
    folder: Path,
    *,
    jobs: int = 1,
    again: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run the cells whose record is missing or stale, and write their records under `folder`.

    Args:
        cells: all of one protocol.
        settings: where and how.
        folder: of the run; gets `protocol.toml`, `machines.json` and `records/<method>.jsonl`.
        jobs: processes for reference models, and for cells unless they are timed.
        again: run the cells that have a record too.
        progress: told about each step.

    Raises:
        BenchmarkError: the folder holds another protocol or broken records, or cannot be written to; or a
            configuration does not fit its method.
    """
    progress, outcome = progress or Silent(), Outcome()
    for cell in {cell.method: cell for cell in cells}.values():
        runner.card_of(cell, settings)  # a bad configuration is told before anything is trained
    for place in (folder, settings.cache):
        sweep(place)
    store = Store(folder)
    with held(folder / "protocol.toml"):
        grid.save(cells[0].protocol, folder)
        _copy_gates(settings, folder)
        _save_machine(folder)
    cells = _runnable(cells, settings, outcome, jobs, progress)
    todo = [cell for cell in cells if again or not _is_current(cell, settings, store)]
    outcome.kept = len(cells) - len(todo)
    if cells and cells[0].protocol.ensembles:
        made = _run_ensembles(todo, settings, jobs, progress)
    else:
        made = _run_single(todo, settings, jobs, progress, outcome)
    with closing(made) as records:
        for record in records:
            store.add(record)
            outcome.done.append(record)
    return outcome


def _run_single(
    cells: Sequence[Cell], settings: Settings, jobs: int, progress: Progress, outcome: Outcome
) -> Generator[Record, None, None]:
    """Yield records of single models: reference models first, then one method call a cell."""
    missing = _missing_references(cells, settings)
    progress.start("training reference models", len(missing))
    diverged: dict[str, str] = {}
    with closing(spread(_train_reference, missing, settings, jobs)) as trained:
        for trouble in trained:
            diverged |= trouble
            progress.step("training reference models")
    outcome.troubles += [f"task {task} left out. {diverged[task]}" for task in sorted(diverged)]
    cells = [cell for cell in cells if cell.task not in diverged]
    progress.start("running methods", len(cells))
    run_all = _run_timed if settings.timed else partial(spread, runner.run_cell, lost=runner.lost)
    with closing(run_all(cells, settings, jobs)) as records:
        for record in records:
            yield record
            progress.step("running methods")


def _run_ensembles(
    cells: Sequence[Cell], settings: Settings, jobs: int, progress: Progress
) -> Generator[Record, None, None]:
    """Yield records of ensembles, one task and forget split after the other, so that finished ones are kept."""
    designs = list(dict.fromkeys(cell.design for cell in cells))
    prepare(designs, settings, jobs=jobs, progress=progress)
    progress.start("running methods", sum(cell.design.size for cell in cells))
    for design in designs:
        own = [cell for cell in cells if cell.design == design]
        timed = ensemble_runner.TIMED_SEEDS if settings.timed else 0
        timings = [
            [runner.attempt(one, settings) for one in ensemble_runner.seeds_of(cell)[:timed]] for cell in own
        ]
        runs: dict[Key, dict[int, Run]] = {replace(cell, seed=0).key: {} for cell in own}
        wanted = [one for cell in own for one in ensemble_runner.seeds_of(cell)]
        with closing(
            spread(ensemble_runner.unlearn, wanted, settings, jobs, lost=ensemble_runner.lost)
        ) as done:
            for run in done:
                runs[replace(run.cell, seed=0).key][run.cell.seed] = run
                progress.step("running methods")
        assembled = [
            (cell, [found for _, found in sorted(runs[cell.key].items())], timing)
            for cell, timing in zip(own, timings, strict=True)
        ]
        with closing(spread(_score, assembled, settings, jobs)) as records:
            yield from records


def _score(parts: tuple[Cell, Sequence[Run], Sequence[runner.Attempt]], settings: Settings) -> Record:
    return ensemble_runner.record(*parts, settings)


def missing(cells: Sequence[Cell], settings: Settings, folder: Path) -> list[Cell]:
    """Return the cells that have no current record under `folder`."""
    store = Store(folder)
    return [cell for cell in cells if not _is_current(cell, settings, store)]


def _runnable(
    cells: Sequence[Cell], settings: Settings, outcome: Outcome, jobs: int, progress: Progress
) -> list[Cell]:
    """Drop the cells of tasks whose data cannot be had; make splits that need trained models."""
    pairs = {(cell.task, cell.split): cell for cell in reversed(cells)}
    names = sorted({task for task, _ in pairs})
    progress.start("loading data", len(names))
    broken: set[str] = set()
    for name in names:
        try:
            for key in sorted(pairs):
                if key[0] == name:
                    runner.setting_of(pairs[key], settings)
        except BenchmarkError as error:
            if error.exit_code == 2:
                raise
            broken.add(name)
            outcome.troubles.append(f"task {name} left out. {error}")
        progress.step("loading data")
    return [cell for cell in cells if cell.task not in broken]


def _is_current(cell: Cell, settings: Settings, store: Store) -> bool:
    record = store.get(cell.key)
    if record is None or (_is_timed(cell, settings) and record.status == "ok" and record.seconds is None):
        return False
    expected = runner.identity(cell, settings)
    found = {name: getattr(record, name) for name in expected}
    return json.dumps(found, sort_keys=True) == json.dumps(expected, sort_keys=True)


def _missing_references(cells: Iterable[Cell], settings: Settings) -> list[Reference]:
    wanted: dict[Reference, None] = {}
    for cell in cells:
        for seed in sorted({cell.seed, *cell.protocol.reference_seeds}):
            wanted[Reference(cell.task, None, seed)] = None
            wanted[Reference(cell.task, cell.split, seed)] = None
    missing = [reference for reference in wanted if not _is_trained(reference, settings)]
    return sorted(
        missing, key=lambda reference: -_work(reference, settings)
    )  # long ones last would be waited for


def _work(reference: Reference, settings: Settings) -> float:
    """Return roughly what training takes: how many numbers go into the network."""
    task = runner.open_task(reference.task, settings).task
    rows = trainers.passes_of(task.recipe, len(task.train), len(task.dataset.validation))
    return rows * sum(map(math.prod, task.dataset.shape.inputs))


def _is_trained(reference: Reference, settings: Settings) -> bool:
    models = runner.open_task(reference.task, settings)
    return models.has(reference.seed, _without(reference, models))


def _without(reference: Reference, models: References) -> Indices:
    return NOTHING if reference.split is None else models.make_split(reference.split).unseen


def _train_reference(reference: Reference, settings: Settings) -> dict[str, str]:
    """Train a model and keep its outputs; return why it cannot be, by task, or nothing."""
    models = runner.open_task(reference.task, settings)
    try:
        models.outputs(reference.seed, _without(reference, models))
    except ReferenceDivergedError as error:
        return {reference.task: str(error)}
    except Exception as error:
        if not runner.is_out_of_memory(error):
            raise
        return {reference.task: f"Training a reference model ran out of memory ({error}). Use fewer --jobs."}
    return {}


class Sight(NamedTuple):
    """A reference model to be looked at: one of an ensemble."""

    design: Design
    role: Role
    seed: int


class Batch(NamedTuple):
    """Reference models that a process trains together, each its seed and the rows to leave out.

    `design` is one of those that need them, and leads to their training rows.
    """

    design: Design
    models: Sequence[tuple[int, Indices]]


TOGETHER = 32
"""Most models that one process trains together, so that an interrupt loses little."""


def prepare(
    designs: Sequence[Design], settings: Settings, *, jobs: int, progress: Progress | None = None
) -> None:
    """Train and look at every model of some ensembles, in parallel; what is in the cache is kept."""
    progress = progress or Silent()
    sights = [
        Sight(design, role, seed)
        for design in designs
        for role, size in runner.open_ensembles(design, settings).sizes.items()
        for seed in range(size)
    ]
    sights = [sight for sight in sights if not _is_seen(sight, settings)]
    batches = _batches(sights, settings, jobs)
    progress.start("training ensembles", sum(len(batch.models) for batch in batches))
    with closing(spread(_train_batch, batches, settings, jobs)) as trained:
        for count in trained:
            for _ in range(count):
                progress.step("training ensembles")
    progress.start("looking at ensembles", len(sights))
    with closing(spread(_look, sights, settings, jobs)) as seen:
        for _ in seen:
            progress.step("looking at ensembles")


def _is_seen(sight: Sight, settings: Settings) -> bool:
    references = runner.open_ensembles(sight.design, settings)
    return references.facts(sight.role, sight.seed) in references.models.store


def _batches(sights: Sequence[Sight], settings: Settings, jobs: int) -> list[Batch]:
    """Gather the models that are not trained yet: many a process where they are stacked, else one by one."""
    missing: dict[str, dict[str, tuple[int, Indices]]] = {}
    designs: dict[str, Design] = {}
    for sight in sights:
        references = runner.open_ensembles(sight.design, settings)
        model = (sight.seed, references.without(sight.role, sight.seed))
        facts = references.models.facts("model", *model)
        if facts not in references.models.store:
            data = references.task.content_hash
            designs.setdefault(data, sight.design)
            missing.setdefault(data, {}).setdefault(json.dumps(facts, sort_keys=True), model)
    batches = []
    for data, models in missing.items():
        wanted = sorted(models.values(), key=lambda model: len(model[1]))  # those of equal size together
        stacked = runner.open_ensembles(designs[data], settings).models.stacked
        most = min(TOGETHER, -(-len(wanted) // jobs)) if stacked else 1
        parts = range(0, len(wanted), most)
        batches += [Batch(designs[data], wanted[start : start + most]) for start in parts]
    return batches


def _train_batch(batch: Batch, settings: Settings) -> int:
    runner.open_ensembles(batch.design, settings).models.train(batch.models)
    return len(batch.models)


def _look(sight: Sight, settings: Settings) -> None:
    runner.open_ensembles(sight.design, settings).view(sight.role, sight.seed)


TIMED_TOGETHER = 12
"""Cells of a timed run whose methods are called one after the other before they are evaluated in parallel."""


def _run_timed(cells: Sequence[Cell], settings: Settings, jobs: int) -> Generator[Record, None, None]:
    """Yield records, one task and split after the other: of methods called alone on the machine, and of all the others.

    Evaluation, and cells that are not timed, are for all processes while no clock runs.
    """
    blocks: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        blocks.setdefault((cell.task, cell.split), []).append(cell)
    for own in blocks.values():
        clocked = [cell for cell in own if _is_timed(cell, settings)]
        others = [cell for cell in own if not _is_timed(cell, settings)]
        for start in range(0, max(len(clocked), 1), TIMED_TOGETHER):
            tried = list(_attempts(clocked[start : start + TIMED_TOGETHER], settings))
            seconds = {one.cell.method: one.seconds or 0.0 for one in tried}
            longest_first = sorted(others, key=lambda cell: -seconds.get(cell.method, 0.0))
            others, stopped = [], signals.stopping()
            work = tried if stopped else [*longest_first, *tried]  # what is tried is in hand
            yield from spread(_complete, work, settings, jobs, lost=runner.lost, finish=stopped)
            signals.check()


def _attempts(cells: Sequence[Cell], settings: Settings) -> Generator[runner.Attempt, None, None]:
    """Yield timed attempts of one task and split; the retrain timed after one call is that before the next."""
    before = None
    with signals.finishing():
        for cell in cells:
            tried = runner.attempt(cell, settings, before=before)
            before = tried.after
            yield tried
            if signals.stopping():
                return


def _complete(work: Cell | runner.Attempt, settings: Settings) -> Record:
    if isinstance(work, Cell):
        return runner.run_cell(work, settings, timed=False)
    return runner.finish(work, settings)


def _is_timed(cell: Cell, settings: Settings) -> bool:
    return settings.timed and cell.seed in sorted(cell.protocol.seeds)[: settings.timed_seeds]


def spread(
    function: Callable[[Any, Settings], Any],
    items: Sequence[Any],
    settings: Settings,
    jobs: int,
    *,
    lost: Callable[[Any, Settings, str], Any] | None = None,
    finish: bool = False,
) -> Generator[Any, None, None]:
    """Yield the function's results as they come, from this process or from several.

    After a signal nothing new is begun, unless all is to be finished. `lost` makes the result of an item whose worker
    dies again and again.
    """
    with signals.finishing():
        if jobs > 1 and len(items) > 1:
            yield from workers.spread(function, items, settings, jobs, lost=lost, finish=finish)
            return
        for item in items:
            yield function(item, settings)
            if not finish:
                signals.check()


def _copy_gates(settings: Settings, folder: Path) -> None:
    """Bring the gates of the protocol's blocks into another folder of its records, where a board needs them."""
    source, target = (home / gates.FILE if home else None for home in (settings.references, folder))
    if source is not None and target is not None and source.is_file() and not target.exists():
        text, rules = source.read_text(encoding="utf-8"), grid.load(folder)
        if rules.references:  # those of a larger protocol
            rows = [row for row in json.loads(text) if row["split"] in rules.splits.get(row["task"], ())]
            text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        write_text(target, text)


def _save_machine(folder: Path) -> None:
    """Add this machine to `machines.json`, which says what the machine ids in the records stand for."""
    path = folder / "machines.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if not isinstance(known, dict):
            raise ValueError(f"a {type(known).__name__}, expected an object")
    except ValueError as error:
        raise BenchmarkError(
            f"{path}: is not the machines of a run ({error}). Restore or delete it."
        ) from error
    known[machine.identity()] = machine.describe()
    write_text(path, json.dumps(known, indent=2, sort_keys=True) + "\n")
