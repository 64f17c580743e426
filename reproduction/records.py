"""Records of reproductions: one JSON line a model, protocol and seed; the only reader and writer of their files.

A file is `results/reproduction/<experiment>.jsonl`, sorted. A value that is not defined for a model (the correlation
of a constant) is absent.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import check_name, fields_in, lines_of, rounded
from regunlearn.reproduction.switches import NAMES, RELEVANT, Switches, title

SCHEMA = 1

MODELS: Mapping[str, str] = {
    "original": "Original",
    "retrained": "Retrained",
    "second_retrained": "Retrained, another seed",
    "fine_tune": "Fine-tuned",
    "gaussian_finetune": "Gaussian-Amnesiac",
    "blindspot_proxy": "Blindspot's proxy alone",
    "blindspot": "Blindspot",
    "blindspot_0": "Blindspot, β = 0",
    "blindspot_5000": "Blindspot, β = 5000",
    "blindspot_50_corrected": "Blindspot, β = 50, corrected attention",
    "blindspot_5000_corrected": "Blindspot, β = 5000, corrected attention",
    "constant": "Best constant",
}
"""Rows of the tables in their order. `blindspot` has β = 50 and the published attention term."""

VALUES: Mapping[str, str] = {
    "test_retain_rows": "Error on retain test rows, mean over rows",
    "test_retain_batches": "Error on retain test rows, mean of batch means",
    "test_forget_rows": "Error on forget test rows, mean over rows",
    "test_forget_batches": "Error on forget test rows, mean of batch means",
    "constant_retain_rows": "Error on retain test rows of the constant with the same forget error",
    "constant_retain_batches": "The same, errors as means of batch means",
    "pearson_test": "Pearson correlation on all test rows",
    "spearman_test": "Spearman correlation on all test rows",
    "pearson_retain": "Pearson correlation on retain test rows",
    "spearman_retain": "Spearman correlation on retain test rows",
    "w1": "Wasserstein distance of outputs to the retrained model's, forget rows",
    "disagreement": "Mean squared difference to the retrained model's outputs, forget rows",
    "attack_forget": "Share of forget rows that the attack calls members",
    "attack_members": "Share of members that the attack calls members",
    "attack_others": "Share of test rows that the attack calls members",
    "ain": "AIN",
    "relearning_steps": "Steps until relearned",
    "relearning_steps_retrained": "Steps until the retrained model has learned the forget rows",
    "relearning_censored": "Share of the two models that met the cap before",
    "passes": "Gradient passes, share of a retrain's",
}


class Key(NamedTuple):
    """What makes a record one record."""

    protocol: str
    seed: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One model of one protocol and seed.

    Attributes:
        experiment: one of `switches.RELEVANT`.
        protocol: what `switches.title` calls the switches.
        switches: all of them, on or off.
        model: one of `MODELS`.
        seed: of the run.
        identity: hash of all that the values depend on.
        values: finite numbers by name, one of `VALUES`; errors in the target's unit, or its square for "mse".
        density: `edges` (n + 1) and `counts` (n), and `beyond`, one number: histogram of
            |prediction - retrained model's| / target over the forget rows; empty where it is not drawn.
        seconds: that making the model took on one thread, its proxy included; null for reference models. No part of
            what makes two records equal.
        loss: "mse" or "l1": the error of the values. unit: of the target.
        task, task_hash, split, split_hash: what it was run on.
        data: notes of the dataset.
        machine, versions, commit: where and with what.
    """

    schema: int = SCHEMA
    experiment: str
    protocol: str
    switches: Mapping[str, bool]
    model: str
    seed: int
    identity: str
    values: Mapping[str, float]
    density: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float | None = None
    loss: str
    unit: str
    task: str
    task_hash: str
    split: str
    split_hash: str
    data: str
    machine: str
    versions: Mapping[str, str]
    commit: str | None

    def __post_init__(self) -> None:
        _choice("experiment", self.experiment, RELEVANT)
        _choice("model", self.model, MODELS)
        _choice("loss", self.loss, ("mse", "l1"))
        for kind in ("task", "split"):
            check_name(kind, getattr(self, kind))
        _check_switches(self.switches, self.protocol)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise BenchmarkError(f"seed {self.seed!r} is not a whole number >= 0")
        for name, value in self.values.items():
            _choice("value", name, VALUES)
            _number(f"value {name}", value)
        if self.seconds is not None and _number("seconds", self.seconds) < 0:
            raise BenchmarkError(f"seconds is {self.seconds}, expected at least 0")
        _check_density(self.density)

    @property
    def key(self) -> Key:
        """Protocol, seed and model."""
        return Key(self.protocol, self.seed, self.model)

    @property
    def place(self) -> tuple[object, ...]:
        """Where it stands in its file: published, corrected and the variants, then seeds, then models as in tables."""
        order = {"published": 0, "corrected": 1}
        return order.get(self.protocol, 2), self.protocol, self.seed, list(MODELS).index(self.model)

    def to_line(self) -> str:
        """Return the record as one line of ASCII JSON, what was measured rounded to 7 significant digits."""
        return json.dumps(rounded(asdict(self)), allow_nan=False, separators=(",", ":"))


