"""Every relative link and anchor of the Markdown files leads somewhere, and pictures are sound."""

from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from tests.docs import documented
from tests.docs.documented import PAGES, ROOT

OUTSIDE = ("http://", "https://", "mailto:")


def broken(page: str) -> list[str]:
    """Say which links of a page lead nowhere."""
    found = []
    for line, target in documented.links(page):
        if target.startswith(OUTSIDE):
            continue
        path, _, anchor = unquote(target).partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        name = str(place.resolve().relative_to(ROOT)) if place.resolve().is_relative_to(ROOT) else ""
        if not name or path.startswith("/") or not place.exists():
            found.append(f"{page}:{line}: {target}: no such file")
        elif anchor and anchor not in documented.anchors(name):
            found.append(f"{page}:{line}: {target}: {name} has no such heading")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert broken(page) == []


def test_every_page_is_reached_from_the_first() -> None:
    seen, waiting = set[str](), ["README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        for _, target in documented.links(page):
            path = ((ROOT / page).parent / target.partition("#")[0]).resolve()
            name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
            if name in PAGES and name not in seen:
                waiting.append(name)
    assert {page for page in PAGES if not page.startswith(".github")} <= seen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a](nowhere.md)", "no such file"),
        ("[a](protocol.md#no-such-heading)", "no such heading"),
        ("[a](#no-such-heading)", "no such heading"),
        ("![a](pictures/nothing.svg)", "no such file"),
        ("[a](/etc/passwd)", "no such file"),
        ("[a](../../outside.md)", "no such file"),
        ("| a |\n|---|\n| [b](nowhere.md) |", "no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = documented.text_of
    monkeypatch.setattr(documented, "text_of", lambda page: text if page == "docs/faq.md" else real(page))
    (found,) = broken("docs/faq.md")
    assert message in found


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## 9. What the numbers cannot say", "9-what-the-numbers-cannot-say"),
        ("### `tv_p95`", "tv_p95"),
        ("## Does it, *really*?", "does-it-really"),
    ],
)
def test_anchors_are_those_of_the_platform(
    heading: str, anchor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documented, "text_of", lambda page: f"{heading}\n\n{heading}\n")
    assert documented.anchors("docs/faq.md") == {anchor, f"{anchor}-1"}


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").glob("*.svg")), ids=lambda p: p.name)
def test_pictures_can_be_read_by_everybody(path: Path) -> None:
    """A title and a description for who does not see it, a ground of its own for both themes, nothing fetched."""
    root = ElementTree.parse(path).getroot()
    names = [element.tag.partition("}")[2] for element in root.iter()]
    assert {"title", "desc"} <= set(names)
    assert root.get("role") == "img"
    ground = next(element for element in root if element.tag.endswith("}rect"))
    assert ground.get("fill") == "#ffffff"
    assert "script" not in names
    outside = [v for e in root.iter() for k, v in e.attrib.items() if k.endswith("href") or "http" in v]
    assert outside == []
