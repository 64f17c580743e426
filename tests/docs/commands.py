"""How each documented command is checked: run in a small clone, or, with a reason, by the command's own parser."""

import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from tests.docs.documented import ROOT, Command
from typer.core import TyperGroup

from regunlearn.benchmark import cli, glossary, grid, registry, sources
from regunlearn.benchmark.records import check_name

ROOT_COMMAND: Any = typer.main.get_command(cli.app)
BadUsage: Any = typer.BadParameter.__bases__[0]
"""What a parser raises: of the click that typer brings along, or of the package, as its version has it."""

# The table ---------------------------------------------------------------------------------------------------------

EQUIVALENT: Mapping[str, Mapping[str, str]] = {
    "--suite": {"quick": "smoke"},
    "--task": {"california-mlp": "diabetes-mlp"},
    "--method": {"NAME": "my_method"},
}
"""What is put in the place of a documented value where a command is run. Nothing else of it is changed."""

PARSED: Mapping[tuple[str, ...], str] = {
    ("new-method",): "its own tests run it on a copy of the repository",
    ("submit",): "its own tests run it on a copy of the repository",
    ("check", "--against"): "its own tests run it on a copy of the repository",
    ("verify",): "its own tests run it on a copy of the repository",
    ("verify-references",): "trains models of tasks whose data are fetched",
    ("reproduce",): "needs data that are fetched",
    ("tune",): "runs on the dev tasks, whose data are fetched",
    ("run", "--task", "utkface-allcnn"): "needs data that are fetched, and an accelerator",
    ("run", "--method", "my_method-tuned"): "needs what `regunlearn tune` writes",
}
"""Commands of which the parser alone is asked, by words that they have, with the reason."""

FAILS: Mapping[tuple[str, ...], str] = {
    ("check", "--gates"): "8 models a side are few: the page says that a gate fails here",
}
"""Commands that are documented to end with exit code 1."""

EXAMPLES = {"my_method": "method", "tides": "dataset", "tides-mlp": "task"}
"""Names of the pages' own examples, which are not in the catalogue."""


def matching(table: Mapping[tuple[str, ...], str], words: Sequence[str]) -> str | None:
    """Return the reason of the first entry of a table whose first word is the command and whose others it has."""
    return next(
        (why for key, why in table.items() if words[:1] == [key[0]] and set(key[1:]) <= set(words)), None
    )


def equivalent(command: Command) -> list[str]:
    """Return the arguments with which a command of `regunlearn` is run in the small clone."""
    words = command.arguments
    return [
        EQUIVALENT.get(option, {}).get(word, word)
        for option, word in zip(["", *words[:-1]], words, strict=True)
    ]


# The parser ----------------------------------------------------------------------------------------------------------


