"""The whole board of a protocol of ensembles: the same bytes twice, hostile records, holes, and nothing scored."""

import csv
import dataclasses
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from regunlearn.leaderboard import blocks, ensemble_page
from regunlearn.leaderboard.build import BEGIN, END, build, summary
from regunlearn.leaderboard.comparison import outcome
from regunlearn.leaderboard.comparison_tables import sentinel_table
from regunlearn.leaderboard.ensemble_figures import FIGURES
from regunlearn.leaderboard.ensemble_tables import against_curve, leaders

TASK = ("california-mlp",)


@pytest.fixture(scope="module")
def results(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = made.ensembles(tasks=("california-mlp", "sentiment-lstm"))
    for at, record in enumerate(records):
        if record.key[:3] == ("california-mlp", "band", "amnesiac"):
            reason = f"loss | nan\n<script>x</script> {END} `code` @all %&{{}}"
            records[at] = dataclasses.replace(record, status="error", reason=reason, metrics={}, curves={})
    records = [r for r in records if r.key[:3] != ("sentiment-lstm", "tail", "blindspot")]
    tasks = ("california-mlp", "sentiment-lstm")
    folder = tmp_path_factory.mktemp("v1")
    made.write_ensembles(
        folder, records, made.protocol(), made.gates(tasks, failed=(("california-mlp", "tail"),))
    )
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(made: SimpleNamespace, results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    for name in ("one", "other"):
        readme = folder / name / "README.md"
        readme.parent.mkdir()
        readme.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n", encoding="utf-8")
        written = build(results, folder / name / "board", readme, catalogue=made.catalogue())
        assert written == sorted(path for path in (folder / name).rglob("*") if path.is_file())
    return folder


def test_two_builds_are_byte_identical(built: Path) -> None:
    one = contents(built / "one")
    assert one == contents(built / "other")
    assert sorted(path for path in one if path.endswith(".png")) == [
        f"board/figures/{name}.png" for name in sorted(set(FIGURES) - {"critical_difference", "fractions"})
    ]  # seven scored blocks: no diagram; one random split a task: no sizes
    for content in one.values():
        assert str(built).encode() not in content


def test_the_page_says_what_is_scored_and_what_is_not(built: Path) -> None:
    page = (built / "one" / "board" / "leaderboard.md").read_text("utf-8")
    assert "14 entries, 8 blocks (task and forget split), 7 of them scored" in page
    assert "no entry has run on: mnist-rotation-allcnn / band" in page
    assert "**Not scored: G1 DSR, D(original, retrained) / D(retrained, other): 1.20, at least 1.5.**" in page
    assert "missing 1 of 7 scored blocks" in page
    assert "*Incomplete, not ranked*" in page
    assert "error in 1 of 7 blocks" in page
    assert "Fewer than 8 blocks are scored" in page
    sizes = "32 originals and as many models an entry, 32 retrained models"
    assert f"### california-mlp, random (audit pool, {sizes})" in page
    assert (
        "Null at this size: TV 0.0800 (no unlearning 0.900), U-LiRA AUC 0.503 (no unlearning 0.978)." in page
    )
    assert "TV (null 0.0800, none 0.900)" in page
    assert "U-LiRA AUC (null 0.503, none 0.978)" in page
    assert "here 0.040" in page
    assert "0.980 (0.970 to 0.990)" in page  # the interval of an AUC, in the cell of the AUC
    assert "auc_low" not in page
    for title in ("Up to 2%", "Up to 10%", "Up to 25%", "Any cost"):
        assert f"## {title}" in page
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"loss &#124; nan", "", page))


def test_hostile_reasons_stay_text(built: Path) -> None:
    page = (built / "one" / "board" / "leaderboard.md").read_text("utf-8")
    assert "<script>" not in page
    assert "&#60;script&#62;" in page
    readme = (built / "one" / "README.md").read_text("utf-8")
    assert readme.startswith(f"# Title\n\n{BEGIN}\n| Rank |")
    assert readme.endswith(f"{END}\n\nafter\n")
    assert readme.count(END) == 1
    tex = (built / "one" / "board" / "leaderboard.tex").read_text("utf-8")
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 4
    assert tex.isascii()


def test_the_csv_is_tidy_and_finite(built: Path) -> None:
    text = (built / "one" / "board" / "leaderboard.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["task", "split", "method", "metric", "value", "low", "high", "tier"]
    assert len({tuple(row[k] for k in ("task", "split", "method", "metric", "tier")) for row in rows}) == len(
        rows
    )
    assert "nan" not in text
    scores = [row for row in rows if (row["task"], row["metric"]) == ("*", "score")]
    assert len(scores) == 13  # blindspot lacks a block
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in scores)
    assert {row["tier"] for row in rows if row["metric"] == "rank"} == {"0.02", "0.1", "0.25", "any"}
    gated = [r for r in rows if r["metric"] == "score" and r["method"] == "constant" and r["split"] == "band"]
    assert [float(row["value"]) for row in gated] == [0.0, 0.0]
    assert not any(row["metric"].endswith(("_low", "_high")) for row in rows)
    full = next(row for row in rows if row["metric"] == "tv_full")
    assert float(full["low"]) < float(full["value"]) < float(full["high"])


