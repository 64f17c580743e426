"""Diabetes, for tests: progression of the disease after one year from ten measurements of 442 patients.

Origin: B. Efron, T. Hastie, I. Johnstone and R. Tibshirani, "Least Angle Regression", Annals of Statistics 32 (2004),
bundled with scikit-learn (BSD-3-Clause): no download. sha256: none, the file is part of scikit-learn.

Dropped: duplicate rows (none were found).
Sizes: 300 / 42 / 100, all rows there are. Features have mean 0 and standard deviation 1 over the training rows.
"""

from torch import nn

from regunlearn.benchmark import fetch
from regunlearn.benchmark.networks import MLP
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.spec import Dataset, Shape


@dataset(
    "diabetes",
    modality="tabular",
    source="Efron et al., 2004, bundled with scikit-learn",
    licence="BSD-3-Clause",
)
def diabetes() -> Dataset:
    """Progression of diabetes after one year from ten measurements."""
    from sklearn.datasets import load_diabetes

    values, targets = load_diabetes(return_X_y=True, scaled=False)
    kept = fetch.distinct(values)
    division = fetch.divide("diabetes", len(kept), (300, 42, 100))
    used = kept[division.rows]
    return Dataset(
        name="diabetes",
        inputs={"measurements": fetch.standardised(values[used], division.train)},
        targets=targets[used],
        target="progression after one year",
        unit="score points",
        train=division.train,
        validation=division.validation,
        test=division.test,
        notes=f"{len(values) - len(kept)} duplicate rows dropped.",
    )


@task(
    "diabetes-mlp",
    dataset="diabetes",
    suite="smoke",
    recipe={"epochs": 60, "batch_size": 50, "learning_rate": 3e-3, "loss": "mse", "schedule": "cosine"},
    splits={
        "random": {"kind": "random", "fraction": 0.1},
        "band": {"kind": "band", "low": 200},
    },
)
def mlp(shape: Shape) -> nn.Module:
    """Predict progression with two hidden layers of 32 units."""
    return MLP(shape, width=32, depth=2)
