"""Runs in processes of their own, faults that happen to them, and what is lost, doubled or wrong afterwards."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "regunlearn.benchmark.cli", "run", "--suite", "smoke")
PATIENCE = 240.0
Key = tuple[str, str, str, int]


@dataclass
class Tally:
    """What a kind of fault did: how many there were, and what became of the records."""

    kind: str
    faults: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    skipped: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def harmed(self) -> int:
        return self.lost + self.doubled + self.wrong


def lines_of(out: Path) -> Iterator[tuple[Key, str]]:
    """Yield every record line under `out`, read as a plain file, without the commit: it may change meanwhile."""
    for path in sorted((out / "records").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            facts = json.loads(line)
            key = (facts["task"], facts["split"], facts["method"], facts["seed"])
            yield key, re.sub(r'"commit":("[^"]*"|null)', "", line)


def compare(tally: Tally, expected: Mapping[Key, str], out: Path, *, whole: bool = True) -> dict[Key, str]:
    """Count into `tally` what differs from the expected records; return those that are there.

    Args:
        tally: gets the counts.
        expected: by key, of an undisturbed run; or of the same folder a moment ago.
        out: folder of the disturbed run.
        whole: records that nobody expects are wrong.
    """
    try:
        found = list(lines_of(out))
    except ValueError as error:
        tally.wrong += 1
        tally.notes.append(f"{out}: {error}")
        return {}
    seen, counts = dict(found), Counter(key for key, _ in found)
    gone = sorted(set(expected) - set(seen))
    strange = sorted(set(seen) - set(expected)) if whole else []
    changed = sorted(key for key in set(expected) & set(seen) if expected[key] != seen[key])
    tally.lost += len(gone)
    tally.doubled += sum(counts.values()) - len(counts)
    tally.wrong += len(strange) + len(changed)
    for word, keys in (("lost", gone), ("not expected", strange), ("changed", changed)):
        tally.notes += [f"{out}: {word}: {key}" for key in keys]
    return seen


def require(tally: Tally, holds: bool, note: str) -> None:
    """Count as wrong what does not hold."""
    if not holds:
        tally.wrong += 1
        tally.notes.append(note)


@dataclass
class Field:
    """A run folder and a cache, in which one command is run again and again."""

    home: Path
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    cache: Path | None = None

    @property
    def out(self) -> Path:
        return self.home / "out"

    @property
    def models(self) -> Path:
        return self.cache or self.home / "models"

    @property
    def log(self) -> str:
        """What the command said on standard error so far, in one line."""
        return " ".join((self.home / "log").read_text(encoding="utf-8", errors="replace").split())

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, *self.arguments, *more, "--cache", str(self.models), "--out", str(self.out)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400", **self.environment},
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                preexec_fn=self.prepare or _listen,
            )

    def finish(self, *more: str) -> int:
        """Run to the end and return the exit code."""
        with ended(self.start(*more)) as process:
            return process.wait(timeout=PATIENCE)

    def records(self) -> dict[Key, str]:
        return dict(lines_of(self.out))


def _listen() -> None:
    """Take interrupts: a shell that puts the drill in the background has its children ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Have the process and all that it started gone at the end of the block."""
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started, as pulling the plug does."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def has_group(process: subprocess.Popen[bytes]) -> bool:
    """Return whether something that an ended process started is still at work."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if group == str(process.pid) and state != "Z":
                return True
    return False


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the worker processes of a run, without the one that tracks what they share."""
    found = []
    for listing in Path(f"/proc/{process.pid}/task").glob("*/children"):
        with suppress(OSError):
            for pid in listing.read_text().split():
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"loky" in words and b"resource_tracker" not in words:
                    found.append(int(pid))
    return found


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Wait until something is so; return False if the process ended before."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def chosen(*methods: str, tasks: Sequence[str] = ("ridge", "diabetes-mlp")) -> list[str]:
    pairs = [("--task", task) for task in tasks] + [("--method", method) for method in methods]
    return [word for pair in pairs for word in pair]


@dataclass
class Calm:
    """An undisturbed run: its records, and how long its parts took."""

    field: Field
    records: dict[Key, str]
    ready: float
    seconds: float

    def moment(self, draw: random.Random, share: float = 0.6) -> float:
        """Draw the seconds from the start of a run to a fault, spread over its start and the first part of its work."""
        return draw.uniform(0.5 * self.ready, self.ready + share * (self.seconds - self.ready))


def calm(home: Path, arguments: Sequence[str]) -> Calm:
    """Run without a fault; it has to succeed."""
    place, begin = Field(home, arguments), time.monotonic()
    with ended(place.start()) as process:
        wait_for((place.out / "protocol.toml").is_file, process)
        ready = time.monotonic() - begin
        code = process.wait(timeout=PATIENCE)
    if code != 0:
        raise RuntimeError(f"the undisturbed run ended with exit code {code}: {place.log}")
    return Calm(place, place.records(), ready, time.monotonic() - begin)


def table(tallies: Sequence[Tally]) -> str:
    """Return the counts by kind as lines of text."""
    head = f"{'fault':<34} {'faults':>6} {'lost':>6} {'doubled':>8} {'wrong':>6}"
    rows = [
        f"{t.kind:<34} {t.faults:>6} "
        + (f"skipped: {t.skipped}" if t.skipped else f"{t.lost:>6} {t.doubled:>8} {t.wrong:>6}")
        for t in tallies
    ]
    total = [sum(getattr(t, name) for t in tallies) for name in ("faults", "lost", "doubled", "wrong")]
    last = f"{'all':<34} {total[0]:>6} {total[1]:>6} {total[2]:>8} {total[3]:>6}"
    return "\n".join([head, *rows, last])
