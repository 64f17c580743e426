"""Records to tidy frames: one row a cell, numbers beside it, holes in the grid by name.

Nothing is averaged here. What cannot be compared (two protocols, two versions of a task, two draws of a forget
split) is refused; what is only incomplete (cells that a method lacks) is listed.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Key, Record, files_of, read
from regunlearn.benchmark.registry import Card, Catalogue, RegistryError, discover
from regunlearn.leaderboard.sheets import COSTS as MEASURED
from regunlearn.leaderboard.sheets import PackedCurves, Sheet, joined, sheet

KEYS = list(Key._fields)
BLOCK = ["task", "split"]
COSTS = (*MEASURED, "time_ratio")
UNREGISTERED = "unregistered"
TARGET_UNIT = "target unit"


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
    curves: Mapping[str, PackedCurves]
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
    return of(joined([sheet(read(path)) for path in files_of(results)]), catalogue, units)


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
    return of(sheet(sorted(records, key=lambda record: record.key)), catalogue, units)


def of(rows: Sheet, catalogue: Catalogue | None = None, units: Mapping[str, str] | None = None) -> Board:
    """Return the board of the columns of records, sorted by key: see `board` for the other arguments and refusals."""
    if not rows.seeds:
        raise BenchmarkError("expected at least one record, found none. Make some with `regunlearn run`.")
    protocols = sorted(set(rows.texts["protocol"]))
    if len(protocols) > 1:
        raise BenchmarkError(
            f"expected records of one protocol, found {', '.join(protocols)}. Build each from a folder of its own."
        )
    cells = _cells(rows)
    _refuse_incomparable(rows, cells)
    missing = _missing(cells)
    return Board(
        protocol=protocols[0],
        cells=cells,
        values=_values(rows),
        curves=rows.curves_by_cell(),
        methods=_methods(cells, missing, discover("method") if catalogue is None else catalogue),
        missing=missing,
        grid=len(cells[[*BLOCK, "seed"]].drop_duplicates()),
        units={**_units(sorted(set(cells["task"]))), **(units or {})},
    )


def _cells(rows: Sheet) -> pd.DataFrame:
    texts = rows.texts
    cells = pd.DataFrame(
        {
            **{key: texts[key] for key in BLOCK},
            "method": texts["method"],
            "seed": rows.seeds,
            **{field: texts[field] for field in ("status", "reason", "machine", "method_hash")},
            **{cost: rows.costs[:, place] for place, cost in enumerate(MEASURED)},
        }
    )
    cells["time_ratio"] = cells["seconds"] / cells["retrain_seconds"].where(cells["retrain_seconds"] > 0)
    return cells


def _values(rows: Sheet) -> pd.DataFrame:
    taken = sorted({*COSTS, "score", "speed_up"}.intersection(rows.names))
    if taken:
        raise BenchmarkError(
            f"a metric is called {', '.join(taken)}, which the tables use already. Rename it."
        )
    return pd.DataFrame(rows.values, columns=list(rows.names))


def _refuse_incomparable(rows: Sheet, cells: pd.DataFrame) -> None:
    twice = cells[cells.duplicated(KEYS)]
    if len(twice):
        raise BenchmarkError(
            f"the cell {_cell(twice.iloc[0])} is there {len(twice) + 1} times. Delete all but one."
        )
    hashes = cells[KEYS].assign(task_hash=rows.texts["task_hash"], split_hash=rows.texts["split_hash"])
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
