"""The grid: which cells a run consists of, and which of them are still missing."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from regunlearn.benchmark import registry
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.records import Key, check_name

SUITES = ("smoke", "quick", "paper")


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
    """

    name: str
    splits: Mapping[str, Sequence[str]]
    seeds: Sequence[int]
    reference_seeds: Sequence[int] = (0, 1, 2)
    share: float = 1.0
    time_limit: float = 3600.0

    def __post_init__(self) -> None:
        check_name("protocol", self.name)
        for seeds in (self.seeds, self.reference_seeds):
            if not seeds or any(isinstance(s, bool) or not isinstance(s, int) or s < 0 for s in seeds):
                raise UsageError(f"protocol {self.name}: seeds {list(seeds)!r} are not whole numbers >= 0.")
            if len(set(seeds)) != len(seeds):
                raise UsageError(f"protocol {self.name}: a seed is named twice in {list(seeds)}.")

    def cells(self, methods: Iterable[str]) -> list["Cell"]:
        """Return every cell of some methods, sorted by task, split, method and seed."""
        return [
            Cell(protocol=self, task=task, split=split, method=method, seed=seed)
            for task in sorted(self.splits)
            for split in sorted(self.splits[task])
            for method in sorted(methods)
            for seed in sorted(self.seeds)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One unit of work: a method on a task and split with a seed."""

    protocol: Protocol
    task: str
    split: str
    method: str
    seed: int

    @property
    def key(self) -> Key:
        """What the cell's record is filed under."""
        return Key(self.task, self.split, self.method, self.seed)


DEFAULT_SPLITS = ("random", "band")


def of_suite(suite: str) -> Protocol:
    """Return the built-in protocol of a suite: its tasks, random and band splits, three seeds.

    Raises:
        UnknownName: no such suite.
    """
    if suite not in SUITES:
        raise UnknownName("suite", suite, SUITES)
    cards = registry.discover("task").cards.values()
    splits = {
        card.name: [name for name in DEFAULT_SPLITS if name in card.fact("splits")]
        for card in cards
        if card.fact("suite") == suite
    }
    if not splits:
        raise UsageError(
            f"suite {suite!r} has no task yet. `regunlearn list tasks` shows the suites that have."
        )
    return Protocol(name=suite, splits=splits, seeds=[0, 1, 2])


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
        for split in splits:
            if split not in declared:
                raise UnknownName(f"split of task {task}", split, declared)
        chosen[task] = list(
            dict.fromkeys(splits) or protocol.splits.get(task) or [s for s in DEFAULT_SPLITS if s in declared]
        )
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
        rules["reference_seeds"] = (sorted(before.reference_seeds), sorted(protocol.reference_seeds))
        for name, (old, new) in rules.items():
            if old != new:
                raise UsageError(
                    f"{path}: holds records made with {name} = {old}, asked for {new}. Choose another --out."
                )
        merged = {
            task: sorted({*before.splits.get(task, ()), *protocol.splits.get(task, ())})
            for task in {*before.splits, *protocol.splits}
        }
        protocol = replace(protocol, splits=merged, seeds=sorted({*before.seeds, *protocol.seeds}))
    facts = asdict(protocol)
    lines = [
        f"{name} = {_toml(facts[name])}"
        for name in ("name", "seeds", "reference_seeds", "share", "time_limit")
    ]
    lines += [
        "",
        "[splits]",
        *(f'"{task}" = {_toml(sorted(s))}' for task, s in sorted(protocol.splits.items())),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def load(folder: Path) -> Protocol:
    """Read the `protocol.toml` of a run folder.

    Raises:
        BenchmarkError: it is missing, not TOML, or its fields are not a protocol's.
    """
    path = folder / "protocol.toml"
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        protocol = Protocol(**facts)
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
