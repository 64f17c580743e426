"""Methods, datasets and tasks: found by listing a folder, described without being imported.

An entry is a function under one of three decorators. Its card (name, source, hyperparameters, splits) is read from
the file's syntax tree, so that listing costs no import of torch; the function itself is imported when it is used.
What the cards show must therefore be written as plain values (text, numbers, lists, dicts) in the decorator.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from regunlearn.benchmark import formula, space
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.records import check_name

Kind = Literal["method", "dataset", "task"]
Function = TypeVar("Function", bound=Callable[..., Any])

PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS: dict[Kind, str] = {"method": "methods", "dataset": "datasets", "task": "datasets"}


NEEDS: Mapping[str, str] = {
    "retain": "inputs and targets of retain rows",
    "forget": "inputs of the forget rows",
    "targets": "targets of the forget rows",
    "validation": "validation rows",
    "statistics": "summary statistics of the training targets, without their rows",
    "trajectory": "checkpoints of the original's training",
    "training": "the original trained in its own way",
    "memory": "more than four times the memory of a training step",
}
"""What a method may need of the request, beyond the original model and the recipe."""
TRACKS = ("", "exact")
DESCRIPTIVE = ("search", "needs", "cost", "core")
"""Arguments of the decorator that change no result."""


class RegistryError(BenchmarkError):
    """An entry cannot be described or imported."""


# The decorators: they mark the function and check nothing but the name; the card is read from the source.


def _mark(kind: Kind, name: str) -> Callable[[Function], Function]:
    check_name(kind, name)

    def mark(function: Function) -> Function:
        vars(function).setdefault("__regunlearn__", []).append((kind, name))
        return function

    return mark


def method(
    name: str,
    *,
    paper: str,
    family: str,
    reference: bool = False,
    sentinel: str = "",
    cheat: str = "",
    track: str = "",
    parts: Sequence[str] = (),
    core: bool = False,
    needs: Sequence[str] = (),
    cost: str = "",
    search: Mapping[str, Sequence[Any]] | None = None,
) -> Callable[[Function], Function]:
    """Register the unlearning method that this file holds.

    Args:
        name: as in tables and records.
        paper: source (arXiv number, DOI or venue), or "none" with the reason in the file's header.
        family: one of the catalogue's families, e.g. "first order", "distillation", "relabelling".
        reference: an anchor (doing nothing, retraining): shown and never ranked.
        sentinel: for a deliberately wrong method, the name of the metric that must expose it.
        cheat: what the method is granted beyond the request ("retrained"): passed as its second argument.
        track: "exact" for a method that brings its own way of training the original: it is ranked apart, and what it
            does inside `request.beforehand()` is charged in a column of its own.
        parts: hyperparameters that name other methods, for a combinator: the code of these is part of its hash, so that
            no configuration may choose others.
        core: run where no method is named: the anchors, the sentinels and the methods of the benchmark's own paper.
        needs: what of the request it uses, words of `NEEDS`. Tested: what is not named here is not used.
        cost: gradient passes, as a formula in E (epochs of the recipe), R, F and V (retain, forget and validation
            rows), B (batch size) and the hyperparameters by name, with + - * / min max. Tested against what is counted.
        search: what `regunlearn tune` may choose hyperparameters from, by name: `[low, high, scale]` with scale "log",
            "linear" or "integer", or a list of choices, all text or all true and false.

    `core`, `needs`, `cost` and `search` are no part of the code's hash: they change no record.
    """
    return _mark("method", name)


def dataset(name: str, *, modality: str, source: str, licence: str) -> Callable[[Function], Function]:
    """Register a function () -> Dataset."""
    return _mark("dataset", name)


def task(
    name: str, *, dataset: str, suite: str, recipe: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any]]
) -> Callable[[Function], Function]:
    """Register a function (Shape) -> nn.Module as the network of a task.

    Args:
        name: `dataset-network`.
        dataset: name of a registered dataset.
        suite: "smoke", "quick" or "paper".
        recipe: arguments of `spec.Recipe`.
        splits: by split name, the kind of the split and its arguments (`splits.KINDS`).
    """
    return _mark("task", name)


# Cards


@dataclass(frozen=True, slots=True)
class Card:
    """An entry as its source describes it.

    Attributes:
        kind: method, dataset or task.
        name: the registered name.
        summary: first line of the file's docstring for methods, of the function's for datasets and tasks.
        facts: the decorator's other arguments.
        hyperparameters: keyword-only arguments of the function with their defaults.
        file: where it is.
        function: name of the function in the file.
        code_hash: of the code, prose left out, of the file and of the private modules beside it that it imports.
    """

    kind: Kind
    name: str
    summary: str
    facts: Mapping[str, Any]
    hyperparameters: Mapping[str, Any]
    file: Path
    function: str
    code_hash: str

    def fact(self, name: str, default: Any = "") -> Any:
        """Return one of the decorator's arguments."""
        return self.facts.get(name, default)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The entries of one kind by name, and the files that could not be read with their cause."""

    kind: Kind
    cards: Mapping[str, Card]
    broken: Mapping[Path, str] = field(default_factory=dict)

    def get(self, name: str) -> Card:
        """Return a card.

        Raises:
            RegistryError: the name may be in a file that could not be read; the cause is shown.
            UnknownName: no such entry; the nearest and all known names are shown.
        """
        if name in self.cards:
            return self.cards[name]
        for file, cause in self.broken.items():
            if file.stem.replace("_", "-") == name.replace("_", "-"):
                raise RegistryError(f"{self.kind} {name!r} is in a file that cannot be read. {file}: {cause}")
        raise UnknownName(self.kind, name, self.cards)


def discover(kind: Kind, folder: Path | None = None) -> Catalogue:
    """Read the cards of every file in the folder whose name does not start with an underscore.

    Raises:
        RegistryError: two entries have one name; both files are named.
    """
    folder = folder or PACKAGE / FOLDERS[kind]
    files = [(file, file.stat()) for file in sorted(folder.glob("*.py")) if file.is_file()]
    return _discover(kind, tuple((file, facts.st_mtime_ns, facts.st_size) for file, facts in files))


@lru_cache(maxsize=64)
def _discover(kind: Kind, files: tuple[tuple[Path, int, int], ...]) -> Catalogue:
    """Read the cards anew only where a file of the folder has changed: time and size stand for its content."""
    cards: dict[str, Card] = {}
    broken: dict[Path, str] = {}
    for file, _, _ in files:
        if file.name.startswith("_"):
            continue
        try:
            found = _cards_in(kind, file)
        except (BenchmarkError, SyntaxError, ValueError, RecursionError, OSError) as error:
            broken[file] = f"{type(error).__name__}: {error}"
            continue
        for card in found:
            if card.name in cards:
                raise RegistryError(
                    f"two {kind}s are called {card.name!r}: {cards[card.name].file} and {file}. Rename one."
                )
            cards[card.name] = card
    return Catalogue(kind, {name: _whole(card, cards) for name, card in sorted(cards.items())}, broken)


def _whole(card: Card, cards: Mapping[str, Card]) -> Card:
    """Return a card whose hash covers the methods too that it is put together from.

    Raises:
        RegistryError: one of them is put together from others itself.
    """
    names = [str(card.hyperparameters[part]) for part in card.fact("parts", ())]
    known = [cards[name] for name in names if name in cards]
    for part in known:
        if part.fact("parts", ()):
            raise RegistryError(f"{card.file}: {part.name} is a combinator itself: combine plain methods.")
    if not names:
        return card
    own = "|".join([card.code_hash, *names, *(part.code_hash for part in known)])
    return replace(card, code_hash=hashlib.sha256(own.encode()).hexdigest()[:16])


def _cards_in(kind: Kind, file: Path) -> list[Card]:
    source = file.read_text(encoding="utf-8")
    tree = ast.parse(source, filename=str(file))
    header = (ast.get_docstring(tree) or "").strip().split("\n")[0]
    cards = []
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for call in node.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == kind:
                name, facts = _arguments(call, file)
                defaults = _defaults(node, file) if kind == "method" else {}
                if kind == "method":
                    _check_search(facts, defaults, call)
                    _check_card(facts, defaults, call)
                own = (ast.get_docstring(node) or "").strip().split("\n")[0]
                cards.append(
                    Card(
                        kind,
                        check_name(kind, name),
                        header if kind == "method" else own,
                        facts,
                        defaults,
                        file,
                        node.name,
                        _code_hash(file, tree),
                    )
                )
    if kind == "method" and len(cards) != 1:
        raise RegistryError(
            f"expected exactly one function under @method, found {len(cards)}. Use one file a method."
        )
    return cards


def _arguments(call: ast.Call, file: Path) -> tuple[Any, dict[str, Any]]:
    try:
        positional = [ast.literal_eval(argument) for argument in call.args]
        keywords = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg is not None}
        json.dumps([positional, keywords], allow_nan=False)
    except (ValueError, TypeError) as error:
        raise RegistryError(
            f"line {call.lineno}: the decorator's arguments must be plain values (text, numbers, lists, dicts)"
        ) from error
    if len(positional) != 1:
        raise RegistryError(f"line {call.lineno}: expected the name as the only positional argument")
    return positional[0], keywords


def _defaults(node: ast.FunctionDef, file: Path) -> dict[str, Any]:
    values = {}
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is None:
            raise RegistryError(f"line {node.lineno}: hyperparameter {argument.arg!r} needs a default")
        try:
            values[argument.arg] = ast.literal_eval(default)
            json.dumps(values[argument.arg], allow_nan=False)
        except (ValueError, TypeError) as error:
            raise RegistryError(
                f"line {default.lineno}: the default of hyperparameter {argument.arg!r} must be a plain value"
            ) from error
    return values


def _check_search(facts: Mapping[str, Any], defaults: Mapping[str, Any], call: ast.Call) -> None:
    try:
        space.parse(facts.get("search", {}), defaults)
    except space.SpaceError as error:
        raise RegistryError(f"line {call.lineno}: search: {error}. Mend the decorator.") from error


def _check_card(facts: Mapping[str, Any], defaults: Mapping[str, Any], call: ast.Call) -> None:
    """Refuse unknown needs and tracks, parts that are no hyperparameters, and a cost that is no formula."""
    for what, found, known in (
        ("needs", facts.get("needs", ()), NEEDS),
        ("track", [facts.get("track", "")], TRACKS),
        ("parts", facts.get("parts", ()), set(defaults) - set(facts.get("search", {}))),
    ):
        strange = [word for word in found if word not in known]
        if strange:
            raise RegistryError(f"line {call.lineno}: {what}: {strange[0]!r}, expected {', '.join(known)}.")
    cost = facts.get("cost", "")
    if cost:
        try:
            formula.names(cost)
        except formula.FormulaError as error:
            raise RegistryError(f"line {call.lineno}: cost: {error}") from error


def _code_hash(file: Path, tree: ast.Module) -> str:
    """Hash the code of a file and of the private modules of its folder that it imports, directly or not."""
    digest = hashlib.sha256(_code(file.read_text(encoding="utf-8"), tree).encode())
    waiting, seen = [_imported(tree)], set[str]()
    while waiting:
        for name in sorted(waiting.pop() - seen):
            helper = file.with_name(f"{name}.py")
            if name.startswith("_") and helper.is_file():
                seen.add(name)
                code, names = _code_and_imports(helper.read_text(encoding="utf-8"), str(helper))
                waiting.append(names)
                digest.update(code.encode())
    return digest.hexdigest()[:16]


@lru_cache(maxsize=256)
def _code_and_imports(source: str, file: str) -> tuple[str, frozenset[str]]:
    """Return the code of a module and what it imports: many methods share a few modules."""
    tree = ast.parse(source, filename=file)
    return _code(source, tree), _imported(tree)


def code_of(part: ModuleType | type | Callable[..., Any]) -> str:
    """Return the code of a module, class or function without prose, and without a function's decorators."""
    while isinstance(part, partial):
        part = part.func
    source = textwrap.dedent(inspect.getsource(part))
    tree = ast.parse(source)
    first = tree.body[0]
    if inspect.isfunction(part) and isinstance(first, ast.FunctionDef) and first.decorator_list:
        source = "\n".join(source.splitlines()[first.lineno - 1 :])
        tree = ast.parse(source)
    return _code(source, tree)


