"""The file of a new method and a stub of its test, from the template."""

import keyword
import re
from pathlib import Path

from regunlearn.benchmark import registry
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import UsageError

TEMPLATE = "_template.py"
PAPER = "arXiv:0000.00000"
"""What stands in the template for the source; without one a method's file passes and its header says nothing yet."""
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")

TEST = '''"""Known answers for {name}; the conformance suite runs it besides, by itself."""

from collections.abc import Callable
from typing import Any

import torch

from regunlearn.methods.{name} import {name}

Make = Callable[..., Any]


def test_with_steps_of_length_0_nothing_changes(make: Make) -> None:
    # An example. Put the answers here that follow from the method's mathematics: closed forms, limits, invariants.
    before = make("mlp").models()[0].state_dict()
    after = {name}(make("mlp").request(), rate=0.0).state_dict()
    assert all(torch.equal(values, after[name]) for name, values in before.items())


def test_some_epochs_change_the_model(make: Make) -> None:
    before = make("mlp").models()[0].state_dict()
    after = {name}(make("mlp").request(), share=0.2).state_dict()
    assert any(not torch.equal(values, after[name]) for name, values in before.items())
'''


def new_method(name: str, root: Path, *, family: str = "first order", paper: str = PAPER) -> list[Path]:
    """Write `methods/NAME.py`, which works as it is, and `tests/methods/test_NAME.py`, and return both.

    Args:
        name: of the method, lower-case words joined by underscores.
        root: of the repository.
        family: as in the decorator.
        paper: arXiv number, DOI or venue.

    Raises:
        UsageError: the name is not one, is taken, or `root` is no clone of the repository.
    """
    template = root / "methods" / TEMPLATE
    if not template.is_file():
        raise UsageError(
            f"{template}: expected the template of a method, found none. Run this in a clone of the repository."
        )
    if len(name) > 40 or not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            f"method {name[:60]!r}: expected at most 40 characters, lower-case words joined by '_' that start with a "
            "letter, such as my_method. Choose another name."
        )
    for what, text in (("family", family), ("paper", paper)):
        if not text.strip() or len(text) > 80 or not text.isprintable() or set(text) & set("\"'\\<>"):
            raise UsageError(f"--{what} {text[:60]!r}: expected one line of at most 80 plain characters.")
    files = [root / "methods" / f"{name}.py", root / "tests" / "methods" / f"test_{name}.py"]
    cards = registry.discover("method", root / "methods").cards
    taken = next((path for path in files if path.exists()), None)
    if name in cards:
        taken = cards[name].file
    if taken is not None:
        raise UsageError(
            f"method {name!r} is there already: {taken.relative_to(root)}. Choose another name, or edit that file."
        )
    write_text(files[0], _filled(template.read_text(encoding="utf-8"), name, family, paper))
    write_text(files[1], TEST.format(name=name))
    return files


def _filled(text: str, name: str, family: str, paper: str) -> str:
    """Return the template under another name; its remark on copying goes."""
    text = re.sub(r"# Copy this file .*?\n(?:#.*\n)*\n", "", text, count=1)
    text = text.replace('    "template",', f'    "{name}",').replace("def template(", f"def {name}(")
    text = text.replace(PAPER, paper)  # in the header and in the decorator: the two must agree
    return text.replace('family="first order",', f'family="{family}",')
