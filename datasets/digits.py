"""Small digits with noisy targets, for tests: the digit plus noise that only memorising can fit.

Origin: "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI, 1998), 1,797 images of 8x8 in 17
grey levels, bundled with scikit-learn: no download. Terms: CC BY 4.0. sha256: none, the file is part of scikit-learn.

The target is the digit plus Gaussian noise of standard deviation 1, drawn once by a fixed seed.
Dropped: identical images (none were found).
Sizes: 500 / 200 / 400 drawn by a fixed seed, so that a network trains in about a second on one core.
"""

import numpy as np
from torch import nn

from regunlearn.benchmark import fetch
from regunlearn.benchmark.networks import MLP, AllCNN
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.spec import Dataset, Shape
from regunlearn.benchmark.splits import seed_of

NOISE = 1.0
"""Standard deviation of the noise in the targets, in digits."""


@dataset(
    "digits",
    modality="vision",
    source="Alpaydin and Kaynak, 1998 (UCI), bundled with scikit-learn",
    licence="CC BY 4.0",
)
def digits() -> Dataset:
    """Value of a handwritten digit of 8x8 pixels, with noise."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    kept = fetch.distinct(images)
    division = fetch.divide("digits", len(kept), (500, 200, 400))
    used = kept[division.rows]
    values = images[used].reshape(-1, 1, 8, 8)
    values = (values - values[division.train].mean()) / values[division.train].std()
    noise = np.random.default_rng(seed_of("dataset", "digits", "noise")).normal(0, NOISE, len(used))
    return Dataset(
        name="digits",
        inputs={"images": values.astype(np.float32)},
        targets=labels[used] + noise,
        target="digit with noise",
        unit="digits",
        train=division.train,
        validation=division.validation,
        test=division.test,
        groups={"digit": labels[used].astype(str)},
        notes=f"{len(images) - len(kept)} duplicate images dropped; {len(used)} of the rest drawn by a fixed seed.",
    )


@task(
    "digits-mlp",
    dataset="digits",
    suite="smoke",
    recipe={"epochs": 60, "batch_size": 50, "learning_rate": 3e-3, "loss": "mse", "schedule": "cosine"},
    splits={
        "random": {"kind": "random", "fraction": 0.1},
        "band": {"kind": "band", "low": 6.5},
        "group": {"kind": "group", "grouping": "digit", "group": "7"},
        "tail": {"kind": "tail", "fraction": 0.1},
    },
)
def mlp(shape: Shape) -> nn.Module:
    """Predict digits with two hidden layers of 64 units."""
    return MLP(shape, width=64, depth=2)


@task(
    "digits-allcnn",
    dataset="digits",
    suite="smoke",
    recipe={
        "epochs": 20,
        "batch_size": 50,
        "learning_rate": 1e-2,
        "loss": "l1",
        "schedule": "cosine",
        "channels_last": True,
    },
    splits={
        "random": {"kind": "random", "fraction": 0.1},
        "band": {"kind": "band", "low": 6.5},
        "group": {"kind": "group", "grouping": "digit", "group": "7"},
        "tail": {"kind": "tail", "fraction": 0.1},
    },
)
def allcnn(shape: Shape) -> nn.Module:
    """Predict digits with a tiny all-convolutional network, the smallest with batch-norm."""
    return AllCNN(shape, widths=(4, 8))
