"""Jinja2 templates to HTML: everything that is put in is text and escaped, unless this package made it as mark-up."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from regunlearn.leaderboard.text import Table, number

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "assets"
TEMPLATES = HERE / "templates"
_UNSAFE_IN_SCRIPT = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}
LONG = 8
"""Rows from which on a table can be sorted: shorter ones are seen at a glance."""


def printable(text: str) -> str:
    """Return text without control and direction characters, and without halves of characters; lines are kept."""
    if text.isprintable():  # nearly every cell
        return text
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "�" for sign in whole)


def script(data: Any) -> Markup:
    r"""Return JSON for a script element: no sign in it can end the element or open a comment.

    >>> script({"a": "</script>"})
    Markup('{"a":"\\u003c/script\\u003e"}')
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(printable(text).translate(_UNSAFE_IN_SCRIPT))  # noqa: S704 - escaped in the line itself


def marked(text: str) -> Markup:
    """Return text with the parts between backquotes as code."""
    parts = printable(text).split("`")
    codes = [
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    ]
    return Markup("").join(codes)


def flat(table: Table) -> dict[str, Any]:
    """Return a table for the macro `table`: header, rows with their group, which columns are words."""
    titled = any(title for title, _ in table.groups)
    rows = [
        {"group": title, "cells": list(row.cells), "bold": row.bold}
        for title, own in table.groups
        for row in own
    ]
    return {"header": list(table.header), "rows": rows, "words": table.words, "titled": titled}


def page(template: str, depth: int, context: Mapping[str, Any]) -> bytes:
    """Return a page.

    Args:
        template: its file.
        depth: how many folders below the site's own it lies.
        context: what the template names.
    """
    text = _environment().get_template(template).render(up="../" * depth, **context)
    return ("\n".join(line.rstrip() for line in text.split("\n")) + "\n").encode("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalised,
    )
    environment.filters |= {"script": script, "marked": marked, "flat": flat, "number": number}
    environment.globals |= {"LONG": LONG, "vendor": vendor()}
    return environment


def _finalised(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def vendor() -> dict[str, str]:
    """Return the path of each vendored script within the assets, by the name of its folder without the version."""
    files = sorted((ASSETS / "vendor").glob("*/*.js"))
    return {path.parent.name.rpartition("-")[0]: path.relative_to(ASSETS).as_posix() for path in files}


def assets() -> dict[str, bytes]:
    """Return the files that pages load, and the licences of those that are not our own, by path in the site."""
    found: Sequence[Path] = sorted(path for path in ASSETS.rglob("*") if path.is_file())
    return {f"assets/{path.relative_to(ASSETS).as_posix()}": path.read_bytes() for path in found}
