"""Every command of the documentation is checked; the tests' names say how.

`pytest --collect-only -q tests/docs/test_commands.py` lists each command with its check: run (in a small clone of this
repository, one after the other, as a reader would type them), parsed (by the command's own parser, names included),
make (a target of the Makefile), collected (tests that are there), set-up.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.docs import commands as checks
from tests.docs import documented
from tests.docs.documented import FORMS, GUIDES, PAGES, ROOT, Block, Command

COMMANDS = [command for page in GUIDES for command in documented.commands(page)]
LANGUAGES = {"sh", "python", "text"}


def how(command: Command) -> str:
    """Return how a command of an `sh` block is checked."""
    words = command.arguments
    if command.program == "regunlearn":
        return "parsed" if checks.matching(checks.PARSED, words) else "run"
    if command.program == "git":
        return "run"
    if command.program == "make":
        return "make"
    if command.program == "python" and words[:2] == ["-m", "pytest"]:
        return "run" if "my_method" in words else "collected"
    if command.program in ("source", "export"):
        return "set-up"
    raise AssertionError(f"{command}: nothing here checks it. Add a rule to `how`.")


def by(kind: str) -> list[Any]:
    found = [command for command in COMMANDS if how(command) == kind]
    return [pytest.param(command, id=f"{kind}-{command}") for command in found]


# Run in the clone


@dataclass(frozen=True)
class Outcome:
    """How a command ended in the clone."""

    code: int
    text: str


def examples() -> dict[str, str]:
    """Return by path the complete files that pages show."""
    method = next(b for b in documented.blocks("README.md") if b.language == "python")
    data = next(b for b in documented.blocks("docs/add-a-dataset.md") if b.language == "python")
    return {"methods/my_method.py": method.content, "datasets/tides.py": data.content}


def step(command: Command) -> list[str]:
    """Return the words with which a command is run in the clone."""
    if command.program == "regunlearn":
        return ["regunlearn", *checks.equivalent(command)]
    if command.program == "python":
        return [sys.executable, "-P", *command.arguments, "-p", "no:benchmark", "-p", "no:cacheprovider"]
    return [command.program, *command.arguments]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository with the pages' examples in it, on a branch `main`."""
    folder = tmp_path_factory.mktemp("documented") / "clone"
    folder.mkdir()
    checks.fill(folder, checks.methods_of(COMMANDS), examples())
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "As it is"]):
        subprocess.run(["git", *words], cwd=folder, env=environment(folder), check=True, timeout=60)
    return folder


def environment(folder: Path) -> dict[str, str]:
    who = {f"GIT_{role}_{what}": "reader" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "REGUNLEARN_"))},
        **who,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder / "build" / "typing"),
        "REGUNLEARN_CACHE": str(folder / ".cache"),
    }


