"""One function a figure: numbers in, matplotlib figure out, no file and no global state.

Each returns None where the records hold nothing to draw. Draw and save inside `style.styled()`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from regunlearn.benchmark.records import Key
from regunlearn.leaderboard.frame import BLOCK
from regunlearn.leaderboard.panels import COLUMNS, PANELS, bare, handle, legend, log, plain, sheet, shown
from regunlearn.leaderboard.pareto import pareto
from regunlearn.leaderboard.sheets import NO_CURVES
from regunlearn.leaderboard.style import FAINT, INK, SHADE, WIDTH, looks
from regunlearn.leaderboard.tables import Numbers, at

Array = NDArray[np.float64]

# Curves -------------------------------------------------------------------------------------------------------

Columns = Mapping[str, Sequence[float]]


def for_figures(numbers: Numbers) -> Numbers:
    """Return what the figures take of the numbers, small enough to pass between processes.

    That is all means, a cell of each task and split, and the curves of the methods that are drawn.
    """
    board, scores = numbers.board, numbers.scores
    methods = set(shown(numbers, ("ranked", "incomplete", "reference")))
    first = board.cells.drop_duplicates(BLOCK)
    curves = {name: own.of(methods) for name, own in board.curves.items()}
    few = Numbers(
        replace(board, cells=first, values=board.values.loc[first.index], curves=curves),
        replace(scores, cells=scores.cells.loc[first.index]),
    )
    vars(few).update(long=numbers.long, overall=numbers.overall, order=numbers.order)  # means of all cells
    return few


def _by_block(
    numbers: Numbers, curve: str, methods: Sequence[str]
) -> dict[tuple[str, str], dict[str, list[Columns]]]:
    """Return the curves of these methods by block, then method: one entry a seed."""
    result: dict[tuple[str, str], dict[str, list[Columns]]] = {}
    wanted = set(methods)
    own = {
        Key(*key): columns
        for key, columns in numbers.board.curves.get(curve, NO_CURVES).items()
        if key[2] in wanted
    }
    for key, columns in sorted(own.items()):
        if len(columns.get("edges", ())) > 1:
            result.setdefault((key.task, key.split), {}).setdefault(key.method, []).append(columns)
    return result


def step_mean(edges: Sequence[Array], heights: Sequence[Array], middles: Array) -> Array:
    """Return the mean of step functions at some places, each over those of them that are defined there.

    Args:
        edges: of each function, shape (k + 1,), rising.
        heights: of each, shape (k,); NaN where it is not defined.
        middles: places, shape (m,).

    Returns:
        Shape (m,); NaN where none is defined.
    """
    rows = []
    for own, height in zip(edges, heights, strict=True):
        index = np.searchsorted(own, middles, side="right") - 1
        inside = (index >= 0) & (index < len(height))
        rows.append(np.where(inside, height[np.clip(index, 0, len(height) - 1)], np.nan))
    stacked = np.array(rows)
    defined = ~np.isnan(stacked)
    total = np.where(defined, stacked, 0.0).sum(axis=0)
    count = defined.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _shape_fits(columns: Columns, name: str) -> bool:
    return len(columns.get(name, ())) == len(columns["edges"]) - 1


def error_by_target(numbers: Numbers) -> Figure | None:
    """Draw the MAE against the target, a panel a task and band split, the forgotten range shaded; mean over seeds."""
    names = shown(numbers, ("ranked", "incomplete", "reference"))
    panels = {
        block: own
        for block, own in _by_block(numbers, "error_by_target", names).items()
        if any(columns.get("forget_low") for curves in own.values() for columns in curves)
    }
    if not panels:
        return None
    look = looks(numbers.board.methods)
    first = sorted(panels.items())[:PANELS]
    figure, axes = sheet(len(first), 2.5)
    drawn: set[str] = set()
    for panel, (block, own) in zip(axes, first, strict=True):
        tops = []
        for name in names:
            curves = [columns for columns in own.get(name, ()) if _shape_fits(columns, "mae")]
            if not curves:
                continue
            edges = [np.asarray(columns["edges"], dtype=float) for columns in curves]
            middles = (edges[0][1:] + edges[0][:-1]) / 2
            raw = [np.asarray(columns["mae"], dtype=float) for columns in curves]
            mean = step_mean(edges, [np.where(values < 0, np.nan, values) for values in raw], middles)
            panel.plot(
                middles,
                mean,
                color=look[name].colour,
                linestyle=look[name].dash,
                linewidth=look[name].width,
                zorder=look[name].order,
            )
            drawn.add(name)
            if not np.isnan(mean).all():
                tops.append((float(np.nanmax(mean)), name in ("original", "retrain")))
        low, high = _forget_range(own)
        panel.axvspan(low, high, color=SHADE, zorder=0, linewidth=0)
        anchors = [top for top, anchor in tops if anchor]
        highest = max((top for top, _ in tops), default=1.0)
        panel.set_ylim(0, 1.08 * (min(highest, 2 * max(anchors)) if anchors else highest) or 1.0)
        panel.set_title(f"{block[0]}\n{block[1]}")
        unit = numbers.board.units.get(block[0], "")
        panel.set_xlabel(f"target ({unit})")
        panel.set_ylabel(f"MAE ({unit})")
    handles: list[Any] = [
        handle(name, look[name], line=True, marker=False) for name in names if name in drawn
    ]
    legend(figure, [*handles, Patch(color=SHADE, label="range to forget")])
    return figure


def _forget_range(own: Mapping[str, Sequence[Columns]]) -> tuple[float, float]:
    curves = [columns for seeds in own.values() for columns in seeds]
    lows = [float(columns["forget_low"][0]) for columns in curves if columns.get("forget_low")]
    highs = [float(columns["forget_high"][0]) for columns in curves if columns.get("forget_high")]
    return min(lows, default=0.0), max(highs, default=0.0)


def relative_difference(numbers: Numbers) -> Figure | None:
    """Draw how far each method's predictions on the forget rows are from the retrained model's.

    Density over rows of |f_unlearned - f_retrained| in standard deviations of the target, rows of all seeds pooled:
    the figure of the paper, there relative to the label. Mass at the left is good, down to the curve of another
    retrain.
    """
    names = shown(numbers, ("ranked", "incomplete", "reference"))
    first = sorted(_by_block(numbers, "relative_difference", names).items())[:PANELS]
    if not first:
        return None
    look = looks(numbers.board.methods)
    figure, axes = sheet(len(first), 1.9)
    drawn: set[str] = set()
    for index, (panel, (block, own)) in enumerate(zip(axes, first, strict=True)):
        ends, peaks = [], []
        for name in names:
            curves = [columns for columns in own.get(name, ()) if _shape_fits(columns, "counts")]
            total = sum(sum(columns["counts"]) for columns in curves)
            if not total:
                continue
            edges = [np.asarray(columns["edges"], dtype=float) for columns in curves]
            widths = [np.diff(own_edges) for own_edges in edges]
            heights = [
                np.asarray(columns["counts"], dtype=float) / width
                for columns, width in zip(curves, widths, strict=True)
            ]
            middles = (edges[0][1:] + edges[0][:-1]) / 2
            density = np.nan_to_num(step_mean(edges, heights, middles)) * len(curves) / total
            panel.plot(
                middles,
                density,
                color=look[name].colour,
                linestyle=look[name].dash,
                linewidth=look[name].width,
                zorder=look[name].order,
            )
            drawn.add(name)
            share = np.cumsum(density * widths[0])
            ends.append(float(edges[0][1:][min(int(np.searchsorted(share, 0.99)), len(share) - 1)]))
            peaks.append(float(density[:-1].max(initial=0.0)))  # the last bin holds all that lies above
        panel.set_xlim(0, max(ends, default=1.0))
        panel.set_ylim(0, 1.08 * max(peaks, default=1.0) or 1.0)
        panel.set_title(f"{block[0]}\n{block[1]}")
        if index % COLUMNS == 0:
            panel.set_ylabel("density")
        if index >= len(axes) - COLUMNS:
            panel.set_xlabel("|f − f retrained| / sd of target")
    legend(figure, [handle(name, look[name], line=True, marker=False) for name in names if name in drawn])
    return figure


# Cost ---------------------------------------------------------------------------------------------------------


def cost(numbers: Numbers) -> Figure | None:
    """Draw gradient passes and seconds of every method relative to a retrain's: the mean, and a dot a block."""
    wanted = [
        name
        for name in shown(numbers, ("ranked", "incomplete", "reference", "sentinel"))
        if not numbers.overall.loc[name, ["passes", "time_ratio"]].isna().all()
    ]
    if not wanted:
        return None
    overall = numbers.overall.loc[wanted]
    names = [str(name) for name in overall.sort_values(["passes", "time_ratio"], ascending=False).index]
    look = looks(numbers.board.methods)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.21 * len(names)), layout="constrained")
    axes = list(figure.subplots(1, 2, sharey=True))
    for panel, (metric, title) in zip(
        axes, (("passes", "Gradient passes / retrain's"), ("time_ratio", "Seconds / retrain's")), strict=True
    ):
        own = numbers.long[(numbers.long["metric"] == metric) & numbers.long["method"].isin(names)]
        positive = own.loc[own["mean"] > 0, "mean"]
        panel.set_title(title)
        panel.set_yticks(range(len(names)), names)
        panel.grid(axis="y", color=FAINT, linewidth=0.4)
        if positive.empty:
            panel.text(0.5, 0.5, "not timed", transform=panel.transAxes, ha="center", color="#777777")
            panel.set_xticks([])
            continue
        low, high = float(positive.min()) / 3, max(float(positive.max()), 1.0) * 2.5
        for position, name in enumerate(names):
            dots = own.loc[own["method"] == name, "mean"].to_numpy(dtype=float)
            mean = at(overall, name, metric)
            style = {"color": look[name].colour, "zorder": look[name].order}
            if not len(dots):
                panel.text(low, position, " not timed", va="center", fontsize=6.5, color="#777777")
            elif mean <= 0:
                panel.text(low, position, " 0", va="center", fontsize=7, color=look[name].colour)
            else:
                panel.plot([low, mean], [position, position], linewidth=0.6, alpha=0.5, **style)
                panel.plot(dots, np.full(len(dots), position), "|", markersize=6, alpha=0.6, **style)
                panel.plot(mean, position, marker=look[name].marker, markersize=5.5, **style)
        panel.axvline(1.0, color=INK, linewidth=0.9, linestyle="--", zorder=1)
        panel.set_xlim(low, high)
        log(panel, plain, dense=2.5)
    axes[0].set_ylim(-0.7, len(names) - 0.3)
    bare(figure)
    return figure


FIGURES: Mapping[str, tuple[Callable[[Numbers], Figure | None], str]] = {
    "pareto": (
        pareto,
        "Score against speed-up, 95% intervals. A method below the dotted line is beaten by cutting a retrain short.",
    ),
    "error_by_target": (
        error_by_target,
        "MAE against the target for splits that forget a range of it (shaded), mean over seeds. Good methods follow "
        "the retrained model, inside the range as well as outside.",
    ),
    "relative_difference": (
        relative_difference,
        "Distance of the predictions on the forget rows to the retrained model's, in standard deviations of the "
        "target (the paper's figure divides by the label); what lies beyond the last bin counts in it. Good methods "
        "follow the curve of another retrain.",
    ),
    "cost": (
        cost,
        "Cost relative to a retrain (dashed): mean over tasks and splits, and a tick for each of them.",
    ),
}
"""Function and caption of every figure, by the name of its file."""
