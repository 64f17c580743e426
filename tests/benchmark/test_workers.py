"""Workers die; what they had under way is done again, once, and an item that kills them is given up with its reason."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.endurance.faults import HUNGRY, METHOD
from tests.endurance.harness import Field

from regunlearn.benchmark import runner, workers
from regunlearn.benchmark.records import read_all

DIES = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
DIES_ONCE = """from pathlib import Path
    import os, signal
    mark = Path({mark!r}) / str(request.generator.initial_seed())
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return request.model"""
WORDS = ["--task", "ridge", "--split", "random", "--jobs", "2", "--methods"]


def place(tmp_path: Path, bodies: dict[str, str]) -> Field:
    folder = tmp_path / "methods"
    folder.mkdir()
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(METHOD.format(name=name, body=body))
    return Field(tmp_path, [*WORDS, str(folder)])


def test_the_run_goes_on_with_new_workers(tmp_path: Path) -> None:
    bodies = {"dies_once": DIES_ONCE.format(mark=str(tmp_path / "marks")), "still": "return request.model"}
    (tmp_path / "marks").mkdir()
    run = place(tmp_path, bodies)
    assert run.finish("--seeds", "0") == 0, run.log
    assert [(record.method, record.status) for record in read_all(run.out)] == [
        (name, "ok") for name in bodies
    ]
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert "a worker process ended abruptly" in run.log


def test_a_cell_whose_workers_die_is_given_up_with_its_reason(tmp_path: Path) -> None:
    run = place(tmp_path, {"dies": DIES, "still": "return request.model"})
    assert run.finish("--seeds", "0") == 1
    dead, alive = read_all(run.out)
    assert [(one.method, one.status) for one in (dead, alive)] == [("dies", "error"), ("still", "ok")]
    assert dead.reason is not None
    assert dead.reason.startswith("its worker process ended abruptly 3 times (killed, or out of memory): ")
    assert "SIGKILL" in dead.reason
    assert "Traceback" not in run.log


def die(item: int, settings: None) -> int:
    """Kill the process that works on 3; the others are worked on."""
    if item == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


SPREADS = """
import logging, sys
from regunlearn.benchmark import workers
from regunlearn.benchmark.errors import BenchmarkError
from tests.benchmark.test_workers import die
done = []
lost = (lambda item, settings, reason: -item) if sys.argv[1] == "lost" else None
try:
    for result in workers.spread(die, range(8), None, 2, lost=lost):
        done.append(result)
except BenchmarkError as error:
    print(error)
print(sorted(done))
"""


def spread(word: str) -> list[str]:
    """Run in a process of its own, whose workers may be killed, and return what it prints."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SPREADS, word], cwd=root, capture_output=True, text=True, timeout=200
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


WAITS = """
from regunlearn.benchmark import workers
from tests.benchmark.test_workers import wait
for result in workers.spread(wait, range(8), None, 2):
    print(result, flush=True)
"""


def wait(item: int, settings: None) -> int:
    """Return the worker for the first items, and keep it busy for longer than any test with the others."""
    if item > 1:
        time.sleep(600)
    return os.getpid()


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_workers_end_with_a_killed_parent() -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", WAITS], cwd=root, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        found = [int(run.stdout.readline()) for _ in range(2)]
        assert all(map(is_alive, found))
        run.kill()
    end = time.monotonic() + 60
    while any(map(is_alive, found)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, found))


def test_only_the_item_that_kills_is_given_up() -> None:
    assert spread("lost") == ["[-3, 0, 1, 2, 4, 5, 6, 7]"]


def test_without_a_way_to_give_up_it_is_an_error() -> None:
    *said, done = spread("")
    assert said[0].startswith(f"its worker process ended abruptly {workers.TRIES} times")
    assert "Run the same command again" in " ".join(said)
    assert set(json.loads(done)) <= set(range(8)) - {3}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_out_of_memory_is_a_status(jobs: str, tmp_path: Path) -> None:
    run = place(tmp_path, {**HUNGRY, "still": "return request.model"})
    assert run.finish("--seeds", "0", "--jobs", jobs) == 1
    found = {record.method: record.status for record in read_all(run.out)}
    assert found == {**dict.fromkeys(HUNGRY, "out_of_memory"), "still": "ok"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_is_out_of_memory(error: Exception, expected: bool) -> None:
    assert runner.is_out_of_memory(error) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_out_of_cuda_memory_is_a_status(tmp_path: Path) -> None:
    run = place(
        tmp_path, {"asks": "return torch.empty(2**45, device='cuda')", "still": "return request.model"}
    )
    assert run.finish("--seeds", "0", "--device", "cuda", "--jobs", "1") == 1
    assert [record.status for record in read_all(run.out)] == ["out_of_memory", "ok"]


# Help


def calls() -> SimpleNamespace:
    """Functions that helpers get by value: they cannot import this file."""

    def late_square(number: int) -> int:
        time.sleep(0.02)
        return number * number

    def die_elsewhere(here: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    def where(seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    def refuse(number: int) -> int:
        raise ValueError(f"no {number}")

    return SimpleNamespace(late_square=late_square, die_elsewhere=die_elsewhere, where=where, refuse=refuse)


@pytest.mark.parametrize("ahead", [1, 3])
def test_shared_work_comes_back_in_order(ahead: int) -> None:
    with closing(workers.Helpers(1)) as helpers:
        shared = helpers.share(calls().late_square, range(20), ahead)
        assert shared.results() == [number**2 for number in range(20)]
        assert helpers.share(calls().late_square, [], ahead).results() == []


def test_helpers_work_from_one_end_and_this_process_from_the_other() -> None:
    with closing(workers.Helpers(1)) as helpers:
        assert helpers.share(calls().where, [0.0]).results() != [os.getpid()]  # it has started
        found = helpers.share(calls().where, [0.2] * 6).results()
    assert found[0] == found[1] != os.getpid()
    assert found[-1] == os.getpid()


def test_what_helpers_die_of_is_done_here(caplog: pytest.LogCaptureFixture) -> None:
    with closing(workers.Helpers(1)) as helpers:
        shared = helpers.share(calls().die_elsewhere, [os.getpid()] * 5, ahead=2)
        assert shared.results() == [os.getpid()] * 5
    assert "a helping process ended abruptly" in caplog.text


def test_helpers_that_were_sent_home_leave_the_work() -> None:
    helpers = workers.Helpers(1)
    helpers.close()
    assert helpers.share(calls().late_square, range(5)).results() == [0, 1, 4, 9, 16]


def test_errors_of_shared_work_are_raised() -> None:
    with closing(workers.Helpers(1)) as helpers, pytest.raises(ValueError, match="no 1"):
        helpers.share(calls().refuse, [1]).results()
