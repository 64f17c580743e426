"""Records: one JSON line a cell. The only reader and writer of `results/<protocol>/records/<method>.jsonl`.

A record says what was run (method, task, split, seed, each with the hash of what it stands for), how it ended
(status and reason), what came out (metrics, curves), what it cost, and where (machine, versions, commit).
Reading never executes anything; names are checked before they become a path.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache, lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError

SCHEMA = 1
STATUSES = ("ok", "diverged", "out_of_memory", "timeout", "over_budget", "error")
MEASURED = ("seconds", "retrain_seconds", "peak_bytes")
"""Fields that depend on the machine's mood; everything else is the same on every run of the same cell."""

_NAMED = ("protocol", "method", "task", "split")
_NAME = re.compile(r"[a-z0-9]+(?:[-_.][a-z0-9]+)*")
DIGITS = 7


def check_name(kind: str, name: object) -> str:
    """Return `name` if it is safe as a file name and in a page: lower-case words joined by - _ or dots.

    Raises:
        BenchmarkError: it is anything else.
    """
    if not isinstance(name, str) or len(name) > 80 or not _NAME.fullmatch(name):
        raise BenchmarkError(
            f"{kind} {str(name)[:80]!r} is not a valid name: expected at most 80 characters, lower-case letters and "
            "digits joined by '-', '_' or '.'. Rename it."
        )
    return name


@lru_cache(maxsize=1024, typed=True)
def _check_names(kinds: str | tuple[str, ...], names: tuple[str, ...]) -> None:
    """Check names, all of a kind or each of its own; the same few stand in many records, so what is right is kept."""
    for kind, name in zip(repeat(kinds) if isinstance(kinds, str) else kinds, names, strict=False):
        check_name(kind, name)


class Key(NamedTuple):
    """What makes a cell one cell."""

    task: str
    split: str
    method: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cell: a method on a task and forget split with a seed.

    `metrics` holds finite numbers by metric name; a metric that is not defined for the cell is absent.
    `curves` holds named lists of numbers, for the figures. `passes` is the number of gradient passes as a share
    of a retrain's. `seconds`, `retrain_seconds` (the retrain timed beside it) and `peak_bytes` are null unless
    the run was timed.
    """

    schema: int = SCHEMA
    protocol: str
    method: str
    method_hash: str
    hyperparameters: Mapping[str, Any]
    task: str
    task_hash: str
    split: str
    split_hash: str
    seed: int
    status: str
    reason: str | None = None
    metrics: Mapping[str, float]
    curves: Mapping[str, Mapping[str, list[float]]]
    passes: float | None
    seconds: float | None = None
    retrain_seconds: float | None = None
    peak_bytes: int | None = None
    machine: str
    versions: Mapping[str, str]
    commit: str | None

    def __post_init__(self) -> None:
        try:
            _check_names(_NAMED, (self.protocol, self.method, self.task, self.split))
        except TypeError:  # one that cannot be looked up is none
            for kind in _NAMED:
                check_name(kind, getattr(self, kind))
        if self.status not in STATUSES:
            raise BenchmarkError(f"status {self.status!r} is not one of {', '.join(STATUSES)}")
        if self.status != "ok" and not self.reason:
            raise BenchmarkError(f"status {self.status!r} needs a reason")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise BenchmarkError(f"seed {self.seed!r} is not a whole number >= 0")
        _check_finite("hyperparameter", self.hyperparameters)
        _check_names("metric", tuple(self.metrics))
        _check_names("curve", tuple(self.curves))
        numbers = [*self.metrics.values()]
        for columns in self.curves.values():
            _check_names("column", tuple(columns))
            for values in columns.values():
                numbers += values
        if not _are_numbers(numbers):
            self._check_numbers()
        costs = [
            cost
            for cost in (self.passes, self.seconds, self.retrain_seconds, self.peak_bytes)
            if cost is not None
        ]
        if not _are_numbers(costs) or min(costs, default=0) < 0:
            self._check_costs()

    def _check_numbers(self) -> None:
        """Check metrics and curves one by one, to name the number that is none."""
        for name, value in self.metrics.items():
            _check_number(f"metric {name}", value)
        for curve, columns in self.curves.items():
            for column, values in columns.items():
                for value in values:
                    _check_number(f"curve {curve}.{column}", value)

    def _check_costs(self) -> None:
        """Check costs one by one, to name the one that is none."""
        for name in ("passes", *MEASURED):
            value = getattr(self, name)
            if value is not None and _check_number(name, value) < 0:
                raise BenchmarkError(f"{name} is {value}, expected at least 0")

    @property
    def key(self) -> Key:
        """Task, split, method and seed."""
        return Key(self.task, self.split, self.method, self.seed)

    @property
    def identity(self) -> tuple[object, ...]:
        """All that the outcome depends on: a record with the same identity need not be made again."""
        return (
            *(self.protocol, self.method, self.method_hash, self.task, self.task_hash),
            *(self.split, self.split_hash, self.seed, json.dumps(self.hyperparameters, sort_keys=True)),
        )

    def to_line(self) -> str:
        """Return the record as one line of ASCII JSON, what was measured rounded to 7 significant digits."""
        facts = asdict(self)
        kept = {name: value if name == "hyperparameters" else rounded(value) for name, value in facts.items()}
        return json.dumps(kept, allow_nan=False, separators=(",", ":"))


def _check_number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise BenchmarkError(
            f"{what} is {value!r}, expected a finite number (a failed run is a status, never a NaN)"
        )
    return value


def _are_numbers(values: list[Any]) -> bool:
    """Tell at once whether all are finite numbers; False where only `_check_number` of each one can tell.

    A sum is finite only if every summand is; one that starts with a float makes each of them a float, however large.
    """
    try:
        return _NUMBERS.issuperset(map(type, values)) and math.isfinite(sum(values, 0.0))
    except (OverflowError, ValueError):  # of the sum, or a whole number beyond the range of float
        return False


_NUMBERS = frozenset((int, float))
_LISTS = frozenset((list,))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of float
        return False


def _check_finite(what: str, value: Any) -> None:
    if isinstance(value, float):
        _check_number(what, value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _check_finite(f"{what} {name}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_finite(what, item)


def rounded(value: Any) -> Any:
    """Return a value with all numbers in it, however deep, cut to the digits that a record keeps."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


