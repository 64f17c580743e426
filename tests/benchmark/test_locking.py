"""One at a time, also after a holder was killed; two stores on one folder lose and double nothing."""

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest
from tests.benchmark.test_records import record

from regunlearn.benchmark import locking, records
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.locking import all_held, held
from regunlearn.benchmark.records import Record, Store, read

HOLDS = """
import sys
from pathlib import Path
from regunlearn.benchmark.locking import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNTS = """
import sys
from pathlib import Path
from regunlearn.benchmark.locking import held
path = Path(sys.argv[1])
for _ in range(100):
    with held(path):
        path.write_text(str(int(path.read_text()) + 1))
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the lock of a path."""
    command = [sys.executable, "-P", "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    command = [sys.executable, "-P", "-c", COUNTS, str(path)]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert path.read_text() == "300"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / ".a.lock").exists()
        with held(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_waiting_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Path] = []
    monkeypatch.setattr(locking, "PATIENCE", 0.05)
    with holder(tmp_path / "a") as process:

        def info(message: str, path: Path) -> None:
            told.append(path)
            process.kill()

        monkeypatch.setattr(locking.log, "info", info)
        with held(tmp_path / "a"):
            pass
    assert told == [tmp_path / "a"]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def flock(handle: int, operation: int) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(BenchmarkError, match=r"no locks .*Choose a folder on a local disk"),
        held(tmp_path / "a"),
    ):
        pass


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(self: Any, timeout: float) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with (
        pytest.raises(BenchmarkError, match=r"No space left on device.*finished work is kept"),
        held(tmp_path / "a"),
    ):
        pass


def test_several_are_taken_in_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    @contextmanager
    def note(path: Path) -> Iterator[None]:
        taken.append(path.name)
        yield

    monkeypatch.setattr(locking, "held", note)
    with all_held(tmp_path / name for name in "bcab"):
        assert taken == ["a", "b", "c"]


def test_two_stores_keep_each_other_s_records(tmp_path: Path) -> None:
    one, other = Store(tmp_path), Store(tmp_path)
    for seed in range(6):
        (one, other)[seed % 2].add(record(seed=seed))
    assert [found.seed for found in read(tmp_path / "records/good.jsonl")] == list(range(6))


ADDS = """
import sys
from dataclasses import replace
from pathlib import Path
from regunlearn.benchmark.records import Store, parse
store, one = Store(Path(sys.argv[1])), parse(sys.argv[2], "given")
for seed in range(int(sys.argv[3]), 60, 2):
    store.add(replace(one, seed=seed))
"""


def test_two_processes_add_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-c", ADDS, str(tmp_path), record().to_line()]
    processes = [subprocess.Popen([*command, first]) for first in "01"]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert [found.seed for found in read(tmp_path / "records/good.jsonl")] == list(range(60))


def test_a_store_reads_again_only_what_another_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, calls = Store(tmp_path), Store(tmp_path), list[Path]()

    def noted(path: Path) -> list[Record]:
        calls.append(path)
        return read(path)

    monkeypatch.setattr(records, "read", noted)
    for seed in range(4):
        one.add(record(seed=seed))
    assert calls == []
    other.add(record(seed=4))
    one.add(record(seed=5))
    assert len(calls) == 2


def test_the_same_model_is_trained_once(tmp_path: Path) -> None:
    """Two processes that want one model: the second waits and takes it from the cache."""
    script = f"""
from pathlib import Path
import torch
from regunlearn.benchmark import runner, trainers
plain = trainers.fit
def fit(*arguments, **options):
    with open({str(tmp_path / "trained")!r}, "a") as log:
        log.write("x")
    return plain(*arguments, **options)
trainers.fit = fit
settings = runner.Settings(cache=Path({str(tmp_path / "models")!r}), device="cpu")
runner.open_task("diabetes-mlp", settings).state(0)
"""
    processes = [subprocess.Popen([sys.executable, "-P", "-c", script]) for _ in range(2)]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    assert (tmp_path / "trained").read_text() == "x"
    assert list((tmp_path / "models").rglob("*.lock")) == []
