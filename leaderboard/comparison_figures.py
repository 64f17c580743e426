"""Figures of entries against each other: the critical-difference diagram and the matrix of improvement."""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regunlearn.leaderboard.comparison import Comparison, Outcome
from regunlearn.leaderboard.ensemble_looks import GREY
from regunlearn.leaderboard.style import INK, WIDTH

LINE = 0.17
"""Inches for one name."""


def critical_difference(outcome: Outcome) -> Figure | None:
    """Draw average ranks on a line, with a bar over each clique; None where too few blocks are scored."""
    compared = outcome.comparison
    if compared is None or compared.cliques is None:
        return None
    order = [int(index) for index in np.argsort(compared.ranks, kind="stable")]
    left = order[: math.ceil(len(order) / 2)]
    right = order[len(left) :][::-1]
    bars = len(compared.cliques)
    height = 0.45 + 0.09 * bars + LINE * (len(left) + 1)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    _rank_line(axes, compared)
    for place, clique in enumerate(compared.cliques):
        ends = compared.ranks[list(clique)]
        depth = 0.08 + 0.09 * place
        axes.plot([ends.min() - 0.04, ends.max() + 0.04], [depth, depth], color=INK, linewidth=3.0, zorder=4)
    curve = set(outcome.tiers[-1].groups["curve"])
    low, high = 1.0, float(len(order))
    margin = 0.03 * (high - low)
    for side, indices in ((-1, left), (1, right)):
        for place, index in enumerate(indices):
            rank, depth = float(compared.ranks[index]), 0.16 + 0.09 * bars + LINE * place
            end = low - margin if side < 0 else high + margin
            colour = GREY if compared.names[index] in curve else INK
            axes.plot([rank, rank, end], [0, depth, depth], color=colour, linewidth=0.7, zorder=2)
            text = (
                f"{compared.names[index]}  {rank:.1f}" if side < 0 else f"{rank:.1f}  {compared.names[index]}"
            )
            axes.text(
                end + side * margin / 3,
                depth,
                text,
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=7,
                color=colour,
            )
    axes.set_xlim(low - 0.42 * (high - low), high + 0.42 * (high - low))
    axes.set_ylim(0.2 + 0.09 * bars + LINE * len(left), -0.25)
    axes.axis("off")
    return figure


def _rank_line(axes: Axes, compared: Comparison) -> None:
    """Draw the scale of ranks, 1 at the left."""
    entries = len(compared.names)
    axes.plot([1, entries], [0, 0], color=INK, linewidth=0.9)
    step = max(1, math.ceil(entries / 15))
    for rank in sorted({*range(1, entries + 1, step), entries} - ({entries - 1} if step > 1 else set())):
        axes.plot([rank, rank], [-0.05, 0], color=INK, linewidth=0.9)
        axes.text(rank, -0.08, str(rank), ha="center", va="bottom", fontsize=7)


def improvement(outcome: Outcome) -> Figure | None:
    """Draw the probability that the row's score is above the column's, in percent."""
    compared = outcome.comparison
    if compared is None:
        return None
    entries = len(compared.names)
    side = min(0.34, 5.4 / entries)
    figure = Figure(figsize=(WIDTH, side * entries + 1.7), layout="constrained")
    axes = figure.add_subplot()
    shown = np.where(np.eye(entries, dtype=bool), np.nan, compared.improvement)
    axes.imshow(shown, cmap=colormaps["PuOr"].reversed(), vmin=0, vmax=1)
    size = min(7.0, 72 * side * 0.36)
    for row in range(entries):
        for column in range(entries):
            if row != column:
                value = float(compared.improvement[row, column])
                colour = "white" if abs(value - 0.5) > 0.33 else INK
                axes.text(
                    column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=size, color=colour
                )
    axes.set_xticks(range(entries), compared.names, rotation=90)
    axes.set_yticks(range(entries), compared.names)
    curve = set(outcome.tiers[-1].groups["curve"])
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_color(GREY if label.get_text() in curve else INK)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("P(row above column), percent")
    return figure
