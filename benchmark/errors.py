"""Errors that end a command with one message: what, where, expected, found, what to do next."""

from collections.abc import Iterable
from difflib import get_close_matches


class BenchmarkError(Exception):
    """Something could not be done. The command ends with exit code 1 and this message, no traceback."""

    exit_code = 1


class UsageError(BenchmarkError):
    """The command asks for something that does not exist or does not fit. Exit code 2."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not in a closed list; the message shows the nearest and all known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
        self.kind, self.name, self.nearest = kind, name, near[0] if near else None
