"""Files that appear whole or not at all."""

import os
import time
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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(
            f"cannot make the folder {path.parent}: {error.strerror}. Choose another."
        ) from error
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:12]}.tmp")
    try:
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


def sweep(folder: Path, older_than: float = 3600.0) -> None:
    """Remove temporary files that a killed process left in the folder or below it, once they are an hour old."""
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError):  # another process may have removed it
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
