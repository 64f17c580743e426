"""Hostile and broken submissions: each is refused, by the check it concerns, in words of its own."""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from regunlearn.submission import checks

Edit = Callable[[Path], None]
OWN = "results/v1/records/mine.jsonl"
METHOD = "methods/mine.py"


def put(path: str, text: str = "changed\n") -> Edit:
    """Write a file."""

    def edit(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)

    return edit


def line(**changed: Any) -> Edit:
    """Change fields of the first record."""

    def edit(root: Path) -> None:
        first, *rest = (root / OWN).read_text().splitlines()
        record = json.loads(first)
        for name, value in changed.items():
            record[name] = {**record[name], **value} if isinstance(value, Mapping) else value
        (root / OWN).write_text("\n".join([json.dumps(record), *rest]) + "\n")

    return edit


def raw(old: str, new: str) -> Edit:
    """Replace text in the records."""

    def edit(root: Path) -> None:
        text = (root / OWN).read_text()
        assert old in text
        (root / OWN).write_text(text.replace(old, new, 1))

    return edit


def code(statement: str, at: str = "    return model.eval()") -> Edit:
    """Put a statement into the method's function."""

    def edit(root: Path) -> None:
        text = (root / METHOD).read_text()
        assert at in text
        (root / METHOD).write_text(text.replace(at, f"    {statement}\n{at}", 1))

    return edit


def top(statement: str) -> Edit:
    """Put a statement at the top of the method's file."""
    return code_at("import torch\n", f"import torch\n{statement}\n")


def code_at(old: str, new: str) -> Edit:
    def edit(root: Path) -> None:
        text = (root / METHOD).read_text()
        assert old in text
        (root / METHOD).write_text(text.replace(old, new, 1))

    return edit


def link(path: str, target: str) -> Edit:
    def edit(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)

    return edit


def large(path: str, size: int) -> Edit:
    def edit(root: Path) -> None:
        with (root / path).open("ab") as file:
            file.truncate(size)

    return edit


def remove(path: str) -> Edit:
    return lambda root: (root / path).unlink()


def binary(path: str) -> Edit:
    def edit(root: Path) -> None:
        (root / path).write_bytes(b"\xff\xfe\x00broken")

    return edit


def repeat(root: Path) -> None:
    lines = (root / OWN).read_text().splitlines()
    (root / OWN).write_text("\n".join([*lines, lines[0]]) + "\n")


def shorten(root: Path) -> None:
    lines = (root / OWN).read_text().splitlines()
    (root / OWN).write_text("\n".join(lines[:-2]) + "\n")


def other_machines(root: Path) -> None:
    path = root / "results" / "v1" / "machines.json"
    known = json.loads(path.read_text())
    known[next(iter(known))] = {"processor": "another"}
    path.write_text(json.dumps(known))


def second_method(root: Path) -> None:
    text = (root / METHOD).read_text()
    (root / "methods" / "yours.py").write_text(text.replace("mine", "yours"))


def as_ssd(root: Path) -> None:
    text = (root / OWN).read_text()
    (root / "results/v1/records/ghost.jsonl").write_text(text.replace('"mine"', '"ghost"'))
    for path in (OWN, METHOD, "tests/methods/test_mine.py"):
        (root / path).unlink()


def nothing(root: Path) -> None:
    for path in (OWN, METHOD, "tests/methods/test_mine.py"):
        (root / path).unlink()


