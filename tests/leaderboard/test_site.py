"""The static site: the board's own numbers, the same bytes twice, hostile texts, broken inputs, stale pages, links."""

import dataclasses
import html
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.glossary import everything
from regunlearn.benchmark.registry import Card, Catalogue
from regunlearn.leaderboard import comparison, ensemble_tables, site_data, site_files, site_views
from regunlearn.leaderboard.blocks import blocks as blocks_of
from regunlearn.leaderboard.site_build import build
from regunlearn.leaderboard.site_formula import typeset
from regunlearn.leaderboard.site_render import assets, marked, printable, script
from regunlearn.leaderboard.site_worth import arithmetic

HOSTILE = '</script><img src=x onerror=alert(1)>\u202e{{ 7*7 }} & "quoted"'
TASKS = ("california-mlp", "sentiment-lstm")
SINGLE = (*TASKS, "mnist-rotation-allcnn")
ROLES = {"retrain": "null: another retrain", "original": "no unlearning"}
LOADING = {"script": "src", "link": "href", "img": "src", "a": "href", "use": "href", "iframe": "src"}


class Read(HTMLParser):
    """Elements with their attributes, the cells of tables, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data


def read(path: Path) -> Read:
    return Read(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def root(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ensembles with a failed cell and a block that is not scored, single models, a stress track, a figure."""
    root = tmp_path_factory.mktemp("root")
    records = made.ensembles(tasks=TASKS)
    for at, record in enumerate(records):
        if record.key[:3] == ("california-mlp", "band", "amnesiac"):
            broken = {"status": "error", "reason": HOSTILE, "metrics": {}, "curves": {}, "commit": HOSTILE}
            records[at] = dataclasses.replace(record, machine=HOSTILE, **broken)
    gates = made.gates(TASKS, failed=(("california-mlp", "tail"),))
    made.write_ensembles(root / "results" / "v1", records, made.protocol(), gates)
    made.write(root / "results" / "quick", made.grid())
    made.write_ensembles(root / "results" / "stress", made.stress_records(), made.stress_protocol(), None)
    (root / "results" / "empty").mkdir()
    known = {"blindspot": {"method_hash": "f" * 16}, "amnesiac": {"method_hash": "another"}}
    (root / "results" / "v1" / "verified.json").write_text(json.dumps(known))
    figures = root / "leaderboard" / "v1" / "figures"
    figures.mkdir(parents=True)
    (figures / "pareto.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return root


@pytest.fixture(scope="module")
def cards(made: SimpleNamespace) -> Catalogue:
    found = dict(made.catalogue().cards)
    facts = {"family": HOSTILE, "paper": HOSTILE, "needs": ["retain"]}
    found["fine_tune"] = Card("method", "fine_tune", HOSTILE, facts, {}, Path("f.py"), "f", "0" * 16)
    return Catalogue("method", found)


@pytest.fixture(scope="module")
def site(root: Path, cards: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    build(root, out, catalogue=cards)
    return out


def pages(site: Path) -> Iterator[Path]:
    found = sorted(site.rglob("*.html"))
    assert len(found) > 100
    yield from found


# Content ------------------------------------------------------------------------------------------------------


def test_the_first_page_shows_the_numbers_of_the_board(root: Path, site: Path, cards: Catalogue) -> None:
    outcome = site_data.load(root, cards).folders["v1"].outcome
    assert outcome is not None
    table = ensemble_tables.main_table(outcome, outcome.tiers[-1])
    shown = {row[1]: row for row in read(site / "index.html").rows if len(row) > 10}
    for _, rows in table.groups:
        for row in rows:
            name = row.cells[1]
            own = next(
                cells for cells in shown.values() if cells[1].removesuffix(ROLES.get(name, "")) == name
            )
            for heading, text in zip(table.header, row.cells, strict=True):
                if heading not in ("Rank", "Front", "Method"):
                    assert text in own
            assert own[0] == (row.cells[0] or "–")


@pytest.mark.parametrize(
    ("task", "split"), [("sentiment-lstm", ""), ("", "band"), ("sentiment-lstm", "band")]
)
def test_a_part_reads_as_the_board_of_its_records_alone(
    root: Path, cards: Catalogue, made: SimpleNamespace, task: str, split: str
) -> None:
    results = site_data.load(root, cards)
    folder = results.folders["v1"]
    face = site_views.face(results, folder)
    view = face.views[face.parts[task, split]]
    assert folder.protocol is not None
    kept = [r for r in folder.records if task in ("", r.task) and split in ("", r.split)]
    gates = made.gates(TASKS, failed=(("california-mlp", "tail"),))
    own = [gate for gate in gates if task in ("", gate["task"]) and split in ("", gate["split"])]
    outcome = comparison.outcome(blocks_of(kept, folder.protocol, own, cards))
    for level, tier in zip(view.levels, outcome.tiers, strict=True):
        assert level.ranks == tier.ranks
        assert level.fronts == tier.fronts
    table = ensemble_tables.main_table(outcome, outcome.tiers[-1])
    for _, rows in table.groups:
        for row in rows:
            assert view.cells[row.cells[1]][0] == row.cells[2]
            assert view.status[row.cells[1]] == row.cells[-1]


def test_rows_that_failed_say_why_and_blocks_that_are_not_scored_too(site: Path) -> None:
    rows = [
        row for row in read(site / "methods" / "amnesiac.html").rows if row[:2] == ["california-mlp", "band"]
    ]
    assert rows[0][2] == "0"
    assert rows[0][-1].startswith("error: </script><img")
    assert "Not scored: G1 DSR" in (site / "tasks" / "california-mlp.html").read_text()


def test_verified_is_who_was_run_again_with_this_very_file(site: Path) -> None:
    for name, said in (("blindspot", "verified"), ("amnesiac", "reported"), ("bad_teacher", "reported")):
        assert f"<li>{said}</li>" in (site / "methods" / f"{name}.html").read_text()


def test_every_kind_of_board_has_a_page(site: Path) -> None:
    for name in ("v1", "quick", "stress", "empty"):
        assert (site / "boards" / f"{name}.html").is_file()
    assert "No record yet" in (site / "boards" / "empty.html").read_text()
    assert any(row[0] == "blindspot" for row in read(site / "boards" / "stress.html").rows)
    assert '<img src="../figures/v1/pareto.svg"' in (site / "boards" / "v1.html").read_text()


def test_a_board_of_single_models_can_be_the_first_page(made: SimpleNamespace, tmp_path: Path) -> None:
    made.write(tmp_path / "results" / "v1", made.grid())
    build(tmp_path, tmp_path / "site", catalogue=made.catalogue())
    data = inline(tmp_path / "site" / "index.html")
    assert set(data["parts"]) == {"|"} | {f"{t}|{s}" for t in SINGLE for s in ("random", "band")}
    rows = [row for row in read(tmp_path / "site" / "index.html").rows if row[1:2] == ["blindspot"]]
    assert re.fullmatch(r"\d", rows[0][0])


def inline(path: Path) -> dict[str, dict[str, object]]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.S
    )
    assert found
    data: dict[str, dict[str, object]] = json.loads(found[1])
    return data


def test_every_metric_has_a_page_with_its_formula_whole(site: Path) -> None:
    for meaning in everything():
        text = (site / "metrics" / f"{meaning.entry.name}.html").read_text(encoding="utf-8")
        words = html.unescape(re.sub(r"<[^>]*>", "", text))
        for said in (meaning.entry.label, meaning.entry.null, meaning.entry.failure):
            assert said.replace("`", "") in words
        assert str(typeset(meaning.entry.formula)) in text


# Safety -------------------------------------------------------------------------------------------------------


def test_hostile_texts_stay_text(site: Path) -> None:
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        assert "<img src=x" not in text
        assert "\u202e" not in text
        assert not [attrs for _, attrs in read(path).elements if any(name.startswith("on") for name in attrs)]
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;�{{ 7*7 }} &amp;" in (
        site / "methods" / "fine_tune.html"
    ).read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_all_links_lead_somewhere(site: Path) -> None:
    for path in pages(site):
        for tag, attrs in read(path).elements:
            target = attrs.get(LOADING.get(tag, "")) or ""
            assert not (re.match(r"[a-z]+:|//", target) and tag != "a"), (path, target)
            file = target.partition("#")[0]
            if file and not file.startswith("http"):
                assert (path.parent / file).resolve().is_file(), (path, target)
            if tag == "script":
                assert attrs.get("type") in (None, "application/json")
    for name, content in assets().items():
        if name.endswith(".css"):
            assert b"url(" not in content
            assert b"@import" not in content


