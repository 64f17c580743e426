"""The board of the stress track: who stands where, failures by name, holes, and a protocol that mixes it in."""

import csv
import dataclasses
import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from regunlearn.benchmark import grid, stress_metrics
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Record
from regunlearn.leaderboard import stress_board, stress_page, style
from regunlearn.leaderboard.build import BEGIN, END, build, summary
from regunlearn.leaderboard.stress_board import Reading, Stress
from regunlearn.leaderboard.stress_figure import stress_figure, view_of


def of(made: SimpleNamespace, records: list[Record]) -> Stress:
    found = stress_board.stress(records, made.stress_protocol(), made.catalogue())
    assert found is not None
    return found


def broken(made: SimpleNamespace, method: str, split: str) -> Record:
    record = made.stress_record(method, split)
    reason = "1 of 8 models; seed 3: loss | nan <b>at</b>"
    return dataclasses.replace(record, status="diverged", reason=reason, metrics={}, curves={})


@pytest.fixture(scope="module")
def results(made: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [r for r in made.stress_records() if r.key[1:3] != ("poison", "bad_teacher")]
    records = [r for r in records if r.key[1:3] != ("poison", "amnesiac")] + [
        broken(made, "amnesiac", "poison")
    ]
    folder: Path = made.write_ensembles(
        tmp_path_factory.mktemp("stress"), records, made.stress_protocol(), None
    )
    return folder


def test_entries_are_ordered_by_the_distance_to_the_null_from_either_side(made: SimpleNamespace) -> None:
    records = made.stress_records(("fine_tune", "amnesiac", "blindspot", "retrain"), ("poison",))
    values = {"fine_tune": -2.0, "amnesiac": 0.9, "blindspot": -0.4, "retrain": 3.0}
    records = [dataclasses.replace(r, metrics={**r.metrics, "poison_z": values[r.method]}) for r in records]
    (test,) = of(made, [*records, broken(made, "bad_teacher", "poison")]).tests
    assert test.order["honest"] == ["amnesiac", "blindspot", "fine_tune", "bad_teacher"]  # the null is 0.3
    assert test.order["reference"] == ["retrain"]


def test_the_tables_show_value_interval_anchors_utility_and_reason(
    made: SimpleNamespace, results: Path
) -> None:
    build(results, results / "board", catalogue=made.catalogue())
    page = (results / "board" / "leaderboard.md").read_text("utf-8")
    assert page.startswith("# Stress track, protocol `stress`")
    assert "14 entries, 3 tests" in page
    assert "### " not in page
    for split in ("confusion", "confusion-half", "poison"):
        assert f"## california-mlp, {split}\n" in page
    assert "8 originals and as many models an entry, 16 retrained models." in page
    assert "| RLC (none 0.0310, null 0.00100) | Memorised (none 0.420, null 0.0800) | Utility ratio |" in page
    assert "| Memorised, not named (none 0.410, null 0.0800) |" in page
    assert "| z (none −4.90, null 0.300) | z − retrained's (none −5.20, null 0.0200) | Detected (" in page
    poison = page.partition("## california-mlp, poison")[2].partition("![")[0]
    assert (
        "| amnesiac | – | – | – | – | – | diverged: 1 of 8 models; seed 3: loss &#124; nan &#60;b&#62;"
        in poison
    )
    assert "bad_teacher" not in poison
    assert re.search(r"\| fine_tune \| −\d\.\d\d \(−\d\.\d\d to −\d\.\d\d\) \|", poison)
    assert "no entry has run on" not in page
    assert not re.search(r"\b(inf|None)\b", page)


def test_files_are_the_same_twice_and_the_csv_is_tidy(made: SimpleNamespace, results: Path) -> None:
    readme = results / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    one = build(results, results / "one", readme, catalogue=made.catalogue())
    two = build(results, results / "two", readme, catalogue=made.catalogue())
    assert [p.read_bytes() for p in one if p != readme] == [p.read_bytes() for p in two if p != readme]
    assert (results / "one" / "figures" / "stress.png").is_file()
    assert "california-mlp, poison, z (none −4.90, null 0.300)" in readme.read_text("utf-8")
    text = (results / "one" / "leaderboard.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == ["task", "split", "method", "metric", "value", "low", "high"]
    assert {row["metric"] for row in rows} >= {"poison_z", "poison_z_none", "poison_z_null", "passes"}
    assert not any(row["metric"].endswith(("_low", "_high")) for row in rows)
    z = next(r for r in rows if (r["method"], r["metric"]) == ("fine_tune", "poison_z"))
    assert float(z["low"]) < float(z["value"]) < float(z["high"])
    tex = (results / "one" / "leaderboard.tex").read_text("utf-8")
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 3
    assert tex.isascii()


def test_the_summary_fits_a_terminal(made: SimpleNamespace, results: Path) -> None:
    text = summary(results, catalogue=made.catalogue())
    assert text.startswith("Protocol stress\n")
    assert all(name in text for name in made.entries)
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("methods", [("fine_tune",), ("constant",), ("retrain", "fine_tune-tuned"), None])
def test_no_text_of_the_figure_covers_another(
    made: SimpleNamespace, methods: "tuple[str, ...] | None"
) -> None:
    names = made.entries if methods is None else methods
    records = made.stress_records(tuple(name for name in names if name != "bad_teacher"))
    with style.styled():
        figure = stress_figure(of(made, [*records, broken(made, "bad_teacher", "poison")]))
        assert figure is not None
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        hidden = set()
        for axes in figure.axes:
            for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                for tick in axis.get_major_ticks():
                    if not min(ends) <= tick.get_loc() <= max(ends):
                        hidden |= {id(tick.label1), id(tick.label2)}
        boxes = [
            (text.get_text(), text.get_window_extent(canvas.get_renderer()))
            for text in figure.findobj(Text)
            if text.get_visible() and id(text) not in hidden and text.get_text().strip()
        ]
    boxes = [(text, box) for text, box in boxes if box.width > 0]
    for at, (text, box) in enumerate(boxes):
        assert box.x0 > -1, text
        assert box.x1 < figure.bbox.x1 + 1, text
        for other, place in boxes[:at]:
            assert not box.padded(-1).overlaps(place.padded(-1)), (text, other)


def test_the_view_holds_both_anchors_and_leaves_out_what_is_far_away() -> None:
    low, high = view_of(-4.0, 0.0, [Reading(-3.0, -3.5, -2.5), Reading(900.0, 800.0, 1000.0)])
    assert low < -4
    assert 0 < high < 6
    low, high = view_of(float("nan"), float("nan"), [Reading(5.0, float("nan"), float("nan"))])
    assert low < 5 < high


def test_failed_cells_alone_make_a_board_without_a_figure(made: SimpleNamespace, tmp_path: Path) -> None:
    records = [broken(made, name, "confusion") for name in ("fine_tune", "amnesiac")]
    folder = made.write_ensembles(tmp_path / "stress", records, made.stress_protocol(), None)
    written = build(folder, tmp_path / "board", catalogue=made.catalogue())
    assert not any(path.suffix == ".png" for path in written)
    page = (tmp_path / "board" / "leaderboard.md").read_text("utf-8")
    assert "diverged" in page
    assert "no entry has run on: california-mlp / confusion-half, california-mlp / poison." in page
    assert "diverged" in summary(folder, catalogue=made.catalogue())


def test_records_of_two_faults_of_one_name_are_refused(made: SimpleNamespace) -> None:
    one, other = made.stress_records(("fine_tune", "amnesiac"), ("poison",))
    with pytest.raises(BenchmarkError, match="two versions of the task"):
        of(made, [one, dataclasses.replace(other, task_hash="older")])


def test_a_protocol_of_both_shows_stress_tests_apart_and_scores_the_others_alone(
    made: SimpleNamespace, tmp_path: Path
) -> None:
    task = ("california-mlp",)
    plain, both = made.protocol(task), made.protocol(task, ("band", "group", "random", "tail", "poison"))
    records, names = made.ensembles(tasks=task), ("fine_tune", "retrain")
    extra = made.stress_records(names, ("poison",), protocol="v1")
    for name, protocol, own in (("plain", plain, records), ("both", both, [*records, *extra])):
        folder = made.write_ensembles(tmp_path / name, own, protocol, made.gates(task))
        build(folder, folder / "board", catalogue=made.catalogue())
    pages = [(tmp_path / name / "board" / "leaderboard.md").read_text("utf-8") for name in ("plain", "both")]
    head, _, tail = pages[1].partition("## Stress tests, not scored")
    assert pages[0].startswith(head)
    assert "### california-mlp, poison" in tail
    assert "![stress: " in tail
    assert "| box | 58 | 56 |" in tail  # 14 entries on 4 splits, and the two
    sheets = [(tmp_path / n / "board" / "leaderboard.csv").read_text("utf-8") for n in ("plain", "both")]
    assert set(sheets[0].splitlines()) < set(sheets[1].splitlines())
    assert "california-mlp,poison,fine_tune,poison_z," in sheets[1]
    tex = (tmp_path / "both" / "board" / "leaderboard.tex").read_text("utf-8")
    assert "% california-mlp, poison" in tex


def test_every_metric_and_test_has_a_short_name() -> None:
    assert set(stress_page.LABELS) == {*stress_metrics.ENTRIES, stress_board.PASSES}
    assert set(stress_page.TESTS) == set(grid.STRESS_TESTS)