def descend(words: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the (sub)command that the words call, and the words that are left.

    Raises:
        BadUsage: there is none of this name.
    """
    command, left = ROOT_COMMAND, list(words)
    while left and isinstance(command, TyperGroup):
        if left[0].startswith("-"):
            break
        found = command.commands.get(left[0])
        if found is None:
            raise BadUsage(f"No such command {left[0]!r}: known are {', '.join(sorted(command.commands))}.")
        command, left = found, left[1:]
    return command, left


def parse(words: Sequence[str]) -> dict[str, Any]:
    """Return the values that the command's own parser makes of the words.

    Raises:
        BadUsage: an unknown command or option, a missing value, or one of the wrong type.
    """
    command, left = descend(words)
    with command.make_context(command.name, list(left)) as context:
        values: dict[str, Any] = context.params
    return values


def options(words: Sequence[str]) -> set[str]:
    """Return the options of the command that the words call."""
    command, _ = descend(words)
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


# The names -----------------------------------------------------------------------------------------------------------


def strange_names(words: Sequence[str]) -> list[str]:
    """Say which values of a command name nothing that there is. What a reader fills in is in capitals or <>."""
    command, _ = descend(words)
    values = parse(words)
    asked: list[tuple[str, str]] = []
    for kind in ("suite", "task", "split", "method", "protocol", "metric", "name", "names", "what"):
        value = values.get(kind)
        found = [value] if isinstance(value, str) else list(value or ())
        asked += [(kind, one) for one in found if not (one.isupper() or one.startswith("<"))]
    return [
        f"{kind} {one!r}"
        for kind, one in asked
        if one not in known(kind, str(command.name)) and one not in EXAMPLES
    ]


def known(kind: str, command: str) -> Iterable[str]:
    """Return the names of a kind, as the argument of a command means it."""
    tasks = registry.discover("task").cards
    if kind == "name":  # of an experiment, or of what is to be made
        return EXPERIMENTS if command == "reproduce" else EXAMPLES
    names: dict[str, Iterable[str]] = {
        "suite": grid.SUITES,
        "task": tasks,
        "split": {split for card in tasks.values() for split in card.fact("splits")},
        "method": known_methods(),
        "protocol": {path.parent.name for path in (ROOT / "results").glob("*/protocol.toml")},
        "metric": {column for one in glossary.everything() for column in glossary.columns(one.entry)},
        "names": {*registry.discover("dataset").cards, *sources.discover()},
        "what": ("methods", "tasks", "splits", "metrics", "datasets"),
    }
    return names[kind]


EXPERIMENTS = ("stsb-band", "agedb-band", "utkface-band", "figure-density", "all")


def known_methods() -> set[str]:
    """Return methods, their tuned configurations, and the word for all of them."""
    cards = {*registry.discover("method").cards, "my_method"}
    return {*cards, *(f"{name}-{grid.TUNED}" for name in cards), cli.ALL}


def is_method_name(name: str) -> bool:
    """Tell whether a new method may be called so: a dash would separate a configuration."""
    return check_name("method", name) == name and "-" not in name


# The small clone -----------------------------------------------------------------------------------------------------

DATASETS = ("diabetes.py", "ridge.py")
PROTOCOL = """name = "v1"
share = 1.0
time_limit = 3600.0
tiers = [0.02, 0.1, 0.25]

[ensembles]
"diabetes-mlp" = [8, 8]

[splits]
"diabetes-mlp" = ["band", "random"]
"""
"""Protocol v1 on a bundled dataset, with the smallest ensembles."""


def fill(clone: Path, methods: Iterable[str], examples: Mapping[str, str]) -> None:
    """Make a repository like this one, in which documented commands take seconds.

    Args:
        clone: an empty folder.
        methods: those that the commands name, beside the core.
        examples: by path, the files that pages show as examples.
    """
    cards = registry.discover("method").cards
    chosen = {card.file.name for name, card in cards.items() if card.fact("core", False) or name in methods}
    copies = [
        *(path for folder in ("benchmark", "leaderboard", "reproduction") for path in files(folder)),
        *(path for path in files("methods") if path.name.startswith("_") or path.name in chosen),
        *(ROOT / "datasets" / name for name in DATASETS),
        *(
            ROOT / "tests" / name
            for name in ("conftest.py", "methods/conftest.py", "methods/test_contract.py")
        ),
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", ".gitignore")),
        *(ROOT / "docs").glob("*.md"),
        *(path for path in (ROOT / "results" / "quick").rglob("*") if path.is_file()),
    ]
    for path in copies:
        target = clone / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for name, text in {**examples, "results/v1/protocol.toml": PROTOCOL}.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text, encoding="utf-8")
    link = clone / "build" / "typing" / "regunlearn"
    link.mkdir(parents=True)
    for folder in ("benchmark", "methods", "datasets", "reproduction", "leaderboard"):
        (link / folder).symlink_to(clone / folder, target_is_directory=True)


def files(folder: str) -> list[Path]:
    """Return the files of a folder of the package, templates and assets of pages too, without what was built."""
    parts = [path for path in (ROOT / folder).iterdir() if path.is_file()]
    for inner in ("templates", "assets"):
        parts += [path for path in (ROOT / folder / inner).rglob("*") if path.is_file()]
    return parts


def methods_of(commands: Iterable[Command]) -> set[str]:
    """Return the values of `--method` of some commands."""
    found = set()
    for command in commands:
        words = command.arguments
        found |= {word for option, word in pairwise(words) if option == "--method"}
    return found


def shown(words: Sequence[str]) -> str:
    """Return a command as one line."""
    return shlex.join(words)
