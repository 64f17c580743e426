"""How long a command takes that computes nothing: in a process of its own, from its start to its end."""

import statistics
import subprocess
import sys
from typing import Any

import pytest

LIMITS: dict[str, float] = {
    "--help": 0.3,
    "list methods": 0.5,
    "list tasks": 0.5,
    "list splits": 0.5,
    "list metrics": 0.5,
    "list datasets": 0.5,
    "explain rnc": 1.0,
    "check --help": 0.3,
    "leaderboard --help": 0.3,
}
"""Seconds on the clock, by what follows `regunlearn`."""


@pytest.mark.parametrize("words", LIMITS)
def test_a_command_starts_quickly(words: str, benchmark: Any) -> None:
    shown: list[str] = []

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "regunlearn.benchmark.cli", *words.split()],
            check=True,
            capture_output=True,
            text=True,
        )
        shown.append(done.stdout)

    benchmark.pedantic(run, rounds=7, warmup_rounds=1)
    seconds = statistics.median(benchmark.stats.stats.data)
    benchmark.extra_info.update(limit=LIMITS[words])
    print(f"\nregunlearn {words}: {seconds:.2f} s, limit {LIMITS[words]:g} s")
    assert shown[0].strip()
    assert len(set(shown)) == 1
    assert seconds < LIMITS[words]
