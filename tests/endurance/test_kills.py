"""A run that is killed at random moments and then finished leaves the records of an undisturbed one."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from regunlearn.benchmark.records import read_all

COMMAND = str(Path(sys.executable).with_name("regunlearn"))


def start(arguments: list[str], out: Path, cache: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [COMMAND, "run", "--suite", "smoke", *arguments, "--out", str(out)],
        env={**os.environ, "REGUNLEARN_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it started, as pulling the plug does."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(arguments: list[str], out: Path, cache: Path) -> tuple[float, float]:
    """Run to the end; return the seconds until the run folder appeared, and all seconds."""
    begin, process = time.monotonic(), start(arguments, out, cache)
    try:
        while not (out / "protocol.toml").is_file() and process.poll() is None:
            time.sleep(0.02)
        ready = time.monotonic() - begin
        assert process.wait(timeout=240) == 0
    finally:
        if process.poll() is None:
            kill(process)
    return ready, time.monotonic() - begin


def lines(out: Path) -> dict[str, bytes]:
    """Return the record files without the commit: the checkout may get one while a drill of minutes runs."""
    files = (out / "records").glob("*.jsonl")
    return {path.name: re.sub(rb'"commit":("[^"]*"|null)', b"", path.read_bytes()) for path in files}


def drill(arguments: list[str], kills: int, seed: int, tmp_path: Path) -> None:
    """Kill `kills` runs one after the other, at moments drawn so that they are spread over the work of one run.

    A run that ends before its moment is compared, and the next one begins anew.
    """
    calm, rough, cache = tmp_path / "calm", tmp_path / "rough", tmp_path / "cache"
    ready, seconds = finish(arguments, calm, tmp_path / "other-cache")
    latest = ready + min(4 / kills, 0.8) * (seconds - ready)
    draw, killed, kept = random.Random(seed), 0, dict[str, set[bytes]]()
    while killed < kills:
        process = start(arguments, rough, cache)
        try:
            assert process.wait(timeout=draw.uniform(0.5 * ready, latest)) == 0
        except subprocess.TimeoutExpired:
            kill(process)
            killed += 1
        else:
            assert lines(rough) == lines(calm)
            rough, cache, kept = tmp_path / f"rough{killed}", tmp_path / f"cache{killed}", {}
            continue
        found = {name: set(content.splitlines()) for name, content in lines(rough).items()}
        for name, before in kept.items():
            assert before <= found[name], "a finished record was lost"
        kept = found
        if found:
            read_all(rough)
    finish(arguments, rough, cache)
    assert lines(rough) == lines(calm)
    for name in ("protocol.toml", "machines.json"):
        assert (rough / name).read_bytes() == (calm / name).read_bytes()


def chosen(*methods: str, tasks: tuple[str, ...] = ("ridge", "diabetes-mlp")) -> list[str]:
    pairs = [("--task", task) for task in tasks] + [("--method", method) for method in methods]
    return [word for pair in pairs for word in pair]


def test_two_kills(tmp_path: Path) -> None:
    arguments = [*chosen("original", "fine_tune"), "--split", "random", "--seeds", "0", "--jobs", "1"]
    drill(arguments, 2, 4, tmp_path)
