"""A small repository with a protocol, some methods and their records, and a good submission on top of it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regunlearn.benchmark import registry
from regunlearn.submission import authoring

ROOT = Path(__file__).parents[2]
OTHERS = ("original", "retrain", "fine_tune", "ssd", "truncated_retrain")
NAME = "mine"


def git(root: Path, *arguments: str) -> None:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *author, *arguments], check=True, capture_output=True)


@pytest.fixture(scope="session")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository as it is before a submission."""
    root = tmp_path_factory.mktemp("repository")
    home, source = root / "results" / "v1", ROOT / "results" / "v1"
    (home / "records").mkdir(parents=True)
    text = (source / "protocol.toml").read_text()
    (home / "protocol.toml").write_text(text)
    for name in ("gates.json", "machines.json"):
        shutil.copyfile(source / name, home / name)
    for name in (*OTHERS, *(f"truncated_retrain-{share}" for share in (2, 10, 25))):
        shutil.copyfile(source / "records" / f"{name}.jsonl", home / "records" / f"{name}.jsonl")
    shutil.copytree(ROOT / "methods", root / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("benchmark/metrics.py", "tests/conftest.py", "README.md", "CHANGELOG.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("as it was\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "before")
    return root


@pytest.fixture
def repository(committed: Path, tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    shutil.copytree(committed, root, symlinks=True)
    return root


def records_of(root: Path, name: str, hyperparameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of fine_tune under another method's name."""
    card = registry.discover("method", root / "methods").cards[name]
    lines = (ROOT / "results" / "v1" / "records" / "fine_tune.jsonl").read_text().splitlines()
    own = {"method": name, "method_hash": card.code_hash, "hyperparameters": hyperparameters}
    return [{**json.loads(line), **own} for line in lines]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def submitted(repository: Path) -> Path:
    """Return a repository with a good submission: a method's file, its test and its whole records."""
    authoring.new_method(NAME, repository)
    write(
        repository / "results" / "v1" / "records" / f"{NAME}.jsonl",
        records_of(repository, NAME, {"share": 0.05, "rate": 0.1}),
    )
    return repository


Edit = Callable[[Path], None]
