"""Records of a reproduction as numbers: series over seeds, intervals, differences, and verdicts on published values.

A published number is one run. Its verdict compares it with the spread of single runs of ours: inside or outside the
95% prediction interval for one more run of the published protocol, mean -+ t_{n-1} s sqrt(1 + 1/n).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.metrics import closure
from regunlearn.benchmark.statistics import LEVEL, Interval, t_interval, t_quantile
from regunlearn.leaderboard.text import number
from regunlearn.reproduction import published, records
from regunlearn.reproduction.published import Published
from regunlearn.reproduction.records import MODELS, Record

PUBLISHED, CORRECTED = "published", "corrected"
AVERAGED = ("test_retain", "test_forget", "constant_retain")
"""Values that are averaged over rows or over batches, as the protocol's switch says."""

ABLATION = (
    "blindspot_0",
    "blindspot",
    "blindspot_5000",
    "blindspot_50_corrected",
    "blindspot_5000_corrected",
)
ABLATED = tuple(name for name in ABLATION if name != "blindspot")
"""Models that only the ablation shows."""

BORROWED = {"utkface-band": "agedb-band", "utkface-band-full": "agedb-band"}
"""Experiments without published values, and the one whose metrics they show."""

OTHER_DATA = "not comparable: other data"
Series = Mapping[int, float]
"""Seed -> value."""


class Verdict(NamedTuple):
    """What is said of a published number: "inside", "above", "below", "not comparable", "not published"."""

    word: str
    text: str


@dataclass(frozen=True, eq=False)
class Numbers:
    """The records of one experiment beside what was published of it."""

    experiment: str
    records: Sequence[Record]
    published: Published | None

    @cached_property
    def _index(self) -> Mapping[tuple[str, str], Sequence[Record]]:
        found: dict[tuple[str, str], list[Record]] = {}
        for record in self.records:
            found.setdefault((record.protocol, record.model), []).append(record)
        return found

    @cached_property
    def protocols(self) -> list[str]:
        """Names of the protocols: published, corrected, then the variants."""
        return list(dict.fromkeys(record.protocol for record in self.records))

    @cached_property
    def variants(self) -> list[str]:
        """Protocols with some switches off."""
        return [name for name in self.protocols if name not in (PUBLISHED, CORRECTED)]

    @cached_property
    def metrics(self) -> list[str]:
        """Metrics that were published of this experiment or of the one whose metrics it shows."""
        source = published.load().get(BORROWED.get(self.experiment, self.experiment))
        assert source is not None
        known = {metric for numbers in source.values.values() for metric in numbers}
        return [metric for metric in published.METRICS if metric in known and not metric.endswith("seconds")]

    def models(self, *protocols: str) -> list[str]:
        """Return the models of some protocols in the order of the tables, without those of the ablation alone."""
        there = {model for protocol, model in self._index if protocol in protocols}
        return [name for name in MODELS if name in there and name not in ABLATED]

    def seeds(self, protocol: str) -> int:
        """Return how many seeds a protocol has."""
        return len({record.seed for record in self.records if record.protocol == protocol})

    def series(self, protocol: str, model: str, metric: str) -> Series:
        """Return a value by seed; empty where it is not defined.

        Errors are averaged as the protocol says; `rnc` is made of disagreements; `seconds` stand beside the values.
        """
        own = self._index.get((protocol, model), ())
        if metric == "seconds":
            return {record.seed: record.seconds for record in own if record.seconds is not None}
        if metric == "rnc":
            return self._closures(protocol, model)
        found: dict[int, float] = {}
        for record in own:
            average = "batches" if record.switches["batch_means"] else "rows"
            name = f"{metric}_{average}" if metric in AVERAGED else metric
            if name in record.values:
                found[record.seed] = record.values[name]
        return found

    def _closures(self, protocol: str, model: str) -> Series:
        names = ("original", model, "second_retrained")
        original, own, null = (self.series(protocol, name, "disagreement") for name in names)
        if not original or not null:
            return {}
        gap = float(np.mean([*original.values()])), float(np.mean([*null.values()]))
        closed = {seed: closure(original[seed], own[seed], *gap) for seed in own if seed in original}
        return {seed: value for seed, value in closed.items() if value is not None}

    def dsr(self, protocol: str) -> float:
        """Return the disagreement of original and retrained over that of two retrained models; NaN without."""
        original, null = (
            self.series(protocol, name, "disagreement") for name in ("original", "second_retrained")
        )
        level = float(np.mean([*null.values()])) if null else 0.0
        return float(np.mean([*original.values()])) / level if original and level > 0 else math.nan

    def interval(self, protocol: str, model: str, metric: str) -> Interval:
        """Return the mean over seeds with its 95% t interval; NaN where there is none."""
        return interval_of([*self.series(protocol, model, metric).values()])

    def difference(self, one: tuple[str, str], other: tuple[str, str], metric: str) -> Interval:
        """Return the mean of one minus other, each (protocol, model), paired by seed, with its interval."""
        first, second = self.series(*one, metric), self.series(*other, metric)
        return interval_of([first[seed] - second[seed] for seed in sorted({*first} & {*second})])

    def value(self, model: str, metric: str, *, derived: bool = False) -> float | None:
        """Return the published number, or one computed from published ones; None if there is none."""
        if self.published is None:
            return None
        of = self.published.derived if derived else self.published.values
        return of.get(model, {}).get(metric)

    def verdict(self, model: str, metric: str) -> Verdict:
        """Compare the published number with our runs of the published protocol."""
        if self.experiment in BORROWED:
            return Verdict("not comparable", OTHER_DATA)
        value = self.value(model, metric)
        if self.published is None or value is None:
            return Verdict("not published", "not published")
        reason = self.published.not_comparable.get(metric)
        return verdict(value, [*self.series(PUBLISHED, model, metric).values()], reason)

    def tally(self) -> Mapping[str, int]:
        """Return how many published numbers got which verdict."""
        counts = dict.fromkeys(("inside", "above", "below", "not comparable"), 0)
        for model, numbers in self.published.values.items() if self.published else ():
            for metric in numbers:
                if metric in self.metrics:
                    counts[self.verdict(model, metric).word] += 1
        return counts

    def data(self, protocol: str) -> str:
        """Return the notes of the dataset of a protocol, without the last full stop."""
        notes = {record.data for record in self.records if record.protocol == protocol}
        return " / ".join(sorted(notes)).rstrip(". ")

    @property
    def flag(self) -> str:
        """What is to be said of rows that are not the published ones; "" if they are."""
        if self.published is None or not self.published.data_mark:
            return ""
        return "" if self.published.data_mark in self.data(PUBLISHED) else self.published.data_flag


