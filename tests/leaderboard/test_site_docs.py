"""Pages of documentation in the site: links lead somewhere, and nothing in the text becomes mark-up of its own."""

import re
from pathlib import Path

import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.leaderboard import site_docs

ROOT = Path(__file__).parents[2]


def put(root: Path, text: str, name: str = "index.md") -> None:
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / name).write_text(text, encoding="utf-8")


def test_every_link_of_the_real_pages_leads_to_a_page_and_a_heading() -> None:
    pages = site_docs.pages(ROOT)
    made = {**{path: str(own["body"]) for path, own in pages.items()}}
    boards = {path.name for path in (ROOT / "leaderboard").iterdir()}
    assert {f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md")} <= set(pages)
    count = 0
    for path, html in made.items():
        for href in re.findall(r'href="([^"]*)"', html):
            if href.startswith("http"):
                continue
            count += 1
            target, _, anchor = href.partition("#")
            if target.startswith("../boards/"):
                assert target.removeprefix("../boards/").removesuffix(".html") in boards, (path, href)
                continue
            body = made[f"docs/{target}"] if target else html
            assert not anchor or f'id="{anchor}"' in body, (path, href)
    assert count > 30


def test_pictures_are_brought_along() -> None:
    pictures = dict(site_docs.pictures(ROOT))
    for path, own in site_docs.pages(ROOT).items():
        for source in re.findall(r'<img src="([^"]*)"', str(own["body"])):
            assert f"docs/{source}" in pictures, (path, source)
    assert pictures


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    put(
        tmp_path,
        "# A <b>title</b>\n\n<script>alert(1)</script> [a](javascript:alert(1)) ![b](data:text/html,x)\n\n"
        "## Same\n\n## Same\n\n| a | b |\n|---|---:|\n| <img src=x onerror=y> | 2 |\n\n"
        "[out](../../etc/passwd) [code](../benchmark/cli.py) [twice](#same-1)\n",
    )
    page = site_docs.pages(tmp_path)["docs/index.html"]
    html = str(page["body"])
    assert page["title"] == "A <b>title</b>"  # escaped by the template, as all text is
    assert not re.search(r"<script|<img src=x|javascript:alert\(1\)\"|style=", html)
    assert "&lt;script&gt;" in html
    assert 'id="same"' in html
    assert 'id="same-1"' in html
    assert re.findall(r'<a href="([^"]*)"', html) == ["#same-1"]
    assert '<td class="w">&lt;img' in html
    assert "<td>2</td>" in html


def test_a_page_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert site_docs.pages(tmp_path) == {}
    put(tmp_path, "no title\n")
    with pytest.raises(BenchmarkError, match=r"index.md: expected a title in its first line"):
        site_docs.pages(tmp_path)
    (tmp_path / "docs" / "index.md").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchmarkError, match="cannot be read as UTF-8"):
        site_docs.pages(tmp_path)
    put(tmp_path, "# Title\n")
    put(tmp_path, "# Title\n", "a b.md")
    with pytest.raises(BenchmarkError, match="not a valid name"):
        site_docs.pages(tmp_path)
