"""What a method's file reaches for, read from its syntax tree: nothing is imported or run.

This keeps accidents and plain attempts out. It is no sandbox: Python can hide anything from a reader of its syntax, so
a maintainer reads every submitted file as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LARGEST = 100_000
"""Bytes of a method's file."""

PLAIN = _words(
    "abc bisect collections contextlib copy dataclasses enum fractions functools heapq itertools math "
    "numbers operator statistics typing warnings"
)
"""Modules of the standard library that read no file, open no connection and start no process."""
FRAMEWORK = ("torch", "numpy")
CONTRACT = ("regunlearn.benchmark.registry", "regunlearn.benchmark.spec")

_PARTS = {
    "torch": "hub distributed multiprocessing package serialization jit ops classes library utils.cpp_extension "
    "utils.model_zoo utils.data export onnx load save from_file profiler",
    "numpy": "load save savez savez_compressed savetxt loadtxt genfromtxt fromfile memmap ctypeslib f2py lib",
}
OUTSIDE = frozenset(f"{root}.{part}" for root, parts in _PARTS.items() for part in parts.split())
"""Parts of the framework that read or write files, load code, open connections or start processes."""
RANDOM = _words("torch.manual_seed torch.seed torch.random numpy.random")
"""Global random state: a method draws from `request.generator`."""
BUILTINS = _words(
    "eval exec compile open input __import__ __builtins__ __loader__ __spec__ globals locals vars dir "
    "breakpoint exit quit help memoryview delattr"
)
HIDDEN = _words(
    "test test_rows test_inputs test_targets retrained retrained_model reference_models references "
    "original_training"
)
"""What a request does not have: test rows and anything of the retrained models."""
TEXTS = (
    "results/",
    "leaderboard/",
    ".jsonl",
    "safetensors",
    "://",
    "__import__",
    "__subclasses__",
    "__globals__",
)
BASES = frozenset(("_BatchNorm", "_ConvNd", "_DropoutNd", "_NormBase"))
"""Base classes of torch's layers: the one way to ask for a kind of layer in all dimensions."""
DUNDERS = _words("__init__ __name__ __doc__ __len__ __iter__ __enter__ __exit__ __call__")


def problems(file: Path) -> list[str]:
    """Return what a method's file must not do, each as `file:line: what, and what to do instead`; empty for none."""
    if file.stat().st_size > LARGEST:
        return [
            f"{file.name}: {file.stat().st_size:,} bytes, expected at most {LARGEST:,}. A method is one short file."
        ]
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=file.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [
            f"{file.name}: cannot be read as Python ({type(error).__name__}: {error!s:.100}). Correct it."
        ]
    found = [*_imports(tree), *_names(tree), *_texts(tree), *_top(tree)]
    return [f"{file.name}:{line}: {said}" for line, said in sorted(dict.fromkeys(found))]


# Parts --------------------------------------------------------------------------------------------------------


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _imported(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "relative import. Import it by its full name, regunlearn.…"
                continue
            for alias in node.names:
                if alias.name == "*":
                    yield node.lineno, f"imports everything of {node.module}. Name what is used."
                else:
                    yield from _imported(node.lineno, f"{node.module}.{alias.name}")


def _imported(line: int, name: str) -> Iterator[tuple[int, str]]:
    root = name.partition(".")[0]
    if root == "regunlearn":
        helper = name.startswith("regunlearn.methods._") and "__" not in name
        if not (helper or name in CONTRACT or name.rpartition(".")[0] in CONTRACT):
            yield (
                line,
                f"imports {name}. A method imports {', '.join(CONTRACT)} and private helpers of methods/.",
            )
        elif any(part.startswith("_") for part in name.split(".")[3:]):
            yield line, f"imports the private name {name}. Use what is public."
    elif root in FRAMEWORK:
        yield from _reached(line, name)
    elif root not in PLAIN:
        yield line, f"imports {name}. Allowed are torch, numpy and {', '.join(sorted(PLAIN))}."


def _reached(line: int, name: str) -> Iterator[tuple[int, str]]:
    """Yield what is wrong about a dotted name of the framework."""
    parts = name.split(".")
    heads = {".".join(parts[:size]) for size in range(1, len(parts) + 1)}
    if found := sorted(heads & OUTSIDE):
        yield line, f"{found[0]} reads or writes outside the request. A method uses the request alone."
    elif (found := sorted(heads & RANDOM)) and name != "torch.random.fork_rng":
        yield line, f"{found[0]} is global random state. Draw from request.generator."
    elif any(part.startswith("_") and part not in BASES for part in parts[1:]):
        yield line, f"{name} is private to {parts[0]}. Use what is public."


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    known = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.lineno, f"uses {node.id}. A method reads no files and runs no text as code."
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("getattr", "setattr")
        ):
            name = node.args[1] if len(node.args) > 1 else None
            plain = (
                isinstance(name, ast.Constant)
                and isinstance(name.value, str)
                and not name.value.startswith("_")
            )
            if not plain or getattr(name, "value", "") in HIDDEN:
                yield (
                    node.lineno,
                    f"{node.func.id} with a name that is not plain text. Write the attribute out.",
                )
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, known)


def _attribute(node: ast.Attribute, known: dict[str, str]) -> Iterator[tuple[int, str]]:
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    dotted = _dotted(node)
    if node.attr.startswith("__") and node.attr not in DUNDERS:
        yield node.lineno, f"uses {node.attr}. A method needs nothing of the interpreter's own."
    elif _private(node.attr) and owner not in ("self", "cls"):
        yield node.lineno, f"uses the private attribute {node.attr}. Use what the contract offers."
    elif node.attr in HIDDEN:
        yield (
            node.lineno,
            f"reaches for {node.attr}: a request has no test rows and nothing of the retrained models. Remove it.",
        )
    elif dotted and dotted.partition(".")[0] in known:
        root, _, rest = dotted.partition(".")
        yield from _reached(node.lineno, f"{known[root]}.{rest}")


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in BASES


def _aliases(tree: ast.Module) -> dict[str, str]:
    """Return the framework's modules by the names under which a file knows them."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                found[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return {here: name for here, name in found.items() if name.partition(".")[0] in FRAMEWORK}


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    prose = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            for text in TEXTS:
                if text in node.value:
                    yield (
                        node.lineno,
                        f"the text {node.value[:40]!r} names a place outside the request. Remove it.",
                    )
                    break


def _top(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield statements that do work when the file is imported."""
    for at, node in enumerate(tree.body):
        prose = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        defines = isinstance(
            node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
        )
        if not (defines or prose):
            what = type(node).__name__.lower()
            yield (
                node.lineno,
                f"statement {at + 1} of the file ({what}) does work on import. Move it into a function.",
            )
