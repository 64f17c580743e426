"""The pages of docs/ as pages of the site: Markdown without raw HTML, with links that lead to the site's own pages."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import check_name

FIRST = "index"
BESIDE = ("CONTRIBUTING.md", "ARCHITECTURE.md", "CHANGELOG.md")
"""Pages of the repository's root that stand among those of docs/."""
LARGEST_PICTURE = 1_000_000


def pages(root: Path) -> dict[str, dict[str, Any]]:
    """Return title and body of every page of documentation by its path in the site; empty without docs/index.md.

    Raises:
        BenchmarkError: a page is no text, or has no title.
    """
    if not (root / "docs" / f"{FIRST}.md").is_file():
        return {}
    sources = {path.relative_to(root).as_posix(): path for path in sorted((root / "docs").glob("*.md"))}
    sources |= {name: root / name for name in BESIDE if (root / name).is_file()}
    places = {source: _place(source) for source in sources}
    return {places[source]: _page(source, path, places) for source, path in sources.items()}


def pictures(root: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of the documentation by their path in the site.

    Raises:
        BenchmarkError: one is too large.
    """
    for path in sorted((root / "docs" / "pictures").glob("*.svg")):
        content = path.read_bytes()
        if len(content) > LARGEST_PICTURE:
            raise BenchmarkError(
                f"{path}: expected a picture of at most {LARGEST_PICTURE:,} bytes, found {len(content):,}. "
                "Draw it simpler."
            )
        yield f"docs/pictures/{check_name('picture', path.stem)}.svg", content


def slug(text: str) -> str:
    """Return the anchor of a heading, as the usual hosts of Markdown make it.

    >>> slug("4. Intervals, tiers, ranks")
    '4-intervals-tiers-ranks'
    """
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


# Parts --------------------------------------------------------------------------------------------------------


def _place(source: str) -> str:
    return f"docs/{check_name('page', PurePosixPath(source).stem.lower())}.html"


def _page(source: str, path: Path, places: Mapping[str, str]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path}: cannot be read as UTF-8 text ({error}). Restore it.") from error
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    if len(tokens) < 3 or tokens[0].tag != "h1":
        raise BenchmarkError(f"{path}: expected a title in its first line, `# Title`, found none. Add it.")
    title = "".join(child.content for child in tokens[1].children or [])
    body = _marked(tokens[3:])
    for token in body:
        if token.children:
            token.children = _linked(token.children, source, places)
    html: str = reader.renderer.render(body, reader.options, {})
    html = html.replace(
        "<table>", '<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>'
    )
    return {"title": title, "body": Markup(html.replace("</table>", "</table></div>"))}  # noqa: S704 - raw HTML is off


def _marked(tokens: list[Token]) -> list[Token]:
    """Give every heading its anchor, equal ones numbered, and every cell its class: the site allows no style in it."""
    seen: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            name = slug("".join(child.content for child in tokens[at + 1].children or []))
            seen[name] = seen.get(name, 0) + 1
            token.attrSet("id", name if seen[name] == 1 else f"{name}-{seen[name] - 1}")
        elif token.type in ("th_open", "td_open") and "right" not in str(token.attrs.pop("style", "")):
            token.attrSet("class", "w")
    return tokens


def _linked(children: list[Token], source: str, places: Mapping[str, str]) -> list[Token]:
    """Turn links to the site's own pages; a link to a file that the site does not have keeps its text only."""
    kept: list[Token] = []
    open_links: list[bool] = []
    for token in children:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), source, places)
            open_links.append(target is not None)
            if target is None:
                continue
            token.attrSet("href", target)
        elif token.type == "link_close" and not open_links.pop():
            continue
        kept.append(token)
    return kept


def _target(href: str, source: str, places: Mapping[str, str]) -> str | None:
    """Return where a link leads from a page in docs/ of the site, None where the site has no such place."""
    if re.match(r"https?://|#", href):
        return href
    path, _, anchor = href.partition("#")
    parts: list[str] = []
    for part in [*PurePosixPath(source).parent.parts, *path.split("/")]:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    name = "/".join(parts)
    board = re.fullmatch(r"leaderboard/([a-z0-9_]+)/leaderboard\.md", name)
    found = (
        f"../boards/{board[1]}.html"
        if board
        else PurePosixPath(places[name]).name
        if name in places
        else None
    )
    return None if found is None else found + (f"#{anchor}" if anchor else "")