def test_pages_have_a_policy_that_allows_no_other_script(site: Path) -> None:
    for path in pages(site):
        policy = next(attrs["content"] for _, attrs in read(path).elements if attrs.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src 'self';")


def test_every_vendored_library_has_its_licence() -> None:
    folders = {name.split("/")[2] for name in assets() if name.startswith("assets/vendor/")}
    assert len(folders) == 4
    for folder in folders:
        assert re.fullmatch(r"[a-z0-9.]+-\d+\.\d+\.\d+", folder)
        assert f"assets/vendor/{folder}/LICENSE.txt" in assets()


def test_no_json_ends_its_element() -> None:
    text = script({"a": "</script><!--", "b": "\u2028\ud800"})
    assert "<" not in text
    assert json.loads(text)["a"] == "</script><!--"
    assert marked("a `<b>` c") == "a <code>&lt;b&gt;</code> c"
    assert printable("a\u202eb\x00\nc") == "a�b�\nc"


# Files --------------------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_same_records_give_the_same_bytes(
    root: Path, site: Path, cards: Catalogue, tmp_path: Path
) -> None:
    moved = shutil.copytree(root, tmp_path / "elsewhere")
    written = build(moved, tmp_path / "site", catalogue=cards)
    assert contents(tmp_path / "site") == contents(site)
    assert sorted(path.relative_to(tmp_path / "site").as_posix() for path in written) == sorted(
        contents(site)
    )
    assert str(tmp_path).encode() not in b"".join(contents(site).values())


