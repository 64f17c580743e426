"""Records to tidy frames: one row a cell, numbers beside it, holes in the grid by name.

Nothing is averaged here. What cannot be compared (two protocols, two versions of a task, two draws of a forget
split) is refused; what is only incomplete (cells that a method lacks) is listed.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Key, Record, read_all
from regunlearn.benchmark.registry import Card, Catalogue, RegistryError, discover

KEYS = list(Key._fields)
BLOCK = ["task", "split"]
COSTS = ("passes", "seconds", "retrain_seconds", "peak_bytes", "time_ratio")
UNREGISTERED = "unregistered"
TARGET_UNIT = "target unit"

Curves = Mapping[Key, Mapping[str, Sequence[float]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """All records of one protocol.

    Attributes:
        protocol: its name.
        cells: one row a record, sorted by task, split, method, seed; then status, reason ("" for none), machine,
            method_hash, and the costs: passes (share of a retrain's), seconds, retrain_seconds, peak_bytes,
            time_ratio (seconds / retrain_seconds). Costs that were not measured are NaN.
        values: the same rows, one float column a metric; NaN where the metric is not defined for the cell.
        curves: by name of the curve, then by cell, lists of numbers by column.
        methods: one row a method, by name: family, reference, sentinel, cheat, kind, missing. `kind` is "honest",
            "exact" (on the track of methods that train in their own way), "reference" or "sentinel" (which includes
            cheats); `missing` counts the cells that other methods have.
        missing: the cells behind that count, one row each (task, split, method, seed).
        grid: how many cells a complete method has.
        units: unit of the target by task.
    """

    protocol: str
    cells: pd.DataFrame
    values: pd.DataFrame
    curves: Mapping[str, Curves]
    methods: pd.DataFrame
    missing: pd.DataFrame
    grid: int
    units: Mapping[str, str]

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Pairs of task and split, sorted."""
        own = self.cells[BLOCK].drop_duplicates()
        return sorted(zip(own["task"], own["split"], strict=True))


def load(results: Path, catalogue: Catalogue | None = None, units: Mapping[str, str] | None = None) -> Board:
    """Return the board of a results folder: see `board` for the arguments and refusals."""
    return board(read_all(results), catalogue, units)


def board(
    records: Sequence[Record], catalogue: Catalogue | None = None, units: Mapping[str, str] | None = None
) -> Board:
    """Return the board of some records.

    Args:
        records: of one protocol, in any order.
        catalogue: method cards; those of the package by default. A method without one is "unregistered".
        units: unit of the target by task, where the dataset's card does not tell.

    Raises:
        BenchmarkError: there are no records, they are of several protocols, a cell is there twice, or cells that
            would be compared were run on different versions of a task or on different forget rows.
    """
    if not records:
        raise BenchmarkError("expected at least one record, found none. Make some with `regunlearn run`.")
    ordered = sorted(records, key=lambda record: record.key)
    protocols = sorted({record.protocol for record in ordered})
    if len(protocols) > 1:
        raise BenchmarkError(
            f"expected records of one protocol, found {', '.join(protocols)}. Build each from a folder of its own."
        )
    cells = _cells(ordered)
    _refuse_incomparable(ordered, cells)
    missing = _missing(cells)
    return Board(
        protocol=protocols[0],
        cells=cells,
        values=_values(ordered),
        curves=_curves(ordered),
        methods=_methods(cells, missing, discover("method") if catalogue is None else catalogue),
        missing=missing,
        grid=len(cells[[*BLOCK, "seed"]].drop_duplicates()),
        units={**_units(sorted(set(cells["task"]))), **(units or {})},
    )


def _text(text: str) -> str:
    """Return text that UTF-8 can hold: JSON may bring halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _cells(records: Sequence[Record]) -> pd.DataFrame:
    cells = pd.DataFrame(
        {
            **{key: [getattr(record, key) for record in records] for key in KEYS},
            "status": [record.status for record in records],
            "reason": [_text(record.reason or "") for record in records],
            "machine": [_text(record.machine) for record in records],
            "method_hash": [_text(record.method_hash) for record in records],
            **{
                cost: np.array([getattr(record, cost) for record in records], dtype=float)  # None is NaN
                for cost in COSTS[:-1]
            },
        }
    )
    cells["time_ratio"] = cells["seconds"] / cells["retrain_seconds"].where(cells["retrain_seconds"] > 0)
    return cells


def _values(records: Sequence[Record]) -> pd.DataFrame:
    names = sorted(set[str]().union(*(record.metrics for record in records)))
    taken = sorted({*COSTS, "score", "speed_up"}.intersection(names))
    if taken:
        raise BenchmarkError(
            f"a metric is called {', '.join(taken)}, which the tables use already. Rename it."
        )
    flat = [value for record in records for value in map(record.metrics.get, names)]
    values = np.array(flat, dtype=float)  # None is NaN
    return pd.DataFrame(values.reshape(len(records), len(names)), columns=names)


def _curves(records: Sequence[Record]) -> dict[str, dict[Key, Mapping[str, Sequence[float]]]]:
    curves: dict[str, dict[Key, Mapping[str, Sequence[float]]]] = {}
    for record in records:
        key = record.key
        for name, columns in record.curves.items():
            curves.setdefault(name, {})[key] = columns
    return curves


def _refuse_incomparable(records: Sequence[Record], cells: pd.DataFrame) -> None:
    twice = cells[cells.duplicated(KEYS)]
    if len(twice):
        raise BenchmarkError(
            f"the cell {_cell(twice.iloc[0])} is there {len(twice) + 1} times. Delete all but one."
        )
    hashes = cells[KEYS].assign(
        task_hash=[_text(record.task_hash) for record in records],
        split_hash=[_text(record.split_hash) for record in records],
    )
    for name, keys, what in (
        ("task_hash", ["task"], "versions of the task"),
        ("split_hash", [*BLOCK, "seed"], "draws of the forget rows"),
    ):
        clash = hashes[hashes.groupby(keys)[name].transform("nunique") > 1]
        if len(clash):
            first = clash[(clash[keys] == clash[keys].iloc[0]).all(axis=1)].drop_duplicates(name)
            both = " and ".join(f"{row[name]!r:.40} ({row['method']})" for _, row in first.head(2).iterrows())
            raise BenchmarkError(
                f"{_cell(first.iloc[0])}: expected one {name}, found {both}: two {what} cannot be compared. "
                "Run the older cells again."
            )


def _cell(row: "pd.Series[str]") -> str:
    return " / ".join(str(row[key]) for key in KEYS)


def _missing(cells: pd.DataFrame) -> pd.DataFrame:
    """Cells of the grid (every task, split and seed that any method has) that a method lacks."""
    grid = cells[[*BLOCK, "seed"]].drop_duplicates()
    wanted = grid.merge(cells[["method"]].drop_duplicates(), how="cross")
    merged = wanted.merge(cells[KEYS], on=KEYS, how="left", indicator=True)
    holes = merged.loc[merged["_merge"] == "left_only", KEYS]
    return holes.sort_values(KEYS).reset_index(drop=True)


def _methods(cells: pd.DataFrame, missing: pd.DataFrame, catalogue: Catalogue) -> pd.DataFrame:
    holes = missing["method"].value_counts().to_dict()
    rows = []
    for name in sorted(set(cells["method"])):
        card = catalogue.cards.get(name)
        facts = card.facts if card else {"family": UNREGISTERED}
        reference = bool(facts.get("reference", False))
        sentinel, cheat = str(facts.get("sentinel", "")), str(facts.get("cheat", ""))
        rows.append(
            {
                "method": name,
                "family": str(facts.get("family", "")),
                "reference": reference,
                "sentinel": sentinel,
                "cheat": cheat,
                "kind": _kind(facts),
                "missing": int(holes.get(name, 0)),
            }
        )
    return pd.DataFrame(rows).set_index("method")


def _kind(facts: Mapping[str, object]) -> str:
    if facts.get("sentinel") or facts.get("cheat"):
        return "sentinel"
    return "reference" if facts.get("reference") else "exact" if facts.get("track") == "exact" else "honest"


def _units(tasks: Sequence[str]) -> dict[str, str]:
    """Return the unit of each task's target, as the file of its dataset writes it."""
    units = dict.fromkeys(tasks, TARGET_UNIT)
    try:
        cards, datasets = discover("task").cards, discover("dataset").cards
    except RegistryError:  # a name that is there twice: no reason to withhold results
        return units
    for task in tasks:
        card = datasets.get(str(cards[task].fact("dataset"))) if task in cards else None
        unit = None if card is None else _unit(card)
        if unit:
            units[task] = unit
    return units


def _unit(card: Card) -> str | None:
    """Return the text after `unit=` in the dataset's `Dataset(...)`: read from the source, as cards are."""
    for node in ast.walk(ast.parse(card.file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Dataset":
            for keyword in node.keywords:
                if keyword.arg == "unit" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value)
    return None
