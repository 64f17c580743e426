"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from regunlearn.benchmark.errors import BenchmarkError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` once the block ends without an error.

    Raises:
        BenchmarkError: the disk is full, or the folder cannot be written to. The old file stays as it was.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as mark:
            _claim(mark.fileno())
            yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise BenchmarkError(
            f"cannot write {path}: {error.strerror or error}. The previous file, if any, is untouched. "
            "Free some space or choose another folder, and run the same command again: finished work is kept."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        BenchmarkError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(f"cannot make the folder {folder}: {error.strerror}. Choose another.") from error


def _claim(handle: int) -> bool:
    """Lock an open file until it is closed; return whether nobody else has it, False where there are no locks."""
    if os.name != "posix":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(folder: Path) -> None:
    """Remove temporary files that a killed process left in the folder or below it.

    Who writes one holds a lock on it, which ends with the process: no clock is asked whether somebody still does.
    """
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError), path.open("rb") as handle:  # another process may have removed it
            if _claim(handle.fileno()):
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
