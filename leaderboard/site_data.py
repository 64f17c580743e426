"""What a site shows, read once: every results folder with what the Markdown boards work out from it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from regunlearn.benchmark import grid, verified
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import STRESS_TESTS, Protocol
from regunlearn.benchmark.records import Record, check_name, read_all
from regunlearn.benchmark.registry import Card, Catalogue
from regunlearn.leaderboard import (
    blocks,
    comparison,
    ensemble_tables,
    frame,
    scores,
    stress_board,
    tables,
    tuned,
)
from regunlearn.leaderboard.blocks import Block, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.reproduction_numbers import Numbers as Reproduction
from regunlearn.leaderboard.reproduction_numbers import load as load_reproduction
from regunlearn.leaderboard.stress_board import Stress
from regunlearn.leaderboard.text import Table

Value = TypeVar("Value")

MAIN = "v1"
"""The protocol of the first page; where it has no records, the first other one that has."""
REPRODUCTION = "reproduction"
MACHINES, PROTOCOL = "machines.json", "protocol.toml"


@dataclass(frozen=True, kw_only=True, eq=False)
class Folder:
    """One results folder.

    Attributes:
        name: of the folder.
        protocol: its rules; None for a folder that has none.
        records: none where nothing has run yet.
        outcome: of ensembles; None for other protocols.
        numbers: of single models; None for other protocols.
        stress: tests on corrupted data; None where there is none.
        searched: where tuned entries were tuned; None where none was.
        machines: facts by the name of a machine.
        verified: entries whose records somebody has run again.
    """

    name: str
    protocol: Protocol | None
    records: Sequence[Record]
    outcome: Outcome | None
    numbers: tables.Numbers | None
    stress: Stress | None
    searched: Table | None
    machines: Mapping[str, Mapping[str, str]]
    verified: frozenset[str]

    @cached_property
    def entries(self) -> list[str]:
        """Names of all that has a record, sorted."""
        return sorted(self.of)

    @cached_property
    def of(self) -> Mapping[str, Sequence[Record]]:
        """Records by entry."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.method, []).append(record)
        return found

    @cached_property
    def block_tables(self) -> Mapping[Block, Sequence[tuple[str, Table]]]:
        """Titles and tables of each block, the first one with scores and how the cells ended."""
        if self.outcome is not None:
            there = self.outcome.blocks.board.blocks
            return {block: list(ensemble_tables.block_tables(self.outcome, block)) for block in there}
        if self.numbers is not None:
            there = self.numbers.board.blocks
            return {block: list(tables.block_tables(self.numbers, block)) for block in there}
        return {}

    @cached_property
    def block_rows(self) -> Mapping[Block, tuple[Sequence[str], Mapping[str, Sequence[str]]]]:
        """Names of the columns ("S" or "Score", metrics, "Status") and texts by entry of each block's first table."""
        found: dict[Block, tuple[Sequence[str], Mapping[str, Sequence[str]]]] = {}
        for block, own in self.block_tables.items():
            table = own[0][1]
            names: Sequence[str] = table.header[1:]
            if self.outcome is not None:  # its headings hold the anchors of the block
                there = self.outcome.blocks.metrics_of(block)
                names = ["S", *(name for name in ensemble_tables.LABELS if name in there), "Status"]
            found[block] = (names, _by_entry(table))
        return found

    @cached_property
    def reasons(self) -> Mapping[Block, str]:
        """Why a block is not scored, "" where it is."""
        if self.outcome is not None:
            return {block: str(facts["reason"]) for block, facts in self.outcome.blocks.facts.items()}
        own: Mapping[Any, Any] = {} if self.numbers is None else self.numbers.scores.gates["reason"].to_dict()
        return {block: str(reason) for block, reason in own.items()}

    @cached_property
    def tier_rows(self) -> Sequence[tuple[str, Sequence[str], Mapping[str, Sequence[str]]]]:
        """Title, names of the columns and texts by entry of each tier's table, the method left out."""
        if self.outcome is None:
            return []
        shown = [(tier.title, ensemble_tables.main_table(self.outcome, tier)) for tier in self.outcome.tiers]
        return [
            (title, [name for name in table.header if name != "Method"], _by_entry(table, 1))
            for title, table in shown
        ]

    def is_verified(self, entry: str) -> bool:
        """Return whether all records of an entry are of the file that was run again."""
        return entry in self.verified


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """All that a site is made of.

    Attributes:
        folders: results folders by name.
        reproductions: the paper's experiments by name.
        methods: cards by name.
    """

    folders: Mapping[str, Folder]
    reproductions: Mapping[str, Reproduction]
    methods: Catalogue

    @cached_property
    def main(self) -> Folder:
        """The results of the first page."""
        there = [name for name, folder in self.folders.items() if folder.records]
        return self.folders[MAIN if MAIN in there else there[0]]

    @cached_property
    def entries(self) -> list[str]:
        """Every entry that has a page: those with records, and methods without any."""
        known = {entry for folder in self.folders.values() for entry in folder.entries}
        return sorted({*known, *self.methods.cards})

    def card(self, entry: str) -> Card | None:
        """Return the card of an entry's method, None where no file holds it."""
        return self.methods.cards.get(entry) or self.methods.cards.get(base_of(entry))


