"""A run that is asked to end does so after the record in hand, with the exit code of the signal and no traceback."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.endurance.faults import METHOD
from tests.endurance.harness import Field, ended, kill, lines_of, wait_for

from regunlearn.benchmark import signals

LINGERS = "import time; time.sleep(0.7); return request.model"
WORDS = ["--task", "ridge", "--split", "random", "--seeds", ",".join(map(str, range(8)))]


@pytest.fixture
def place(tmp_path: Path) -> Field:
    """A run of eight cells of most of a second."""
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "lingers.py").write_text(METHOD.format(name="lingers", body=LINGERS))
    return Field(tmp_path, [*WORDS, "--methods", str(folder)])


def begun(place: Field, *more: str) -> subprocess.Popen[bytes]:
    """Start it and wait for its first record."""
    process = place.start(*more)
    try:
        assert wait_for((place.out / "records/lingers.jsonl").is_file, process), place.log
    except BaseException:
        kill(process)
        raise
    return process


@pytest.mark.parametrize(
    ("number", "jobs", "group"),
    [
        (signal.SIGTERM, "1", False),
        pytest.param(signal.SIGTERM, "2", True, marks=pytest.mark.slow),
        (signal.SIGINT, "2", True),
        (signal.SIGTERM, "timed", False),
    ],
)
def test_a_run_ends_after_the_record_in_hand(
    number: signal.Signals, jobs: str, group: bool, place: Field
) -> None:
    options = ["--timed", "--jobs", "1"] if jobs == "timed" else ["--jobs", jobs]
    if jobs == "timed":
        process = place.start(*options)
        assert wait_for((place.out / "protocol.toml").is_file, process)
        assert wait_for(lambda: "running methods" in place.log, process)
    else:
        process = begun(place, *options)
    with ended(process):
        before = len(list(lines_of(place.out)))
        os.killpg(process.pid, number) if group else process.send_signal(number)
        assert process.wait(timeout=120) == 128 + number
    there = len(list(lines_of(place.out)))
    assert before < there or jobs == "2"
    assert there < 8
    assert f"stopped by {number.name} after the record in hand. {signals.GOES_ON}" in place.log
    assert "Traceback" not in place.log
    assert place.finish("--jobs", "2") == 0
    assert [key[-1] for key, _ in lines_of(place.out)] == list(range(8))


def test_a_second_signal_ends_it_at_once(place: Field) -> None:
    with ended(begun(place, "--jobs", "2")) as process:
        process.send_signal(signal.SIGTERM)
        assert wait_for(lambda: "again: ends at once" in place.log, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    assert f"stopped. {signals.GOES_ON}" in place.log
    assert "Traceback" not in place.log


@pytest.fixture
def listening() -> Iterator[None]:
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored where tests run in the background
    with signals.listening():
        yield
    signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", signals.HANDLED)
def test_nothing_in_hand_is_an_interrupt(number: signal.Signals, listening: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert signals.exit_code() == 128 + number


def test_a_signal_waits_for_the_check(listening: None, capfd: pytest.CaptureFixture[str]) -> None:
    signals.check()
    with signals.finishing(), signals.finishing():
        signal.raise_signal(signal.SIGTERM)
        assert signals.stopping()
        with pytest.raises(signals.StoppedError, match="stopped by SIGTERM") as caught:
            signals.check()
        assert caught.value.exit_code == 143
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "SIGTERM: ends after the record in hand" in capfd.readouterr().err


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals.listening():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_handlers_are_put_back() -> None:
    def handler(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with signals.listening():
            assert signal.getsignal(signal.SIGTERM) is not handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
