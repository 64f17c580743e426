"""The experiments by name, and one unit of them: one seed of one protocol, from data to records."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import NamedTuple

import torch

from regunlearn.benchmark import machine, registry, tasks
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.references import References
from regunlearn.benchmark.runner import Settings
from regunlearn.reproduction import attack, measures, measuring, procedure, relearning
from regunlearn.reproduction.procedure import Budgets, Setting
from regunlearn.reproduction.records import Record
from regunlearn.reproduction.switches import (
    Switches,
    title,
)

METHODS = ("fine_tune", "gaussian_finetune", "blindspot")
"""Registered methods whose code the values depend on."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One published run to be made again.

    Attributes:
        task: registered name; its rows are the corrected ones.
        split: what is forgotten.
        budgets: of the methods.
        attacked: whether attack, AIN and density are taken too.
        published_rows: dataset that holds the rows as the published code reads them, "" if it reads them all.
    """

    task: str
    split: str = "band"
    budgets: Budgets
    attacked: bool
    published_rows: str = ""


_TEXT = Budgets(proxy=10, student=5, fine_tune=5, gaussian=5, keep="best")
_IMAGES = Budgets(proxy=2, student=1, fine_tune=5, gaussian=1, keep="last")
EXPERIMENTS: Mapping[str, Experiment] = {
    "stsb-band": Experiment(task="stsb-lstm", budgets=_TEXT, attacked=False, published_rows="stsb-published"),
    "agedb-band": Experiment(task="agedb-allcnn", budgets=_IMAGES, attacked=True),
    "utkface-band": Experiment(task="utkface-small-allcnn", budgets=_IMAGES, attacked=True),
    "utkface-band-full": Experiment(task="utkface-allcnn", budgets=_IMAGES, attacked=True),
}
DENSITY = "figure-density"
ALL = "all"
NAMES = ("stsb-band", "agedb-band", "utkface-band", DENSITY, ALL)
"""What the command takes."""


def members(name: str, *, full: bool = False) -> list[str]:
    """Return the experiments behind a name of the command.

    Args:
        name: one of `NAMES`.
        full: UTKFace with the whole network.

    Raises:
        UnknownName: it is none of them.
        UsageError: `full` is asked for and nothing here is of UTKFace.
    """
    if name not in NAMES:
        raise UnknownName("experiment", name, NAMES)
    groups = {DENSITY: ["agedb-band", "utkface-band"], ALL: ["stsb-band", "agedb-band", "utkface-band"]}
    found = groups.get(name, [name])
    if full and "utkface-band" not in found:
        raise UsageError(f"--full is for UTKFace, and {name} has none of it. Leave it out.")
    return [f"{one}-full" if full and one == "utkface-band" else one for one in found]


class Unit(NamedTuple):
    """What one process does at a time: one seed of one protocol."""

    experiment: str
    switches: Switches
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        """Protocol and seed."""
        return title(self.switches), self.seed


# One unit -----------------------------------------------------------------------------------------------------


@cache
def open_references(experiment: str, averaged: bool, lost: bool, settings: Settings) -> References:
    """Return the task as the switches make it, with its models; kept for the life of the process.

    Args:
        experiment: one of `EXPERIMENTS`.
        averaged: validation errors that choose checkpoints are means of batch means.
        lost: rows as the published code reads them.
        settings: where and how.
    """
    torch.set_num_threads(settings.threads)
    entry = EXPERIMENTS[experiment]
    task = tasks.load(entry.task, tasks.resolve_device(settings.device))
    if lost and entry.published_rows:
        card = registry.discover("dataset").get(entry.published_rows)
        task = replace(task, dataset=registry.load(card)())
    recipe = replace(task.recipe, average="batches" if averaged else "rows")
    return References(replace(task, recipe=recipe), Cache(settings.cache))


def open_setting(unit: Unit, settings: Settings) -> Setting:
    """Return what a unit works on."""
    switches, entry = unit.switches, EXPERIMENTS[unit.experiment]
    models = open_references(unit.experiment, switches.batch_means, switches.lost_rows, settings)
    return Setting(
        models=models,
        split=models.make_split(entry.split),
        switches=switches,
        budgets=entry.budgets,
        seed=unit.seed,
    )


def identity(unit: Unit, settings: Settings) -> str:
    """Return the hash of all that a unit's values depend on but its seed: 16 hexadecimal digits."""
    setting, entry = open_setting(unit, settings), EXPERIMENTS[unit.experiment]
    catalogue = registry.discover("method")
    modules = (procedure, measuring, measures, attack, relearning)
    facts = {
        "task": setting.task.content_hash,
        "split": setting.split.hash,
        "switches": asdict(unit.switches),
        "budgets": asdict(entry.budgets),
        "attacked": entry.attacked,
        "methods": [catalogue.get(name).code_hash for name in METHODS],
        "code": [registry.code_of(module) for module in modules],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def run_unit(unit: Unit, settings: Settings) -> tuple[Unit, list[Record] | str]:
    """Return the records of one seed of one protocol, or why there are none."""
    try:
        setting = open_setting(unit, settings)
        entry = EXPERIMENTS[unit.experiment]
        ruler = measuring.Ruler(setting, attacked=entry.attacked)
        found = ruler.measure(procedure.make(setting))
        return unit, [_record(unit, setting, ruler.loss, name, one, settings) for name, one in found.items()]
    except BenchmarkError as error:
        return unit, f"{unit.experiment}, {title(unit.switches)}, seed {unit.seed} failed. {error}"


def _record(
    unit: Unit, setting: Setting, loss: str, name: str, one: measuring.Measured, settings: Settings
) -> Record:
    task = setting.task
    return Record(
        experiment=unit.experiment,
        protocol=title(unit.switches),
        switches=asdict(unit.switches),
        model=name,
        seed=unit.seed,
        identity=identity(unit, settings),
        values=one.values,
        density=one.density,
        seconds=one.seconds,
        loss=loss,
        unit=task.dataset.unit,
        task=task.name,
        task_hash=task.content_hash,
        split=setting.split.name,
        split_hash=setting.split.hash,
        data=task.dataset.notes,
        machine=machine.identity(),
        versions=machine.versions(),
        commit=machine.commit(),
    )