def load(root: Path, catalogue: Catalogue) -> Results:
    """Return everything under `root/results`.

    Raises:
        BenchmarkError: no folder has records, or a file in one cannot be read or compared.
    """
    home = root / "results"
    there = [path.name for path in home.glob("*") if path.is_dir() and path.name != REPRODUCTION]
    names = sorted(there, key=lambda name: (name != MAIN, name))
    folders = {check_name("protocol", name): _folder(home / name, catalogue) for name in names}
    if not any(folder.records for folder in folders.values()):
        raise BenchmarkError(
            f"{home}: expected <protocol>/records/<method>.jsonl, found none. Make some with `regunlearn run --suite "
            f"smoke --out {home / 'smoke'}`, or name the folder that holds results/."
        )
    experiments = {
        check_name("experiment", path.stem): load_reproduction(path)
        for path in sorted((home / REPRODUCTION).glob("*.jsonl"))
    }
    return Results(folders=folders, reproductions=experiments, methods=catalogue)


def subset(folder: Folder, blocks_of: Iterable[tuple[str, str]], catalogue: Catalogue) -> Outcome:
    """Return the outcome of some blocks of a protocol of ensembles: the board that these records alone would give."""
    assert folder.outcome is not None
    assert folder.protocol is not None
    wanted = set(blocks_of)
    kept = [record for record in folder.records if (record.task, record.split) in wanted]
    rows = [
        {str(name): value for name, value in row.items()}
        for row in folder.outcome.blocks.gates.to_dict("records")
        if (row["task"], row["split"]) in wanted
    ]
    return comparison.outcome(blocks.blocks(kept, folder.protocol, rows, catalogue))


def _by_entry(table: Table, place: int = 0) -> dict[str, Sequence[str]]:
    """Return the cells of each row without the one that names the entry."""
    rows = [row.cells for _, own in table.groups for row in own]
    return {cells[place]: [*cells[:place], *cells[place + 1 :]] for cells in rows}


# Reading ------------------------------------------------------------------------------------------------------


def _folder(path: Path, catalogue: Catalogue) -> Folder:
    protocol = grid.load(path) if (path / PROTOCOL).is_file() else None
    records = read_all(path) if any((path / "records").glob("*.jsonl")) else []
    empty = Folder(
        name=path.name,
        protocol=protocol,
        records=records,
        outcome=None,
        numbers=None,
        stress=None,
        searched=tuned.table(tuned.searches(path)),
        machines=_objects(path / MACHINES, _machine),
        verified=verified.entries(path, records),
    )
    if not records:
        return empty
    if protocol is None or not protocol.ensembles:
        board = frame.board(records, catalogue)
        return replace(empty, numbers=tables.Numbers(board, scores.score(board)))
    stress = stress_board.stress(records, protocol, catalogue)
    if all(record.split in STRESS_TESTS for record in records):
        return replace(empty, stress=stress)
    rows = blocks.read_gates(path / blocks.GATES)
    outcome = comparison.outcome(blocks.blocks(records, protocol, rows, catalogue, empty.verified))
    return replace(empty, outcome=outcome, stress=stress)


def _objects(path: Path, read: Callable[[Any], Value]) -> dict[str, Value]:
    """Return a JSON object of objects by name, each read by a function; empty where the file is not there."""
    if not path.is_file():
        return {}
    advice = "Restore the file from the repository, or delete it."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
            raise ValueError("no object of objects")
        return {name: read(value) for name, value in sorted(content.items())}
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise BenchmarkError(f"{path}: expected facts by name, found {error!s:.100}. {advice}") from error


def _machine(facts: Any) -> dict[str, str]:
    return {str(name): "none" if value is None else str(value) for name, value in sorted(facts.items())}
