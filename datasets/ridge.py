"""Ridge regression on synthetic data, for tests: the one task whose retrained model is known in closed form.

Origin: made here by a fixed seed: Gaussian features, a linear target and Gaussian noise. No download, no terms, no
sha256, nothing dropped.
Sizes: 300 / 100 / 200 rows of 8 features, so that 400 full-batch steps reach the solution to rounding error.
"""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch
from regunlearn.benchmark.networks import Linear
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.spec import Dataset, Shape
from regunlearn.benchmark.splits import seed_of

SIZES = (300, 100, 200)
FEATURES = 8
NOISE = 0.5
"""Standard deviation of the noise; the targets' is 2.8."""


def closed_form(
    inputs: NDArray[np.floating], targets: NDArray[np.floating], weight_decay: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the minimiser of mean (y - Xw - b)^2 + weight_decay / 2 (|w|^2 + b^2).

    It is what gradient descent on the mean squared error with weight decay in the gradient converges to, weights and
    bias alike. Setting the gradient to zero gives (2/n Z'Z + weight_decay I) (w, b) = 2/n Z'y with Z = [X, 1].

    Args:
        inputs: X, shape (n, features).
        targets: y, shape (n, outputs); standardised as in training.
        weight_decay: coefficient.

    Returns:
        w, shape (outputs, features) as in `nn.Linear`, and b, shape (outputs,).
    """
    rows = np.column_stack([inputs, np.ones(len(inputs))]).astype(np.float64)
    curvature = 2 / len(rows) * rows.T @ rows + weight_decay * np.eye(rows.shape[1])
    moment = 2 / len(rows) * rows.T @ np.asarray(targets, dtype=np.float64)
    solution: NDArray[np.float64] = np.linalg.solve(curvature, moment).astype(np.float64)
    return solution[:-1].T, solution[-1]


@dataset("ridge", modality="tabular", source="synthetic, made by a fixed seed", licence="none needed")
def ridge() -> Dataset:
    """Linear function of eight Gaussian features, with noise."""
    rng = np.random.default_rng(seed_of("dataset", "ridge"))
    inputs = rng.normal(size=(sum(SIZES), FEATURES)).astype(np.float32)
    targets = 1 + inputs @ rng.normal(size=FEATURES) + rng.normal(0, NOISE, size=len(inputs))
    division = fetch.divide("ridge", len(inputs), SIZES)
    return Dataset(
        name="ridge",
        inputs={"features": inputs},
        targets=targets,
        target="linear function with noise",
        unit="units",
        train=division.train,
        validation=division.validation,
        test=division.test,
        notes="synthetic",
    )


@task(
    "ridge",
    dataset="ridge",
    suite="smoke",
    recipe={
        "epochs": 400,
        "batch_size": 0,
        "learning_rate": 0.2,
        "loss": "mse",
        "optimiser": "sgd",
        "weight_decay": 1e-2,
        "precision": "float64",
    },
    splits={
        "random": {"kind": "random", "fraction": 0.1},
        "band": {"kind": "band", "low": 3.0},
        "tail": {"kind": "tail", "fraction": 0.1},
    },
)
def linear(shape: Shape) -> nn.Module:
    """Predict with one affine map."""
    return Linear(shape)