def interval_of(values: Sequence[float]) -> Interval:
    """Return the mean with its 95% t interval: NaN ends for one value, NaN for none."""
    if len(values) < 2:
        return Interval(values[0] if values else math.nan, math.nan, math.nan)
    return t_interval(np.asarray(values, dtype=float))


def prediction(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the 95% interval that one more run falls into: mean -+ t_{n-1} s sqrt(1 + 1/n).

    NaN for fewer than 2 values.

    >>> low, high = prediction([1.0, 2.0, 3.0])
    >>> f"{low:.3f} {high:.3f}"
    '-2.968 6.968'
    """
    n = len(values)
    if n < 2:
        return math.nan, math.nan
    half = float(t_quantile(0.5 + LEVEL / 2, n - 1)) * float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / n)
    mean = float(np.mean(values))
    return mean - half, mean + half


def verdict(value: float, ours: Sequence[float], reason: str | None = None) -> Verdict:
    """Compare a published number with our single runs, or say why it cannot be compared."""
    if reason is not None:
        return Verdict("not comparable", f"not comparable: {reason}")
    if len(ours) < 2:
        return Verdict("not comparable", f"not comparable: needs 2 seeds of ours or more, found {len(ours)}")
    low, high = prediction(ours)
    if value > high:
        return Verdict("above", f"outside (above {number(high, 4)})")
    if value < low:
        return Verdict("below", f"outside (below {number(low, 4)})")
    return Verdict("inside", f"inside ({number(low, 4)} to {number(high, 4)})")


def load(path: Path) -> Numbers:
    """Return the numbers of one file of records.

    Raises:
        BenchmarkError: there are none, or one cannot be read.
    """
    found = records.read(path)
    if not found:
        raise BenchmarkError(f"{path}: no records. Make some with `regunlearn reproduce {path.stem}`.")
    return Numbers(path.stem, found, published.load().get(path.stem))
