"""Scores against how much is forgotten, of tasks with random forget splits of several sizes.

Draw and save inside `style.styled()`.
"""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from regunlearn.benchmark.registry import Catalogue, discover
from regunlearn.leaderboard.blocks import AXES, Block, S, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_looks import Drawn, looks_of
from regunlearn.leaderboard.panels import legend
from regunlearn.leaderboard.style import WIDTH
from regunlearn.leaderboard.tiers import NOTHING_DONE, NULL

FEWEST = 3
"""Sizes from which on there is something to draw."""
BEST = 5
"""Ranked entries that are drawn, of each method its best, besides retrains and no unlearning."""
TITLES: Mapping[str, str] = {
    S: "S",
    "s_forget": "S_F: predictions",
    "s_privacy": "S_P: privacy",
    "s_weights": "S_W: features",
}


def fractions(outcome: Outcome, tasks: Catalogue | None = None) -> Figure | None:
    """Draw S and its axes against the share of training rows that a model forgets: a row a task, a column a score."""
    sizes = _sizes(outcome, discover("task") if tasks is None else tasks)
    names = _names(outcome)
    if not sizes or not names or not outcome.blocks.scored:
        return None
    blocks = outcome.blocks
    there = {name for own in sizes.values() for _, block in own for name in blocks.metrics_of(block)}
    shown = [S, *(axis for axis in AXES if axis in there)]
    figure = Figure(figsize=(WIDTH, 2.1 * len(sizes) + 0.9), layout="constrained")
    grid = figure.subplots(len(sizes), len(shown), sharey=True, squeeze=False)
    look = looks_of(outcome)
    for row, (task, own) in zip(grid, sizes.items(), strict=True):
        for axes, score in zip(row, shown, strict=True):
            for name in names:
                _line(axes, outcome, own, name, score, look[name])
            _ticks(axes, [share for share, _ in own])
            axes.set_title(f"{TITLES[score]}\n{task}" if len(sizes) > 1 else TITLES[score], fontsize="medium")
            axes.set_ylim(-0.03, 1.03)
    for axes in grid[-1]:
        axes.set_xlabel("forgotten, % of training rows", fontsize="small")
    for row in grid:
        row[0].set_ylabel("score", fontsize="small")
    legend(figure, [_handle(name, look[name]) for name in names], 4)
    return figure


# Parts --------------------------------------------------------------------------------------------------------


def _sizes(outcome: Outcome, tasks: Catalogue) -> dict[str, list[tuple[float, Block]]]:
    """Return the random forget splits of tasks that have several sizes: share that a model forgets, and block."""
    found: dict[str, list[tuple[float, Block]]] = {}
    for block in outcome.blocks.board.blocks:
        card = tasks.cards.get(block[0])
        facts = card.fact("splits", {}).get(block[1], {}) if card else {}
        if facts.get("kind") == "random":
            share = float(facts["fraction"]) / (2 if outcome.blocks.facts[block]["pool"] else 1)
            found.setdefault(block[0], []).append((share, block))
    return {task: sorted(own) for task, own in found.items() if len({share for share, _ in own}) >= FEWEST}


def _names(outcome: Outcome) -> list[str]:
    """Return the best ranked entries, of each method its best, retrains cut short and the two references."""
    groups = outcome.tiers[-1].groups
    first: dict[str, str] = {}
    for name in groups["ranked"]:
        first.setdefault(base_of(name), name)
    there = [*list(first.values())[:BEST], *groups["curve"], NULL, NOTHING_DONE]
    return [name for name in there if name in outcome.blocks.entries] if first else []


def _line(
    axes: Axes, outcome: Outcome, sizes: Sequence[tuple[float, Block]], name: str, score: str, look: Drawn
) -> None:
    """Draw one entry's score over the sizes where it has one, with its interval."""
    blocks = outcome.blocks
    points = []
    for share, block in sizes:
        result = blocks.results.get((*block, name))
        value = blocks.value(block, name, score)
        if score == S and result is not None:
            value = result.score
        half = blocks.half(block, name, score)
        if math.isfinite(value):
            gated = score == S and result is not None and bool(result.reason)
            points.append((share, value, 0.0 if gated or not math.isfinite(half) else half))
    if points:
        axes.errorbar(
            [share for share, _, _ in points],
            [value for _, value, _ in points],
            yerr=[half for _, _, half in points],
            linestyle=look.dash,
            linewidth=max(look.width, 1.1),
            elinewidth=0.9,
            **look.point(3.5),
        )


def _ticks(axes: Axes, shares: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(shares))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(shares[0] / 1.25, shares[-1] * 1.25)
    axes.tick_params(labelsize="small")


def _handle(name: str, look: Drawn) -> Line2D:
    said = {NOTHING_DONE: "original: no unlearning", NULL: "retrain: another retrain"}
    return Line2D([], [], label=said.get(name, name), linestyle=look.dash, linewidth=1.3, **look.point(3.5))