def _choice(what: str, name: object, known: Iterable[str]) -> None:
    if not isinstance(name, str) or name not in known:
        raise BenchmarkError(f"{what} {str(name)[:60]!r} is not one of {', '.join(known)}")


def _number(what: str, value: object) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value):
            return value
    except OverflowError:  # a whole number beyond the range of float
        pass
    raise BenchmarkError(f"{what} is {str(value)[:60]}, expected a finite number")


def _check_switches(found: Mapping[str, bool], protocol: str) -> None:
    if set(found) != set(NAMES) or not all(isinstance(on, bool) for on in found.values()):
        raise BenchmarkError(
            f"switches are {dict(found)!r:.120}, expected true or false for {', '.join(NAMES)}"
        )
    expected = title(Switches(**found))
    if protocol != expected:
        raise BenchmarkError(f"protocol is {protocol!r:.80}, its switches make {expected!r}")


def _check_density(found: Mapping[str, Sequence[float]]) -> None:
    if not found:
        return
    if set(found) != {"edges", "counts", "beyond"} or not all(
        isinstance(v, list | tuple) for v in found.values()
    ):
        raise BenchmarkError(f"density has {sorted(found)}, expected lists: edges, counts, beyond")
    for column, values in found.items():
        for value in values:
            if _number(f"density {column}", value) < 0:
                raise BenchmarkError(f"density {column} holds {value}, expected at least 0")
    edges, counts = found["edges"], found["counts"]
    rising = all(low < high for low, high in pairwise(edges))
    if len(edges) != len(counts) + 1 or not counts or len(found["beyond"]) != 1 or not rising:
        raise BenchmarkError(
            f"density has {len(edges)} edges, {len(counts)} counts and {len(found['beyond'])} beyond: expected rising "
            "edges, one more than counts, and one number beyond"
        )


# Files --------------------------------------------------------------------------------------------------------

_KINDS: Mapping[str, type] = {
    **dict.fromkeys(("values", "density", "switches", "versions"), dict),
    **dict.fromkeys(
        ("experiment", "protocol", "model", "identity", "loss", "unit", "task", "task_hash"), str
    ),
    **dict.fromkeys(("split", "split_hash", "data", "machine"), str),
}


def parse(line: str, where: str) -> Record:
    """Return the record in `line`; `where` (`path:line`) opens every error.

    Raises:
        BenchmarkError: not JSON, another schema, missing or unknown fields, or a value out of its range.
    """
    data = fields_in(line, where, Record, schema=SCHEMA, again="Delete the line and run again.")
    for name, kind in _KINDS.items():
        if not isinstance(data[name], kind):
            expected = "an object" if kind is dict else "text"
            raise BenchmarkError(f"{where}: {name} is {str(data[name])[:40]!r}, expected {expected}.")
    texts = [data["commit"], *data["versions"].values()]
    if not isinstance(texts[0], str | None) or not all(isinstance(text, str) for text in texts[1:]):
        raise BenchmarkError(f"{where}: commit and versions are {str(texts)[:60]}, expected text.")
    try:
        return Record(**data)
    except BenchmarkError as error:
        raise BenchmarkError(f"{where}: {error}. Delete the line and run again.") from error


def read(path: Path) -> list[Record]:
    """Return the records of one file in their order; none if there is no file.

    Raises:
        BenchmarkError: a line is broken, is of another experiment than the file's name says, or is there twice.
    """
    if not path.exists():
        return []
    found: dict[Key, tuple[int, Record]] = {}
    for number, line in enumerate(lines_of(path), start=1):
        where = f"{path}:{number}"
        record = parse(line, where)
        if record.experiment != path.stem:
            raise BenchmarkError(
                f"{where}: expected a record of {path.stem!r}, found {record.experiment!r}. Move the line."
            )
        if record.key in found:
            raise BenchmarkError(f"{where}: the same as line {found[record.key][0]}. Delete one of the two.")
        found[record.key] = number, record
    return sorted((record for _, record in found.values()), key=lambda record: record.place)


def write(path: Path, records: Iterable[Record]) -> None:
    """Write the records of one experiment, sorted, whole or not at all."""
    ordered = sorted(records, key=lambda record: record.place)
    write_text(path, "".join(f"{record.to_line()}\n" for record in ordered))
