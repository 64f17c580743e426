"""Experiments over protocols and seeds: in parallel, resumable, one file of records an experiment."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from regunlearn.benchmark import engine
from regunlearn.benchmark.atomic import sweep
from regunlearn.benchmark.cache import key_of
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.references import NOTHING
from regunlearn.benchmark.runner import Settings
from regunlearn.reproduction import records
from regunlearn.reproduction.experiments import Unit, identity, open_setting, run_unit
from regunlearn.reproduction.procedure import SECOND, STUDENTS
from regunlearn.reproduction.records import MODELS, Record
from regunlearn.reproduction.switches import CORRECTED, PUBLISHED, Switches, protocols, relevant, without


class Reference(NamedTuple):
    """A model to be trained before the units: original, or retrained without the forget rows."""

    unit: Unit
    seed: int
    retrained: bool


@dataclass
class Outcome:
    """How a run went.

    Attributes:
        files: of records, those that are there.
        done, kept: units made in this run, and units that were there.
        troubles: one message for each unit that failed.
        absent: one message for each experiment whose data are not at hand.
    """

    files: list[Path] = field(default_factory=list)
    done: int = 0
    kept: int = 0
    troubles: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)


class AbsentDataError(BenchmarkError):
    """The data of an experiment is not at hand."""


def run_all(
    chosen: Sequence[str],
    settings: Settings,
    folder: Path,
    *,
    seeds: int = 5,
    jobs: int = 1,
    off: Sequence[str] = (),
    density: bool = False,
    progress: engine.Progress | None = None,
) -> Outcome:
    """Run several experiments, those whose data are at hand; see `run`.

    With `density`, only the two protocols that its figure shows. Records of an experiment whose data are gone count.
    """
    total, only = Outcome(), (PUBLISHED, CORRECTED) if density else ()
    without(off)  # an unknown switch is told before anything is trained
    for name in chosen:
        own = [switch for switch in off if len(chosen) == 1 or switch in relevant(name)]
        try:
            one = run(name, settings, folder, seeds=seeds, jobs=jobs, off=own, only=only, progress=progress)
        except AbsentDataError as error:
            path = folder / f"{name}.jsonl"
            one = Outcome(files=[path] if path.exists() else [], absent=[str(error)])
        for part in ("files", "troubles", "absent"):
            getattr(total, part).extend(getattr(one, part))
        total.done, total.kept = total.done + one.done, total.kept + one.kept
    return total


def run(
    experiment: str,
    settings: Settings,
    folder: Path,
    *,
    seeds: int = 5,
    jobs: int = 1,
    off: Sequence[str] = (),
    only: Sequence[Switches] = (),
    progress: engine.Progress | None = None,
) -> Outcome:
    """Run the units whose records are missing or stale; write the file after each.

    Args:
        experiment: one of `EXPERIMENTS`.
        settings: where and how.
        folder: gets `<experiment>.jsonl`.
        seeds: 0, 1, ... of each protocol.
        jobs: processes.
        off: switches that are off together in one more protocol, instead of each alone.
        only: these protocols instead.
        progress: told about each step.

    Raises:
        AbsentDataError: its rows cannot be had.
        BenchmarkError: the records there cannot be read or written.
    """
    progress, path = progress or engine.Silent(), folder / f"{experiment}.jsonl"
    chosen = list(only) or protocols(experiment, off)
    for place in (folder, settings.cache):
        sweep(place)
    found = records.read(path)
    try:
        kept = _current(experiment, found, settings)
        units = [Unit(experiment, switches, seed) for switches in chosen for seed in range(seeds)]
        todo = [unit for unit in units if {r.model for r in kept if r.key[:2] == unit.key} != _rows(unit)]
        missing = _missing(todo, settings)
    except BenchmarkError as error:
        if error.exit_code == 2:
            raise
        raise AbsentDataError(f"{experiment} left out. {error}") from error
    if len(kept) < len(found):
        records.write(path, kept)
    outcome = Outcome(kept=len(units) - len(todo))
    phase = f"{experiment}: original and retrained models"
    progress.start(phase, len(missing))
    with closing(engine.spread(_train, missing, settings, jobs)) as trained:
        for _ in trained:
            progress.step(phase)
    phase = f"{experiment}: protocols x seeds"
    progress.start(phase, len(todo))
    with closing(engine.spread(run_unit, todo, settings, jobs)) as made:
        for unit, own in made:
            if isinstance(own, str):
                outcome.troubles.append(own)
            else:
                kept = [record for record in kept if record.key[:2] != unit.key] + own
                records.write(path, kept)
                outcome.done += 1
            progress.step(phase)
    outcome.files = [path] if path.exists() else []
    return outcome


def _current(experiment: str, found: Iterable[Record], settings: Settings) -> list[Record]:
    """Return the records that the code, rows and budgets of now would give."""
    known: dict[str, str] = {}
    for record in found:
        unit = Unit(experiment, Switches(**record.switches), record.seed)
        if record.protocol not in known:
            known[record.protocol] = identity(unit, settings)
    return [record for record in found if record.identity == known[record.protocol]]


def _rows(unit: Unit) -> set[str]:
    """Return the models that a unit has records of."""
    if unit.switches in (PUBLISHED, CORRECTED):
        return set(MODELS)
    return set(MODELS) - {"second_retrained", "constant", *(name for name in STUDENTS if name != "blindspot")}


def _missing(units: Sequence[Unit], settings: Settings) -> list[Reference]:
    """Return the models that units need and the cache lacks, each once."""
    wanted: dict[str, Reference] = {}
    for unit in units:
        setting = open_setting(unit, settings)
        seeds = [unit.seed, SECOND + unit.seed] if setting.whole else [unit.seed]
        for seed, retrained in [(unit.seed, False), *((seed, True) for seed in seeds)]:
            facts = setting.models.facts("model", seed, setting.split.unseen if retrained else NOTHING)
            if facts not in setting.models.store:
                wanted.setdefault(key_of(facts), Reference(unit, seed, retrained))
    return list(wanted.values())


def _train(reference: Reference, settings: Settings) -> None:
    """Train a model into the cache; one that diverges is told of by the units that need it."""
    setting = open_setting(reference.unit, settings)
    try:
        setting.models.state(reference.seed, setting.split.unseen if reference.retrained else NOTHING)
    except BenchmarkError:
        return
