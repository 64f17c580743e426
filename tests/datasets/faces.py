"""Made images in the layouts in which AgeDB, IMDB-WIKI and UTKFace are handed out; brightness tells the age."""

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

PERSONS = ("AdaLovelace", "AlanTuring", "EmmyNoether", "GraceHopper", "KurtGoedel")
SPLITS = ("train", "val", "train", "test", "train", "train", "train", "train")


def jpeg(age: float, rng: np.random.Generator, size: tuple[int, int] = (40, 48)) -> bytes:
    """Return a JPEG file of the size (width, height): noise about a grey that grows with the age."""
    grey = rng.normal(2 * age, 25, size=(6, 5, 3)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def ages_of(n: int, rng: np.random.Generator) -> list[int]:
    """Return n ages, each decade from 5 to 85 about equally often, in random order."""
    return [int(age) for age in rng.permutation(np.linspace(5, 85, n).round())]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([header, *rows])


def write_agedb(root: Path, n: int = 64, seed: int = 0) -> Path:
    """Write the source `agedb` into `root` (as REGUNLEARN_DATA); of 8 images 6 are train, 1 val, 1 test."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, age in enumerate(ages_of(n, rng)):
        name = f"AgeDB/{number}_{PERSONS[number % len(PERSONS)]}_{age}_{'mf'[number % 2]}.jpg"
        rows.append((age, name, SPLITS[number % len(SPLITS)]))
        path = root / "agedb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(age, rng))
    write_table(root / "agedb" / "agedb.csv", ("age", "path", "split"), rows)
    return root / "agedb"


def write_imdbwiki(root: Path, n: int = 64, seed: int = 0) -> Path:
    """Write the source `imdbwiki` into `root`: faces of both parts, of different sizes, in numbered folders."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, age in enumerate(ages_of(n, rng)):
        part = "wiki_crop" if number % 4 == 0 else "imdb_crop"
        name = f"{part}/{number % 3:02}/nm{number:07}_rm{number}_1950-1-1_2000.jpg"
        rows.append((age, name, SPLITS[number % len(SPLITS)]))
        path = root / "imdbwiki" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        side = int(rng.integers(20, 90))
        path.write_bytes(jpeg(age, rng, (side, side)))
    write_table(root / "imdbwiki" / "imdb_wiki.csv", ("age", "path", "split"), rows)
    return root / "imdbwiki"


def utkface_files(n: int = 64, seed: int = 0) -> dict[str, bytes]:
    """Return official names with the content of the files, each image another one."""
    rng = np.random.default_rng(seed)
    return {
        f"{age}_{number % 2}_{number % 5}_{20170112000000000 + number}.jpg.chip.jpg": jpeg(age, rng, (64, 64))
        for number, age in enumerate(ages_of(n, rng))
    }


def write_utkface(root: Path, files: dict[str, bytes]) -> Path:
    """Write the source `utkface` into `root` as the folder of official files."""
    folder = root / "utkface" / "UTKFace"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def write_utkface_zip(root: Path, files: dict[str, bytes]) -> Path:
    """Write the source `utkface` into `root` as the zip archive with its labels."""
    path = root / "utkface" / "utkface_64px_q85.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        lines = ["id,age,source_file"]
        for number, (name, content) in enumerate(sorted(files.items())):
            archive.writestr(f"{number:05}.jpg", content)
            lines.append(f"{number},{name.partition('_')[0]},{name}")
        archive.writestr("labels.csv", "\n".join(lines) + "\n")
    return path
