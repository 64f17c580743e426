"""Every example in a docstring gives what it says. Modules are imported under their own name, once."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = [
    f"regunlearn.{folder}" + ("" if path.stem == "__init__" else f".{path.stem}")
    for folder in ("benchmark", "methods", "datasets", "reproduction", "leaderboard")
    for path in sorted((ROOT / folder).glob("*.py"))
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__name__ == name
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).failed == 0


def test_there_are_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert found
