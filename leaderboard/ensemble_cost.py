"""The figure of what entries of a protocol of ensembles cost: gradient passes and seconds, both over a retrain's."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_looks import Drawn, families, looks_of
from regunlearn.leaderboard.panels import bare, legend, log, plain
from regunlearn.leaderboard.style import FAINT, INK, WIDTH
from regunlearn.leaderboard.tiers import NULL

BEST = 30
"""Ranked entries that are drawn, the best ones; the table of costs has all."""
COSTS = (("passes", "Gradient passes / retrain's"), ("time_ratio", "Seconds / retrain's"))


def cost(outcome: Outcome) -> Figure | None:
    """Draw the costs of entries, the cheapest on top: the mean, and a tick a block.

    None where nothing was timed, or nothing is scored.
    """
    costs = {name: _costs(outcome, name) for name in _names(outcome)}
    timed = {name: own for name, own in costs.items() if all(own)}
    if not timed or not outcome.blocks.scored:
        return None
    names = sorted(timed, key=lambda name: (float(np.mean(timed[name][1])), name))
    look = looks_of(outcome)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.155 * len(names)), layout="constrained")
    for at, (axes, (_, title)) in enumerate(zip(figure.subplots(1, 2, sharey=True), COSTS, strict=True)):
        for place, name in enumerate(names):
            _row(axes, place, timed[name][at], look[name])
        positive = [value for own in timed.values() for value in own[at] if value > 0]
        axes.set_xlim(min(positive, default=0.5) / 2, max(*positive, 1.0) * 2)
        axes.axvline(1.0, color=INK, linewidth=0.9, linestyle="--", zorder=1)
        axes.grid(axis="y", color=FAINT, linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_title(title)
        log(axes, plain, dense=2.5)
        if at == 0:
            axes.set_yticks(range(len(names)), names)
            axes.set_ylim(len(names) - 0.4, -0.6)
    legend(figure, families(outcome, names), 4)
    bare(figure)
    return figure


def _names(outcome: Outcome) -> list[str]:
    groups = outcome.tiers[-1].groups
    return [*groups["ranked"][:BEST], *groups["exact"], *groups["curve"], NULL]


def _costs(outcome: Outcome, name: str) -> list[list[float]]:
    """Return the passes and the shares of seconds of an entry, a number a block that has one."""
    blocks = outcome.blocks
    return [
        [value for block in blocks.board.blocks if math.isfinite(value := blocks.value(block, name, cost_of))]
        for cost_of, _ in COSTS
    ]


def _row(axes: Axes, place: int, values: Sequence[float], look: Drawn) -> None:
    """Draw one entry; what costs nothing at all has no place on a logarithmic axis and is written as 0."""
    shown = [value for value in values if value > 0]
    if not shown:
        axes.text(0.01, place, "0", transform=axes.get_yaxis_transform(), va="center", fontsize="small")
        return
    ticks: dict[str, Any] = {
        "color": look.colour,
        "linestyle": "none",
        "marker": "|",
        "markersize": 5,
        "alpha": 0.6,
    }
    axes.plot(shown, np.full(len(shown), place), zorder=look.order, **ticks)
    axes.plot(float(np.mean(values)), place, **look.point(4.5))
