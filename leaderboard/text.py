"""Numbers and words as text, and tables of plain text rendered as Markdown or LaTeX.

Cells are plain text; a renderer escapes every one of them, so that a name, unit or reason stays text whatever is
in it. Numbers have three significant digits, half-widths of intervals two; "–" stands for "not defined".
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "–"
LONGEST = 160
"""Characters of a reason that are shown."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of cells; bold ones are the best."""

    cells: Sequence[str]
    bold: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Table:
    """Plain text in rows, the rows in titled groups; the columns in `words` are left-aligned."""

    header: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Row]]]
    words: frozenset[int]


# Text ---------------------------------------------------------------------------------------------------------


def number(value: float, digits: int = 3) -> str:
    """Return `value` to so many significant digits, trailing zeros kept: 0.500, 1.00, 1230, 1.23e7."""
    if not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    short = f"{value:#.{digits}g}"
    if "e" not in short:
        return short.removesuffix(".").replace("-", "−")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if -4 <= exponent < 6:
        text = f"{float(f'{mantissa}e{power}'):.{max(digits - 1 - exponent, 0)}f}"
    else:
        text = f"{mantissa}e{exponent}"
    return text.replace("-", "−")


def spread(mean: float, half: float) -> str:
    """Return "mean ± half", or the mean alone where there is no interval."""
    return (
        number(mean) if not math.isfinite(half) or math.isnan(mean) else f"{number(mean)} ± {number(half, 2)}"
    )


def clean(text: str, longest: int = LONGEST) -> str:
    """Return one printable line: white space collapsed, control and direction characters replaced, cut to length."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "�" for character in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"


_ENTITIES = {ord(character): f"&#{ord(character)};" for character in "\\`*{}[]<>&#|~$@^"}
_EDGE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_FIGURES = re.compile(r"[0-9e.−–±]+(?: [0-9e.−–±]+)*")
_LINK = re.compile(r"\b(www)\.|:(?=\S)", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    """Return text that GitHub-flavoured Markdown and HTML show as it is: no mark-up, link, mention or cell border."""
    if len(text) <= LONGEST and _FIGURES.fullmatch(text):
        return text  # most of what stands in a table
    plain = _EDGE_UNDERSCORE.sub("&#95;", clean(text).translate(_ENTITIES))
    return _LINK.sub(lambda match: f"{match[1]}&#46;" if match[1] else "&#58;", plain)


_TEX = {
    **{ord(character): f"\\{character}" for character in "{}$&#_%"},
    **{ord("\\"): r"\textbackslash{}", ord("^"): r"\textasciicircum{}", ord("~"): r"\textasciitilde{}"},
    **{ord("<"): r"\textless{}", ord(">"): r"\textgreater{}", ord("|"): r"\textbar{}"},
    **{ord("−"): "$-$", ord("–"): "--", ord("±"): r"$\pm$", ord("×"): r"$\times$", ord("…"): r"\dots{}"},
    **{ord('"'): "''", ord("`"): r"\textasciigrave{}"},
}


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it is; characters outside ASCII that it may not know become "?"."""
    return "".join(
        _TEX.get(ord(character), character if character.isascii() else "?") for character in clean(text)
    )


# Renderers ----------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """Return the table as a GitHub-flavoured Markdown table; titles of groups are rows in italics."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [
        line([escape_markdown(text) for text in table.header]),
        line([":---" if at in table.words else "---:" for at in range(len(table.header))]),
    ]
    for title, rows in table.groups:
        if title:
            lines.append(line(["", f"*{escape_markdown(title)}*", *[""] * (len(table.header) - 2)]))
        for row in rows:
            texts = [escape_markdown(text) for text in row.cells]
            lines.append(line([f"**{text}**" if at in row.bold else text for at, text in enumerate(texts)]))
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """Return the table as a LaTeX tabular with booktabs' rules; groups are divided by rules."""

    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(cells)} \\\\"

    columns = "".join("l" if at in table.words else "r" for at in range(len(table.header)))
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        line([escape_latex(text) for text in table.header]),
    ]
    for title, rows in table.groups:
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{len(table.header)}}}{{l}}{{\textit{{{escape_latex(title)}}}}} \\")
        for row in rows:
            texts = [escape_latex(text) for text in row.cells]
            lines.append(
                line([rf"\textbf{{{text}}}" if at in row.bold else text for at, text in enumerate(texts)])
            )
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
