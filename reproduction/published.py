"""The published numbers: reads `published.toml`, which says where each was found."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.reproduction.records import MODELS

FILE = Path(__file__).with_name("published.toml")
METRICS = (
    *("test_retain", "test_forget", "constant_retain", "constant", "w1", "attack_forget", "attack_members"),
    *("attack_others", "ain", "seconds", "student_seconds"),
)
"""Names of published numbers, in the order of the tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was published of one experiment: single runs, without a spread.

    Attributes:
        title: of the experiment.
        source: where the numbers stand.
        data_mark: in the notes of a dataset whose rows are the published ones.
        data_flag: what is said where it is not.
        units: by metric, "" for a number without one.
        not_comparable: by metric, why no verdict is given.
        values: model -> metric -> number.
        derived: the same, of numbers computed from published ones.
        logs: loss after each epoch, by what it is of.
        notes: for the reader.
    """

    title: str
    source: str
    units: Mapping[str, str]
    not_comparable: Mapping[str, str]
    values: Mapping[str, Mapping[str, float]]
    derived: Mapping[str, Mapping[str, float]]
    logs: Mapping[str, list[float]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    data_mark: str = ""
    data_flag: str = ""


@cache
def load(path: Path = FILE) -> Mapping[str, Published]:
    """Return what was published, by experiment.

    Raises:
        BenchmarkError: the file is not TOML of that shape; the message names it.
    """
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _checked(name, entry) for name, entry in parsed.items()}
    except (OSError, ValueError, TypeError) as error:
        raise BenchmarkError(f"{path}: is not a file of published numbers ({error}). Restore it.") from error


def _checked(name: str, entry: Any) -> Published:
    found = Published(**entry)
    for model, numbers in [*found.values.items(), *found.derived.items()]:
        if model not in MODELS:
            raise ValueError(f"{name}: model {model!r} is not one of {', '.join(MODELS)}")
        for metric, value in numbers.items():
            if metric not in METRICS or isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(
                    f"{name}, {model}: {metric} = {value!r}, expected a number of {', '.join(METRICS)}"
                )
    return found
