"""UTKFace: from a face to its age, with images that can be had without a request.

Origin: Z. Zhang, Y. Song, H. Qi, "Age Progression/Regression by Conditional Adversarial Autoencoder", CVPR 2017:
23,708 aligned and cropped faces, 200x200 JPEG, ages 1 to 116. The age is what stands before the first underscore of
the file name; it was estimated by an algorithm and checked by a person.
Terms: non-commercial research only (susanqq.github.io/UTKFace).

Two forms are read, with the same rows in the same order: the folder `UTKFace` of official files, or one zip archive of
them at 64x64 (`utkface_64px_q85.zip`: `00000.jpg`, ..., and `labels.csv` with id, age and source_file).
Images that are the same, pixel for pixel, stand in several files of the official folder, some of them with different
ages: groups with different ages are dropped whole, of the other groups the first file by name is kept. 375 such groups
are known, 205 of them contradictory; the zip archive has 23,112 images and was made without them.

Neither is the data divided nor are persons marked in it: rows are drawn and ordered by a fixed seed, and a person may
be on both sides. Recipe and splits are those of AgeDB; these faces are younger, so that `band` (age 30 and below)
forgets 53 % of the training rows here and `old` 11 %.
`utkface-small` is another draw, for machines without an accelerator. Its recipe takes 64 rows a step in place of 256,
so that there are enough steps to learn something: tried with 3,000 images, the test error was 12.5 years after 40
epochs with widths 16 and 32, and 13.6 after 30 epochs with 256 rows a step and widths 24 and 48; the best constant's is
15.05.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch, images, sources, splits, vision
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.sources import Source
from regunlearn.benchmark.spec import Dataset, Shape

SOURCE = Source(
    name="utkface",
    title="UTKFace: 23,708 faces with estimated ages",
    files=("UTKFace/|utkface_64px_q85.zip",),
    url="https://susanqq.github.io/UTKFace/",
    licence="Non-commercial research only",
    terms="The images may be used for non-commercial research only; their copyright is with their owners.",
    how="fetch UTKFace.tar.gz (aligned and cropped faces) by the link on that page and unpack it, which makes the "
    "folder UTKFace",
)
FOLDER, ARCHIVE, LABELS = "UTKFace", "utkface_64px_q85.zip", "labels.csv"
SIDE = 32
SIZES = {"utkface": (15000, 2300, 5800), "utkface-small": (2000, 400, 1500)}
"""Training, validation and test rows."""


def official(folder: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the images in a folder of official files, sorted, and the ages in them.

    Raises:
        BenchmarkError: there are none, or a name does not start with an age and an underscore.
    """
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not names:
        raise BenchmarkError(
            f"{folder} has no images. Put the official files there (UTKFace.tar.gz, unpacked)."
        )
    return names, np.array([_age_in(name, where=f"{folder / name}") for name in names])


def labelled(archive: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Return the names of the images in the zip archive, sorted by their official names, and their ages.

    Raises:
        BenchmarkError: its list is missing or damaged, or two rows have one id; names the line.
    """
    rows = dict[str, tuple[str, float]]()
    content = fetch.read_member(archive, LABELS)
    for line, (number, age, source) in images.table(content, ("id", "age", "source_file"), where=LABELS):
        name = f"{number:0>5}.jpg"
        if not (number.isascii() and number.isdigit()) or name in rows:
            raise BenchmarkError(
                f"{line}: expected another number as id in each line, found {number!r}. Correct it."
            )
        rows[name] = (source, images.age_of(age, where=line))
    names = sorted(rows, key=lambda name: rows[name][0])
    return names, np.array([rows[name][1] for name in names])


def _age_in(name: str, *, where: str) -> float:
    return images.age_of(
        name.partition("_")[0] if "_" in name else "", where=f"{where}, before the first underscore"
    )


def consistent(pixels: NDArray[np.uint8], ages: NDArray[np.float64]) -> tuple[NDArray[np.int64], str]:
    """Find images that are the same; return the rows to keep, ascending, and a sentence that counts the rest.

    Args:
        pixels: shape (n, 3, side, side).
        ages: shape (n,).
    """
    first = images.first_equals(pixels)
    size = np.bincount(first, minlength=len(first))
    contradictory = np.unique(first[ages != ages[first]])
    kept = np.flatnonzero((first == np.arange(len(first))) & ~np.isin(first, contradictory))
    return kept, (
        f"{np.count_nonzero(size > 1)} groups of identical images, {len(contradictory)} of them with contradictory "
        f"ages and dropped whole; of the others one image is kept: {len(kept)} of {len(first)} are left."
    )


@dataset(
    "utkface",
    modality="vision",
    source="UTKFace (Zhang et al., 2017)",
    licence="non-commercial research only",
)
def utkface() -> Dataset:
    """Age of the person on a photograph of a face, estimated and checked by a person."""
    return _load("utkface")


@dataset(
    "utkface-small",
    modality="vision",
    source="UTKFace (Zhang et al., 2017), 3,900 of its images",
    licence="non-commercial research only",
)
def utkface_small() -> Dataset:
    """A smaller draw of UTKFace, for machines without an accelerator."""
    return _load("utkface-small")


def _load(name: str) -> Dataset:
    folder = sources.folder_of(SOURCE)
    form = folder / FOLDER if (folder / FOLDER).is_dir() else folder / ARCHIVE
    key = [sources.fingerprint(form), images.identity()]
    return fetch.processed(name, key, Path(__file__), lambda: _build(name, form))


def _build(name: str, form: Path) -> Dataset:
    opened: AbstractContextManager[list[images.File]]
    if form.is_dir():
        names, ages = official(form)
        opened = nullcontext(images.in_folder(form, names, where="the folder"))
    else:
        names, ages = labelled(form)
        opened = images.in_zip(form, names, where=LABELS)
    with opened as files:
        pixels = images.pack(name, files, SIDE)
    return _prepare(name, pixels, ages, SIZES[name])


def _prepare(
    name: str, pixels: NDArray[np.uint8], ages: NDArray[np.float64], sizes: tuple[int, int, int]
) -> Dataset:
    kept, counts = consistent(pixels, ages)
    # Files are sorted by name, names by age: in that order a batch of test rows would be one of a few ages.
    kept = np.random.default_rng(splits.seed_of("dataset", name, "order")).permutation(kept)
    division = fetch.divide(name, len(kept), sizes)
    used = kept[division.rows]
    return Dataset(
        name=name,
        inputs={"pixels": pixels[used]},
        targets=ages[used],
        target="age",
        unit="years",
        train=division.train,
        validation=division.validation,
        test=division.test,
        notes=f"{counts} {len(used)} of these drawn by a fixed seed. Persons are not marked and may be on both sides.",
    )


@task(
    "utkface-allcnn",
    dataset="utkface",
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
    """Predict ages with the published all-convolutional network."""
    return vision.PublishedAllCNN(shape)


@task(
    "utkface-resnet18",
    dataset="utkface",
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
    "utkface-small-allcnn",
    dataset="utkface-small",
    suite="paper",
    recipe={
        "epochs": 40,
        "batch_size": 64,
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
def small_allcnn(shape: Shape) -> nn.Module:
    """The smaller run for machines without an accelerator: a sixth of the widths, fewer images, epochs, rows a step."""
    return vision.PublishedAllCNN(shape, widths=(16, 32))
