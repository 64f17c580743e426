"""The command: exit codes, messages without tracebacks, JSON, and how fast it answers."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from regunlearn.benchmark import cli

COMMAND = Path(sys.executable).with_name("regunlearn")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path, tmp_path: Path
) -> Command:
    """Run the command in this process, in an empty folder."""
    monkeypatch.setenv("REGUNLEARN_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["regunlearn", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return Done(code or 0, found.out, found.err)

    return run


RUN = ("run", "--suite", "smoke", "--task", "ridge", "--split", "random", "--jobs", "1")


# Listings


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("methods", {"name", "paper", "reference", "family", "hyperparameters"}),
        ("tasks", {"name", "dataset", "suite", "splits"}),
        ("splits", {"name", "kind", "tasks"}),
        ("metrics", {"name", "of", "label", "unit", "better", "formula", "source", "columns"}),
        ("datasets", {"name", "source", "licence"}),
    ],
)
def test_listings(what: str, fields: set[str], command: Command) -> None:
    done = command("list", what, "--json")
    assert done.code == 0
    rows = json.loads(done.out)
    assert rows
    assert all(fields <= set(row) for row in rows)
    assert len({(row["name"], row.get("of")) for row in rows}) == len(rows)
    table = command("list", what)
    assert table.code == 0
    assert rows[0]["name"] in table.out


def test_methods_say_what_they_are(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("list", "methods", "--json").out)}
    assert all(isinstance(row["reference"], bool) and isinstance(row["paper"], str) for row in rows.values())
    assert rows["original"]["reference"]
    assert rows["retrain"]["reference"]
    assert not rows["blindspot"]["reference"]
    assert "2210.08196" in rows["blindspot"]["paper"]


def test_splits_name_their_tasks(command: Command) -> None:
    rows = {row["name"]: row for row in json.loads(command("list", "splits", "--json").out)}
    assert {"random", "band", "group", "tail"} <= set(rows)
    assert rows["random"]["tasks"]["ridge"] == {"fraction": 0.1}


def test_data_list(command: Command) -> None:
    done = command("data", "list", "--json")
    assert done.code == 0
    assert {"ridge", "diabetes", "digits"} <= {row["name"] for row in json.loads(done.out)}


# Bad usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "method"), "unknown listing 'method'. Did you mean 'methods'?"),
        (("run", "--suite", "smokey"), "unknown suite 'smokey'. Did you mean 'smoke'?"),
        (("run", "--suite", "smoke", "--task", "rigde"), "unknown task 'rigde'. Did you mean 'ridge'?"),
        (
            ("run", "--suite", "smoke", "--task", "ridge", "--split", "bnd"),
            "unknown split of task ridge 'bnd'. Did you mean 'band'?",
        ),
        (("run", "--suite", "smoke", "--method", "blindspt"), "Did you mean 'blindspot'?"),
        (("missing", "--suite", "smoke", "--method", "blindspt"), "Did you mean 'blindspot'?"),
        (("data", "get", "rige"), "unknown dataset 'rige'. Did you mean 'ridge'?"),
        ((*RUN, "--device", "cda"), "unknown device 'cda'. Did you mean 'cuda'?"),
        ((*RUN, "--seeds", "a"), "--seeds 'a': expected whole numbers"),
        ((*RUN, "--seeds", "1;2"), "--seeds '1;2'"),
        ((*RUN, "--seeds", "0,"), "--seeds '0,'"),
        ((*RUN, "--seeds", "-1"), "not whole numbers >= 0"),
        ((*RUN, "--seeds", "1,1"), "named twice"),
        ((*RUN, "--threads", "0"), "must be at least 1"),
        (("run", "--suite", "smoke", "--jobs", "0"), "must be at least 1"),
        ((*RUN, "--methods", "nowhere"), "nowhere is not a folder"),
        (("rnu",), "No such command 'rnu'"),
        (("run", "--sede", "1"), "No such option"),
        (("run", "--jobs", "many"), "Invalid value"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], message: str, command: Command, tmp_path: Path) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_help(command: Command) -> None:
    assert command("--help").code == 0
    for name in ("list", "data", "run", "missing", "check", "leaderboard"):
        assert name in command("--help").out
        assert command(name, "--help").code == 0


# Runs


def test_run_missing_check(command: Command, tmp_path: Path) -> None:
    chosen = ("--method", "original", "--method", "fine_tune", "--seeds", "0,1", "--out", "here")
    missing = command("missing", *RUN[1:-2], *chosen, "--json")
    assert missing.code == 1
    assert len(json.loads(missing.out)) == 4
    assert set(json.loads(missing.out)[0]) == {"task", "split", "method", "seed"}

    done = command(*RUN, *chosen)
    assert done.code == 0, done.err
    assert "4 cells run, 0 kept, 0 failed: here/records" in done.out
    assert sorted(path.name for path in (tmp_path / "here/records").iterdir()) == [
        "fine_tune.jsonl",
        "original.jsonl",
    ]

    again = command(*RUN, *chosen)
    assert (again.code, again.out) == (0, "0 cells run, 4 kept, 0 failed: here/records\n")
    assert command("missing", *RUN[1:-2], *chosen).out == "0 of 4 cells missing in here\n"
    assert command("missing", *RUN[1:-2], *chosen, "--json") == Done(0, "[]\n", "")
    wider = command("missing", *RUN[1:-2], *chosen[:4], "--seeds", "0,1,2", "--out", "here")
    assert wider.code == 1
    assert wider.out.splitlines() == [
        "ridge/random/fine_tune/2",
        "ridge/random/original/2",
        "2 of 6 cells missing in here",
    ]

    assert command("check", "--results", "here") == Done(0, "4 records of 2 methods, 0 problems\n", "")
    assert command("check", "--results", "nowhere").code == 1
    path = tmp_path / "here/records/fine_tune.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    for field, value, message in (
        ("method_hash", "0" * 16, "another version of fine_tune.py"),
        ("protocol", "other", "of protocol 'other', expected 'smoke'"),
        ("split", "tail", "not in the grid"),
        ("seed", 7, "not in the grid"),
        ("seed", -1, "seed -1"),
        ("task", "../x", "is not a valid name"),
    ):
        path.write_text(json.dumps(first | {field: value}) + "\n")
        checked = command("check", "--results", "here")
        assert checked.code == 1
        assert message in checked.err


def test_a_name_given_twice_is_run_once(command: Command) -> None:
    chosen = (
        "--method",
        "original",
        "--method",
        "original",
        "--split",
        "random",
        "--seeds",
        "0",
        "--out",
        "here",
    )
    assert command(*RUN, *chosen).out.startswith("1 cells run, 0 kept")


METHOD = '''"""Made up.