def test_the_summary_fits_a_terminal(made: SimpleNamespace, results: Path) -> None:
    text = summary(results, catalogue=made.catalogue())
    assert text.startswith("Protocol v1\n")
    assert all(name in text for name in made.entries)
    assert "Curve to beat: truncated_retrain-10" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_nothing_is_scored_without_gates(made: SimpleNamespace, tmp_path: Path) -> None:
    folder = made.write_ensembles(tmp_path / "v1", made.ensembles(tasks=TASK), made.protocol(TASK), None)
    build(folder, tmp_path / "board", catalogue=made.catalogue())
    page = (tmp_path / "board" / "leaderboard.md").read_text("utf-8")
    assert "**No block is scored: nothing is ranked.**" in page
    assert "**Not scored: gates not measured.**" in page
    assert "No gate was measured." in page
    assert sorted(path.name for path in (tmp_path / "board" / "figures").iterdir()) == [
        "nulls.pdf",
        "nulls.png",
        "nulls.svg",
    ]
    assert "nobody is ranked" in summary(folder, catalogue=made.catalogue())


@pytest.mark.parametrize("methods", [("fine_tune",), ("original",), ("constant",), ("truncated_retrain-10",)])
def test_one_entry_is_enough_for_a_board(
    made: SimpleNamespace, tmp_path: Path, methods: tuple[str, ...]
) -> None:
    records = made.ensembles(methods, TASK, ("tail",))
    folder = made.write_ensembles(tmp_path / "v1", records, made.protocol(TASK), made.gates(TASK))
    build(folder, tmp_path / "board", catalogue=made.catalogue())
    assert "nothing to compare" in (tmp_path / "board" / "leaderboard.md").read_text("utf-8")


def test_a_tier_without_ranked_entries_says_so(made: SimpleNamespace, tmp_path: Path) -> None:
    dear = tuple(name for name in made.entries if name != "fine_tune-tuned")
    for name, methods, said in (
        ("one", dear, "Nobody is ranked in this tier."),
        ("other", ("fine_tune", "truncated_retrain-10"), "No entry costs so little."),
    ):
        records = made.ensembles(methods, TASK)
        folder = made.write_ensembles(tmp_path / name, records, made.protocol(TASK), made.gates(TASK))
        build(folder, folder / "board", catalogue=made.catalogue())
        page = (folder / "board" / "leaderboard.md").read_text("utf-8")
        assert page.count(said) == 1
        assert f"## Up to 2% of a retrain's cost\n\n{said}" in page
        assert "Up to 2% of a retrain's cost: nobody is ranked." in summary(
            folder, catalogue=made.catalogue()
        )


def test_failed_records_only_make_a_board_of_zeros(made: SimpleNamespace, tmp_path: Path) -> None:
    records = [
        dataclasses.replace(r, status="timeout", reason="took too long", metrics={}, curves={}, passes=None)
        for r in made.ensembles(("fine_tune", "amnesiac"), TASK)
    ]
    folder = made.write_ensembles(tmp_path / "v1", records, made.protocol(TASK), made.gates(TASK))
    build(folder, tmp_path / "board", catalogue=made.catalogue())
    page = (tmp_path / "board" / "leaderboard.md").read_text("utf-8")
    assert "timeout in 4 of 4 blocks" in page
    assert "| 1 | fine&#95;tune" in page or "| 1 | fine_tune" in page
    assert "0 (0 to 0)" in page


def test_every_figure_has_a_caption() -> None:
    assert list(ensemble_page.CAPTIONS) == list(FIGURES)


def test_sentinels_are_seen_to_fail_on_what_their_cards_say(made: SimpleNamespace) -> None:
    found = outcome(blocks.blocks(made.ensembles(), made.protocol(), made.gates(), made.catalogue()))
    table = sentinel_table(found)
    assert table is not None
    rows = {row.cells[0]: list(row.cells[1:4]) for row in table.groups[0][1]}
    assert rows["head_distillation"] == ["probe_recovery", "is lowest on S_W", "12 of 12 blocks"]
    assert rows["constant"] == ["utility_ratio", "fails the utility gate", "12 of 12 blocks"]


def test_the_curve_to_beat_is_the_best_retrain_of_the_tier(made: SimpleNamespace) -> None:
    found = outcome(blocks.blocks(made.ensembles(), made.protocol(), made.gates(), made.catalogue()))
    assert against_curve(found, found.tiers[1]).startswith("Curve to beat: truncated_retrain-10,")
    assert "Of the 1 ranked, 1 score above it, 0 tie with it and 0 score below it." in against_curve(
        found, found.tiers[0]
    )
    assert leaders(found)[0].startswith("Up to 2% of a retrain's cost: fine_tune-tuned")
