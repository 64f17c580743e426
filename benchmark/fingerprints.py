"""One text that changes with the content of files or folders, wherever they lie."""

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.downloads import sha256_of
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.fetch import cache_folder

LARGE = 50_000_000
"""Bytes of a file from which on its fingerprint is kept in the cache."""


def fingerprint(paths: Path | Iterable[Path]) -> str:
    """Return a sha256 that changes with the data: the key of arrays that are prepared from them.

    Of files it covers the content, of folders (of images) the names and sizes of all files in them. Where they lie and
    how the files are called makes no difference.

    Raises:
        BenchmarkError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in [paths] if isinstance(paths, Path) else paths:
        try:
            digest.update(f"{_of_folder(path) if path.is_dir() else _of_file(path)}\n".encode())
        except OSError as error:
            raise BenchmarkError(
                f"cannot read {path}: {error.strerror}. Check its permissions, or fetch it again."
            ) from error
    return digest.hexdigest()


def _of_folder(folder: Path) -> str:
    sizes = []
    for parent, _, names in os.walk(folder):
        below = Path(parent).relative_to(folder).as_posix()
        sizes += [f"{below}/{name} {os.stat(os.path.join(parent, name)).st_size}" for name in names]
    return hashlib.sha256("\n".join(sorted(sizes)).encode("utf-8", "surrogateescape")).hexdigest()


def _of_file(path: Path) -> str:
    """Hash a file; of a large one the hash is kept in the cache for as long as its size and time stay."""
    facts = path.stat()
    if facts.st_size < LARGE:
        return sha256_of(path)
    key = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    kept = cache_folder() / "fingerprints" / f"{key}.txt"
    mark = f"{facts.st_size} {facts.st_mtime_ns}"
    with suppress(OSError, ValueError):
        seen, _, found = kept.read_text(encoding="utf-8").strip().rpartition(" ")
        if seen == mark and len(found) == 64:
            return found
    found = sha256_of(path)
    write_text(kept, f"{mark} {found}\n")
    return found
