"""SIGTERM and Ctrl-C: a run ends after the record in hand. A second one ends it at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from regunlearn.benchmark.errors import BenchmarkError

GOES_ON = "Finished cells are kept; the same command goes on from there."
HANDLED = (signal.SIGTERM, signal.SIGINT)


class StoppedError(BenchmarkError):
    """The run was asked to end, and has ended with nothing in hand."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Asked:
    """What this process has been asked so far: the signal, and how many blocks want to finish their record first."""

    signal: int | None = None
    patient: int = 0


@contextmanager
def listening() -> Iterator[None]:
    """Take SIGTERM and SIGINT in the block: patiently inside `finishing`, as an interrupt anywhere else.

    In the main thread only; a signal that the process was started to ignore (as by `nohup`) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _Asked.signal = None
    before = {number: signal.getsignal(number) for number in HANDLED}
    taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _take)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _take(number: int, frame: FrameType | None) -> None:
    first, _Asked.signal = _Asked.signal is None, _Asked.signal or number
    if not first or not _Asked.patient:
        raise KeyboardInterrupt
    name = signal.Signals(number).name
    # not `print`: the signal may have come in the middle of one
    os.write(2, f"\nregunlearn: {name}: ends after the record in hand; again: ends at once.\n".encode())


@contextmanager
def finishing() -> Iterator[None]:
    """Let a first signal wait in the block until `check` is reached."""
    _Asked.patient += 1
    try:
        yield
    finally:
        _Asked.patient -= 1


def stopping() -> bool:
    """Return whether the run has been asked to end."""
    return _Asked.signal is not None


def exit_code() -> int:
    """Return the exit code of a command that a signal ended: 143 after SIGTERM, 130 after Ctrl-C."""
    return 128 + (_Asked.signal or signal.SIGINT)


def check() -> None:
    """End the run here if it has been asked to end.

    Raises:
        StoppedError: it has.
    """
    if _Asked.signal is not None:
        name = signal.Signals(_Asked.signal).name
        raise StoppedError(f"stopped by {name} after the record in hand. {GOES_ON}", exit_code())


def leave_to_parent() -> None:
    """Ignore both signals in a worker process, which gets those of its group too: the run's own process decides."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)