paper: none.
"""

from regunlearn.benchmark.registry import method


@method("{name}", paper="none", family="test")
def it(request):
    """Return a model."""
    {body}
'''


def test_failures_are_told_at_the_end_and_stop_nothing(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "good.py").write_text(METHOD.format(name="good", body="return request.model"))
    (folder / "bad.py").write_text(METHOD.format(name="bad", body="raise ValueError('on purpose')"))
    (folder / "broken.py").write_text("def (")
    done = command(*RUN, "--seeds", "0", "--methods", str(folder), "--out", "here")
    assert done.code == 1
    assert "2 cells run, 0 kept, 1 failed" in done.out
    assert "ridge/random/bad/0: error: ValueError: on purpose" in done.err
    assert "broken.py: SyntaxError" in done.err
    assert (tmp_path / "here/records/good.jsonl").is_file()


def test_an_empty_folder_of_methods(command: Command, tmp_path: Path) -> None:
    done = command(*RUN, "--methods", str(tmp_path))
    assert done.code == 2
    assert "no method found" in done.err


def test_another_protocol_in_the_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/protocol.toml").write_text('name = "quick"\nseeds = [0]\n[splits]\n')
    done = command(*RUN, "--method", "original", "--out", "here")
    assert done.code == 2
    assert "holds records made with name = quick, asked for smoke. Choose another --out." in done.err


def test_a_folder_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file")
    done = command(*RUN, "--method", "original", "--out", "here")
    assert done.code == 1
    assert "cannot" in done.err


def test_data_get_of_bundled_data(command: Command) -> None:
    done = command("data", "get", "ridge", "diabetes")
    assert done.code == 0
    assert "ridge: 300 train, 100 validation, 200 test rows" in done.out


# Fresh processes


def test_help_answers_in_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([COMMAND, "--help"], capture_output=True, timeout=60)
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert min(seconds) < 0.5, statistics.median(seconds)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["list", "tasks", "--json"], 0), (["list", "x"], 2), (["check", "--results", "x"], 1)],
)
def test_exit_codes_of_the_script(arguments: list[str], code: int, tmp_path: Path) -> None:
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == (code != 0)


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    script = f"{COMMAND} list metrics --json | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.stdout == "[\n"
    assert "Traceback" not in done.stderr


def test_interrupting_a_run_twice_ends_it_at_once_and_says_that_it_goes_on(
    tmp_path: Path, cache: Path
) -> None:
    body = "import time; time.sleep(60)"
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "a.py").write_text(METHOD.format(name="a", body="return request.model"))
    (folder / "b.py").write_text(METHOD.format(name="b", body=body))
    arguments = [*RUN, "--seeds", "0", "--methods", str(folder), "--out", str(tmp_path / "here")]
    process = subprocess.Popen(
        [COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "REGUNLEARN_CACHE": str(cache)},
        start_new_session=True,
        # a shell that puts the tests in the background has them ignore interrupts, and so would the command
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "here/records/a.jsonl").is_file():
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it ends after the record in hand
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "Finished cells are kept; the same command goes on from there." in err
    assert "Traceback" not in err


def test_a_trial_is_short_and_kept_apart(command: Command) -> None:
    chosen = ("run", "--suite", "smoke", "--task", "digits-mlp", "--split", "random", "--method", "retrain")
    done = command(*chosen, "--seeds", "0", "--jobs", "1", "--epochs", "1")
    assert done.code == 0, done.err
    lines = Path("runs/smoke-trial/records/retrain.jsonl").read_text().splitlines()
    assert [json.loads(line)["protocol"] for line in lines] == ["smoke-trial"]
    assert not Path("runs/smoke").exists()
    assert command(*chosen, "--epochs", "0").code == 2


# The catalogue


def test_methods_are_filtered_by_card(command: Command) -> None:
    names = {
        row["name"] for row in json.loads(command("list", "methods", "--without", "retain", "--json").out)
    }
    assert "neggrad" in names
    assert "fine_tune" not in names
    table = command("list", "methods", "--family", "second order", "--needs", "retain").out
    assert "influence" in table
    assert "share * E * R" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "methods", "--needs", "retian"), "Did you mean 'retain'?"),
        (("list", "methods", "--family", "second-order"), "Did you mean 'second order'?"),
        (("list", "tasks", "--needs", "retain"), "choose among methods"),
        (("docs", "method"), "Did you mean 'methods'?"),
    ],
)
def test_filters_that_mean_nothing_are_refused(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert message in done.err


def test_cards_are_printed_or_written(command: Command) -> None:
    printed = command("docs", "methods")
    assert "### `blindspot`" in printed.out
    assert "Not applicable" in printed.out
    assert command("docs", "methods", "--write", "cards.md").code == 0
    assert Path("cards.md").read_text(encoding="utf-8") == printed.out.removesuffix("\n")


def test_a_suite_runs_its_core_and_a_hungry_method_is_announced(command: Command) -> None:
    core = command("missing", "--suite", "smoke", "--task", "ridge", "--split", "random", "--seeds", "0")
    assert "/blindspot/" in core.out
    assert "/influence/" not in core.out
    every = command(
        "missing",
        "--suite",
        "smoke",
        "--task",
        "ridge",
        "--split",
        "random",
        "--seeds",
        "0",
        "--method",
        "all",
    )
    assert "/influence/" in every.out
    done = command(*RUN, "--seeds", "0", "--method", "woodfisher")
    assert "woodfisher: more than four times the memory of a training step" in done.err