def _code(source: str, tree: ast.Module) -> str:
    r"""Return the lines that are neither empty, nor a comment, nor a docstring, nor what describes a method.

    Prose changes no result, and what tuning may choose from changes none of what was chosen.

    >>> text = "'What it is.'\n\n# Why.\nx = 1  # kept"
    >>> _code(text, ast.parse(text))
    'x = 1  # kept'
    >>> text = "@method('a',\n  paper='none',\n  search={'b': [1, 2, 'linear']})\ndef f(): ..."
    >>> print(_code(text, ast.parse(text)))
    @method('a', paper='none')
    def f(): ...
    """
    texts = dict(enumerate(source.splitlines(), start=1))
    prose = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None and first and first.end_lineno:
                prose.update(range(first.lineno, first.end_lineno + 1))
        for call in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(call, ast.Call) and any(keyword.arg in DESCRIPTIVE for keyword in call.keywords):
                texts[call.lineno] = _without_descriptions(source, call)
                prose.update(range(call.lineno + 1, (call.end_lineno or call.lineno) + 1))
    kept = [line.rstrip() for at, line in texts.items() if at not in prose]
    return "\n".join(line for line in kept if line and not line.lstrip().startswith("#"))


def _without_descriptions(source: str, call: ast.Call) -> str:
    """Return a decorator as one line, as it would read without what describes the method."""
    kept: list[ast.expr | ast.keyword] = [
        *call.args,
        *(keyword for keyword in call.keywords if keyword.arg not in DESCRIPTIVE),
    ]
    lines = source.split("\n")
    parts = [_segment(lines, node) for node in kept]
    return f"@{ast.unparse(call.func)}({', '.join(parts)})"


