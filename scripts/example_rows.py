"""Write the rows that the site shows of a task into leaderboard/examples/, for data whose terms allow to show some.

    python scripts/example_rows.py

It is run once, where the data are; the files are committed, so that building the site needs no data. Of tasks that it
does not name (sentences with their authors' own terms, faces, metered data of others) nothing is shown.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.registry import discover, load
from regunlearn.benchmark.spec import Dataset

OUT = Path(__file__).resolve().parent.parent / "leaderboard" / "examples"
SHOWN = 8


def rows_of(dataset: Dataset) -> NDArray[np.int64]:
    """Return training rows that spread over the targets."""
    order = np.argsort(dataset.targets[dataset.train].reshape(len(dataset.train), -1)[:, 0], kind="stable")
    places = np.linspace(0, len(order) - 1, SHOWN).round().astype(np.int64)
    return np.asarray(dataset.train[order[places]])


def pictures(dataset: Dataset) -> list[dict[str, Any]]:
    """Return images with 16 grey values from the darkest to the brightest, and their targets."""
    images = np.asarray(next(iter(dataset.inputs.values())), dtype=np.float64)
    low, high = images.min(), images.max()
    found = []
    for row in rows_of(dataset):
        grey = np.rint((images[row].reshape(images.shape[-2:]) - low) / (high - low) * 15).astype(int)
        found.append({"label": f"{dataset.targets[row].item():.3g} {dataset.unit}", "rows": grey.tolist()})
    return found


def curves(dataset: Dataset) -> list[dict[str, Any]]:
    """Return windows of a series: what is seen, and what is to be forecast."""
    past = next(iter(dataset.inputs.values()))
    return [
        {
            "past": [round(float(value), 2) for value in past[row, :, 0]],
            "future": [round(float(value), 2) for value in dataset.targets[row]],
        }
        for row in rows_of(dataset)[::2]
    ]


def table(dataset: Dataset, names: Sequence[str]) -> dict[str, Any]:
    """Return rows of features as the network gets them, with the target last."""
    values = next(iter(dataset.inputs.values()))
    rows = [
        [*(f"{value:.2f}" for value in values[row]), f"{dataset.targets[row].item():.3g}"]
        for row in rows_of(dataset)
    ]
    return {"header": [*names, f"target ({dataset.unit})"], "rows": rows}


def main() -> None:
    """Write one file a task."""
    datasets = discover("dataset")
    digits = load(datasets.get("digits"))()
    california = load(datasets.get("california"))()
    homes = load(datasets.get("homes"))()
    turned = load(datasets.get("mnist-rotation"))()
    names = (
        *("median income", "rooms", "bedrooms", "population", "occupancy"),
        "age",
        "latitude",
        "longitude",
    )
    found = {
        "california-mlp": {
            **table(california, names),
            "caption": "Training rows from the lowest to the highest target, features as the network gets them. "
            "Public data of the 1990 U.S. census (Pace and Barry, 1997).",
        },
        "mnist-rotation-allcnn": {
            "pictures": pictures(turned),
            "caption": "Training rows from the lowest to the highest angle. From MNIST (Y. LeCun, C. Cortes, "
            "C. Burges), turned and halved, in 16 grey values; these pictures are under CC BY-SA 3.0, as MNIST is.",
        },
        "homes-tft": {
            "curves": curves(homes),
            "caption": "Training windows: 18 hours of a home's load (line), and the 24 hours to be forecast (dotted), "
            "in standard deviations of the home. CityLearn Challenge 2022, from CityLearn 2.0.0 (MIT).",
        },
    }
    for task in ("digits-mlp", "digits-allcnn"):
        found[task] = {
            "pictures": pictures(digits),
            "caption": "Training rows from the lowest to the highest target. Optical recognition of handwritten digits "
            "(E. Alpaydin, C. Kaynak, UCI, CC BY 4.0), as scikit-learn bundles it.",
        }
    for task, content in found.items():
        plain = {"pictures": [], "curves": [], "header": [], "rows": [], **content}
        write_text(OUT / f"{task}.json", json.dumps(plain, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
