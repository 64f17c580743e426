"""Homes and electricity: reading, windows and splits, on small made files; the real homes where they may be fetched."""

import os
from collections.abc import Callable
from csv import QUOTE_NONE
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from regunlearn.benchmark import registry, splits, tasks, trainers
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Dataset
from regunlearn.datasets import electricity, homes

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("REGUNLEARN_TEST_DATA"), reason="REGUNLEARN_TEST_DATA is not set"),
]


def home_file(load: np.ndarray, *, first: int = 24) -> bytes:
    """A home's file: hour `first` of a Sunday and what follows."""
    hour = (np.arange(len(load)) + first - 1) % 24 + 1
    day = (6 + (np.arange(len(load)) + first - 1) // 24) % 7 + 1
    columns = {"Month": 7.0, homes.HOUR: hour, homes.DAY: day, homes.LOAD: load, "Solar": 0.0}
    return pd.DataFrame(columns).to_csv(index=False).encode()


def year(seed: int, days: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 2, 24 * days)


def some_homes() -> dict[str, np.ndarray]:
    late = np.where(np.arange(960) < 480, 0.5, year(3))
    return {"1": year(0), "2": year(1) * 5, "3": late, "4": np.ones(960), "5": year(2)}


@pytest.fixture
def made() -> Dataset:
    return homes._prepare(
        homes.parse({name: home_file(load) for name, load in some_homes().items()}), (20, 6)
    )


def test_homes_that_always_use_the_same_are_dropped(made: Dataset) -> None:
    assert made.notes.startswith("2 of 5 homes dropped")
    assert set(made.groups["home"]) == {"1", "2", "5"}
    assert made.groups["home"].dtype.kind == "U"


def test_windows_of_homes_are_pieces_of_the_scaled_load(made: Dataset) -> None:
    past, future, static = (made.inputs[name] for name in ("past", "future", "static"))
    assert made.timestamps is not None
    assert past.dtype == future.dtype == static.dtype == np.float32
    loads, hours = some_homes(), np.arange(960) + 23
    clock = np.stack([hours % 24, hours // 24 % 7], axis=1)
    clock[:, 1] = (clock[:, 1] + 6) % 7  # the first hour is a Sunday's last
    calendar = (clock - clock[:480].mean(axis=0)) / clock[:480].std(axis=0)
    for row in range(0, len(past), 7):
        name, start = str(made.groups["home"][row]), int(made.timestamps[row])
        load = loads[name]
        scaled = (load - load[:480].mean()) / load[:480].std()
        middle, stop = start + homes.PAST, start + homes.PAST + homes.HORIZON
        np.testing.assert_allclose(past[row, :, 0], scaled[start:middle], atol=1e-5)
        np.testing.assert_allclose(made.targets[row], scaled[middle:stop], atol=1e-9)
        np.testing.assert_allclose(past[row, :, 1:], calendar[start:middle], atol=1e-5)
        np.testing.assert_allclose(future[row], calendar[middle:stop], atol=1e-5)
        assert static[row] == ["1", "2", "5"].index(name)


def test_parts_of_homes_lie_one_after_the_other(made: Dataset) -> None:
    assert made.timestamps is not None
    ends = [480, 624, 960]
    for rows, first, stop in zip((made.train, made.validation, made.test), [0, *ends], ends, strict=False):
        assert len(rows) > 0
        assert made.timestamps[rows].min() >= first
        assert made.timestamps[rows].max() + homes.PAST + homes.HORIZON <= stop
    assert made.targets[made.train].mean() == pytest.approx(0, abs=0.1)


def test_no_hour_of_a_home_is_forecast_twice(made: Dataset) -> None:
    assert made.timestamps is not None
    hours = made.timestamps[:, None] + homes.PAST + np.arange(homes.HORIZON)
    forecast = [
        (name, hour) for name, row in zip(made.groups["home"], hours, strict=True) for hour in row.tolist()
    ]
    assert len(set(forecast)) == len(forecast)
    assert len(set(made.timestamps % 24)) > 12  # windows begin at different hours of the day


def changed(load: np.ndarray, at: int, value: float) -> np.ndarray:
    other = load.copy()
    other[at] = value
    return other


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"<html>", "do not match columns"),
        (home_file(year(0)).replace(homes.LOAD.encode(), b"Load"), "do not match columns"),
        (home_file(year(0)).replace(b",0.0\n", b",zero\n").replace(b"7.0,", b"7.0,x", 1), "convert"),
        (home_file(changed(year(0), 5, -0.5)), "a load of -0.5 kWh in line 7"),
        (home_file(changed(year(0), 5, np.nan)), "a load of nan kWh in line 7"),
        (home_file(year(0, days=39)), "936 hours of another clock"),
        (home_file(year(0), first=3), "of another clock than the first home's 960"),
    ],
)
def test_what_is_wrong_with_a_home_is_named(content: bytes, found: str) -> None:
    with pytest.raises(BenchmarkError, match=f"Building_2.csv: expected hour after hour .*{found}"):
        homes.parse({"1": home_file(year(1)), "2": content})


