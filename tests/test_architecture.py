"""Who may import whom: methods, datasets and leaderboard import the benchmark, and it imports none of them.

`reproduction` imports the benchmark and the methods; the leaderboard reads its records, which need no torch.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmark", "methods", "datasets", "reproduction", "leaderboard", "submission")
ALLOWED: dict[str, tuple[str, ...]] = {
    "reproduction": ("methods",),
    "submission": ("leaderboard",),
    "leaderboard": ("reproduction.records", "reproduction.published", "reproduction.switches"),
}
"""What a folder may import beside the benchmark and itself."""


def imports(source: str, folder: str) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file of `folder` imports; names imported from a package included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = ["regunlearn", folder][: 3 - node.level] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def violations(source: str, folder: str) -> list[str]:
    """Say which lines of a file of `folder` break the import direction."""
    found = []
    for line, name in imports(source, folder):
        parts = name.split(".")
        if parts[0] in ("benchmark", "methods", "reproduction", "leaderboard", "submission"):
            found.append(f"{line}: {name} (import it as regunlearn.{name})")
        if parts[0] == "regunlearn" and len(parts) > 1 and not allowed(folder, parts[1:]):
            also = "".join(f", regunlearn.{one}" for one in ALLOWED.get(folder, ()))
            found.append(f"{line}: {folder} imports {name}, allowed is regunlearn.benchmark{also}")
        if parts[:2] == ["regunlearn", folder] and folder in ("methods", "datasets") and len(parts) > 2:
            private = parts[2].startswith("_")
            if not private:
                found.append(f"{line}: one file of {folder} imports another: {name}")
        if folder == "leaderboard" and parts[0] in ("torch", "torchvision", "timm"):
            found.append(f"{line}: leaderboard imports {name}")
    return list(dict.fromkeys(found))


def allowed(folder: str, parts: list[str]) -> bool:
    """Return whether a file of `folder` may import regunlearn.<parts>, or a package on the way to what it may."""
    if parts[0] in ("benchmark", folder):
        return True
    wanted = [one.split(".") for one in ALLOWED.get(folder, ())]
    return any(parts[: len(one)] == one[: len(parts)] for one in wanted)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_import_direction(folder: str) -> None:
    assert files(folder)
    found = {
        path.name: broken
        for path in files(folder)
        if (broken := violations(path.read_text(encoding="utf-8"), folder))
    }
    assert not found


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("leaderboard", "from regunlearn.datasets import ridge"),
        ("leaderboard", "def late():\n    import torch.nn"),
        ("leaderboard", "from torch import Tensor"),
        ("leaderboard", "import timm"),
        ("methods", "from regunlearn.methods import blindspot"),
        ("methods", "from regunlearn.methods.blindspot import blindspot"),
        ("methods", "from regunlearn import datasets"),
        ("methods", "from . import blindspot"),
        ("methods", "from ..datasets import ridge"),
        ("methods", "import regunlearn.leaderboard.build"),
        ("methods", "from benchmark.spec import Request"),
        ("datasets", "from regunlearn.datasets.digits import digits"),
        ("datasets", "from regunlearn.methods._finetune import finetune"),
        ("benchmark", "from regunlearn.methods import retrain"),
        ("benchmark", "if True:\n    import regunlearn.datasets.ridge"),
        ("benchmark", "from regunlearn import leaderboard"),
        ("benchmark", "from regunlearn.reproduction import switches"),
        ("methods", "from regunlearn.reproduction import switches"),
        ("reproduction", "from regunlearn.datasets import stsb"),
        ("reproduction", "from regunlearn.leaderboard import text"),
        ("reproduction", "from reproduction import switches"),
        ("leaderboard", "from regunlearn.reproduction import procedure"),
        ("leaderboard", "from regunlearn.reproduction.experiments import run"),
    ],
)
def test_a_planted_violation_is_caught(folder: str, source: str) -> None:
    assert violations(source, folder)


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("methods", "from regunlearn.methods._finetune import finetune"),
        ("methods", "from regunlearn.methods import _finetune"),
        ("methods", "from regunlearn.benchmark.spec import Request"),
        ("datasets", "import datasets"),
        ("leaderboard", "from regunlearn.leaderboard.frame import frame"),
        ("leaderboard", "from regunlearn.benchmark import records"),
        ("leaderboard", "from regunlearn.reproduction.records import Record"),
        ("leaderboard", "from regunlearn.reproduction import published, records"),
        ("reproduction", "from regunlearn.methods import blindspot"),
        ("reproduction", "from regunlearn.methods.gaussian_finetune import gaussian_targets"),
        ("reproduction", "from regunlearn.reproduction.switches import Switches"),
        ("benchmark", "from regunlearn.benchmark import spec"),
    ],
)
def test_what_is_allowed(folder: str, source: str) -> None:
    assert not violations(source, folder)


def test_datasets_is_no_regular_package() -> None:
    """With an `__init__.py` the folder would hide Hugging Face's `datasets` wherever the root is on sys.path."""
    assert not (ROOT / "datasets/__init__.py").exists()
    assert not (ROOT / "__init__.py").exists()


def test_one_module_has_one_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import methods"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "import regunlearn.methods, not methods" in done.stderr


def test_the_leaderboard_loads_no_framework() -> None:
    names = [
        f"regunlearn.leaderboard.{path.stem}" for path in files("leaderboard") if path.stem != "__init__"
    ]
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        "sys.exit(str({'torch', 'timm', 'torchvision'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.strip() == ""
