"""The figure of score against cost, with every point named."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from regunlearn.leaderboard.panels import COLUMNS, PANELS, handle, lay_out, legend, log, shown, times
from regunlearn.leaderboard.scores import pareto_front
from regunlearn.leaderboard.style import INK, WIDTH, Look, looks
from regunlearn.leaderboard.tables import Numbers, at

FREE = 1e-3
"""A method below this share of a retrain's cost is drawn at the right edge: the axis is for the others."""


def pareto(numbers: Numbers) -> Figure | None:
    """Draw score against speed-up, over the grid and for each task and split, with 95% intervals.

    The step line is the Pareto front of the ranked methods; the dotted line joins the full retrain with the
    truncated one: a method below it is beaten by stopping a retrain early. Speed-up is retrain seconds over method
    seconds if every method was timed, else 1 / gradient passes, and the axis says which.
    """
    board, scores = numbers.board, numbers.scores
    names = [
        name
        for name in shown(numbers, ("ranked", "reference", "sentinel"))
        if not math.isnan(at(scores.methods, name, "score"))
    ]
    if not names:
        return None
    timed = not numbers.overall.loc[names, "time_ratio"].isna().any()
    cost = "time_ratio" if timed else "passes"
    look = looks(board.methods)
    means: dict[Any, float] = (
        numbers.long[numbers.long["metric"] == cost].set_index(["task", "split", "method"])["mean"].to_dict()
    )
    blocks = [block for block in board.blocks if scores.gates["scored"].to_dict()[block]][:PANELS]

    rows = math.ceil(len(blocks) / COLUMNS) if len(blocks) > 1 else 0
    figure = Figure(figsize=(WIDTH, 3.9 + 1.75 * rows + 0.8), layout="constrained")
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=[3.9, *[1.75] * rows])
    main = figure.add_subplot(grid[0, :])
    overall = {name: at(numbers.overall, name, cost) for name in names}
    points = {
        name: Point(overall[name], *(at(scores.methods, name, part) for part in ("score", "low", "high")))
        for name in names
    }
    costs = [*overall.values(), *(value for key, value in means.items() if key[2] in names)]
    edge = 2.5 * max((1.0 / cost for cost in costs if cost >= FREE), default=1.0)
    drawn = _score_panel(main, points, board.methods["kind"].to_dict(), look, edge, small=False)
    main.set_title("All tasks and splits")
    main.set_ylabel("closeness to the retrained model (score)")
    what = "retrain's seconds / method's" if timed else "1 / gradient passes: not every method was timed"
    main.set_xlabel(f"speed-up over a retrain ({what})")

    for index, block in enumerate(blocks if rows else []):
        axes = figure.add_subplot(grid[1 + index // COLUMNS, index % COLUMNS], sharex=main, sharey=main)
        points = {}
        for name in names:
            score, half = (at(scores.blocks, (*block, name), part) for part in ("score", "half"))
            if not math.isnan(score) and (*block, name) in means:
                half = 0.0 if math.isnan(half) else half
                low, high = max(score - half, 0.0), min(score + half, 1.0)
                points[name] = Point(means[(*block, name)], score, low, high)
        _score_panel(axes, points, board.methods["kind"].to_dict(), look, edge, small=True)
        axes.set_title(f"{block[0]}, {block[1]}")
        axes.label_outer()
    main.tick_params(labelbottom=True)
    main.set_ylim(-0.04, 1.06)
    if drawn.free:
        _set_apart(main, drawn)
    log(main, times)
    lines = [
        Line2D([], [], color=INK, linewidth=1.0, label="Pareto front of the ranked methods"),
        Line2D(
            [],
            [],
            color="#6b6b6b",
            linestyle=":",
            linewidth=1.4,
            label="retraining, cut short: the curve to beat",
        ),
    ]
    legend(figure, [*(handle(name, look[name], line=False, marker=True) for name in names), *lines], 4)
    name_points(figure, main, drawn)
    return figure


def _set_apart(axes: Axes, panel: "Panel") -> None:
    """Divide the methods that cost next to nothing from the others, for whom the axis is."""
    inner = max((x for name, (x, _) in panel.places.items() if name not in panel.free), default=1.0)
    first = min(panel.places[name][0] for name in panel.free)
    last = max(panel.places[name][0] for name in panel.free)
    border = math.sqrt(inner * first)
    axes.axvspan(border, last * 1.7, color="#f4f4f4", zorder=0, linewidth=0)
    axes.set_xlim(min(x for x, _ in panel.places.values()) / 1.4, last * 1.7)
    axes.text(
        border * 1.05, 1.03, f"over {1 / FREE:,.0f}×, not to scale", fontsize=7, color="#6b6b6b", va="center"
    )


class Point(NamedTuple):
    """Cost as a share of a retrain's, score, and the ends of the score's interval."""

    cost: float
    score: float
    low: float
    high: float


class Panel(NamedTuple):
    """Where the methods were drawn, and the lines that no label may cover: each a row of points (x, y)."""

    places: Mapping[str, tuple[float, float]]
    free: frozenset[str]
    lines: Sequence[Sequence[tuple[float, float]]]


def _score_panel(
    axes: Axes,
    points: Mapping[str, Point],
    kinds: Mapping[Any, Any],
    look: Mapping[str, Look],
    edge: float,
    small: bool,
) -> Panel:
    """Draw one panel; methods that cost next to nothing stand side by side from `edge` on."""
    free = [name for name, point in points.items() if point.cost < FREE]
    places = {
        name: (edge * 1.6 ** free.index(name) if name in free else 1.0 / point.cost, point.score)
        for name, point in points.items()
    }
    honest = [name for name in points if kinds[name] == "honest"]
    on_front = pareto_front([points[name].score for name in honest], [points[name].cost for name in honest])
    front = sorted(places[name] for name, on in zip(honest, on_front, strict=True) if on)
    corners = [front[0]] if front else []
    for x, y in front[1:]:  # level with the next point, then on to it
        corners += [(corners[-1][0], y), (x, y)]
    curve = sorted(places[name] for name in ("retrain", "truncated_retrain") if name in places)
    lines = [line for line in (corners, curve) if len(line) > 1]
    for line in lines:
        dotted = line is curve
        axes.plot(
            [x for x, _ in line],
            [y for _, y in line],
            linestyle=":" if dotted else "-",
            color="#6b6b6b" if dotted else INK,
            linewidth=(0.7 if small else 1.0) * (1.5 if dotted else 1.0),
            zorder=2,
        )
    for name, (_, mean, low, high) in points.items():
        own, x_at = look[name], places[name][0]
        axes.plot([x_at, x_at], [low, high], color=own.colour, linewidth=0.8, alpha=0.7, zorder=own.order)
        axes.plot(
            x_at,
            mean,
            marker=own.marker,
            markersize=(4 if small else 7) * (1.3 if own.marker == "*" else 1),
            color=own.colour,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=own.order + 1,
        )
    return Panel(places, frozenset(free), lines)


def name_points(figure: Figure, axes: Axes, panel: Panel, named: Collection[str] | None = None) -> None:
    """Write each name beside its point, at the nearest place where it covers no point, line or other name.

    Args:
        figure: laid out here for good.
        axes: with the points.
        panel: where they are.
        named: whose names are written; everybody's by default.
    """
    canvas = cast(Any, FigureCanvasAgg(figure))
    lay_out(figure)  # the pixel positions below depend on it
    renderer = canvas.get_renderer()
    scale = figure.dpi / 72
    centre = {name: axes.transData.transform(place) for name, place in panel.places.items()}
    taken = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in centre.values()]
    for line in panel.lines:
        corners = axes.transData.transform(line)
        for start, end in pairwise(corners):
            steps = max(int(np.hypot(*(end - start)) / 4), 1)
            dots = start + np.linspace(0, 1, steps + 1)[:, None] * (end - start)
            taken += [Bbox.from_bounds(x - 1, y - 1, 2, 2) for x, y in dots]
    frame = axes.get_window_extent(renderer)
    names = panel.places if named is None else [name for name in panel.places if name in named]
    for name in sorted(names, key=lambda name: (-centre[name][1], centre[name][0])):
        text = axes.annotate(
            name,
            panel.places[name],
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=7.5,
            va="center",
            zorder=9,
            annotation_clip=False,
        )
        box = text.get_window_extent(renderer)
        width = box.width / scale
        best: tuple[float, float, float] | None = None
        for dx, dy in _above(width) if name in panel.free else _places(width):
            there = box.translated(dx * scale, dy * scale)
            outside = there.x0 < frame.x0 or there.x1 > frame.x1 or there.y0 < frame.y0
            penalty = sum(there.padded(5, 1).overlaps(other) for other in taken) + 3.0 * outside
            if best is None or penalty < best[0]:
                best = (penalty, dx, dy)
            if not penalty:
                break
        assert best is not None
        _, dx, dy = best
        text.set_position((dx, dy))
        taken.append(box.translated(dx * scale, dy * scale))
        if abs(dy) > 11:
            end = dx if dx > 0 else dx + width if dx + width < 0 else 0.0
            arrow = {"arrowstyle": "-", "color": "#8a8a8a", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}
            axes.annotate(
                "",
                panel.places[name],
                xytext=(end, dy - math.copysign(4, dy)),
                textcoords="offset points",
                arrowprops=arrow,
                zorder=2,
            )


def _above(width: float) -> Iterator[tuple[float, float]]:
    """Yield offsets above the point only: the right edge is crowded."""
    for ring in range(1, 9):
        yield -width / 2, 10.0 * ring + 2


def _places(width: float) -> Iterator[tuple[float, float]]:
    """Yield offsets in points from the point to the text's left end, nearest first."""
    for ring in range(6):
        for dy in (0.0,) if ring == 0 else (10.0 * ring, -10.0 * ring):
            yield 8.0, dy
            yield -8.0 - width, dy
            if ring:
                yield -width / 2, dy