def test_a_gap_in_the_hours_is_named() -> None:
    lines = home_file(year(0)).splitlines(keepends=True)
    with pytest.raises(BenchmarkError, match="a gap in the hours after line 10"):
        homes.parse({"1": b"".join(lines[:10] + lines[11:])})


def test_homes_of_less_than_the_parts_are_refused() -> None:
    with pytest.raises(BenchmarkError, match="1 homes of varying load, 960 hours: expected some, and more"):
        homes._prepare(homes.parse({"1": home_file(year(1))}), (30, 10))


@pytest.mark.parametrize("name", [pytest.param("homes", marks=needs_data)])
def test_real_homes(name: str) -> None:
    data = registry.load(registry.discover("dataset").get(name))()
    assert data.notes.startswith("0 of 17 homes dropped")
    assert (len(data.train), len(data.validation), len(data.test)) == (3570, 476, 1853)
    for split, arguments in registry.discover("task").get("homes-tft").facts["splits"].items():
        made = splits.make(split, arguments, data, lambda: np.ones(0), task="homes-tft")
        assert 0.04 < len(made.forget) / len(data.train) < 0.2


# Electricity


def official(folder: Path, *, lines: Callable[[list[str]], list[str]] = lambda lines: lines) -> Path:
    """Write a file in the official format: four customers, one without load, from the end of 2013 to September 2014."""
    stamps = pd.date_range("2013-12-30 00:15", "2014-09-09 00:00", freq="15min")
    rng = np.random.default_rng(0)
    load = rng.uniform(5, 50, (len(stamps), 4)).round(4)
    load[:, 2] = 0
    load[stamps < "2014-02-01", 1] = 0  # a customer that came later
    load[stamps >= "2014-08-31", 3] = 0  # one that left
    load[3000:3100, 0] = 0  # a power cut
    table = pd.DataFrame(load, columns=[f'"MT_{k:03d}"' for k in (1, 2, 3, 200)])
    table.index = pd.Index(stamps.strftime(f'"{electricity.STAMP}"'), name='""')
    folder.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(sep=";", decimal=",", quoting=QUOTE_NONE).splitlines()
    path = folder / electricity.FILE
    path.write_text("\n".join(lines(text)) + "\n")
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official(tmp_path_factory.mktemp("data") / "electricity")


@pytest.fixture(scope="module")
def loads(small: Path) -> electricity.Loads:
    return electricity.read(small)


def hourly(path: Path) -> pd.DataFrame:
    """The published preparation, customer after customer: means of the hours in which a time lies."""
    table = pd.read_csv(path, sep=";", decimal=",", index_col=0)
    table.index = pd.to_datetime(table.index)
    return table.resample("1h").mean()


def test_the_file_looks_official(small: Path) -> None:
    with small.open() as handle:
        assert handle.readline() == '"";"MT_001";"MT_002";"MT_003";"MT_200"\n'
        assert handle.readline().startswith('"2013-12-30 00:15:00";')
        assert "," in handle.readline()


