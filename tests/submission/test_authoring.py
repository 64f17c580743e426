"""The files of a new method: they pass the checks as they are, and nothing is overwritten."""

from pathlib import Path

import pytest

from regunlearn.benchmark import registry
from regunlearn.benchmark.errors import UsageError
from regunlearn.submission import authoring, reach


def test_what_is_written_is_sound(repository: Path) -> None:
    files = authoring.new_method("my_method", repository, family="distillation", paper="arXiv:2302.09880")
    assert [path.relative_to(repository).as_posix() for path in files] == [
        "methods/my_method.py",
        "tests/methods/test_my_method.py",
    ]
    card = registry.discover("method", repository / "methods").cards["my_method"]
    assert (card.function, card.fact("family"), card.fact("paper")) == (
        "my_method",
        "distillation",
        "arXiv:2302.09880",
    )
    assert reach.problems(files[0]) == []
    assert "template" not in files[0].read_text()
    assert "0000.00000" not in files[0].read_text()
    assert "from regunlearn.methods.my_method import my_method" in files[1].read_text()
    compile(files[1].read_text(), files[1].name, "exec")


@pytest.mark.parametrize(
    "name", ["ssd", "Mine", "../mine", "my-method", "", "class", "1st", "_mine", "a" * 41, "mine\n"]
)
def test_names_that_cannot_be(name: str, repository: Path) -> None:
    before = sorted(repository.rglob("*"))
    with pytest.raises(UsageError, match="Choose another name"):
        authoring.new_method(name, repository)
    assert sorted(repository.rglob("*")) == before


@pytest.mark.parametrize("text", ['"', "a\nb", "<b>", "", "x" * 81])
def test_texts_that_cannot_be(text: str, repository: Path) -> None:
    with pytest.raises(UsageError, match="one line of at most 80 plain characters"):
        authoring.new_method("mine", repository, family=text)


def test_outside_a_clone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Run this in a clone"):
        authoring.new_method("mine", tmp_path)


@pytest.mark.parametrize(
    "file", sorted((registry.PACKAGE / "methods").glob("[!_]*.py")), ids=lambda path: str(path.stem)
)
def test_every_method_here_reaches_for_nothing_else(file: Path) -> None:
    assert reach.problems(file) == []
