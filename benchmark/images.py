"""Images as arrays: decoded once at a task's resolution, so that training never opens a file.

A row takes 3 * side * side bytes: AgeDB's 16,488 images take 51 MB at 32 pixels. They are packed once, kept by
`fetch.processed` with the rest of the dataset, and lie in device memory as uint8 pixels afterwards.

The pixels are those of the usual pipeline, `PIL.Image.open(...).convert("RGB")` and torchvision's `Resize` to a square:
bilinear with antialiasing, each axis stretched on its own, no turn by EXIF. One liberty: JPEG files of at least
`8 * side` pixels a side are decoded at a half, a quarter or an eighth of their size, never below `4 * side`, and then
resized. On two photographs at 256 to 2,000 pixels that moved a pixel at side 32 by 0.1 to 0.3 of 255 grey levels on
average, by 4 at most, and took 0.13 to 0.7 of the time. Smaller files give the usual pixels to the bit.
"""

import csv
import hashlib
import io
import math
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import registry
from regunlearn.benchmark.errors import BenchmarkError

FORMATS = ("JPEG", "PNG")
MARGIN = 4
"""A JPEG file is not decoded at less than this multiple of the side that it is resized to."""

PIECE = 64
"""Images that a thread decodes before it shows progress."""

SHOWN = 5
"""Missing files that an error names."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class File:
    """An encoded image: where it is, for errors, and how its bytes are had."""

    name: str
    read: Callable[[], bytes]


def identity() -> str:
    """Return the code of this module, prose left out: one of the sources that a dataset names to `fetch.processed`."""
    return registry.code_of(sys.modules[__name__])


# Files


def in_folder(folder: Path, names: Sequence[str], *, where: str) -> list[File]:
    """Return image files of a folder.

    Args:
        folder: the names are relative to it.
        names: with forward slashes.
        where: what lists them, for errors.

    Raises:
        BenchmarkError: some are not there, or lie outside of the folder; says how many and names the first.
    """
    outside = [
        name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    ]
    if outside:
        raise BenchmarkError(
            f"{where} names {outside[0]!r}: expected paths below {folder}. Take the list from its official source."
        )
    _require([name for name in names if not (folder / name).is_file()], len(names), folder, where)
    return [File(str(folder / name), (folder / name).read_bytes) for name in names]


@contextmanager
def in_zip(path: Path, names: Sequence[str], *, where: str) -> Iterator[list[File]]:
    """Yield image files of a zip archive, readable inside the block.

    Raises:
        BenchmarkError: it is no zip archive, or some are not in it; says how many and names the first.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise BenchmarkError(
            f"{path} is truncated or damaged: {type(error).__name__}: {error}. Replace it by a whole copy."
        ) from error
    with archive:
        there = set(archive.namelist())
        _require([name for name in names if name not in there], len(names), path, where)
        yield [File(f"{path}: {name}", partial(archive.read, name)) for name in names]


def _require(missing: Sequence[str], count: int, place: Path, where: str) -> None:
    if missing:
        more = ", ..." if len(missing) > SHOWN else ""
        raise BenchmarkError(
            f"{len(missing)} of the {count} images that {where} lists are not in {place}: "
            f"{', '.join(missing[:SHOWN])}{more}. Put the missing files there, or take list and images from the same "
            "official source."
        )


# Pixels


def pack(name: str, files: Sequence[File], side: int, *, quiet: bool = False) -> Pixels:
    """Decode images in threads; return their pixels, shape (n, 3, side, side).

    Args:
        name: of the dataset, for the progress bar.
        files: JPEG or PNG, of any size and colour.
        side: height and width to resize to.
        quiet: show no progress.

    Raises:
        BenchmarkError: a file cannot be read; names it and the cause.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    pixels = np.empty((len(files), 3, side, side), dtype=np.uint8)

    def decode(start: int) -> int:
        piece = files[start : start + PIECE]
        for place, file in enumerate(piece, start=start):
            pixels[place] = _decoded(file, side)
        return len(piece)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    pool = ThreadPoolExecutor(_cores(), thread_name_prefix="decode")
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        row = progress.add_task(f"packing {name}", total=len(files))
        try:
            for done in pool.map(decode, range(0, len(files), PIECE)):
                progress.advance(row, done)
        finally:
            pool.shutdown(cancel_futures=True)
    return pixels


def _cores() -> int:
    """Return the cores that this process may use, which a batch system may keep below those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decoded(file: File, side: int) -> Pixels:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file.read()), formats=FORMATS) as image:
            image.draft("RGB", (MARGIN * side, MARGIN * side))
            small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    except Exception as error:  # whatever a broken file or archive can raise
        cause = "" if isinstance(error, UnidentifiedImageError) else f" ({type(error).__name__}: {error})"
        raise BenchmarkError(
            f"{file.name} cannot be decoded: expected a whole {' or '.join(FORMATS)} image, found something else"
            f"{cause}. Replace the file by a whole copy."
        ) from error
    return np.asarray(small).transpose(2, 0, 1)


