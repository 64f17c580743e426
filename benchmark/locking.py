"""One process at a time at one thing: a record file, a model in training. A lock ends with its process."""

import errno
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from regunlearn.benchmark.atomic import make_folder
from regunlearn.benchmark.errors import BenchmarkError

log = logging.getLogger("regunlearn")

PATIENCE = 10.0
"""Seconds of waiting after which it is said what is waited for."""
_UNKNOWN = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which need not exist, in the block; wait for whoever holds it.

    The lock lies beside the file, as `.<name>.lock`, and is removed with its release. The kernel gives it free when its
    holder dies, however that may be. Not to be held twice by one process.

    Raises:
        BenchmarkError: there is no place for it, or the file system has no locks.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place, thread_local=False, fallback_to_soft=False)
    make_folder(path.parent)
    try:
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            log.info("another run works on %s: waiting for it.", path)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise BenchmarkError(_explained(place, error)) from error
    try:
        yield
    finally:
        with suppress(OSError):
            place.unlink()  # while it is held: who waits finds its file gone, and makes another
        lock.release()


def _explained(place: Path, error: OSError | NotImplementedError) -> str:
    if isinstance(error, NotImplementedError) or error.errno in _UNKNOWN:
        return (
            f"cannot lock {place}: its file system has no locks ({error}), so that two runs could undo each other's "
            "work there. Choose a folder on a local disk (--out, --cache)."
        )
    return (
        f"cannot write the lock {place}: {error.strerror or error}. Free some space or choose another folder, and run "
        "the same command again: finished work is kept."
    )


@contextmanager
def all_held(paths: Iterable[Path]) -> Iterator[None]:
    """Hold several locks, taken in one order everywhere, so that no two processes wait for each other."""
    with ExitStack() as stack:
        for path in sorted(set(paths)):
            stack.enter_context(held(path))
        yield
