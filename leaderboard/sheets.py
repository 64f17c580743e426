"""Records as columns: all that a board of single models takes from them, small enough to pass between processes.

Imports little, so that other processes can begin to read while this one still imports what draws.
"""

import gc
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import grid
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Key, Record, files_of, read

if TYPE_CHECKING:
    from regunlearn.benchmark.workers import Helpers, Shared

LARGE = 16 * 2**20
"""Bytes of records from which on a second process is worth its start."""
MOST = 4
"""Processes that read and draw at once; more would wait for the one that puts the board together."""

TEXTS = (
    *("protocol", "task", "split", "method", "status", "reason"),
    *("machine", "method_hash", "task_hash", "split_hash"),
)
COSTS = ("passes", "seconds", "retrain_seconds", "peak_bytes")

Curve = Mapping[str, Sequence[float]]


class PackedCurves(Mapping[Key, Curve]):
    """Curves by cell that are unpacked where they are looked at: a large board draws a few of them."""

    def __init__(self, packed: Mapping[Key, bytes]) -> None:
        self._packed = packed

    def __getitem__(self, key: Key) -> Curve:
        curve: Curve = pickle.loads(self._packed[key])  # noqa: S301 - packed by `sheet_of`
        return curve

    def __iter__(self) -> Iterator[Key]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def of(self, methods: set[str]) -> "PackedCurves":
        """Return the curves of these methods."""
        return PackedCurves({key: curve for key, curve in self._packed.items() if key.method in methods})


NO_CURVES = PackedCurves({})


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """Columns of some records, a row each.

    Attributes:
        seeds: of each row.
        texts: by field, text that UTF-8 can hold.
        costs: shape (rows, costs), NaN where there is none.
        names: of the metrics, sorted.
        values: of the metrics, shape (rows, metrics), NaN where there is none.
        curves: by name of the curve, then by row; packed.
    """

    seeds: Sequence[int]
    texts: Mapping[str, Sequence[str]]
    costs: NDArray[np.float64]
    names: Sequence[str]
    values: NDArray[np.float64]
    curves: Mapping[str, Mapping[int, bytes]]

    @property
    def keys(self) -> list[Key]:
        """Keys of all rows."""
        places = (self.texts[name] for name in ("task", "split", "method"))
        return list(map(Key, *places, self.seeds))

    def curves_by_cell(self) -> dict[str, PackedCurves]:
        """Return the curves by name, then by cell."""
        keys = self.keys
        return {
            name: PackedCurves({keys[row]: curve for row, curve in own.items()})
            for name, own in self.curves.items()
        }


def sheet(records: Sequence[Record]) -> Sheet:
    """Return the columns of some records, in their order."""
    names = sorted(set[str]().union(*(record.metrics for record in records)))
    values = [list(map(record.metrics.get, names)) for record in records]
    curves: dict[str, dict[int, bytes]] = {}
    for row, record in enumerate(records):
        for name, curve in record.curves.items():
            curves.setdefault(name, {})[row] = pickle.dumps(curve, pickle.HIGHEST_PROTOCOL)
    return Sheet(
        seeds=[record.seed for record in records],
        texts={field: _texts(records, field) for field in TEXTS},
        costs=np.array(list(map(attrgetter(*COSTS), records)), dtype=float).reshape(len(records), len(COSTS)),
        names=names,
        values=np.array(values, dtype=float).reshape(len(records), len(names)),  # None is NaN
        curves=curves,
    )


def _texts(records: Sequence[Record], field: str) -> list[str]:
    """Return a column of text, with one object for each text however often it is there."""
    own = list(map(attrgetter(field), records))
    texts = {text: _text(text or "") for text in set(own)}
    return [texts[text] for text in own]


def _text(text: str) -> str:
    """Return text that UTF-8 can hold: JSON may bring halves of characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """Return the rows of all sheets, sorted by key."""
    keys = [key for one in sheets for key in one.keys]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    row_of = np.empty(len(keys), dtype=np.intp)
    row_of[order] = np.arange(len(keys))
    names = sorted(set[str]().union(*(one.names for one in sheets)))
    values = np.full((len(keys), len(names)), np.nan)
    curves: dict[str, dict[int, bytes]] = {}
    start = 0
    for one in sheets:
        rows = row_of[start : start + len(one.seeds)]
        values[np.ix_(rows, np.searchsorted(names, one.names))] = one.values
        places = rows.tolist()
        for name, own in one.curves.items():
            known = curves.setdefault(name, {})
            for row, curve in own.items():
                known[places[row]] = curve
        start += len(one.seeds)
    texts = {field: [text for one in sheets for text in one.texts[field]] for field in TEXTS}
    seeds = [seed for one in sheets for seed in one.seeds]
    return Sheet(
        seeds=[seeds[row] for row in order],
        texts={field: [own[row] for row in order] for field, own in texts.items()},
        costs=np.concatenate([one.costs for one in sheets])[order],
        names=names,
        values=values,
        curves=curves,
    )


# Reading ------------------------------------------------------------------------------------------------------


@contextmanager
def uncollected() -> Iterator[None]:
    """Stop looking for reference cycles: among the numbers of a large board that takes as long as all else."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Reading:
    """The records of a results folder on their way; where they are many, other processes have begun to read them.

    Attributes:
        helpers: the other processes, None where there are none. Whoever began to read closes it.
    """

    def __init__(self, results: Path, beside: Path | None = None) -> None:
        """Begin to read, unless there is another folder to be shown beside it, or it is of ensembles.

        Raises:
            BenchmarkError: the folder holds no records.
        """
        self._paths = files_of(results)
        alone = beside is None and _is_of_single_models(results)
        self.helpers = _helpers(self._paths) if alone else None
        self._shared: Shared[Path, Sheet | None] | None = None
        if self.helpers is not None:
            self._shared = self.helpers.share(sheet_of, self._paths, ahead=3)

    def sheet(self) -> Sheet:
        """Return the columns of all records, sorted by key.

        Raises:
            BenchmarkError: a file is broken: the first one by name.
        """
        found = [None] * len(self._paths) if self._shared is None else self._shared.results()
        return joined(
            [sheet(read(path)) if own is None else own for path, own in zip(self._paths, found, strict=True)]
        )

    def close(self) -> None:
        """Send the helpers home."""
        if self.helpers is not None:
            self.helpers.close()


def _is_of_single_models(results: Path) -> bool:
    return not ((results / "protocol.toml").is_file() and grid.load(results).ensembles)


def _helpers(paths: Sequence[Path]) -> "Helpers | None":
    """Return other processes if there are cores for them and enough to read."""
    count = min(os.cpu_count() or 1, MOST, len(paths)) - 1
    if count < 1 or sum(path.stat().st_size for path in paths) < LARGE:
        return None
    from regunlearn.benchmark.workers import Helpers

    return Helpers(count)


def sheet_of(path: Path) -> Sheet | None:
    """Return the columns of a file of records; None if it is broken, for whoever asks to find out how."""
    with uncollected():
        try:
            return sheet(read(path))
        except BenchmarkError:
            return None