def test_a_page_whose_method_is_gone_is_deleted_and_nothing_else(
    made: SimpleNamespace, cards: Catalogue, tmp_path: Path
) -> None:
    home = tmp_path / "results" / "v1"
    made.write_ensembles(home, made.ensembles(tasks=TASKS), made.protocol(), made.gates(TASKS))
    out = tmp_path / "site"
    build(tmp_path, out, catalogue=cards)
    (out / "mine").mkdir()
    (out / "mine" / "index.html").write_text("somebody else's")
    assert "docs/index.html" not in (out / "index.html").read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Documentation\n")
    assert (out / "methods" / "fine_tune-tuned.html").is_file()
    (home / "records" / "fine_tune-tuned.jsonl").unlink()
    build(tmp_path, out, catalogue=cards)
    assert not (out / "methods" / "fine_tune-tuned.html").exists()
    assert (out / "mine" / "index.html").read_text() == "somebody else's"
    assert (out / "docs" / "index.html").is_file()
    assert '<a href="docs/index.html">Docs</a>' in (out / "index.html").read_text()


@pytest.mark.parametrize(
    "name", ["../outside.html", "/etc/passwd", "a/../../b", ".hidden", "a//b", "a/./b", ""]
)
def test_a_list_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "outside.html"
    kept.write_text("kept")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / site_files.LIST).write_text(json.dumps([name]))
    with pytest.raises(BenchmarkError, match=r"expected a list of paths inside the site"):
        site_files.write(tmp_path / "site", {"index.html": b"x"})
    with pytest.raises(BenchmarkError, match=r"no path inside the site"):
        site_files.write(tmp_path / "other", {name: b"x"})
    assert kept.read_text() == "kept"
    assert not (tmp_path / "other").exists()


def test_a_linked_folder_is_not_emptied(tmp_path: Path) -> None:
    site_files.write(tmp_path / "site", {"methods/a.html": b"x"})
    shutil.rmtree(tmp_path / "site" / "methods")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "a.html").write_text("kept")
    (tmp_path / "site" / "methods").symlink_to(tmp_path / "away")
    site_files.write(tmp_path / "site", {"index.html": b"x"})
    assert (tmp_path / "away" / "a.html").read_text() == "kept"