_DECODER = json.JSONDecoder(parse_constant=float)
_NESTED = 500
"""Brackets of a line up to which any reader gets to its end."""
_LARGE = 2.0**63
_MAY_BE_LARGE = frozenset((float, dict, list))


@cache
def _fast_reader() -> Callable[[str], Any] | None:
    """Return a reader of JSON that is several times faster than `json`; None where it is not installed."""
    try:
        import orjson
    except ImportError:
        return None
    loads: Callable[[str], Any] = orjson.loads
    return loads


def _decoded(line: str) -> Any:
    """Return what a line of JSON says, fast where `json` would certainly say the same; else `json` says it.

    The fast reader refuses what is no number or no character, which `json` takes. It takes deeper nesting, and reads
    whole numbers beyond 64 bits as floats: the same to metrics and curves, not to hyperparameters.
    """
    fast = _fast_reader()
    if fast is not None and line.count("[") + line.count("{") < _NESTED:
        try:
            data = fast(line)
        except ValueError:
            return _DECODER.decode(line)
        if isinstance(data, dict) and not any(
            [
                _has_large(value)
                for name, value in data.items()
                if type(value) in _MAY_BE_LARGE and name not in ("metrics", "curves")
            ]
        ):
            return data
    return _DECODER.decode(line)


def _has_large(value: Any) -> bool:
    """Tell whether there is a float, however deep, that may have been a whole number."""
    if isinstance(value, float):
        return not -_LARGE < value < _LARGE
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return any([_has_large(item) for item in value if type(item) in _MAY_BE_LARGE])


_FIELDS: dict[type[Any], frozenset[str]] = {}


def _names_of(kind: type[Any]) -> frozenset[str]:
    """Return the names of a dataclass's fields, looked up once."""
    if kind not in _FIELDS:
        _FIELDS[kind] = frozenset(field.name for field in fields(kind))
    return _FIELDS[kind]


def fields_in(line: str, where: str, kind: type[Any], *, schema: int, again: str) -> dict[str, Any]:
    """Return the fields of a record, unchecked but for their names.

    Args:
        line: one JSON object.
        where: `path:line`, opens every error.
        kind: the dataclass whose fields they must be.
        schema: its number, in the field `schema`.
        again: what to do about a line of another schema or with other fields.

    Raises:
        BenchmarkError: not JSON, another schema, missing or unknown fields.
    """
    try:
        data = _decoded(line)
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{where}: expected one JSON object, found {line[:60]!r} ({error}). Delete the line and run again."
        ) from error
    if not isinstance(data, dict):
        raise BenchmarkError(
            f"{where}: expected a JSON object, found {type(data).__name__}. Delete the line."
        )
    found = data.get("schema")
    if found != schema or isinstance(found, bool):
        newer = isinstance(found, int) and found > schema
        advice = "Update regunlearn to read it." if newer else again
        raise BenchmarkError(f"{where}: expected schema {schema}, found {found!r:.40}. {advice}")
    known = _names_of(kind)
    if data.keys() != known:
        missing, unknown = sorted(known - data.keys()), sorted(str(name)[:40] for name in data.keys() - known)
        raise BenchmarkError(f"{where}: fields missing {missing}, unknown {unknown}. {again}")
    return data


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file of records.

    Raises:
        BenchmarkError: it is no text.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(
            f"{path}: cannot be read as UTF-8 text ({error}). Restore or delete the file."
        ) from error
    if "\r" in text:  # `read_text` would look for them piece by piece
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()  # what follows the last line's end
    return lines


