"""The paper's image task from a folder in AgeDB's official format to records, by the command."""

import json
import sys
from pathlib import Path

import pytest
from tests.datasets import faces

from regunlearn.benchmark import cli


def test_agedb_runs_from_its_official_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces.write_agedb(tmp_path / "data", 36, seed=0)
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    chosen = ["--task", "agedb-allcnn", "--split", "band", "--method", "fine_tune", "--seeds", "0"]
    monkeypatch.setattr(sys, "argv", ["regunlearn", "run", *chosen, "--epochs", "1", "--jobs", "1"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    (line,) = Path("runs/quick-trial/records/fine_tune.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["status"], record["task"], record["protocol"]) == ("ok", "agedb-allcnn", "quick-trial")
    assert 0 < record["metrics"]["mae_test_retain"] < 1000
