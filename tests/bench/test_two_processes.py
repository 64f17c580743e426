"""What a second worker process brings: the same grid of cells on one core and on two, start-up counted.

Reference models are trained before, in a run that is not measured. Needs two cores that nothing else uses.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from regunlearn.benchmark.records import MEASURED, Record, read_all

LIMIT = 1.7
TASKS = ("digits-allcnn", "diabetes-mlp")
METHODS = ("retrain", "truncated_retrain", "blindspot", "bad_teacher", "fine_tune", "scrub", "salun")
SEEDS = 14
"""Enough for a minute and a half on one core, so that the seconds in which processes start weigh as in a small run."""


def run(
    cache: Path, out: Path, *, jobs: int, seeds: int = SEEDS, methods: tuple[str, ...] = METHODS
) -> float:
    """Run the grid by the command and return its seconds, from the start of the process to its end."""
    command = [sys.executable, "-P", "-m", "regunlearn.benchmark.cli", "run", "--suite", "smoke"]
    command += ["--jobs", str(jobs), "--cache", str(cache), "--out", str(out), "--device", "cpu"]
    command += ["--seeds", ",".join(map(str, range(seeds)))]
    command += [word for task in TASKS for word in ("--task", task)]
    command += [word for method in methods for word in ("--method", method)]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return time.perf_counter() - start


def outcome(record: Record) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in Record.__dataclass_fields__ if name not in MEASURED}


@pytest.mark.timeout(900)
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core")
def test_two_processes_do_the_work_of_two(benchmark: Any, tmp_path: Path) -> None:
    cache = tmp_path / "models"
    run(cache, tmp_path / "warm", jobs=2, methods=("original",))  # trains the reference models of all seeds
    seconds = {jobs: run(cache, tmp_path / f"by-{jobs}", jobs=jobs) for jobs in (1, 2)}
    benchmark.pedantic(lambda: None, rounds=1)
    one, two = (read_all(tmp_path / f"by-{jobs}") for jobs in (1, 2))
    rates = {jobs: 3600 * len(one) / taken for jobs, taken in seconds.items()}
    ratio = seconds[1] / seconds[2]
    benchmark.extra_info.update(cells=len(one), ratio=ratio, seconds=seconds)
    print(
        f"\n{len(one)} cells: one process {seconds[1]:.1f} s ({rates[1]:,.0f} cells an hour), two {seconds[2]:.1f} s "
        f"({rates[2]:,.0f} cells an hour), ratio {ratio:.2f}"
    )
    assert [outcome(record) for record in one] == [outcome(record) for record in two]
    assert ratio >= LIMIT
