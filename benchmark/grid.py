"""The grid: which cells a run consists of, and which of them are still missing."""

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from regunlearn.benchmark import registry
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.records import Key, check_name

SUITES = ("smoke", "quick", "paper", "dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of a run, frozen in `protocol.toml` beside its records: another grid is another protocol.

    Attributes:
        name: of the protocol.
        splits: by task, the names of its forget splits.
        seeds: of the cells: of original, retrained and unlearned model alike.
        reference_seeds: of the originals and retrained models over which means and nulls are taken, whatever
            cells are run.
        share: budget of a method, as a share of a retrain's gradient passes.
        time_limit: seconds for one method call.
        relearn: whether the models of single cells learn their forget rows again, for the AIN: it can take longer than
            the method.
        ensembles: by task, the number of originals (and of unlearned models) and of retrained models; empty in a
            protocol that scores single models. A cell is then a whole ensemble, filed under its first seed, 0.
        configurations: by name `METHOD-WORD`, other hyperparameters than the method's defaults; each is run and
            ranked beside the method.
        tiers: costs, as shares of a retrain's gradient passes, up to which methods are ranked together.
        references: name of another protocol, beside this one, whose shipped reference models and gates it takes.
        tolerance: how far each axis of a cell that is run again, on any machine, may lie from its record.
    """

    name: str
    splits: Mapping[str, Sequence[str]]
    seeds: Sequence[int] = (0,)
    reference_seeds: Sequence[int] = (0, 1, 2)
    share: float = 1.0
    time_limit: float = 3600.0
    relearn: bool = True
    ensembles: Mapping[str, Sequence[int]] = field(default_factory=dict)
    configurations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tiers: Sequence[float] = ()
    references: str = ""
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        for name in filter(None, (self.name, self.references)):
            check_name("protocol", name)
        for name in self.configurations:
            check_name("configuration", name)
            if not name.partition("-")[2]:
                raise UsageError(f"protocol {self.name}: configuration {name!r} is not named METHOD-WORD.")
        self._check_ensembles()
        if not 0 <= self.tolerance <= 1:
            raise UsageError(f"protocol {self.name}: tolerance {self.tolerance} is not between 0 and 1.")
        for seeds in (self.seeds, self.reference_seeds):
            if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
                raise UsageError(f"protocol {self.name}: seeds {list(seeds)!r} are not whole numbers >= 0.")
            if len(set(seeds)) != len(seeds):
                raise UsageError(f"protocol {self.name}: a seed is named twice in {list(seeds)}.")

    def _check_ensembles(self) -> None:
        for task in self.splits if self.ensembles else ():
            sizes = self.ensembles.get(task, ())
            whole = len(sizes) == 2 and all(type(size) is int for size in sizes)
            if not whole or not 8 <= sizes[0] <= sizes[1] or sizes[0] % 2:
                raise UsageError(
                    f"protocol {self.name}: task {task} has ensembles of {list(sizes)}: expected two numbers, of "
                    "originals (even, at least 8) and of retrained models (at least as many)."
                )
        if self.ensembles and list(self.seeds) != [0]:
            raise UsageError(f"protocol {self.name} scores ensembles: it has no seeds to choose.")

    def designs(self) -> list["Design"]:
        """Return the ensembles of every task and forget split of a protocol that has some."""
        return [cell.design for cell in self.cells([""])]

    def cells(self, methods: Iterable[str]) -> list["Cell"]:
        """Return every cell of some methods, sorted by task, split, method and seed."""
        return [
            Cell(protocol=self, task=task, split=split, method=method, seed=seed)
            for task in sorted(self.splits)
            for split in sorted(self.splits[task])
            for method in sorted(methods)
            for seed in sorted(self.seeds)
        ]


POOLED = ("random", "group")
"""Kinds of forget split whose rows may ask one by one, so that they can be an audit pool; not a `whole` group."""


STRESS_TESTS = ("confusion", "confusion-half", "poison")
"""Tests on corrupted training data that stand in a protocol of ensembles where a forget split does."""


class Design(NamedTuple):
    """The ensembles of a task and forget split: numbers of originals and retrained models, and whether in a pool."""

    task: str
    split: str
    size: int
    retrained: int
    pool: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One unit of work: a method on a task and split with a seed, or with all seeds of an ensemble."""

    protocol: Protocol
    task: str
    split: str
    method: str
    seed: int

    @property
    def entry(self) -> str:
        """Name of the method itself, where `method` names a configuration of it."""
        return self.method.partition("-")[0]

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Hyperparameters that differ from the method's defaults."""
        return self.protocol.configurations.get(self.method, {})

    @property
    def design(self) -> Design:
        """The ensembles that the cell is scored against."""
        kinds = registry.discover("task").get(self.task).fact("splits")
        size, retrained = self.protocol.ensembles[self.task]
        facts = kinds.get(self.split, {"whole": True})
        pool = facts.get("kind", self.split) in POOLED and not facts.get("whole", False)
        return Design(self.task, self.split, size, retrained, pool)

    @property
    def key(self) -> Key:
        """What the cell's record is filed under."""
        return Key(self.task, self.split, self.method, self.seed)


DEFAULT_SPLITS = ("random", "band")


def _default_splits(declared: Iterable[str]) -> list[str]:
    return [name for name in DEFAULT_SPLITS if name in declared] or list(declared)[:1]


def of_suite(suite: str) -> Protocol:
    """Return the built-in protocol of a suite: its tasks, random and band splits where a task has them, three seeds.

    A task that has neither runs with the first of its splits.

    Raises:
        UnknownName: no such suite.
    """
    if suite not in SUITES:
        raise UnknownName("suite", suite, SUITES)
    cards = registry.discover("task").cards.values()
    splits = {
        card.name: _default_splits(card.fact("splits")) for card in cards if card.fact("suite") == suite
    }
    if not splits:
        raise UsageError(
            f"suite {suite!r} has no task yet. `regunlearn list tasks` shows the suites that have."
        )
    return Protocol(name=suite, splits=splits, seeds=[0, 1, 2])


def of_ensembles(protocol: Protocol, size: int, retrained: int | None = None) -> Protocol:
    """Return the protocol with ensembles of `size` originals and `retrained` retrained models (as many) of each task.

    Raises:
        UsageError: the size is odd or below 8, or there are fewer retrained models than originals.
    """
    sizes = [size, size if retrained is None else retrained]
    return replace(protocol, seeds=[0], ensembles=dict.fromkeys(protocol.splits, sizes))


def narrow(
    protocol: Protocol,
    *,
    tasks: Sequence[str] = (),
    splits: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> Protocol:
    """Return the protocol with other tasks, splits or seeds where some are named.

    Raises:
        UnknownName: a task or a split of it does not exist.
    """
    catalogue = registry.discover("task")
    chosen: dict[str, list[str]] = {}
    for task in tasks or protocol.splits:
        declared = catalogue.get(task).fact("splits")
        known = [*declared, *(STRESS_TESTS if protocol.ensembles else ())]
        for split in splits:
            if split not in known:
                raise UnknownName(f"split of task {task}", split, known)
        chosen[task] = list(dict.fromkeys(splits) or protocol.splits.get(task) or _default_splits(declared))
    return replace(protocol, splits=chosen, seeds=list(seeds or protocol.seeds))


def save(protocol: Protocol, folder: Path) -> None:
    """Write `protocol.toml` into a run folder, or check that the one there has the same rules.

    A folder may grow by tasks, splits and seeds; budget and time limit may not change under its records.

    Raises:
        UsageError: the folder holds records of another protocol.
    """
    path = folder / "protocol.toml"
    if path.is_file():
        before = load(folder)
        rules = {
            name: (getattr(before, name), getattr(protocol, name)) for name in ("name", "share", "time_limit")
        }
        rules["tiers"] = (list(before.tiers), list(protocol.tiers))
        rules["reference_seeds"] = (sorted(before.reference_seeds), sorted(protocol.reference_seeds))
        for name, (old, new) in rules.items():
            if old != new:
                raise UsageError(
                    f"{path}: holds records made with {name} = {old}, asked for {new}. Choose another --out."
                )
        if before.ensembles or protocol.ensembles:  # frozen: a part of it may be run, and nothing is added
            return _require_part(protocol, before, path)
        merged = {
            task: sorted({*before.splits.get(task, ()), *protocol.splits.get(task, ())})
            for task in {*before.splits, *protocol.splits}
        }
        protocol = replace(protocol, splits=merged, seeds=sorted({*before.seeds, *protocol.seeds}))
    write_text(path, _written(protocol))


def _written(protocol: Protocol) -> str:
    """Return the protocol as TOML; what is at its default of nothing is left out."""
    facts = asdict(protocol)
    plain = [
        "name",
        "seeds",
        "reference_seeds",
        "share",
        "time_limit",
        *(["tiers"] if protocol.tiers else []),
        *(["references"] if protocol.references else []),
        *(["tolerance"] if protocol.tolerance != Protocol(name="any", splits={}).tolerance else []),
    ]
    lines = [f"{name} = {_toml(facts[name])}" for name in plain]
    tables = {"splits": {task: sorted(splits) for task, splits in protocol.splits.items()}}
    tables |= {"ensembles": facts["ensembles"]}
    tables |= {
        f'configurations."{name}"': facts["configurations"][name] for name in sorted(protocol.configurations)
    }
    for name, table in tables.items():
        if table:
            lines += ["", f"[{name}]", *(f"{_toml(key)} = {_toml(table[key])}" for key in sorted(table))]
    return "\n".join(lines) + "\n"


def _require_part(protocol: Protocol, whole: Protocol, path: Path) -> None:
    """Raise unless the protocol is a part of a frozen one."""
    strange = [
        f"{task} / {split}"
        for task, splits in protocol.splits.items()
        for split in splits
        if split not in whole.splits.get(task, ())
    ]
    for name in ("ensembles", "configurations"):
        mine, theirs = getattr(protocol, name), getattr(whole, name)
        strange += [f"{name} of {key}" for key in {*mine} & {*theirs} if mine[key] != theirs[key]]
    if strange or not whole.ensembles:
        raise UsageError(
            f"{path}: is a frozen protocol without {', '.join(strange) or 'ensembles'}. Choose another --out."
        )


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):  # as JSON, but for characters that TOML wants escaped or as they are
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


TUNED = "tuned"


def tuned(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the configurations that tuning chose, from the files `tuned/<method>.json` of a protocol's folder.

    Raises:
        BenchmarkError: a file does not hold hyperparameters.
    """
    found = {}
    for path in sorted((folder / TUNED).glob("*.json")):
        check_name("method", path.stem)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))["hyperparameters"]
            if not isinstance(values, dict) or not all(
                isinstance(v, int | float | str | bool) for v in values.values()
            ):
                raise TypeError(f"hyperparameters are {str(values)[:60]}")
        except (ValueError, KeyError, TypeError) as error:
            raise BenchmarkError(
                f"{path}: expected the outcome of `regunlearn tune {path.stem}`, found {error!r:.100}. Run it again."
            ) from error
        found[f"{path.stem}-{TUNED}"] = values
    return found


def of_name(name: str) -> tuple[Protocol, Path]:
    """Return a protocol and its folder: `results/NAME`, or a folder that holds a protocol.toml.

    Raises:
        UnknownName: there is none of this name.
        BenchmarkError: its file is broken.
    """
    for folder in (Path("results") / name, Path(name)):
        if (folder / "protocol.toml").is_file():
            return load(folder), folder
    raise UnknownName(
        "protocol", name, sorted(path.parent.name for path in Path("results").glob("*/protocol.toml"))
    )


def load(folder: Path) -> Protocol:
    """Read the `protocol.toml` of a run folder.

    Raises:
        BenchmarkError: it is missing, not TOML, or its fields are not a protocol's.
    """
    path = folder / "protocol.toml"
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        protocol = Protocol(
            **{**facts, "configurations": {**facts.get("configurations", {}), **tuned(folder)}}
        )
        for task, splits in protocol.splits.items():
            for name in (task, *splits):
                check_name("name in protocol", name)
    except FileNotFoundError as error:
        raise BenchmarkError(
            f"{path}: expected the protocol of the records, found no file. Run again."
        ) from error
    except (AttributeError, BenchmarkError, TypeError, ValueError) as error:
        raise BenchmarkError(
            f"{path}: is not a protocol ({error}). Restore it or choose another --out."
        ) from error
    return protocol
