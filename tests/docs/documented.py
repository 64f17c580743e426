"""What the Markdown files of the repository say: commands, code blocks, links and anchors, by markdown-it."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
"""Pages whose commands and examples are run, the made ones too."""
PAGES = [
    *GUIDES,
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
]
"""Pages whose links are followed."""
FORMS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, line, language ("" for none) and content."""

    page: str
    line: int
    language: str
    content: str


@dataclass(frozen=True)
class Command:
    """A command as it is documented: where, and its words."""

    page: str
    line: int
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """The program's name without the folder of the environment."""
        return self.words[0].removeprefix(".venv/bin/")

    @property
    def arguments(self) -> list[str]:
        """What follows the program."""
        return list(self.words[1:])

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join([self.program, *self.arguments])}"


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def parsed(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(text_of(page))


def blocks(page: str) -> Iterator[Block]:
    """Yield all code blocks; an indented one has no language."""
    for token in parsed(page):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            yield Block(page, token.map[0] + 1, token.info.strip(), token.content)


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of the `sh` blocks; a line that ends in a backslash goes on."""
    for block in blocks(page):
        if block.language != "sh":
            continue
        lines = block.content.splitlines()
        at = 0
        while at < len(lines):
            start, text = at, lines[at]
            while text.endswith("\\"):
                at += 1
                text = text[:-1] + lines[at]
            at += 1
            words = shlex.split(text, comments=True)
            if words:
                yield Command(page, block.line + 1 + start, tuple(words))


def inline(page: str) -> Iterator[tuple[int, Token]]:
    """Yield line and token of everything inside paragraphs, headings and cells."""
    line = 0
    for token in parsed(page):
        if token.map is not None:
            line = token.map[0] + 1
        for child in token.children or ():
            yield line, child


def mentions(page: str, program: str) -> Iterator[Command]:
    """Yield the commands of one program that stand in code spans of the text."""
    if page.endswith(".yml"):
        spans = [(1, span) for span in re.findall(r"`([^`\n]+)`", text_of(page))]
    else:
        spans = [(line, token.content) for line, token in inline(page) if token.type == "code_inline"]
    for line, span in spans:
        # Other spans need not be words of a shell.
        if span.removeprefix(".venv/bin/").startswith(f"{program} "):
            yield Command(page, line, tuple(shlex.split(span)))


def links(page: str) -> Iterator[tuple[int, str]]:
    """Yield line and target of each link and picture."""
    for line, token in inline(page):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield line, str(target)


def anchors(page: str) -> set[str]:
    """Return the anchors of the headings, as the hosting platform makes them."""
    found: dict[str, int] = {}
    tokens = parsed(page)
    for opening, heading in pairwise(tokens):
        if opening.type == "heading_open":
            text = "".join(t.content for t in heading.children or () if t.type in ("text", "code_inline"))
            anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            found[anchor] = found.get(anchor, -1) + 1
    return {f"{name}-{k}" if k else name for name, count in found.items() for k in range(count + 1)}
