"""AgeDB: from a face to its age, the image task of the paper.

Origin: S. Moschoglou et al., "AgeDB: the first manually collected, in-the-wild age database", CVPR Workshops 2017:
16,488 images of public figures with the age at which each was taken. Division: "AgeDB-DIR" of Y. Yang et al., "Delving
into Deep Imbalanced Regression", ICML 2021 (github.com/YyzHarry/imbalanced-regression), `agedb.csv` with age, path and
split: 12,208 / 2,140 / 2,140, validation and test balanced over ages. Task and recipe: A. Tarun et al., "Deep
Regression Unlearning", ICML 2023, notebook AgeDB_AllCNN_0to30_forgetting of its code.
Terms: the images are handed out on request by iBUG, Imperial College London, for non-commercial research; the division
is MIT. sha256 of the list: ab9f8d4c7099a9d74ec5094c42b6fe9f1927a166a48d2ab800a88b2fd6081252.

Images are resized to 32x32, as published. The division is not disjoint by person: everyone with a test image has
training images too, and all 481 persons with an image to be forgotten in `band` (age 30 and below, the paper's) have
retained ones at a higher age. The task forgets an age band, never a person. `old` forgets age 60 and above; `random` a
tenth. The grouping `identity` is the person's name in the file name (`NUMBER_NAME_AGE_SEX.jpg`): 567 in the list.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch, images, sources, vision
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.sources import Download, Source
from regunlearn.benchmark.spec import Dataset, Shape

SOURCE = Source(
    name="agedb",
    title="AgeDB: 16,488 faces with their ages, in a balanced split",
    files=("agedb.csv", "AgeDB/"),
    url="https://ibug.doc.ic.ac.uk/resources/agedb/",
    downloads=(
        Download(
            url="https://raw.githubusercontent.com/YyzHarry/imbalanced-regression/"
            "c37d6f46d35e5a0b37277d8d925ad112ed8ef487/agedb-dir/data/agedb.csv",
            file="agedb.csv",
            sha256="ab9f8d4c7099a9d74ec5094c42b6fe9f1927a166a48d2ab800a88b2fd6081252",
            size_mb=0.7,
        ),
    ),
    licence="Images on request, non-commercial research only; split MIT",
    terms="The images may be used for non-commercial research only and not be passed on; the list of the split is MIT.",
    how="ask iBUG for the password of AgeDB.zip by the form on that page and unpack it, which makes the folder AgeDB; "
    "agedb.csv is agedb-dir/data/agedb.csv of https://github.com/YyzHarry/imbalanced-regression",
)
LIST = "agedb.csv"
SIDE = 32

_PERSON = re.compile(r"\d+_([^_]+)_\d+_[mf]\.jpg")


def persons(paths: Sequence[str]) -> NDArray[np.str_] | None:
    """Return the person in each image by its file name, shape (n,), or None where some name tells none.

    >>> persons(["AgeDB/11706_OliviaHussey_31_f.jpg"])
    array(['OliviaHussey'], dtype='<U12')
    """
    found = [_PERSON.fullmatch(path.rpartition("/")[2]) for path in paths]
    return np.array([match[1] for match in found if match]) if all(found) else None


@dataset(
    "agedb",
    modality="vision",
    source="AgeDB (Moschoglou et al., 2017), split AgeDB-DIR (Yang et al., 2021)",
    licence="images on request, non-commercial research only; split MIT",
)
def agedb() -> Dataset:
    """Age of the person on a photograph of a face."""
    folder = sources.folder_of(SOURCE)
    key = [sources.fingerprint([folder / LIST, folder / "AgeDB"]), images.identity()]
    return fetch.processed("agedb", key, Path(__file__), lambda: _build(folder))


def _build(folder: Path) -> Dataset:
    listing = images.read_list((folder / LIST).read_bytes(), where=str(folder / LIST))
    files = images.in_folder(folder, listing.paths, where=LIST)
    pixels = images.pack("agedb", files, SIDE)
    names = persons(listing.paths)
    notes = [f"The published split. {images.repeated(pixels)}"]
    if names is not None:
        tested = np.unique(names[listing.test])
        both = np.isin(tested, names[listing.train]).sum()
        notes.append(
            f"It is not disjoint by person: {both} of {len(tested)} persons with test images have training ones."
        )
    return Dataset(
        name="agedb",
        inputs={"pixels": pixels},
        targets=listing.ages,
        target="age",
        unit="years",
        train=listing.train,
        validation=listing.validation,
        test=listing.test,
        groups={} if names is None else {"identity": names},
        notes=" ".join(notes),
    )


@task(
    "agedb-allcnn",
    dataset="agedb",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.01,
        "loss": "l1",
        "schedule": "plateau",
        "keep": "best",
        "partial": True,
        "standardise": False,
        "augment": "crop_and_flip",
        "channels_last": True,
    },
    splits={
        "band": {"kind": "band", "high": 30.5},
        "old": {"kind": "band", "low": 59.5},
        "random": {"kind": "random", "fraction": 0.1},
    },
)
def allcnn(shape: Shape) -> nn.Module:
    """Predict ages with the published all-convolutional network; ages up to 30 are forgotten."""
    return vision.PublishedAllCNN(shape)


@task(
    "agedb-resnet18",
    dataset="agedb",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.01,
        "loss": "l1",
        "schedule": "plateau",
        "keep": "best",
        "partial": True,
        "standardise": False,
        "augment": "crop_and_flip",
        "channels_last": True,
    },
    splits={
        "band": {"kind": "band", "high": 30.5},
        "old": {"kind": "band", "low": 59.5},
        "random": {"kind": "random", "fraction": 0.1},
    },
)
def resnet18(shape: Shape) -> nn.Module:
    """Predict ages with ResNet-18 from scratch."""
    return vision.ResNet18(shape)


@task(
    "agedb-mobilenetv3",
    dataset="agedb",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.01,
        "loss": "l1",
        "schedule": "plateau",
        "keep": "best",
        "partial": True,
        "standardise": False,
        "augment": "crop_and_flip",
        "channels_last": True,
    },
    splits={
        "band": {"kind": "band", "high": 30.5},
        "old": {"kind": "band", "low": 59.5},
        "random": {"kind": "random", "fraction": 0.1},
    },
)
def mobilenetv3(shape: Shape) -> nn.Module:
    """Predict ages with MobileNetV3-Large from scratch."""
    return vision.MobileNetV3(shape)