HOSTILE: dict[str, tuple[str, Edit, str]] = {
    # Files of others, and of the benchmark
    "another method's file": ("files", put("methods/ssd.py"), r"files of 2 methods \(mine, ssd\)"),
    "another method's records": ("files", put("results/v1/records/ssd.jsonl"), r"files of 2 methods"),
    "another's records deleted": ("files", remove("results/v1/records/ssd.jsonl"), r"ssd.jsonl: deleted"),
    "a metric": ("files", put("benchmark/metrics.py"), r"benchmark/metrics.py: not a file of a submission"),
    "the tests": ("files", put("tests/conftest.py"), r"tests/conftest.py: not a file of a submission"),
    "the protocol": ("files", put("results/v1/protocol.toml"), r"protocol.toml: not a file of a submission"),
    "the gates": ("files", put("results/v1/gates.json", "[]"), r"gates.json: not a file of a submission"),
    "its own verification": ("files", put("results/v1/verified.json", "{}"), r"verified.json: not a file"),
    "the workflows": (
        "files",
        put(".github/workflows/x.yml"),
        r"workflows/x.yml: not a file of a submission",
    ),
    "a shared helper": ("files", put("methods/_descent.py"), r"_descent.py: not a file of a submission"),
    "somebody's machine": ("files", other_machines, r"machines.json: .* is changed or gone"),
    "two methods": ("files", second_method, r"files of 2 methods \(mine, yours\)"),
    "nothing at all": ("files", nothing, r"no method's file or records are changed"),
    # Names and sizes
    "a script as a name": (
        "files",
        put("results/v1/records/mine-<script>.jsonl"),
        r"mine-‹script›.jsonl: not a file",
    ),
    "a name with a line break": ("files", put("methods/mi\nne.py"), r"methods/mi\\nne.py: not a file"),
    "a path as a name": (
        "records",
        raw('"task": "california-mlp"', '"task": "../../x"'),
        r"'../../x' is not a valid name",
    ),
    "a script in a record": (
        "records",
        raw('"split": "band"', '"split": "<script>"'),
        r"'<script>' is not a valid name",
    ),
    "a link for the method": ("files", link(METHOD, "ssd.py"), r"mine.py: not a plain file"),
    "a link out of the repository": ("files", link(OWN, "/etc/hostname"), r"mine.jsonl: not a plain file"),
    "a hundred megabytes": (
        "files",
        large(OWN, 100_000_000),
        r"100,000,000 bytes, expected at most 1,000,000",
    ),
    "a long method": ("files", large(METHOD, 200_000), r"200,000 bytes, expected at most 100,000"),
    # Records
    "records without a method": ("records", as_ssd, r"method 'ghost' is not there"),
    "a cell twice": ("records", repeat, r"the same cell as line 1"),
    "not a number": ("records", line(metrics={"tv": float("nan")}), r"metric tv is nan, expected a finite"),
    "infinite": ("records", line(metrics={"tv": float("inf")}), r"metric tv is inf, expected a finite"),
    "a text for a number": ("records", line(metrics={"tv": "low"}), r"metric tv is 'low', expected a finite"),
    "no JSON": ("records", raw('{"schema"', '{{"schema"'), r"mine.jsonl:1: expected one JSON object"),
    "deep JSON": ("records", raw('{"schema"', "[" * 5000 + '{"schema"'), r"mine.jsonl:1: expected"),
    "no text": ("records", binary(OWN), r"cannot be read as UTF-8"),
    "a newer schema": ("records", line(schema=99), r"expected schema 1, found 99. Update"),
    "an unknown field": ("records", line(rank=1), r"unknown \['rank'\]"),
    "a negative time": ("records", line(seconds=-1.0), r"seconds is -1.0, expected at least 0"),
    "a truth for a seed": ("records", line(seed=True), r"seed True is not a whole number"),
    "a failure without a reason": ("records", line(status="error"), r"status 'error' needs a reason"),
    "another's name inside": ("records", line(method="ssd"), r"expected records of 'mine', found 'ssd'"),
    "another version of the file": (
        "records",
        line(method_hash="0" * 16),
        r"made by another version of mine.py",
    ),
    "the file edited afterwards": ("records", code("model.eval()"), r"made by another version of mine.py"),
    "other hyperparameters": (
        "records",
        line(hyperparameters={"rate": 9.0}),
        r"expected \{'share': 0.05, 'rate': 0.1\}",
    ),
    "blocks left out": ("records", shorten, r"2 cells have no record"),
    "a block of its own": ("records", line(split="worst"), r"not in the grid of protocol.toml"),
    "another protocol": ("records", line(protocol="quick"), r"of protocol 'quick', expected 'v1'"),
    "a better score than its axes": (
        "records",
        line(metrics={"score": 0.99}),
        r"score 0.99 is not the smallest of its axes",
    ),
    "an axis above one": ("records", line(metrics={"s_forget": 1.5}), r"s_forget is 1.5, expected 0 to 1"),
    "nulls of its own": (
        "records",
        line(metrics={"tv_null": 0.5}),
        r"tv_null is 0.5, in the record of .* the same for all",
    ),
    "other data": ("records", line(task_hash="0" * 16), r"task_hash 0+, that of"),
    "other forget rows": ("records", line(split_hash="0" * 16), r"split_hash 0+, that of"),
    "code that was not committed": (
        "records",
        line(commit="abcdef+changes"),
        r"not committed \('abcdef\+changes'\)",
    ),
    "an unknown machine": (
        "records",
        line(machine="somewhere"),
        r"machine 'somewhere' is not in machines.json",
    ),
    "a cost left out": ("records", line(passes=None), r"status ok without gradient passes"),
    "a tuning that is no data": (
        "records",
        put("results/v1/tuned/mine.json", '{"hyperparameters": "x"}'),
        r"expected the outcome of",
    ),
    # The method's file
    "broken Python": ("method", put(METHOD, "def mine(:\n"), r"mine.py"),
    "no method inside": (
        "method",
        put(METHOD, '"""Nothing."""\n'),
        r"expected exactly one function under @method",
    ),
    "another registered name": (
        "method",
        code_at('    "mine",', '    "hers",'),
        r"method 'mine' is not there|registers 'hers'",
    ),
    "no source in the header": (
        "method",
        code_at("paper: authors", "authors"),
        r"header has no line 'paper:'",
    ),
    "a reference by itself": (
        "method",
        code_at('paper="arXiv:0000.00000",', 'paper="arXiv:0000.00000",\n    reference=True,'),
        r"reference= is for maintainers",
    ),
    "the retrained model granted": (
        "method",
        code_at('paper="arXiv:0000.00000",', 'paper="arXiv:0000.00000",\n    cheat="retrained",'),
        r"cheat= is for maintainers",
    ),
    "reads the results": ("method", top("import json"), r"mine.py:\d+: imports json"),
    "reads files": ("method", code('open("x")'), r"uses open"),
    "a path to the results": (
        "method",
        code('where = "results/v1/records"'),
        r"names a place outside the request",
    ),
    "opens the network": ("method", top("import socket"), r"imports socket"),
    "downloads": (
        "method",
        code('torch.hub.download_url_to_file("x", "y")'),
        r"torch.hub reads or writes outside",
    ),
    "starts a process": ("method", top("import subprocess"), r"imports subprocess"),
    "starts a process by another name": ("method", top("import os as math_helper"), r"imports os"),
    "runs text as code": ("method", code('eval("1")'), r"uses eval"),
    "imports by name": ("method", code('__import__("os")'), r"uses __import__"),
    "loads a checkpoint": ("method", code('torch.load("model")'), r"torch.load reads or writes outside"),
    "loads under another name": (
        "method",
        top("from torch import load as nothing"),
        r"torch.load reads or writes",
    ),
    "the framework's insides": ("method", code("torch._C"), r"torch._C is private|private attribute _C"),
    "test rows": ("method", code("request.test_rows"), r"reaches for test_rows"),
    "the retrained model": ("method", code("request.retrained"), r"reaches for retrained"),
    "a private attribute": ("method", code("request._meter"), r"private attribute _meter"),
    "an attribute by built text": (
        "method",
        code('getattr(request, "_me" + "ter")'),
        r"getattr with a name that is not plain",
    ),
    "the interpreter": ("method", code("type(request).__subclasses__()"), r"uses __subclasses__"),
    "the engine": (
        "method",
        top("from regunlearn.benchmark import references"),
        r"imports regunlearn.benchmark.references",
    ),
    "another method": (
        "method",
        top("from regunlearn.methods.ssd import ssd"),
        r"imports regunlearn.methods.ssd",
    ),
    "everything of a module": ("method", top("from torch import *"), r"imports everything of torch"),
    "work on import": ("method", top('print("hello")'), r"does work on import"),
    "global random state": ("method", code("torch.manual_seed(0)"), r"global random state"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused(name: str, submitted: Path) -> None:
    where, edit, said = HOSTILE[name]
    edit(submitted)
    found = {
        check.name: problems
        for check, problems in checks.run(checks.open_submission(submitted, "HEAD"), STATIC)
    }
    problems = found[where] or []
    assert any(re.search(said, problem) for problem in problems), found
    assert all(len(problem) < 2000 and "Traceback" not in problem for problem in problems)


STATIC = [check for check in checks.CHECKS if check.name in ("files", "method", "records")]


def test_each_is_refused_in_words_of_its_own() -> None:
    assert len(HOSTILE) >= 25
    assert len({(where, said) for where, _, said in HOSTILE.values()}) >= 0.9 * len(HOSTILE)


def test_a_good_one_passes(submitted: Path) -> None:
    submission = checks.open_submission(submitted, "HEAD")
    assert submission.method == "mine"
    assert [(check.name, found) for check, found in checks.run(submission, STATIC)] == [
        ("files", []),
        ("method", []),
        ("records", []),
    ]


def test_a_failure_is_an_explicit_status(submitted: Path) -> None:
    line(status="diverged", reason="seed 3: loss is not finite", metrics={}, curves={})(submitted)
    first, *rest = (submitted / OWN).read_text().splitlines()
    (submitted / OWN).write_text(
        "\n".join([json.dumps({**json.loads(first), "metrics": {}, "curves": {}}), *rest]) + "\n"
    )
    assert not any(found for _, found in checks.run(checks.open_submission(submitted, "HEAD"), STATIC))


def test_reports_name_no_file_of_the_machine(submitted: Path) -> None:
    put("methods/ssd.py")(submitted)
    binary(OWN)(submitted)
    for _, found in checks.run(checks.open_submission(submitted, "HEAD"), STATIC):
        assert not any(os.fspath(Path.home()) in problem for problem in found or ())
