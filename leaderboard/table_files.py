"""Tables as files of their own: Markdown for reading, CSV for a program, LaTeX with booktabs for a paper."""

import csv
import io
from collections.abc import Mapping, Sequence

from regunlearn.leaderboard.text import Table, clean, escape_markdown, latex, markdown

FOLDER = "tables"
SUFFIXES = ("csv", "md", "tex")
Titled = Sequence[tuple[str, Table]]


def files(tables: Mapping[str, Titled], words: Mapping[str, str]) -> dict[str, str]:
    """Return the text of every file by its name: one of each suffix for each name, with all tables under the name.

    Args:
        tables: titled ones by name.
        words: what stands above them, by the same names, as Markdown.
    """
    texts = {}
    for name, own in tables.items():
        texts[f"{name}.md"] = section(own, words[name], level=1)
        texts[f"{name}.csv"] = as_csv(own)
        texts[f"{name}.tex"] = "\n".join(f"% {clean(title)}\n{latex(table)}" for title, table in own)
    return texts


def section(tables: Titled, words: str, level: int) -> str:
    """Return titles and tables as Markdown, with words under the first title."""
    parts = []
    for place, (title, table) in enumerate(tables):
        parts.append(f"{'#' * level} {escape_markdown(title)}")
        parts += [words] if place == 0 else []
        parts.append(markdown(table).rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def linked(name: str, words: str) -> str:
    """Return words with links to the files of the table under them, for the page of a board."""
    links = ", ".join(f"[{suffix}]({FOLDER}/{name}.{suffix})" for suffix in SUFFIXES)
    return f"{words} ({links})"


def as_csv(tables: Titled) -> str:
    """Return the cells as they are shown, with columns for the table's title and the group of the row.

    Numbers without rounding are in leaderboard.csv. Rows of tables with other columns follow their own header line.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    header: Sequence[str] = ()
    for title, table in tables:
        if list(table.header) != list(header):
            header = table.header
            writer.writerow(["Table", "Group", *header])
        for group, rows in table.groups:
            for row in rows:
                writer.writerow([clean(title), group, *map(clean, row.cells)])
    return buffer.getvalue()
