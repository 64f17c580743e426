"""The rules of a submission: each names tests, and these exist."""

import ast
import re
from pathlib import Path

import pytest
from tests.docs.documented import ROOT, text_of

from regunlearn.benchmark import registry

RULE = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |^\S|\Z)", re.MULTILINE | re.DOTALL)


def rules(text: str) -> dict[int, str]:
    """Return the numbered items of a page, by number."""
    return {int(number): " ".join(words.split()) for number, words in RULE.findall(text)}


def named(rule: str) -> list[tuple[str, str]]:
    """Return file and function of every test that a rule names: `one` and `other` in `file.py`.

    Raises:
        AssertionError: a function is named without its file.
    """
    found, waiting = [], list[str]()
    for word in re.findall(r"`([^`]+)`", rule):
        if re.fullmatch(r"(test|check)_\w+", word):
            waiting.append(word)
        elif re.fullmatch(r"tests/[\w/]+\.py", word) and waiting:
            found += [(word, name) for name in waiting]
            waiting = []
    assert not waiting, f"{waiting}: in which file?"
    return found


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


RULES = rules(text_of("CONTRIBUTING.md"))


def test_the_rules_are_numbered() -> None:
    assert list(RULES) == list(range(1, len(RULES) + 1))
    assert len(RULES) >= 12


@pytest.mark.parametrize("number", RULES)
def test_every_rule_names_a_test_that_exists(number: int) -> None:
    tests = named(RULES[number])
    assert tests, f"rule {number} names no test"
    for file, name in tests:
        assert (ROOT / file).is_file(), f"rule {number}: {file} does not exist"
        assert name in functions(ROOT / file), f"rule {number}: {file} has no {name}"


def test_checks_that_are_named_are_part_of_the_conformance_suite() -> None:
    """A function `check_...` is run on every method by being in the table of the suite."""
    table = ROOT / "tests" / "methods" / "test_contract.py"
    text = table.read_text(encoding="utf-8").partition("CHECKS: dict")[2].partition("}")[0]
    checks = {name for rule in RULES.values() for _, name in named(rule) if name.startswith("check_")}
    assert len(checks) >= 10
    assert {name for name in checks if f"{name}," not in text} == set()


def test_every_method_has_a_test_of_its_own() -> None:
    """In a file of its name, or beside those that its mathematics is shared with."""
    tests = {
        path.stem.removeprefix("test_"): path.read_text(encoding="utf-8")
        for path in (ROOT / "tests" / "methods").glob("test_*.py")
        if path.stem not in ("test_contract", "test_request_reach", "test_scale")
    }
    without = [
        name
        for name in registry.discover("method").cards
        if name not in tests and not any(re.search(rf"\b{name}\b", text) for text in tests.values())
    ]
    assert without == []


def test_a_disproof_is_a_submission() -> None:
    text = text_of("CONTRIBUTING.md")
    assert "## A disproof" in text
    assert (ROOT / ".github" / "ISSUE_TEMPLATE" / "disputed-result.yml").is_file()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. A rule. (`test_a` in `tests/x.py`)\n\nProse.\n", {1: "A rule. (`test_a` in `tests/x.py`)"}),
        ("1. One\n   goes on.\n2. Two.\n\n## Head\n", {1: "One goes on.", 2: "Two."}),
    ],
)
def test_rules_are_read(text: str, expected: dict[int, str]) -> None:
    assert rules(text) == expected


def test_tests_of_two_files_are_told_apart() -> None:
    rule = "(`test_a` and `check_b` in `tests/x.py`; `test_c` in `tests/y/z.py`; a `word`)"
    assert named(rule) == [("tests/x.py", "test_a"), ("tests/x.py", "check_b"), ("tests/y/z.py", "test_c")]
    with pytest.raises(AssertionError, match="in which file"):
        named("(`test_a`)")
