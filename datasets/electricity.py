"""Electric load of 370 customers in Portugal: from a week of a customer's load to quantiles of the next day.

Origin: A. Trindade, "ElectricityLoadDiagrams20112014", UCI Machine Learning Repository 321, 2015, doi 10.24432/C58C86:
one text file, kW every 15 minutes from 2011 to 2014, numbers with a decimal comma, semicolons between.
Terms: CC BY 4.0.
Preparation and recipe: the code of Temporal Fusion Transformers (Lim et al., arXiv:1912.09363), which Tarun et al.,
"Deep Regression Unlearning", ICML 2023, took over; their own training on these data is not published.

As there: hourly means; days 1096 to 1345 since the first of 2011; each customer from the first hour with a load to the
last; load, hour of the day, day of the week and hours since the start each with mean 0 and deviation 1 over the
customer's training part; windows of 168 hours and the 24 after them. Of the windows in days before 1315, 450,000 are
drawn for training, of those in days 1308 to 1338 50,000 for validation; test rows are all from day 1332 on. So
validation and test windows look back into the seven days before their part, and forecast none of them.
Dropped: customers without a load in these days, or with less than a window of varying load in the training part.

Recipe as there: width 160, 4 heads, dropout 0.1, rate 0.001, batches of 64, gradients clipped at 0.01, at most 100
epochs. There training stops after 5 epochs without a lower validation error; here it runs to the end and keeps the
weights of the epoch with the lowest. Not trained here: the data are a download, and 450,000 rows ask for a GPU.

Memory: 3,172 bytes a window (float32, targets float64), 1.8 GB for all, in memory and once more in the cache.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch, sources, windows
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.forecasting import TFT
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.sources import Download, Source
from regunlearn.benchmark.spec import Dataset, Shape
from regunlearn.benchmark.splits import seed_of

FILE = "LD2011_2014.txt"
LOADS = Source(
    name="electricity",
    title="ElectricityLoadDiagrams20112014: load of 370 customers, 2011 to 2014",
    files=("LD2011_2014.txt",),
    url="https://archive.ics.uci.edu/dataset/321/electricityloaddiagrams20112014",
    downloads=(
        Download(
            url="https://archive.ics.uci.edu/ml/machine-learning-databases/00321/LD2011_2014.txt.zip",
            file="LD2011_2014.txt.zip",
            sha256=None,
            size_mb=261.3,
            unpack="LD2011_2014.txt",
        ),
    ),
    licence="CC BY 4.0",
    terms="Anyone may use and share the data who names their origin (A. Trindade, UCI Machine Learning Repository).",
    how="take LD2011_2014.txt out of LD2011_2014.txt.zip of that page.",
)

CUSTOMERS = 370
START, STAMP = np.datetime64("2011-01-01T00:00:00"), "%Y-%m-%d %H:%M:%S"
DAYS = (1096, 1346)
"""The days that are used, the last one excluded, since the first of 2011."""
PARTS = {"train": (1096, 1315), "validation": (1308, 1339), "test": (1332, 1346)}
"""Days in which the windows of a part lie, the last one excluded."""
PAST, HORIZON = 168, 24
WINDOW = PAST + HORIZON
LINES = 10_000
"""Lines that are read at once."""


@dataclass(frozen=True, slots=True)
class Loads:
    """Hourly mean loads in the days that are used.

    Attributes:
        names: of the customers, MT_001 to MT_370.
        load: kW, shape (customers, hours).
        first: hour with the first load, in the whole file if that is earlier: then 0; shape (customers,).
        stop: hour after the last load, at most all hours; shape (customers,). Not after `first`: no load at all.
    """

    names: tuple[str, ...]
    load: NDArray[np.float64]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]


def read(path: Path) -> Loads:
    """Read the official text file.

    Raises:
        BenchmarkError: the header is another one, a line does not fit or is out of order (the message has its number),
            or hours are missing.
    """
    names = _header(path)
    begin, hours = 24 * DAYS[0], 24 * (DAYS[1] - DAYS[0])
    total, counts = np.zeros((hours, len(names))), np.zeros(hours)
    first, last = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
    before = START - np.timedelta64(1, "s")
    try:
        kinds: dict[Any, Any] = {0: str, **dict.fromkeys(range(1, len(names) + 1), np.float32)}
        with pd.read_csv(
            path, sep=";", decimal=",", skiprows=1, header=None, dtype=kinds, chunksize=LINES
        ) as pieces:
            for piece in pieces:
                stamps = pd.to_datetime(piece[0], format=STAMP).to_numpy()
                values = piece.drop(columns=0).to_numpy(dtype=np.float32)
                if values.shape[1] != len(names) or not np.isfinite(values).all():
                    raise ValueError("fields are missing")
                if not (np.diff(stamps, prepend=before) > np.timedelta64(0)).all():
                    raise ValueError("lines are out of order")
                before = stamps[-1]
                hour, at = np.unique((stamps - START) // np.timedelta64(1, "h") - begin, return_index=True)
                sums = np.add.reduceat(values, at, axis=0, dtype=np.float64)
                loaded = sums != 0
                first = np.minimum(first, np.where(loaded.any(0), hour[loaded.argmax(0)], first))
                last = np.where(loaded.any(0), hour[len(hour) - 1 - loaded[::-1].argmax(0)], last)
                used = (hour >= 0) & (hour < hours)
                total[hour[used]] += sums[used]
                counts[hour[used]] += np.diff(at, append=len(stamps))[used]
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        raise _damaged(path, _fault(path, len(names)) or f"{type(error).__name__}: {error}") from error
    if not counts.all():
        missing = START + np.timedelta64(begin + int((counts == 0).argmax()), "h")
        raise _damaged(path, f"no line in the hour of {missing}, {(counts == 0).sum()} hours missing in all")
    return Loads(
        names,
        (total / counts[:, None]).T,
        np.clip(first, 0, hours),
        np.clip(last + 1, 0, hours).astype(np.int64),
    )


def _header(path: Path) -> tuple[str, ...]:
    try:
        with path.open(encoding="utf-8", errors="replace") as handle:
            before, *names = handle.readline().strip().replace('"', "").split(";")
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}. Check its permissions.") from error
    known = [re.fullmatch(r"MT_(\d{3})", name) for name in names]
    fine = all(match and 1 <= int(match[1]) <= CUSTOMERS for match in known)
    if before or not names or not fine or len(set(names)) < len(names):
        raise _damaged(path, f"the header {';'.join([before, *names])[:80]!r}")
    return tuple(names)


def _fault(path: Path, customers: int) -> str:
    """Return what is wrong with the first line that is, or nothing."""
    before = datetime.min
    with path.open(encoding="utf-8", errors="replace") as handle:
        next(handle)
        for number, line in enumerate(handle, start=2):
            fields = line.replace('"', "").rstrip("\r\n").split(";")
            if len(fields) == 1 and not line.strip():
                continue
            try:
                if len(fields) != customers + 1:
                    raise ValueError(f"{len(fields)} fields, not {customers + 1}")
                stamp = datetime.strptime(fields[0], STAMP)
                if not stamp > before:
                    raise ValueError(f"{stamp} after {before}")
                before = stamp
                if not all(math.isfinite(float(text.replace(",", "."))) for text in fields[1:]):
                    raise ValueError("a load that is not finite")
            except ValueError as error:
                return f"in line {number}: {error}"
    return ""


def _damaged(path: Path, found: str) -> BenchmarkError:
    return BenchmarkError(
        f'{path}: expected the header "";"MT_001";"MT_002";... and in each line a time such as "2014-01-01 00:15:00", '
        f"later than the line before, and a load with a decimal comma for each customer, with lines in every hour "
        f"from 2014-01-01 to 2014-09-07; found {found}. Remove the file and run "
        "`regunlearn data get electricity --accept-terms`."
    )


@dataset(
    "electricity",
    modality="forecasting",
    source="ElectricityLoadDiagrams20112014, UCI Machine Learning Repository 321",
    licence="CC BY 4.0",
)
def electricity() -> Dataset:
    """Hourly electric load of customers over the next day."""
    path = sources.folder_of(LOADS) / FILE
    return fetch.processed(
        "electricity", [sources.fingerprint(path)], Path(__file__), lambda: _prepare(read(path))
    )


def _prepare(loads: Loads, sizes: tuple[int, int] = (450_000, 50_000)) -> Dataset:
    """Return the dataset; `sizes` are the most training and validation windows that are drawn."""
    ends = {part: tuple(24 * (day - DAYS[0]) for day in days) for part, days in PARTS.items()}
    step = np.arange(loads.load.shape[1])
    trained = (step >= loads.first[:, None]) & (step < np.minimum(loads.stop, ends["train"][1])[:, None])
    none = loads.stop - loads.first < 1
    short = ~none & (trained.sum(axis=1) < WINDOW)
    flat = ~none & ~short & (np.ptp(np.where(trained, loads.load, loads.load[:, :1]), axis=1) == 0)
    kept = np.flatnonzero(~none & ~short & ~flat)
    if not len(kept):
        raise BenchmarkError(
            f"dataset electricity: none of {len(none)} customers has a window of varying load in the training days. "
            "The file is incomplete: remove it and fetch it again."
        )
    series = _scaled(loads.load[kept], trained[kept])
    found = []
    for part, (begin, end) in ends.items():
        who, start = windows.places(
            np.maximum(loads.first[kept], begin), np.minimum(loads.stop[kept], end), WINDOW
        )
        most = {"train": sizes[0], "validation": sizes[1]}.get(part, len(who))
        draw = np.random.default_rng(seed_of("dataset", "electricity", part)).permutation(len(who))
        drawn = np.sort(draw[:most])
        found.append((who[drawn], start[drawn]))
    who, start = (np.concatenate(column) for column in zip(*found, strict=True))
    rows = np.split(np.arange(len(who)), np.cumsum([len(part) for part, _ in found])[:-1])
    numbers = np.array([int(loads.names[k].removeprefix("MT_")) for k in kept]) - 1
    twentieth = (
        np.random.default_rng(seed_of("dataset", "electricity", "twentieth")).permutation(CUSTOMERS) % 20
    )
    return Dataset(
        name="electricity",
        inputs={
            "past": windows.cut(series, (who, start), PAST),
            "future": windows.cut(series[..., 1:], (who, start + PAST), HORIZON),
            "static": numbers[who, None].astype(np.float32),
        },
        targets=windows.cut(series[..., :1], (who, start + PAST), HORIZON)[..., 0].astype(np.float64),
        target=f"electric load in each of the next {HORIZON} hours",
        unit="standard deviations of the customer",
        train=rows[0],
        validation=rows[1],
        test=rows[2],
        groups={
            "customer": np.array(loads.names)[kept][who],
            "twentieth": twentieth[numbers][who].astype(str),
        },
        timestamps=(start + 24.0 * DAYS[0]).astype(np.float64),
        notes=f"{len(none) - len(kept)} of {len(none)} customers dropped ({none.sum()} without a load in these days, "
        f"{short.sum()} with less than a window and {flat.sum()} with a constant load in the training days); "
        "windows drawn by a fixed seed; timestamps are hours since the first of 2011.",
    )


def _scaled(load: NDArray[np.float64], trained: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return load, hour of the day, day of the week and hours since the start, each in units of the customer.

    Args:
        load: shape (customers, hours).
        trained: which hours belong to the customer's training part, same shape.

    Returns:
        Shape (customers, hours, 4), with mean 0 and standard deviation 1 over the training part of each customer.
    """
    hour = np.arange(load.shape[1]) + 24 * DAYS[0]
    weekday = (hour // 24 + 5) % 7  # the first of 2011 was a Saturday, Monday is 0
    scaled = np.empty((*load.shape, 4), dtype=np.float32)
    weight = trained / trained.sum(axis=1, keepdims=True)
    for place, column in enumerate((load, hour % 24, weekday, hour)):
        values = np.broadcast_to(column, load.shape).astype(np.float64)
        centred = values - (values * weight).sum(axis=1, keepdims=True)
        scaled[..., place] = centred / np.sqrt((centred**2 * weight).sum(axis=1, keepdims=True))
    return scaled


@task(
    "electricity-tft",
    dataset="electricity",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 64,
        "learning_rate": 1e-3,
        "loss": "pinball",
        "quantiles": [0.1, 0.5, 0.9],
        "keep": "best",
        "clip": 0.01,
        "partial": True,
        "standardise": False,
    },
    splits={
        "customer": {"kind": "group", "grouping": "customer", "group": "MT_200", "whole": True},
        "customers": {"kind": "group", "grouping": "twentieth", "group": "0", "whole": True},
        "time": {"kind": "time", "start": 28800, "end": 28968, "span": 192},
    },
)
def tft(shape: Shape) -> nn.Module:
    """Forecast a customer's next day with the Temporal Fusion Transformer at its published size."""
    return TFT(shape, width=160, heads=4, quantiles=(0.1, 0.5, 0.9), categories=CUSTOMERS, dropout=0.1)
