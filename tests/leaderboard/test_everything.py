"""All that is published at once: the committed files are what the results give, and a difference is found."""

import shutil
from pathlib import Path

import pytest

from regunlearn.benchmark.errors import UnknownName, UsageError
from regunlearn.leaderboard.build import build, build_figure, summary
from regunlearn.leaderboard.everything import README, differences, rebuild

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return a repository with the stress board and the reproduction alone."""
    root = tmp_path / "repository"
    for name in ("stress", "reproduction"):
        shutil.copytree(ROOT / "results" / name, root / "results" / name)
    (root / "results" / "quick" / "records").mkdir(parents=True)
    for path in (ROOT / "results" / "quick").glob("records/[fr]*.jsonl"):
        shutil.copyfile(path, root / "results" / "quick" / "records" / path.name)
    (root / README).write_text("<!-- BEGIN LEADERBOARD -->\n<!-- END LEADERBOARD -->\n")
    rebuild(root, jobs=1)
    return root


def test_a_rebuild_changes_nothing(small: Path) -> None:
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert differences(small) == []
    assert before == {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert "| retrain |" in (small / README).read_text()
    assert rebuild(small, small.parent / "elsewhere", jobs=1) == rebuild(small, jobs=1)
    assert before == {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}


def test_what_is_not_of_the_results_is_found(small: Path) -> None:
    table, page = small / "leaderboard" / "stress" / "leaderboard.csv", small / "docs" / "metrics.md"
    table.write_text(table.read_text().replace("fine_tune", "mine", 1))
    page.unlink()
    (small / "leaderboard" / "quick" / "figures" / "mine.svg").write_text("<svg/>")
    (small / README).write_text((small / README).read_text().replace("| retrain |", "| better |"))
    assert differences(small) == [
        "README.md",
        "docs/metrics.md",
        "leaderboard/quick/figures/mine.svg",
        "leaderboard/stress/leaderboard.csv",
    ]


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected folders of records, found none"):
        rebuild(tmp_path)


def test_everything_published_is_what_the_results_give() -> None:
    assert differences(ROOT) == [], "run `regunlearn leaderboard` and commit"


def test_one_figure_alone(tmp_path: Path) -> None:
    made = build_figure(ROOT / "results" / "stress", tmp_path, "stress")
    assert [path.name for path in made] == ["stress.pdf", "stress.png", "stress.svg"]
    committed = ROOT / "leaderboard" / "stress" / "figures" / "stress.svg"
    assert (tmp_path / "figures" / "stress.svg").read_bytes() == committed.read_bytes()
    with pytest.raises(UnknownName, match="unknown figure 'pareto'"):
        build_figure(ROOT / "results" / "stress", tmp_path, "pareto")


def test_another_run_s_methods_stand_beside(tmp_path: Path) -> None:
    source, own = ROOT / "results" / "quick", tmp_path / "own"
    (own / "records").mkdir(parents=True)
    lines = (source / "records" / "fine_tune.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"task":"california-mlp"' in line]
    (own / "records" / "fine_tune.jsonl").write_text("\n".join(kept) + "\n")
    assert "blindspot" not in summary(own)
    assert "blindspot" in summary(own, beside=source)
    build(own, tmp_path / "board", beside=source)
    page = (tmp_path / "board" / "leaderboard.md").read_text()
    assert "11 methods, 2 blocks" in page  # in the blocks of one's own, not in all seven
    assert "mnist" not in page
