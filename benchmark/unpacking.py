"""Members of downloaded archives, placed into a folder: none leads out of it, and a stop half way is noticed."""

import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import copyfileobj
from typing import IO

from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.downloads import check_path
from regunlearn.benchmark.errors import BenchmarkError

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    RuntimeError,  # a password
)


def unpack(archive: Path, folder: Path, pattern: str) -> list[str]:
    """Take the members that match out of a zip or tar archive, and return their paths in `folder`.

    They are written to a temporary folder first. While they are moved, `is_half_done(archive)` holds.

    Args:
        archive: .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz, inside `folder`.
        folder: members keep their paths below it; files that are there are replaced.
        pattern: of member paths: "*" matches "/" too, "a|b" is either.

    Raises:
        BenchmarkError: the archive is damaged, has no such member, or one that leads out of the folder or is a link;
            or the disk is full. Nothing is placed then.
    """
    running = _list_of(archive, "unpacking")
    try:
        with tempfile.TemporaryDirectory(
            prefix=".unpack-", dir=folder, ignore_cleanup_errors=True
        ) as temporary:
            names = [_copy(name, content, Path(temporary)) for name, content in _members(archive, pattern)]
            if not names:
                raise BenchmarkError(
                    f"{archive} has no member that matches {pattern!r}, only such as {', '.join(_some(archive))}. It "
                    "is another file than the one that was expected: remove it and run the same command again."
                )
            write_text(running, "\n".join(names) + "\n")
            _merge(Path(temporary), folder)
            running.replace(_list_of(archive, "unpacked"))
    except _DAMAGE as error:
        raise BenchmarkError(
            f"{archive} is truncated or damaged: {type(error).__name__}: {error}. Remove it and run the same command "
            "again."
        ) from error
    except OSError as error:
        raise BenchmarkError(
            f"cannot unpack {archive} into {folder}: {error.strerror or error}. Free some space, or choose another "
            "folder (REGUNLEARN_CACHE), and run the same command again: the archive is kept."
        ) from error
    return names


def is_half_done(archive: Path) -> bool:
    """Whether members of the archive were being placed when the process was stopped."""
    return _list_of(archive, "unpacking").is_file()


def is_done(archive: Path, folder: Path) -> bool:
    """Whether all that was taken out of the archive, which may be deleted meanwhile, is still there."""
    placed = _list_of(archive, "unpacked")
    if is_half_done(archive) or not placed.is_file():
        return False
    return all((folder / name).is_file() for name in placed.read_text(encoding="utf-8").splitlines())


def _list_of(archive: Path, state: str) -> Path:
    return archive.with_name(f".{archive.name}.{state}")


def _members(archive: Path, pattern: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield path and content of each file that matches, after a check of the path."""
    patterns = pattern.split("|")

    def safe(name: str) -> str | None:
        name = name.removeprefix("./")
        if not any(fnmatchcase(name, one) for one in patterns):
            return None
        try:
            return check_path(name)
        except BenchmarkError as error:
            raise BenchmarkError(f"{archive} is not unpacked: its member {error} Do not use it.") from error

    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                # what the archive says, not what zipfile makes of it
                if not entry.is_dir() and (path := safe(entry.orig_filename)):
                    with zipped.open(entry) as content:
                        yield path, content
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if member.isdir() or not (path := safe(member.name)):
                continue
            stream = tarred.extractfile(member) if member.isreg() else None
            if stream is None:
                raise BenchmarkError(
                    f"{archive} is not unpacked: its member {path!r} is no plain file. Do not use it."
                )
            with stream:
                yield path, stream


def _some(archive: Path) -> Sequence[str]:
    """Return the names of the first members."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            names = zipped.namelist()[:5]
    else:
        with tarfile.open(archive) as tarred:
            names = [member.name for member, _ in zip(tarred, range(5), strict=False)]
    return names or ["none"]


def _copy(name: str, content: IO[bytes], folder: Path) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        copyfileobj(content, handle, 1 << 20)
    return name


def _merge(source: Path, target: Path) -> None:
    """Move what is in one folder into another: new folders whole, files of folders that are there one by one."""
    for entry in sorted(source.iterdir()):
        goal = target / entry.name
        if entry.is_dir() and goal.is_dir():
            _merge(entry, goal)
        else:
            entry.replace(goal)