@pytest.fixture(scope="module")
def outcomes(clone: Path) -> Mapping[Command, Outcome]:
    """All commands that are run, one after the other in the order of the pages; the same one once."""
    todo = [command for command in COMMANDS if how(command) == "run"]
    steps = list(dict.fromkeys(tuple(step(command)) for command in todo))
    (clone.parent / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
    driver = Path(__file__).with_name("drive.py")
    done = subprocess.run(
        [sys.executable, "-P", str(driver), "../steps.json", "../outcomes.json"],
        cwd=clone,
        env=environment(clone),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((clone.parent / "outcomes.json").read_text(encoding="utf-8"))
    ended = {words: Outcome(one["code"], one["text"]) for words, one in zip(steps, found, strict=True)}
    return {command: ended[tuple(step(command))] for command in todo}


@pytest.mark.parametrize("command", by("run"))
def test_a_documented_command_runs(command: Command, outcomes: Mapping[Command, Outcome]) -> None:
    outcome = outcomes[command]
    expected = 1 if checks.matching(checks.FAILS, command.arguments) else 0
    assert outcome.code == expected, f"{checks.shown(step(command))}\n{outcome.text}"
    assert "Traceback" not in outcome.text


def test_the_run_commands_left_what_the_pages_say(outcomes: Mapping[Command, Outcome], clone: Path) -> None:
    """Records and boards where the guides say that they are, and the example on them."""
    assert outcomes
    for name in ("runs/first/records/my_method.jsonl", "results/v1/records/my_method.jsonl"):
        assert '"status":"ok"' in (clone / name).read_text(encoding="utf-8").replace(": ", ":"), name
    for name in ("runs/first/leaderboard/leaderboard.md", "leaderboard/v1/leaderboard.md"):
        assert "my_method" in (clone / name).read_text(encoding="utf-8"), name
    gates = next(o for c, o in outcomes.items() if "--gates" in c.words)
    failed = {line.split()[4] for line in gates.text.splitlines() if line.endswith(("no", "no    "))}
    assert "G1" in gates.text
    assert failed


# Parsed


@pytest.mark.parametrize(
    "command", [one for one in (*by("parsed"), *by("run")) if one.values[0].program == "regunlearn"]
)
def test_the_parser_takes_it(command: Command) -> None:
    checks.parse(command.arguments)
    assert checks.strange_names(command.arguments) == []


MENTIONED = [command for page in (*PAGES, *FORMS) for command in documented.mentions(page, "regunlearn")]


@pytest.mark.parametrize("command", MENTIONED, ids=str)
def test_a_mentioned_command_exists(command: Command) -> None:
    """A command in a sentence: whole, as a synopsis with [optional] parts, or only its name."""
    words = command.arguments
    if any(mark in word for word in words for mark in ("[", "|", "...")):
        plain = [word.strip("[].") for word in words]
        assert {word for word in plain if word.startswith("--")} <= checks.options(plain)
        return
    _, left = checks.descend(words)
    if left:
        checks.parse(words)
        assert checks.strange_names(words) == []


# The other programs


@pytest.mark.parametrize("command", by("make"))
def test_the_makefile_has_the_target(command: Command) -> None:
    done = subprocess.run(
        ["make", "-n", *command.arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [c for page in PAGES for c in documented.mentions(page, "make") if c.words[1].islower()],
    ids=str,
)
def test_a_mentioned_target_exists(command: Command) -> None:
    done = subprocess.run(
        ["make", "-n", *command.arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", by("collected"))
def test_the_tests_that_are_named_are_there(command: Command) -> None:
    quiet = ["--collect-only", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-P", *command.arguments, *quiet],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::test_" in done.stdout


@pytest.mark.parametrize("command", by("set-up"))
def test_the_set_up_is_that_of_the_makefile(command: Command) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    if command.program == "source":
        assert command.arguments == [".venv/bin/activate"]
        assert "-m venv .venv" in makefile
    else:
        assert command.arguments == ["REGUNLEARN_CACHE=$PWD/.cache"]
        assert "REGUNLEARN_CACHE ?= $(CURDIR)/.cache" in makefile


@pytest.mark.parametrize(
    "command", [c for page in PAGES for c in documented.mentions(page, "python")], ids=str
)
def test_a_mentioned_script_exists(command: Command) -> None:
    assert (ROOT / command.arguments[0]).is_file()


# Examples


@pytest.mark.parametrize(
    "block",
    [b for page in PAGES for b in documented.blocks(page) if b.language == "python"],
    ids=lambda b: f"{b.page}:{b.line}",
)
def test_examples_compile(block: Block) -> None:
    """An example that shows a decorator alone is completed by a function."""
    try:
        ast.parse(block.content)
    except SyntaxError:
        ast.parse(f"{block.content}\ndef example(): ...\n")


def test_the_metric_of_the_guide_is_a_metric() -> None:
    """It enters the table, explains itself, and gives what it says on models that are shifted by 2."""
    (block,) = [b for b in documented.blocks("docs/add-a-metric.md") if b.language == "python"]
    check = """
import numpy as np
from regunlearn.benchmark.evidence import PARTS, ModelEvidence
from regunlearn.benchmark.metrics import METRICS, evaluate
from regunlearn.leaderboard.explain import explain

def model(shift):
    return ModelEvidence(predictions={part: np.arange(6.0)[:, None] + shift for part in PARTS})

evidence = Evidence(
    targets={part: np.arange(6.0)[:, None] for part in PARTS}, scale=1.0, unlearned=model(2.0), original=model(0.0),
    retrained=model(0.0), originals=[model(0.0)], retrains=[model(0.0)], seed=0,
)
assert METRICS["bias_train_forget"].function(evidence) == 2.0
assert METRICS["bias_train_forget"].failure in explain("bias_train_forget")
"""
    done = subprocess.run(
        [sys.executable, "-c", block.content + check], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


# Nothing is left out


def test_every_block_says_what_it_is() -> None:
    found = [
        f"{b.page}:{b.line}" for page in PAGES for b in documented.blocks(page) if b.language not in LANGUAGES
    ]
    assert found == [], "blocks of commands are ```sh, examples ```python, all else ```text"


def test_every_command_has_one_check() -> None:
    kinds = {kind: by(kind) for kind in ("run", "parsed", "make", "collected", "set-up")}
    assert sum(map(len, kinds.values())) == len(COMMANDS)
    assert all(kinds.values())


def test_the_table_has_no_line_too_many() -> None:
    """A line that no command needs any more could hide one that should be run."""
    words = [c.arguments for c in COMMANDS if c.program == "regunlearn"]
    for table in (checks.PARSED, checks.FAILS):
        for key, reason in table.items():
            assert any(checks.matching({key: reason}, one) for one in words), key
    used = {(o, w) for one in words for o, w in pairwise(one)}
    assert {(o, w) for o, values in checks.EQUIVALENT.items() for w in values} <= used


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("runn --suite quick", "No such command"),
        ("run --sweet quick", "No such option"),
        ("run --suite", "requires an argument"),
        ("tune", "Missing argument"),
        ("tune blindspot --points many", "integer"),
        ("data fetch", "No such command"),
        ("list methods tasks", "unexpected extra argument"),
    ],
)
def test_a_command_that_does_not_exist_is_found(words: str, message: str) -> None:
    with pytest.raises(checks.BadUsage) as caught:
        checks.parse(words.split())
    assert message.lower() in caught.value.format_message().lower()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run --suite quik", "suite 'quik'"),
        ("run --task california", "task 'california'"),
        ("run --method blindspotted", "method 'blindspotted'"),
        ("run --protocol v0", "protocol 'v0'"),
        ("explain rncc", "metric 'rncc'"),
        ("data get nothing", "names 'nothing'"),
        ("reproduce stsb", "name 'stsb'"),
        ("list things", "what 'things'"),
        ("run --task california-mlp --split bnd", "split 'bnd'"),
    ],
)
def test_a_name_that_does_not_exist_is_found(words: str, message: str) -> None:
    assert checks.strange_names(words.split()) == [message]


@pytest.mark.parametrize("name", [c.arguments[1] for c in COMMANDS if c.arguments[:1] == ["new-method"]])
def test_a_new_method_is_given_a_name_that_it_may_have(name: str) -> None:
    assert checks.is_method_name(name)
