"""The whole build: same bytes twice, hostile records, markers, and no torch."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.leaderboard.build import BEGIN, END, build, summary

README = f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n"


@pytest.fixture(scope="module")
def results(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = made.grid(tasks=("california-mlp",), seeds=(0, 1))
    for at, record in enumerate(records):
        if record.key == ("california-mlp", "band", "amnesiac", 1):
            reason = f"loss | nan\n<script>x</script> {END} \ud800 `code`"
            records[at] = dataclasses.replace(record, status="error", reason=reason, metrics={}, curves={})
    folder = tmp_path_factory.mktemp("results")
    lone = made.write(folder, [record for record in records if record.method != "amnesiac"])
    lines = [record.to_line() for record in records if record.method == "amnesiac"]
    text = "".join(
        line.replace("\ud800", "\\ud800") + "\n" for line in lines
    )  # as a JSON escape, which is valid
    (lone / "records" / "amnesiac.jsonl").write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_builds_are_byte_identical_and_nothing_of_the_place_is_in_them(
    made: SimpleNamespace, results: Path, tmp_path: Path
) -> None:
    for name in ("one", "other"):
        readme = tmp_path / name / "README.md"
        readme.parent.mkdir()
        readme.write_text(README, encoding="utf-8")
        written = build(results, tmp_path / name / "board", readme, catalogue=made.catalogue())
        assert written == sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one == other
    assert len(one) == 4 + 3 * 4 + 3 * 4  # files, figures and tables, each in three formats
    for content in one.values():
        assert str(tmp_path).encode() not in content
        assert b"dc:date" not in content


def test_hostile_reasons_stay_text_and_the_markers_survive(
    made: SimpleNamespace, results: Path, tmp_path: Path
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(README, encoding="utf-8")
    for _ in range(2):  # the second build finds the markers of the first
        build(results, tmp_path / "board", readme, catalogue=made.catalogue())
    page, front = (tmp_path / "board" / "leaderboard.md").read_text("utf-8"), readme.read_text("utf-8")
    assert "<script>" not in page
    assert "&#60;script&#62;" in page
    assert "error in 1 of 4 cells" in page
    assert front.startswith(f"# Title\n\n{BEGIN}\n| Rank |")
    assert front.endswith(f"{END}\n\nafter\n")
    assert front.count(END) == 1
    assert "(<board/leaderboard.md>)" in front


@pytest.mark.parametrize("text", ["no markers", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_readme_without_its_markers_is_refused_before_anything_is_written(
    made: SimpleNamespace, results: Path, tmp_path: Path, text: str
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(BenchmarkError, match="expected one line"):
        build(results, tmp_path / "board", readme, catalogue=made.catalogue())
    assert contents(tmp_path) == {"README.md": text.encode()}


def test_only_stale_figures_of_ours_go(made: SimpleNamespace, tmp_path: Path) -> None:
    results = made.write(tmp_path / "results", made.toy())  # without curves
    figures = tmp_path / "board" / "figures"
    figures.mkdir(parents=True)
    for name in ("error_by_target.svg", "mine.svg"):
        (figures / name).write_text("old", encoding="utf-8")
    written = build(results, tmp_path / "board", catalogue=made.toy_catalogue())
    assert sorted(path.name for path in figures.iterdir()) == [
        "cost.pdf",
        "cost.png",
        "cost.svg",
        "mine.svg",
        "pareto.pdf",
        "pareto.png",
        "pareto.svg",
    ]
    assert all(path.is_file() for path in written)
    assert "error_by_target" not in (tmp_path / "board" / "leaderboard.md").read_text("utf-8")


def test_holes_and_strangers_are_marked(made: SimpleNamespace, tmp_path: Path) -> None:
    records = [r for r in made.toy() if r.key != ("toy-mlp", "random", "alpha", 0)]
    results = made.write(tmp_path / "results", records)
    build(results, tmp_path / "board", catalogue=made.catalogue())  # knows neither alpha nor beta
    page = (tmp_path / "board" / "leaderboard.md").read_text("utf-8")
    assert "missing 1 of 4 cells" in page
    assert "missing 1 of 2 cells" in page
    assert "*Incomplete, not ranked*" in page
    assert "unregistered" in page


def test_mixed_protocols_are_refused(made: SimpleNamespace, tmp_path: Path) -> None:
    results = made.write(tmp_path, [made.record(), made.record(method="amnesiac", protocol="v2")])
    with pytest.raises(BenchmarkError, match="one protocol, found v1, v2"):
        build(results, tmp_path / "board", catalogue=made.catalogue())
    assert not (tmp_path / "board").exists()


def test_summary_is_plain_text(made: SimpleNamespace, results: Path) -> None:
    text = summary(results, catalogue=made.catalogue())
    assert text.startswith("Protocol v1\n")
    assert "\x1b" not in text
    assert all(name in text for name in made.methods)
    assert all(len(line) <= 120 for line in text.splitlines())


def test_torch_is_never_imported() -> None:
    code = "import sys, regunlearn.leaderboard.build; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/")