# Broken inputs ------------------------------------------------------------------------------------------------


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"expected <protocol>/records/<method>.jsonl, found none"):
        build(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("verified.json", "[]"),
        ("verified.json", '{"a": {}}'),
        ("verified.json", '{"a": "b"}'),
        ("verified.json", "{" * 100_000),
        ("machines.json", "not json"),
        ("gates.json", "{}"),
        ("records/blindspot.jsonl", "{}\n"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_written(
    root: Path, cards: Catalogue, tmp_path: Path, name: str, content: str
) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "results" / "v1" / name).write_text(content)
    with pytest.raises(BenchmarkError, match=re.escape(name)):
        build(copy, tmp_path / "site", catalogue=cards)
    assert not (tmp_path / "site").exists()


def test_a_folder_with_a_strange_name_is_refused(root: Path, cards: Catalogue, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "results" / "<b>").mkdir()
    with pytest.raises(BenchmarkError, match="not a valid name"):
        build(copy, tmp_path / "site", catalogue=cards)


def test_a_figure_that_is_too_large_is_refused(root: Path, cards: Catalogue, tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "leaderboard" / "v1" / "figures" / "big.svg").write_bytes(b" " * 4_000_001)
    with pytest.raises(BenchmarkError, match=r"big.svg: expected a figure of at most"):
        build(copy, tmp_path / "site", catalogue=cards)


# Formulas and sums --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        (
            "(a_x - b) / (c - d)",
            "<math><mfrac><mrow><msub><mi>a</mi><mi>x</mi></msub><mo>−</mo><mi>b</mi></mrow>"
            "<mrow><mi>c</mi><mo>−</mo><mi>d</mi></mrow></mfrac></math>",
        ),
        ("f(x) / (c)", '<math><mi>f</mi><mrow><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo></mrow>'
         '<mo>/</mo><mrow><mo stretchy="false">(</mo><mi>c</mi><mo stretchy="false">)</mo></mrow></math>'),
        ("mean of <script>", "mean of &lt;script&gt;"),
        ("as `tv`, U-LiRA's own", "as <code>tv</code>, U-LiRA&#39;s own"),
        ("a rate (of rows)^2", "a rate (of rows)<sup>2</sup>"),
        ("x^2", "<math><msup><mi>x</mi><mrow><mn>2</mn></mrow></msup></math>"),
        ("u'", "<math><msup><mi>u</mi><mo>′</mo></msup></math>"),
        ("(((", "((("),
        (")) ^ / (", ")) ^ / ("),
        ("", ""),
    ],
)  # fmt: skip
def test_formulas_are_set(formula: str, expected: str) -> None:
    assert str(typeset(formula)) == expected


def test_no_formula_of_the_glossary_loses_a_sign() -> None:
    """What is read without mark-up is what was written, but for signs that are set better and for fraction bars."""
    signs = str.maketrans(
        {"−": "-", "∥": "|", "≥": ">", "∫": "", "∑": "", "∏": "", "′": "'", "·": "*", "^": "", "/": ""}
    )
    greek = {"τ": "tau", "ξ": "xi", "Δ": "Delta", "ε": "epsilon", "σ": "sigma", "δ": "delta"}

    def bare(text: str) -> str:
        plain = text.translate(signs)
        for sign, name in greek.items():
            plain = plain.replace(sign, name)
        for word in ("int", "sum", "prod"):
            plain = plain.replace(word, "")
        return re.sub(r"[\s_`()|>=]", "", plain)

    for meaning in everything():
        shown = html.unescape(re.sub(r"<[^>]*>", "", str(typeset(meaning.entry.formula))))
        assert bare(shown) == bare(meaning.entry.formula)


def test_the_sums_of_the_page_by_hand() -> None:
    given = {"deletions": 100, "together": 2, "seconds": 1800, "price": 4, "upkeep": 3, "life": 10}
    found = arithmetic(0.25, 0.5, given)
    assert found["retrain"] == 2.0
    assert found["by_retraining"] == 100
    assert found["fixed"] == 3 + 0.5 * 2 / 10
    assert found["by_unlearning"] == 50 * 0.25 * 2 + 3.1
    assert found["break_even"] == pytest.approx(3.1 / (0.75 * 2 / 2))
    assert arithmetic(1.0, 0.0, given)["break_even"] is None
