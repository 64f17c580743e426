"""Which entries of a protocol were run again by somebody else than their author: `verified.json` beside the records.

An entry's row is *verified* while its records are of the version of the method's file that was run again, else
*reported*.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Record, check_name

FILE = "verified.json"


def read(home: Path) -> dict[str, dict[str, Any]]:
    """Return what `verified.json` of a protocol's folder holds, by entry; nothing where there is no such file.

    Raises:
        BenchmarkError: it is broken.
    """
    path = home / FILE
    if not path.is_file():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: expected JSON, found {error!s:.80}. Restore it.") from error
    if not isinstance(known, dict) or not all(isinstance(row, dict) for row in known.values()):
        raise BenchmarkError(f"{path}: expected an object of objects. Restore it.")
    for name, row in known.items():
        check_name("entry", name)
        if not isinstance(row.get("method_hash"), str):
            raise BenchmarkError(
                f"{path}: {name}: expected a method_hash, found {row.get('method_hash')!r:.40}. Restore it."
            )
    return known


def keep(home: Path, entry: str, facts: Mapping[str, Any]) -> None:
    """Add an entry to `verified.json`, in the place of an earlier one."""
    known = {**read(home), entry: dict(facts)}
    write_text(home / FILE, json.dumps(known, indent=1, sort_keys=True) + "\n")


def entries(home: Path, records: Iterable[Record]) -> frozenset[str]:
    """Return the entries whose records are all of the version that was run again.

    Raises:
        BenchmarkError: `verified.json` is broken.
    """
    known = read(home)
    made: dict[str, set[str]] = {}
    for record in records:
        made.setdefault(record.method, set()).add(record.method_hash)
    return frozenset(
        name for name, hashes in made.items() if hashes == {known.get(name, {}).get("method_hash")}
    )