def test_hours_are_the_published_means(small: Path, loads: electricity.Loads) -> None:
    expected = hourly(small)["2014-01-01":"2014-09-07 23:00"]
    assert loads.names == ("MT_001", "MT_002", "MT_003", "MT_200")
    assert loads.load.shape == (4, 6000)
    np.testing.assert_allclose(loads.load.T, expected.to_numpy(), rtol=1e-6)
    # 00:15 on the first of February to 24:00 of August 30: hours since the first of January.
    assert loads.first.tolist() == [0, 31 * 24, 6000, 0]
    assert loads.stop.tolist() == [6000, 6000, 0, 242 * 24]


def test_chunks_make_no_difference(
    small: Path, loads: electricity.Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(electricity, "LINES", 1001)
    again = electricity.read(small)
    np.testing.assert_allclose(again.load, loads.load, rtol=1e-12)
    np.testing.assert_array_equal(again.first, loads.first)
    np.testing.assert_array_equal(again.stop, loads.stop)


def test_windows_of_electricity(loads: electricity.Loads) -> None:
    data = electricity._prepare(loads, (400, 100))
    assert data.timestamps is not None
    assert (len(data.train), len(data.validation)) == (400, 100)
    windows_of_test = [6000 - 236 * 24 - 191, 6000 - 236 * 24 - 191, 242 * 24 - 236 * 24 - 191]
    assert len(data.test) == sum(max(0, count) for count in windows_of_test)
    assert set(data.groups["customer"]) == {"MT_001", "MT_002", "MT_200"}
    assert data.notes.startswith("1 of 4 customers dropped (1 without a load in these days, 0 with")
    assert set(data.inputs["static"][:, 0]) == {0, 1, 199}
    clock = pd.date_range("2014-01-01", periods=6000, freq="h")
    for row in (0, 399, 450, len(data.targets) - 1):
        k = loads.names.index(str(data.groups["customer"][row]))
        start = int(data.timestamps[row]) - 1096 * 24
        middle, stop = start + 168, start + 192
        assert loads.first[k] <= start < stop <= loads.stop[k]
        known = np.stack([loads.load[k], clock.hour, clock.day_of_week, 1096 * 24 + np.arange(6000)], axis=1)
        trained = known[loads.first[k] : min(loads.stop[k], 5256)]
        scaled = (known - trained.mean(axis=0)) / trained.std(axis=0)
        np.testing.assert_allclose(data.inputs["past"][row], scaled[start:middle], atol=1e-5)
        np.testing.assert_allclose(data.inputs["future"][row], scaled[middle:stop, 1:], atol=1e-5)
        np.testing.assert_allclose(data.targets[row], scaled[middle:stop, 0], atol=1e-5)


def test_parts_of_electricity_are_the_published_days(loads: electricity.Loads) -> None:
    data = electricity._prepare(loads)
    assert data.timestamps is not None
    forecast = data.timestamps + electricity.PAST
    for rows, first, stop in (
        (data.train, 1096 + 7, 1315),
        (data.validation, 1315, 1339),
        (data.test, 1339, 1346),
    ):
        assert forecast[rows].min() == 24 * first
        assert forecast[rows].max() + electricity.HORIZON == 24 * stop
    assert len(np.unique(np.stack([data.inputs["static"][:, 0], data.timestamps]), axis=1).T) == len(forecast)


def test_customers_that_cannot_be_used_are_counted(loads: electricity.Loads) -> None:
    short, flat = loads.load.copy(), loads.load.copy()
    late = replace(loads, load=short, first=np.array([0, 5100, 6000, 0]))
    assert "0 without" not in (notes := electricity._prepare(late, (50, 10)).notes)
    assert notes.startswith(
        "2 of 4 customers dropped (1 without a load in these days, 1 with less than a window"
    )
    flat[0] = 3
    assert "and 1 with a constant load" in electricity._prepare(replace(loads, load=flat), (50, 10)).notes
    with pytest.raises(BenchmarkError, match="none of 4 customers"):
        electricity._prepare(replace(loads, load=np.ones((4, 6000))), (50, 10))


MIDNIGHT = 289  # the line of "2014-01-02 00:00:00", the header being line 1


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('"2014-01-02 00:00:00";1;2;3', "4 fields, not 5"),
        ('"2014-01-02 00:00:00";1;2;3;4;5', "6 fields, not 5"),
        ('"2014-01-02 00:00:00";1;2;x;4', "could not convert string to float: 'x'"),
        ('"2014-01-02 00:00:00";1;2;;4', "could not convert string to float: ''"),
        ('"2014-01-02 00:00:00";1;2;nan;4', "a load that is not finite"),
        ('"2014-01-02";1;2;3;4', "time data"),
        ('"2014-01-01 22:00:00";1;2;3;4', "2014-01-01 22:00:00 after 2014-01-01 23:45:00"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path: Path, line: str, found: str) -> None:
    path = official(tmp_path, lines=lambda lines: [*lines[: MIDNIGHT - 1], line, *lines[MIDNIGHT:]])
    with pytest.raises(BenchmarkError, match=r"expected the header .* found in line ") as caught:
        electricity.read(path)
    assert f"found in line {MIDNIGHT}: {found}" in str(caught.value)


def test_blank_lines_do_not_count(tmp_path: Path, loads: electricity.Loads) -> None:
    path = official(tmp_path, lines=lambda lines: [*lines[:MIDNIGHT], "", *lines[MIDNIGHT:]])
    np.testing.assert_array_equal(electricity.read(path).load, loads.load)


@pytest.mark.parametrize(
    "header", ['"";"MT_001";"MT_2"', '"";"MT_001";"MT_001"', '"";"MT_371"', "<html>", '""', "a;MT_001"]
)
def test_another_header_is_named(tmp_path: Path, header: str) -> None:
    path = tmp_path / electricity.FILE
    path.write_text(header + "\n")
    with pytest.raises(BenchmarkError, match="expected the header"):
        electricity.read(path)


def test_hours_that_are_missing_are_named(tmp_path: Path) -> None:
    path = official(tmp_path, lines=lambda lines: [*lines[:1000], *lines[1004:]])
    with pytest.raises(BenchmarkError, match="no line in the hour of 2014-01-09T10:00:00, 1 hours missing"):
        electricity.read(path)
    path = official(tmp_path, lines=lambda lines: lines[:20_000])
    with pytest.raises(BenchmarkError, match=r"found no line in the hour of 2014-07-2\d.* hours missing"):
        electricity.read(path)


def test_electricity_end_to_end(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task as registered, on the generated file in a user's folder, through one step of training."""
    monkeypatch.setenv("REGUNLEARN_DATA", str(small.parent.parent))
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path))
    task = tasks.load("electricity-tft", torch.device("cpu"))
    assert {len(values) for values in task.dataset.inputs.values()} == {len(task.dataset.targets)}
    rows = task.rows_of(task.train[:64])
    validation = task.rows_of(np.sort(task.dataset.validation)[:8])
    model = task.new_network(0)
    before = model(*rows.inputs)
    assert before.shape == (64, 24 * 3)
    trainers.fit(model, rows, task.recipe, torch.Generator().manual_seed(0), validation=validation, epochs=1)
    assert not torch.allclose(model(*rows.inputs), before)
    for name in ("customer", "time"):
        made = task.make_split(name, lambda: np.ones(0))
        assert 0 < len(made.forget) < len(task.train)
    assert task.dataset.timestamps is not None
    block = task.make_split("time", lambda: np.ones(0))
    kept = np.setdiff1d(task.train, block.forget)
    hours = task.dataset.timestamps[kept, None] + np.arange(electricity.WINDOW)
    assert not ((hours >= 28800) & (hours < 28968)).any()
    monkeypatch.setattr(electricity, "read", lambda path: pytest.fail("read again"))
    assert len(electricity.electricity().targets) == len(task.dataset.targets)


def test_without_the_file_it_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGUNLEARN_DATA", raising=False)
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path))
    with pytest.raises(BenchmarkError) as caught:
        electricity.electricity()
    for part in (
        "LD2011_2014.txt",
        "archive.ics.uci.edu",
        "CC BY 4.0",
        "data get electricity --accept-terms",
    ):
        assert part in str(caught.value)
