"""The kinds of fault of the drill: each happens to runs of its own and returns what became of the records."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.endurance.harness import (
    PATIENCE,
    Calm,
    Field,
    Tally,
    compare,
    ended,
    has_group,
    kill,
    lines_of,
    require,
    wait_for,
    workers_of,
)


def stopped(
    calm: Calm,
    home: Path,
    tally: Tally,
    times: int,
    draw: random.Random,
    stop: Callable[[subprocess.Popen[bytes]], None],
    jobs: int = 1,
    between: Callable[[Field], None] = lambda place: None,
    **options: dict[str, str],
) -> Tally:
    """Stop `times` runs at drawn moments, each going on from the one before; one that ends by itself is compared."""
    number, place, kept = 0, Field(home / "0", calm.field.arguments, **options), {}  # type: ignore[arg-type]
    while tally.faults < times:
        process = place.start("--jobs", str(jobs))
        try:
            process.wait(timeout=calm.moment(draw, min(1.0, 4 / times + 0.2)))
        except subprocess.TimeoutExpired:
            stop(process)
            tally.faults += 1
        kept = compare(tally, kept, place.out, whole=False)
        between(place)
        if process.returncode == 0:
            compare(tally, calm.records, place.out)
            number += 1
            place, kept = Field(home / str(number), calm.field.arguments, **options), {}  # type: ignore[arg-type]
    code = place.finish("--jobs", str(jobs))
    require(tally, code == 0, f"{place.out}: exit code {code}: {place.log[-400:]}")
    compare(tally, calm.records, place.out)
    return tally


def sigkill(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The run and its workers are killed."""
    return stopped(calm, home, Tally("SIGKILL, one process"), 18, draw, kill)