def first_equals(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each row the position of the first row that equals it, its own where there is none before.

    >>> first_equals(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1, 0]
    """
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in pixels)
    _, first, group = np.unique(np.frombuffer(digests, dtype="V16"), return_index=True, return_inverse=True)
    return first[group].astype(np.int64)


def repeated(pixels: Pixels) -> str:
    """Return a sentence that counts the images that equal an earlier one."""
    again = np.count_nonzero(first_equals(pixels) != np.arange(len(pixels)))
    return f"{again} of {len(pixels)} images equal another at this size; all are kept, as published."


# Lists


def table(content: bytes, columns: Sequence[str], *, where: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a CSV file: file and line, for errors, and the values of the named columns.

    Args:
        content: UTF-8, with a header.
        columns: in any order in the file, among others.
        where: name of the file.

    Raises:
        BenchmarkError: the header lacks a column, or a line has another number of fields; names the line.
    """
    try:
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(lines, [])]
        if missing := [name for name in columns if name not in header]:
            raise BenchmarkError(
                f"{where}:1: expected a header with the columns {', '.join(columns)}; found {','.join(header)[:80]!r}, "
                f"without {', '.join(missing)}. Take the file from its official source."
            )
        places = [header.index(name) for name in columns]
        for fields in lines:
            if len(fields) != len(header):
                raise BenchmarkError(
                    f"{where}:{lines.line_num}: expected {len(header)} fields, found {len(fields)}: "
                    f"{','.join(fields)[:80]!r}. Take the file from its official source."
                )
            yield f"{where}:{lines.line_num}", [fields[place].strip() for place in places]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchmarkError(
            f"{where} is no CSV file in UTF-8: {error}. Take the file from its official source."
        ) from error


def age_of(text: str, *, where: str) -> float:
    """Return an age in years.

    Raises:
        BenchmarkError: it is no number from 0 to 200.

    >>> age_of("31", where="list.csv:2")
    31.0
    """
    try:
        age = float(text)
    except ValueError:
        age = math.nan
    if not 0 <= age <= 200:
        raise BenchmarkError(
            f"{where}: expected an age in years, found {text!r}. Correct it, or take the file from its official source."
        )
    return age


@dataclass(frozen=True, slots=True)
class Listing:
    """A published list of images.

    Attributes:
        paths: relative to the folder of the list.
        ages: shape (n,), in years.
        train, validation, test: disjoint ascending positions, together all of them.
    """

    paths: list[str]
    ages: NDArray[np.float64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def read_list(content: bytes, *, where: str) -> Listing:
    """Read a CSV file with the columns `age`, `path` and `split` (train, val or test), in the order of the file.

    Raises:
        BenchmarkError: it is no such file, or a path is listed twice; names the line.
    """
    places: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    paths, ages = dict[str, str](), list[float]()
    for line, (age, path, split) in table(content, ("age", "path", "split"), where=where):
        if split not in places:
            raise BenchmarkError(
                f"{line}: expected the split train, val or test, found {split!r}. Correct it."
            )
        if path in paths:
            raise BenchmarkError(
                f"{line}: expected each image once, but {path} is also in {paths[path]}. Remove one."
            )
        places[split].append(len(paths))
        paths[path] = line
        ages.append(age_of(age, where=line))
    rows = (np.array(places[split], dtype=np.int64) for split in ("train", "val", "test"))
    return Listing(list(paths), np.array(ages), *rows)
