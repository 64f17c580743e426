"""Figures have their panels, lines and labels; data with gaps neither breaks nor fools them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from regunlearn.leaderboard import scores, style
from regunlearn.leaderboard.figures import FIGURES, cost, error_by_target, relative_difference, step_mean
from regunlearn.leaderboard.frame import board
from regunlearn.leaderboard.panels import PANELS
from regunlearn.leaderboard.pareto import pareto
from regunlearn.leaderboard.tables import Numbers


@pytest.fixture(scope="module")
def full(made: SimpleNamespace) -> Numbers:
    made_board = board(made.grid(), made.catalogue(), made.units)
    return Numbers(made_board, scores.score(made_board))


def numbers_of(made: SimpleNamespace, records: list) -> Numbers:  # type: ignore[type-arg]
    made_board = board(records, made.catalogue(), made.units)
    return Numbers(made_board, scores.score(made_board))


def test_step_mean_by_hand() -> None:
    edges = [np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 4.0])]
    heights = [np.array([1.0, np.nan]), np.array([3.0, 5.0])]
    np.testing.assert_array_equal(
        step_mean(edges, heights, np.array([0.5, 1.5, 3.0, 9.0])), [2.0, 3.0, 5.0, np.nan]
    )


def test_pareto_has_a_panel_for_all_and_one_for_each_block(full: Numbers) -> None:
    with style.styled():
        figure = pareto(full)
    assert figure is not None
    assert len(figure.axes) == 7
    assert "retrain's seconds" in figure.axes[0].get_xlabel()


def test_names_in_the_pareto_figure_do_not_cover_each_other(full: Numbers) -> None:
    with style.styled():
        figure = pareto(full)
        assert figure is not None
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [text for text in figure.axes[0].texts if text.get_text() in full.board.methods.index]
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
        frame = figure.axes[0].get_window_extent()
    assert len(texts) == 11
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


def test_pareto_says_so_where_a_method_was_not_timed(made: SimpleNamespace) -> None:
    figure = pareto(numbers_of(made, made.grid(tasks=("california-mlp",), timed=False)))
    assert figure is not None
    assert "gradient passes" in figure.axes[0].get_xlabel()


def test_figures_of_a_wide_board_show_the_first_panels(made: SimpleNamespace) -> None:
    tasks = [f"task{at:02d}" for at in range(PANELS + 2)]
    records = [
        replace(one, task=task)
        for one in made.grid(("retrain", "fine_tune"), ("california-mlp",), ("band",))
        for task in tasks
    ]
    wide = numbers_of(made, records)
    with style.styled():
        figures = [pareto(wide), error_by_target(wide), relative_difference(wide)]
    titles = [
        [axes.get_title(loc="left").replace("\n", ", ") for axes in figure.axes]
        for figure in figures
        if figure
    ]
    first = [f"{task}, band" for task in tasks[:PANELS]]
    assert titles == [["All tasks and splits", *first], first, first]


def test_error_by_target_takes_band_splits_only_and_leaves_out_empty_bins(full: Numbers) -> None:
    with style.styled():
        figure = error_by_target(full)
    assert figure is not None
    assert [axes.get_title(loc="left").split("\n")[1] for axes in figure.axes] == ["band"] * 3
    line = np.asarray(figure.axes[0].lines[0].get_ydata(), dtype=float)
    assert np.isnan(line[-1])  # -1 in the record: no rows
    assert (line[:-1] > 0).all()


def test_densities_integrate_to_one(full: Numbers) -> None:
    with style.styled():
        figure = relative_difference(full)
    assert figure is not None
    for axes in figure.axes:
        for line in axes.lines:
            x, y = (np.asarray(data, dtype=float) for data in line.get_data())
            assert float(y.sum() * (x[1] - x[0])) == pytest.approx(1.0)


def test_cost_marks_the_retrain_and_names_every_method(full: Numbers) -> None:
    with style.styled():
        figure = cost(full)
    assert figure is not None
    assert {label.get_text() for label in figure.axes[0].get_yticklabels()} == set(full.board.methods.index)


@pytest.mark.parametrize("name", list(FIGURES))
def test_nothing_to_draw_is_none(made: SimpleNamespace, name: str) -> None:
    records = [made.record(status="error", reason="x", metrics={}, passes=None)]
    assert FIGURES[name][0](numbers_of(made, records)) is None


@pytest.mark.parametrize("name", list(FIGURES))
def test_one_cell_is_enough(made: SimpleNamespace, name: str) -> None:
    records = made.grid(
        methods=("fine_tune", "original"), tasks=("california-mlp",), splits=("band",), seeds=(0,)
    )
    with style.styled():
        figure = FIGURES[name][0](numbers_of(made, records))
        assert figure is not None
        FigureCanvasAgg(figure).draw()


def test_looks_are_stable_and_distinct(full: Numbers) -> None:
    everyone = full.board.methods
    looks = style.looks(everyone)
    honest = [name for name in everyone.index if everyone["kind"][name] == "honest"]
    assert len({(looks[name].colour, str(looks[name].dash)) for name in honest}) == len(honest)
    alone = style.looks(everyone.drop(index="gaussian_finetune"))
    assert alone["blindspot"] == looks["blindspot"]
    assert looks["blindspot"].colour != looks["amnesiac"].colour


def test_a_style_is_left_behind_as_found() -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.styled():
        assert mpl.rcParams["svg.hashsalt"] == "regunlearn"
    assert dict(mpl.rcParams) == before
