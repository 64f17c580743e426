"""The figure of the stress track: what is left of each fault, and what it cost in utility, entry by entry."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from regunlearn.benchmark.stress_metrics import ENTRIES
from regunlearn.leaderboard.ensemble_looks import GREY, Drawn, drawn, handles_of
from regunlearn.leaderboard.panels import legend
from regunlearn.leaderboard.stress_board import GROUPS, UTILITY, Reading, Stress, StressTest
from regunlearn.leaderboard.stress_page import label
from regunlearn.leaderboard.style import INK, WIDTH
from regunlearn.leaderboard.text import number

ROW = 0.165
"""Inches for one entry."""
BEYOND = 1.5
"""A panel ends so many times the distance from none to null beyond the two."""
MOST = 1.6
"""Where the panel of utility ratios ends."""

PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
"""Behind text that may stand on a line."""

View = tuple[float, float]


def stress_figure(found: Stress) -> Figure | None:
    """Draw the first metric of every test and the utility ratio, in the order of the tables; None without numbers."""
    tests = [test for test in found.tests if test.metrics]
    if not tests:
        return None
    heights = [sum(map(len, test.order.values())) + 3.2 for test in tests]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.25 * len(tests) + 0.7), layout="constrained")
    grid = figure.add_gridspec(len(tests), 2, height_ratios=heights, width_ratios=(2.2, 1))
    look = drawn(found.methods)
    for at, test in enumerate(tests):
        left = figure.add_subplot(grid[at, 0])
        right = figure.add_subplot(grid[at, 1], sharey=left)
        _left(left, test, look)
        _utility(right, test, look)
    lines = [
        Line2D([], [], color=INK, linestyle="--", linewidth=1.0, label="none: originals"),
        Line2D([], [], color=INK, linestyle="-", linewidth=1.0, label="null: retrained models"),
    ]
    legend(figure, [*handles_of(found.methods, list(map(str, found.methods.index))), *lines], 4)
    return figure


def _left(axes: Axes, test: StressTest, look: Mapping[str, Drawn]) -> None:
    """Draw what is left of the fault."""
    metric = test.metrics[0]
    none, null = (test.anchor(metric, kind) for kind in ("none", "null"))
    for place, dash in ((none, "--"), (null, "-")):
        if math.isfinite(place):
            axes.axvline(place, color=INK, linestyle=dash, linewidth=1.0, zorder=1)
    rows = [name for group, _ in GROUPS for name in test.order[group]]
    readings = {name: test.read(name, metric) for name in rows}
    view = view_of(none, null, list(readings.values()))
    for place, name in enumerate(rows):
        if test.reasons[name]:
            said = test.status(name).replace("_", " ")
            inset = view[0] + 0.02 * (view[1] - view[0])
            axes.text(inset, place, said, fontsize=7, color=GREY, va="center", bbox=PATCH)
        elif math.isfinite(readings[name].value):
            _dot(axes, place, readings[name], look[name], view)
    axes.set_xlim(view)
    honest = set(test.order["honest"])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for text, name in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_color(INK if name in honest else GREY)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{test.task}, {test.split}")
    axes.set_xlabel(ENTRIES[metric].label)


def _utility(axes: Axes, test: StressTest, look: Mapping[str, Drawn]) -> None:
    """Draw the error on clean test rows over the retrained models'."""
    rows = [name for group, _ in GROUPS for name in test.order[group]]
    ratios = {name: value for name in rows if math.isfinite(value := test.read(name, UTILITY).value)}
    inside = [value for value in ratios.values() if value <= MOST]
    low, high = min([0.98, *inside]), max([1.1, *inside])
    view = (low - 0.06 * (high - low), high + 0.12 * (high - low))
    axes.axvline(1.0, color=INK, linewidth=1.0, zorder=1)
    for place, name in enumerate(rows):
        if name in ratios:
            _dot(axes, place, Reading(ratios[name], math.nan, math.nan), look[name], view)
    axes.set_xlim(view)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel(label(UTILITY))


def view_of(none: float, null: float, readings: Sequence[Reading]) -> View:
    """Return the ends of a panel: around none and null, and as far as the entries need, within bounds."""
    anchors = [value for value in (none, null) if math.isfinite(value)]
    values = [one.value for one in readings if math.isfinite(one.value)]
    reach = BEYOND * abs(none - null) if len(anchors) == 2 and none != null else math.inf
    bounds = (min([*anchors, *values]), max([*anchors, *values]))
    if anchors:
        bounds = (min(anchors) - reach, max(anchors) + reach)
    ends = [
        end for one in readings if bounds[0] <= one.value <= bounds[1] for end in one if math.isfinite(end)
    ]
    low, high = min([*anchors, *ends]), max([*anchors, *ends])
    low, high = max(low, bounds[0]), min(high, bounds[1])
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def _dot(axes: Axes, place: int, one: Reading, look: Drawn, view: View) -> None:
    """Draw a value with its interval; one out of view as a triangle at the edge, with its number beside it."""
    if view[0] <= one.value <= view[1]:
        if math.isfinite(one.low):
            axes.plot([one.low, one.high], [place, place], color=look.colour, linewidth=1.1, zorder=3)
        axes.plot(one.value, place, **look.point(4.5))
        return
    left = one.value < view[0]
    edge, width = view[0 if left else 1], view[1] - view[0]
    inward = 1 if left else -1
    style = {**look.point(4.5), "marker": "<" if left else ">"}
    axes.plot(edge + inward * 0.02 * width, place, **style)
    axes.text(
        edge + inward * 0.05 * width,
        place,
        number(one.value),
        fontsize=6.5,
        color=GREY,
        ha="left" if left else "right",
        va="center",
        bbox=PATCH,
    )