def parse(line: str, where: str) -> Record:
    """Return the record in `line`; `where` (`path:line`) opens every error.

    Raises:
        BenchmarkError: not JSON, another schema, missing or unknown fields, or a value out of its range.
    """
    data = fields_in(line, where, Record, schema=SCHEMA, again="Run the cell again with this version.")
    for name in ("hyperparameters", "metrics", "curves", "versions"):
        if not isinstance(data[name], dict):
            raise BenchmarkError(f"{where}: {name} is {type(data[name]).__name__}, expected an object.")
    for name in ("method_hash", "task_hash", "split_hash", "machine"):
        if not isinstance(data[name], str):
            raise BenchmarkError(f"{where}: {name} is {data[name]!r:.40}, expected text.")
    for name in ("reason", "commit"):
        if data[name] is not None and not isinstance(data[name], str):
            raise BenchmarkError(f"{where}: {name} is {data[name]!r:.40}, expected text or null.")
    for curve, columns in data["curves"].items():
        if not isinstance(columns, dict) or not _LISTS.issuperset(map(type, columns.values())):
            raise BenchmarkError(f"{where}: curve {str(curve)[:40]!r} is not an object of lists of numbers.")
    try:
        return Record(**data)
    except BenchmarkError as error:
        raise BenchmarkError(f"{where}: {error}") from error


def read(path: Path) -> list[Record]:
    """Return the records of one file, checked.

    Raises:
        BenchmarkError: a line is broken, is for another method than the file's name says, or a key is there twice.
    """
    records: dict[Key, Record] = {}
    method = path.stem
    for number, line in enumerate(lines_of(path), start=1):
        where = f"{path}:{number}"
        record = parse(line, where)
        if record.method != method:
            raise BenchmarkError(
                f"{where}: expected records of {method!r}, found {record.method!r}. Move the line."
            )
        key = record.key
        if key in records:
            raise BenchmarkError(
                f"{where}: the same cell as line {list(records).index(key) + 1}. Delete one of the two."
            )
        records[key] = record
    return list(records.values())


def read_all(folder: Path) -> list[Record]:
    """Return all records under `folder/records`, sorted by key.

    Raises:
        BenchmarkError: the folder holds no records, or a file is broken.
    """
    return sorted(
        (record for path in files_of(folder) for record in read(path)), key=lambda record: record.key
    )


def files_of(folder: Path) -> list[Path]:
    """Return the files of records under `folder/records`, by name.

    Raises:
        BenchmarkError: there are none.
    """
    paths = sorted((folder / "records").glob("*.jsonl"))
    if not paths:
        raise BenchmarkError(
            f"{folder}: expected records/<method>.jsonl, found none. "
            f"Make some with `regunlearn run --suite smoke --out {folder}`."
        )
    return paths


class Store:
    """The records of one run folder. Each `add` leaves the method's file sorted and whole.

    Several processes may add to one folder: a file that is not as this store left it is read again before the write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "records"
        self._records: dict[str, dict[Key, Record]] = {}
        self._left: dict[str, bytes] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            self._records[path.stem] = {record.key: record for record in read(path)}

    def get(self, key: Key) -> Record | None:
        """Return the stored record of a cell, if there is one."""
        return self._records.get(key.method, {}).get(key)

    def add(self, record: Record) -> None:
        """Store a record in the place of an earlier one with the same key."""
        from regunlearn.benchmark.locking import held  # readers of records need no locks

        own, path = self._records.setdefault(record.method, {}), self.folder / f"{record.method}.jsonl"
        with held(path):
            if path.is_file() and _digest(path.read_bytes()) != self._left.get(record.method):
                own |= {other.key: other for other in read(path)}
            own[record.key] = record
            text = "".join(f"{own[key].to_line()}\n" for key in sorted(own))
            write_text(path, text)
            self._left[record.method] = _digest(text.encode())


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
