"""IMDB-WIKI: from a face to its age, the large image task of the paper.

Origin: R. Rothe, R. Timofte, L. Van Gool, "DEX: Deep EXpectation of apparent age from a single image", ICCV Workshops
2015: faces cropped from photographs on IMDb and Wikipedia; the age is the photograph's year less the date of birth, and
is often wrong. Division: "IMDB-WIKI-DIR" of Y. Yang et al., "Delving into Deep Imbalanced Regression", ICML 2021
(github.com/YyzHarry/imbalanced-regression), `imdb_wiki.csv` with age, path and split, validation and test balanced over
ages, at most 150 images of an age in each.
Terms: academic research only; the division is MIT.

Images are resized to 32x32, as those of AgeDB. The paper names the dataset and published neither a loader nor the
range that it forgets: network, recipe and splits are those of AgeDB. The file names tell no person.
"""

from pathlib import Path

from torch import nn

from regunlearn.benchmark import fetch, images, sources, vision
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.sources import Source
from regunlearn.benchmark.spec import Dataset, Shape

SOURCE = Source(
    name="imdbwiki",
    title="IMDB-WIKI: faces with computed ages, in a balanced split",
    files=("imdb_wiki.csv", "imdb_crop/", "wiki_crop/"),
    url="https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki/",
    licence="Academic research only; split MIT",
    terms="The images may be used for academic research only; the list of the split is MIT.",
    how="fetch imdb_crop.tar and wiki_crop.tar (faces only) from that page and unpack them, which makes the folders "
    "imdb_crop and wiki_crop; imdb_wiki.csv is in imdb-wiki-dir/data of "
    "https://github.com/YyzHarry/imbalanced-regression",
)
LIST = "imdb_wiki.csv"
SIDE = 32


@dataset(
    "imdbwiki",
    modality="vision",
    source="IMDB-WIKI (Rothe et al., 2015), split IMDB-WIKI-DIR (Yang et al., 2021)",
    licence="images for academic research only; split MIT",
)
def imdbwiki() -> Dataset:
    """Age of the person on a photograph of a face, computed from dates."""
    folder = sources.folder_of(SOURCE)
    key = [
        sources.fingerprint([folder / LIST, folder / "imdb_crop", folder / "wiki_crop"]),
        images.identity(),
    ]
    return fetch.processed("imdbwiki", key, Path(__file__), lambda: _build(folder))


def _build(folder: Path) -> Dataset:
    listing = images.read_list((folder / LIST).read_bytes(), where=str(folder / LIST))
    files = images.in_folder(folder, listing.paths, where=LIST)
    pixels = images.pack("imdbwiki", files, SIDE)
    return Dataset(
        name="imdbwiki",
        inputs={"pixels": pixels},
        targets=listing.ages,
        target="age",
        unit="years",
        train=listing.train,
        validation=listing.validation,
        test=listing.test,
        notes=f"The published split. {images.repeated(pixels)}",
    )


@task(
    "imdbwiki-resnet18",
    dataset="imdbwiki",
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