def sigkill_jobs(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The run and its workers are killed."""
    return stopped(calm, home, Tally("SIGKILL, two workers"), 12, draw, kill, 2)


def sigkill_alone(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The run is killed, its workers are not: they end by themselves while the next run is at work."""
    tally, left = Tally("SIGKILL, its workers left alone"), list[subprocess.Popen[bytes]]()

    def stop(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        left.append(process)

    try:
        stopped(calm, home, tally, 6, draw, stop, 2)
        end = time.monotonic() + PATIENCE
        while any(map(has_group, left)) and time.monotonic() < end:
            time.sleep(0.1)
        require(tally, not any(map(has_group, left)), "workers of a killed run live on")
    finally:
        for process in left:
            kill(process)
    return tally


def asked(number: signal.Signals, tally: Tally, *, group: bool) -> Callable[[subprocess.Popen[bytes]], None]:
    """Return what sends a signal and waits for the run to end with the exit code that goes with it."""

    def stop(process: subprocess.Popen[bytes]) -> None:
        os.killpg(process.pid, number) if group else process.send_signal(number)
        code = process.wait(timeout=PATIENCE)
        require(tally, code in (0, 128 + number, -number), f"exit code {code} after {number.name}")

    return stop


def sigterm(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The run is asked to end."""
    tally = Tally("SIGTERM, one process")
    return stopped(calm, home, tally, 10, draw, asked(signal.SIGTERM, tally, group=False))


def sigterm_group(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The run and its workers are asked to end, as service managers do."""
    tally = Tally("SIGTERM to all, two workers")
    return stopped(calm, home, tally, 6, draw, asked(signal.SIGTERM, tally, group=True), 2)


def interrupt(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """Ctrl-C: the terminal interrupts the run and its workers."""
    tally = Tally("Ctrl-C, two workers")
    return stopped(calm, home, tally, 6, draw, asked(signal.SIGINT, tally, group=True), 2)


CLOCK = """
import random, time
draw, real, real_ns = random.Random({seed}), time.time, time.time_ns
def jump():
    return draw.choice((-1, 1)) * draw.uniform(0, 5 * 365 * 86400)
state = [jump()]
def shifted():
    if draw.random() < 0.05:
        state[0] = jump()
    return max(0.0, real() + state[0])
time.time = shifted
time.time_ns = lambda: int(shifted() * 1e9)
"""


def clocks(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The clock jumps by years, back and forth, while runs are killed; so do the times of all files in between."""
    home.mkdir(parents=True)
    (home / "sitecustomize.py").write_text(CLOCK.format(seed=draw.randrange(1000)))
    path = os.pathsep.join([str(home), *filter(None, [os.environ.get("PYTHONPATH")])])

    def between(place: Field) -> None:
        for folder in (place.out, place.models):
            for file in folder.rglob("*"):
                when = draw.uniform(0, 4e9)
                os.utime(file, (when, when))

    environment = {"PYTHONPATH": path}
    return stopped(calm, home, Tally("clock jumps"), 8, draw, kill, 2, between, environment=environment)


def damaged(
    calm: Calm, home: Path, tally: Tally, draw: random.Random, damage: Callable[[Path], None]
) -> Tally:
    """Damage entries of a filled cache, four at a time, and make all records again from it."""
    models = home / "models"
    shutil.copytree(calm.field.models, models)
    for number in range(3):
        place = Field(home / str(number), calm.field.arguments, cache=models)
        for path in draw.sample(sorted(models.rglob("*.safetensors")), 4):
            damage(path)
            tally.faults += 1
        code = place.finish("--jobs", "1")
        require(tally, code == 0, f"{place.out}: exit code {code}: {place.log[-400:]}")
        compare(tally, calm.records, place.out)
    return tally


def cut_short(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """Files of the cache lose their end."""

    def damage(path: Path) -> None:
        os.truncate(path, draw.randrange(path.stat().st_size))

    return damaged(calm, home, Tally("cache file cut short"), draw, damage)


def flipped(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """One bit of files of the cache turns."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)

    return damaged(calm, home, Tally("cache file with a flipped bit"), draw, damage)


def at_once(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """Two runs fill one folder from one cache."""
    tally = Tally("two runs at once")
    for number in range(6):
        place = Field(home / str(number), calm.field.arguments)
        with ended(place.start("--jobs", "1")) as one:
            time.sleep(draw.uniform(0, 1.5))
            with ended(place.start("--jobs", "1")) as other:
                tally.faults += 1
                for process in (one, other):
                    code = process.wait(timeout=PATIENCE)
                    require(tally, code == 0, f"{place.out}: exit code {code}: {place.log[-400:]}")
        compare(tally, calm.records, place.out)
    return tally


def dead_worker(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """A worker process is killed; the run goes on."""
    tally, number = Tally("worker process killed"), 0
    while tally.faults < 10:
        place = Field(home / str(number), calm.field.arguments)
        with ended(place.start("--jobs", "2")) as process:
            for _ in range(2):
                if not wait_for(lambda: bool(workers_of(process)), process):
                    break
                time.sleep(draw.uniform(0, 0.3 * (calm.seconds - calm.ready)))
                workers = workers_of(process)
                if workers and process.poll() is None:
                    os.kill(draw.choice(workers), signal.SIGKILL)
                    tally.faults += 1
            code = process.wait(timeout=PATIENCE)
        require(tally, code == 0, f"{place.out}: exit code {code}: {place.log[-400:]}")
        compare(tally, calm.records, place.out)
        number += 1
    return tally


@contextmanager
def disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a small disk in memory on the folder; False where that is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        there = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        there = False
    try:
        yield there
    finally:
        if there:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def full_disk(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """The disk of run folder and cache is full, then a little larger, and full again."""
    tally, times = Tally("full disk"), 8
    block = 4096
    needed = sum(
        -(-path.stat().st_size // block) * block
        for folder in (calm.field.models, calm.field.out)
        for path in folder.rglob("*")
        if path.is_file()
    )
    with disk(home, block) as there:
        if not there:
            tally.skipped = "no disk may be mounted here"
            return tally
        place = Field(home, calm.field.arguments)
        kept = {}
        for step in range(times):
            size = int(needed * (step + draw.random()) / times * 0.9) // block * block + 2 * block
            subprocess.run(["mount", "-o", f"remount,size={size}", str(home)], check=True)
            log = subprocess.run(
                _command(place), env=_environment(), capture_output=True, text=True, timeout=PATIENCE
            )
            full = os.strerror(errno.ENOSPC) in " ".join(log.stderr.split())
            tally.faults += full
            require(tally, log.returncode == 1 and full and "Traceback" not in log.stderr, log.stderr[-400:])
            kept = compare(tally, kept, place.out, whole=False)
        subprocess.run(["mount", "-o", "remount,size=256m", str(home)], check=True)
        require(tally, place.finish() == 0, "the run did not end well on a larger disk")
        compare(tally, calm.records, place.out)
    return tally


def _command(place: Field) -> list[str]:
    from tests.endurance.harness import COMMAND

    return [*COMMAND, *place.arguments, "--jobs", "1", "--cache", str(place.models), "--out", str(place.out)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400"}


def small_files(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """No file may grow beyond a limit: the quota of somebody who is not root."""
    tally = Tally("file size limit")
    largest = max(path.stat().st_size for path in calm.field.models.rglob("*") if path.is_file())
    kept = {}
    for step in range(4):
        limit = int(largest * (step + 0.9 * draw.random()) / 5) + 600

        def prepare(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

        place = Field(home, calm.field.arguments, prepare=prepare)
        log = subprocess.run(
            _command(place),
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            preexec_fn=prepare,
        )
        tally.faults += 1
        explained = os.strerror(errno.EFBIG) in " ".join(log.stderr.split()) and "Traceback" not in log.stderr
        require(tally, log.returncode == 1 and explained, log.stderr[-400:])
        kept = compare(tally, kept, place.out, whole=False)
    place = Field(home, calm.field.arguments)
    require(tally, place.finish("--jobs", "1") == 0, f"the run did not end well: {place.log[-400:]}")
    compare(tally, calm.records, place.out)
    return tally


METHOD = '''"""Made up.

paper: none.
"""

import numpy as np
import torch

from regunlearn.benchmark.registry import method


@method("{name}", paper="none", family="test")
def it(request):
    """Return a model, if there is memory for it."""
    {body}
'''
HUNGRY = {
    "asks_torch": "return torch.empty(2**50)",
    "asks_numpy": "return np.empty(2**50)",
    "asks_python": "return bytearray(2**60)",
}
FED = {
    "still": "return request.model",
    "trained": "return request.fit(request.model, request.retain, epochs=1)",
}
ON_CUDA = {"asks_cuda": "return torch.empty(2**45, device='cuda')"}


def put(folder: Path, bodies: dict[str, str]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(METHOD.format(name=name, body=body))
    words = [word for task in ("ridge", "diabetes-mlp") for word in ("--task", task)]
    return [*words, "--split", "random", "--seeds", "0,1", "--methods", str(folder), "--jobs", "2"]


def out_of_memory(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """Methods ask for more memory than there is; the others' records are as without them."""
    return _hungry(Tally("out of memory, CPU"), home, HUNGRY)


def out_of_cuda_memory(calm: Calm, home: Path, draw: random.Random) -> Tally:
    """Likewise on a CUDA device."""
    import torch

    tally = Tally("out of memory, CUDA")
    if not torch.cuda.is_available():
        tally.skipped = "no CUDA device here"
        return tally
    return _hungry(tally, home, ON_CUDA)


def _hungry(tally: Tally, home: Path, bodies: dict[str, str]) -> Tally:
    alone = Field(home / "alone", put(home / "fed", FED), cache=home / "models")
    require(tally, alone.finish() == 0, f"the methods alone: {alone.log[-400:]}")
    place = Field(home / "beside", put(home / "all", {**FED, **bodies}), cache=home / "models")
    code = place.finish()
    require(tally, code == 1, f"exit code {code}, expected 1: cells failed")
    found = dict(lines_of(place.out))
    hungry = {key: line for key, line in found.items() if key[2] in bodies}
    tally.faults += len(hungry)
    tally.lost += 4 * len(bodies) - len(hungry)
    for key, line in hungry.items():
        require(tally, '"status":"out_of_memory"' in line, f"{key}: {line[:400]}")
    for name in bodies:
        (place.out / "records" / f"{name}.jsonl").unlink()
    compare(tally, alone.records(), place.out)
    return tally


KINDS = (
    sigkill,
    sigkill_jobs,
    sigkill_alone,
    sigterm,
    sigterm_group,
    interrupt,
    full_disk,
    small_files,
    cut_short,
    flipped,
    at_once,
    clocks,
    dead_worker,
    out_of_memory,
    out_of_cuda_memory,
)
