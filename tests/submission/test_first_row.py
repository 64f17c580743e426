"""From a fresh clone to a scored row within three minutes: a new method, edited in one file, beside all others."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regunlearn.benchmark.records import read

ROOT = Path(__file__).parents[2]
SUBPACKAGES = ("benchmark", "methods", "datasets", "reproduction", "leaderboard", "submission")
LONGEST = 180.0

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.environ.get("REGUNLEARN_TEST_DATA"), reason="REGUNLEARN_TEST_DATA is not set"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: there is nothing to clone again"),
]


def test_a_new_method_has_its_row_within_three_minutes(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True, timeout=60)
    packages = clone / "build" / "typing" / "regunlearn"
    packages.mkdir(parents=True)
    for name in SUBPACKAGES:
        (packages / name).symlink_to(clone / name, target_is_directory=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(packages.parent),
        "REGUNLEARN_CACHE": str(tmp_path / "cache"),  # empty: reference models are trained, data are fetched
    }

    def regunlearn(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "regunlearn.benchmark.cli", *words]
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    begun = time.monotonic()
    regunlearn("new-method", "mine")
    file = clone / "methods" / "mine.py"
    text = file.read_text(encoding="utf-8")
    assert "torch.where(batch.forget[:, None], 0.0, batch.targets)" in text
    file.write_text(
        text.replace("batch.forget[:, None], 0.0,", "batch.forget[:, None], 0.1,"), encoding="utf-8"
    )
    regunlearn(
        "run", "--suite", "quick", "--task", "california-mlp", "--method", "mine", "--out", "runs/quick"
    )
    board = regunlearn(
        *(
            "leaderboard",
            "--results",
            "runs/quick",
            "--beside",
            "results/quick",
            "--out",
            "runs/quick/leaderboard",
        )
    )
    taken = time.monotonic() - begun
    records = read(clone / "runs" / "quick" / "records" / "mine.jsonl")
    assert {record.status for record in records} == {"ok"}
    assert len(records) == 6
    rows = [line.split() for line in board.splitlines()]
    assert any("mine" in row for row in rows)
    assert any("blindspot" in row for row in rows)
    assert taken < LONGEST
