"""Figures of a protocol of ensembles: what is in them, no names over each other, nothing drawn from nothing."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from regunlearn.benchmark.registry import Card, Catalogue
from regunlearn.leaderboard import blocks, style
from regunlearn.leaderboard.comparison import Outcome, outcome
from regunlearn.leaderboard.comparison_figures import critical_difference, improvement
from regunlearn.leaderboard.ensemble_cost import cost
from regunlearn.leaderboard.ensemble_figures import FIGURES, axis_scores, nulls, profiles, scores
from regunlearn.leaderboard.ensemble_looks import looks_of
from regunlearn.leaderboard.ensemble_pareto import pareto
from regunlearn.leaderboard.fraction_figure import fractions

TASK = ("california-mlp",)


@pytest.fixture(scope="module")
def full(made: SimpleNamespace) -> Outcome:
    return outcome(blocks.blocks(made.ensembles(), made.protocol(), made.gates(), made.catalogue()))


def small(made: SimpleNamespace, methods: tuple[str, ...], gated: bool = True) -> Outcome:
    gates = made.gates(TASK) if gated else []
    return outcome(blocks.blocks(made.ensembles(methods, TASK), made.protocol(TASK), gates, made.catalogue()))


def labels_out_of_view(axes: Axes) -> list[Text]:
    """Labels of ticks that the limits leave out: they have a place and are not drawn."""
    found = []
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        out = [tick for tick in ticks if not min(low, high) <= tick.get_loc() <= max(low, high)]
        found += [label for tick in out for label in (tick.label1, tick.label2)]
    return found


SIZES = {"random": 0.1, "group": 0.02, "tail": 0.4}


def sized() -> Catalogue:
    """Tasks of which three splits are random ones of other sizes."""
    splits = {name: {"kind": "random", "fraction": size} for name, size in SIZES.items()}
    facts = {"splits": {**splits, "band": {"kind": "band", "low": 1.0}}}
    tasks = ("california-mlp", "sentiment-lstm")
    return Catalogue("task", {n: Card("task", n, "", facts, {}, Path(f"{n}.py"), n, "") for n in tasks})


DRAW = {**FIGURES, "fractions": partial(fractions, tasks=sized())}


@pytest.mark.parametrize("name", list(FIGURES))
def test_no_text_covers_another_or_leaves_the_figure(full: Outcome, name: str) -> None:
    with style.styled():
        figure = DRAW[name](full)
        assert figure is not None
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        hidden = {id(label) for axes in figure.axes for label in labels_out_of_view(axes)}
        texts = [t for t in figure.findobj(Text) if t.get_visible() and id(t) not in hidden]
        boxes = [
            (t.get_text(), t.get_window_extent(canvas.get_renderer())) for t in texts if t.get_text().strip()
        ]
    boxes = [(text, box) for text, box in boxes if box.width > 0]
    for at, (text, box) in enumerate(boxes):
        assert box.x0 > -1, text
        assert box.x1 < figure.bbox.x1 + 1, text
        for other, place in boxes[:at]:
            assert not box.padded(-1).overlaps(place.padded(-1)), (text, other)


def test_scores_have_a_panel_a_tier_and_all_its_entries(full: Outcome) -> None:
    with style.styled():
        figure = scores(full)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == [tier.title for tier in full.tiers]
    for axes, tier in zip(figure.axes, full.tiers, strict=True):
        labels = {label.get_text().split()[-1] for label in axes.get_yticklabels()}
        assert labels == {name for group in tier.groups.values() for name in group}


def test_axes_have_one_dot_a_block(full: Outcome) -> None:
    with style.styled():
        figure = axis_scores(full)
    assert figure is not None
    assert len(figure.axes) == 3
    entries = len(full.blocks.entries)
    counts = [sum(line.get_marker() == "o" for line in axes.lines) for axes in figure.axes]
    assert counts == [12 * entries, 6 * entries, 12 * entries]  # privacy has the pool blocks only


def test_profiles_end_where_they_reach_zero(full: Outcome) -> None:
    with style.styled():
        figure = profiles(full)
    assert figure is not None
    for line in figure.axes[0].lines:
        heights = np.asarray(line.get_ydata(), dtype=float)
        assert heights[0] == 1
        assert np.nansum(heights == 0) <= 1


def test_a_configuration_is_drawn_hollow_as_its_method(full: Outcome) -> None:
    looks = looks_of(full)
    tuned, plain = looks["fine_tune-tuned"], looks["fine_tune"]
    assert (tuned.colour, tuned.marker) == (plain.colour, plain.marker)
    assert (tuned.hollow, plain.hollow) == (True, False)
    assert {looks[f"truncated_retrain-{share}"].marker for share in (2, 10, 25)} == {"D"}
    assert not looks["truncated_retrain-2"].hollow


def test_nulls_show_blocks_that_are_not_scored_too(made: SimpleNamespace) -> None:
    figure = nulls(small(made, ("fine_tune",), gated=False))
    assert figure is not None
    assert [label.get_text().split("\n")[1] for label in figure.axes[0].get_yticklabels()] == [
        f"{split} (not scored)" for split in ("band", "group", "random", "tail")
    ]


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"nulls"}))
def test_nothing_scored_is_nothing_drawn(made: SimpleNamespace, name: str) -> None:
    assert DRAW[name](small(made, ("fine_tune", "amnesiac"), gated=False)) is None


def test_one_entry_has_no_comparison_and_few_blocks_no_diagram(made: SimpleNamespace) -> None:
    alone = small(made, ("fine_tune",))
    assert improvement(alone) is profiles(alone) is critical_difference(alone) is None
    assert critical_difference(small(made, ("fine_tune", "amnesiac"))) is None
    with style.styled():
        assert pareto(alone) is not None
        assert scores(alone) is not None


def test_scores_stand_over_the_share_that_a_model_forgets(full: Outcome) -> None:
    figure = fractions(full, sized())
    assert figure is not None
    assert [axes.get_title() for axes in figure.axes][:2] == [
        "S\ncalifornia-mlp",
        "S_F: predictions\ncalifornia-mlp",
    ]
    lines = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    shares = sorted(size / (2 if split != "tail" else 1) for split, size in SIZES.items())
    assert lines
    for line in lines:  # in the pool design a model forgets half of the rows
        np.testing.assert_allclose(np.asarray(line.get_xdata(), dtype=float), shares)
    heights = [np.asarray(line.get_ydata(), dtype=float) for line in lines]
    retrain = [
        full.blocks.results[("california-mlp", split, "retrain")].score
        for split in sorted(SIZES, key=lambda split: SIZES[split] / (2 if split != "tail" else 1))
    ]
    assert any(np.allclose(own, retrain) for own in heights)


def test_two_sizes_are_no_curve(full: Outcome) -> None:
    card = sized().cards["california-mlp"]
    two = {name: facts for name, facts in card.fact("splits").items() if name != "tail"}
    tasks = Catalogue("task", {card.name: replace(card, facts={"splits": two})})
    assert fractions(full, tasks) is None


def test_costs_are_the_blocks_and_their_mean(full: Outcome) -> None:
    figure = cost(full)
    assert figure is not None
    passes, seconds = figure.axes[:2]
    names = [label.get_text() for label in passes.get_yticklabels()]
    place = names.index("blindspot")
    for axes, expected in ((passes, 0.18), (seconds, (40 * 0.18 + 0.01) / 40)):
        own = [line for line in axes.get_lines() if set(np.asarray(line.get_ydata())) == {place}]
        ticks, mean = sorted(own, key=lambda line: -len(line.get_xdata()))
        assert len(ticks.get_xdata()) == len(full.blocks.board.blocks)
        np.testing.assert_allclose(np.asarray(mean.get_xdata(), dtype=float), expected)
    assert names[-1] == "retrain"  # the dearest stands last