def _segment(lines: Sequence[str], node: ast.expr | ast.keyword) -> str:
    """Return the source of a node as `ast.get_source_segment` does, which splits all lines anew every time."""
    own = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][node.col_offset :]
    return b"\n".join(own).decode()


def _imported(tree: ast.Module) -> frozenset[str]:
    """Return the last parts of all names that a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.name.rpartition(".")[2] for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.rpartition(".")[2])
    return frozenset(names)


# Loading


def load(card: Card) -> Callable[..., Any]:
    """Import the card's file and return its function.

    Raises:
        RegistryError: the import fails; the message names the file and the cause.
    """
    try:
        module = _import(card)
    except Exception as error:
        raise RegistryError(
            f"{card.kind} {card.name!r} cannot be imported. {card.file}: {type(error).__name__}: {error}"
        ) from error
    function: Callable[..., Any] | None = getattr(module, card.function, None)
    if function is None or (card.kind, card.name) not in getattr(function, "__regunlearn__", ()):
        raise RegistryError(
            f"{card.file}: {card.function} is not the registered {card.kind} {card.name!r} any more; "
            "another definition has replaced it in the file."
        )
    return function


def _import(card: Card) -> ModuleType:
    if card.file.parent == PACKAGE / FOLDERS[card.kind]:
        return importlib.import_module(f"regunlearn.{FOLDERS[card.kind]}.{card.file.stem}")
    name = f"regunlearn_outside_{hashlib.sha256(str(card.file).encode()).hexdigest()[:12]}_{card.code_hash}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, card.file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
