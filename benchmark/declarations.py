"""Objects that a file declares at module level, read from its syntax tree: listing them imports nothing.

    PHOTOS = Source(name="photos", files=("photos/",), ...)

What stands between the brackets must be plain: text, numbers, tuples, lists, dicts and their `values()`, constants of
the same file, `+` between them, and calls of the same classes.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from regunlearn.benchmark.errors import BenchmarkError

Kinds = Mapping[str, type]
"""Classes by the name under which a file calls them."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a file defines at module level.

    Attributes:
        values: assigned expressions by name.
        bodies: functions and classes by name.
        imported: names that come from private modules of the same folder: (file, its name there, or "" for the
            module).
    """

    values: dict[str, ast.expr] = field(default_factory=dict)
    bodies: dict[str, ast.stmt] = field(default_factory=dict)
    imported: dict[str, tuple[Path, str]] = field(default_factory=dict)


def outline(file: Path) -> Outline:
    """Return what a file defines; parsed once as long as its size and time stay.

    Raises:
        SyntaxError, ValueError, OSError: it cannot be read.
    """
    facts = file.stat()
    return _outline(file, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=256)
def _outline(file: Path, _time: int, _size: int) -> Outline:
    found = Outline()
    for node in ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body:
        match node:
            case ast.Assign(targets=targets, value=value):
                found.values.update({name.id: value for name in targets if isinstance(name, ast.Name)})
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.values[name] = value
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.bodies[name] = node
            case ast.ImportFrom(module=str(module), names=names):
                last = module.rpartition(".")[2]
                for alias in names:
                    # `from ..._photos import PHOTOS`, or `from regunlearn.datasets import _photos`
                    source, name = (last, alias.name) if last.startswith("_") else (alias.name, "")
                    helper = file.with_name(f"{source}.py")
                    if source.startswith("_") and helper.is_file():
                        found.imported[alias.asname or alias.name] = (helper, name)
    return found


def declared(file: Path, kinds: Kinds) -> dict[str, tuple[Any, ...]]:
    """Return by name of the variable the objects of the classes that its value has, made from the syntax tree.

    Raises:
        BenchmarkError: an argument is not plain, or the class refuses it; file and line are named.
        SyntaxError, ValueError, OSError: the file cannot be read.
    """
    found: dict[str, tuple[Any, ...]] = {}
    there = outline(file)
    for name, expression in there.values.items():
        calls = list(_outermost(expression, kinds))
        if calls:
            found[name] = tuple(_made(call, file, there, kinds) for call in calls)
    return found


def reached(file: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield (file, name) of all that a function uses at module level, in its file and in private modules beside it."""
    waiting, seen = [(file, name)], set[tuple[Path, str]]()
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        yield place
        here, there = place[0], outline(place[0])
        if place[1] in there.imported:
            waiting.append(there.imported[place[1]])
        body = there.bodies.get(place[1]) or there.values.get(place[1])
        for node in ast.walk(body) if body else ():
            match node:
                case ast.Attribute(value=ast.Name(id=module), attr=attribute) if module in there.imported:
                    waiting.append((there.imported[module][0], attribute))
                case ast.Name(id=used):
                    waiting.append((here, used))


def _outermost(node: ast.AST, kinds: Kinds) -> Iterator[ast.Call]:
    if isinstance(node, ast.Call) and _called(node) in kinds:
        yield node
    elif not isinstance(node, ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _outermost(child, kinds)


def _called(call: ast.Call) -> str:
    """Return the last part of the name of what is called: `Source` of `sources.Source(...)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _made(call: ast.Call, file: Path, there: Outline, kinds: Kinds) -> Any:
    try:
        return _value(call, there, kinds)
    except (BenchmarkError, ValueError, TypeError, RecursionError) as error:
        raise BenchmarkError(
            f"{file}, line {call.lineno}: cannot read this {_called(call)}: {error}. It needs plain values (text, "
            "numbers, tuples, constants of the same file) with a name each."
        ) from error


def _value(node: ast.AST, there: Outline, kinds: Kinds) -> Any:
    match node:
        case ast.Call(args=[]) if _called(node) in kinds and all(k.arg for k in node.keywords):
            arguments = {str(k.arg): _value(k.value, there, kinds) for k in node.keywords}
            return kinds[_called(node)](**arguments)
        case ast.Call(func=ast.Name(id="tuple"), args=[inner], keywords=[]):
            return tuple(_value(inner, there, kinds))
        case ast.Call(func=ast.Attribute(value=inner, attr="values"), args=[], keywords=[]):
            return tuple(_value(inner, there, kinds).values())
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return tuple(_value(element, there, kinds) for element in elements)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, there, kinds) + _value(right, there, kinds)
        case ast.Name(id=name) if name in there.values:
            return _value(there.values[name], there, kinds)
        case ast.expr():
            try:
                return ast.literal_eval(node)
            except ValueError:
                raise ValueError(f"{ast.unparse(node)[:80]!r} is no plain value") from None
    raise ValueError(f"{type(node).__name__} is no plain value")
