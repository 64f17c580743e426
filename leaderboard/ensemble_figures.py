"""Figures of scores, axes and distances of a protocol of ensembles: an outcome in, a matplotlib figure out.

Each returns None where there is nothing to draw. Draw and save inside `style.styled()`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regunlearn.leaderboard import ensemble_closeups as closeups
from regunlearn.leaderboard.blocks import AXES
from regunlearn.leaderboard.comparison import THRESHOLDS, Outcome, axis_means
from regunlearn.leaderboard.comparison_figures import critical_difference, improvement
from regunlearn.leaderboard.ensemble_cost import cost
from regunlearn.leaderboard.ensemble_looks import GREY, Drawn, families, looks_of
from regunlearn.leaderboard.ensemble_pareto import pareto
from regunlearn.leaderboard.fraction_figure import fractions
from regunlearn.leaderboard.panels import MOST, bare, legend
from regunlearn.leaderboard.style import FAINT, INK, SHADE, WIDTH
from regunlearn.leaderboard.tiers import Tier

ROW = 0.155
"""Inches for one entry."""
LONGEST = 24
"""Ranked entries in one panel of entries, the best; the tables have all."""
TITLES: Mapping[str, str] = {
    "s_forget": "S_F: predictions",
    "s_privacy": "S_P: privacy",
    "s_weights": "S_W: features",
}


# Scores -------------------------------------------------------------------------------------------------------


def scores(outcome: Outcome) -> Figure | None:
    """Draw overall scores with their intervals, a panel a tier, best first: the best entries and all not ranked."""
    panels = [(tier, _best(tier, rows)) for tier in outcome.tiers if (rows := _scored(outcome, tier))]
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(3, *(len(rows) for _, rows in line)) + 3 for line in lines]
    figure = Figure(figsize=(WIDTH, ROW * sum(heights) + 0.3 * len(lines) + 0.5), layout="constrained")
    grid = figure.add_gridspec(len(lines), columns, height_ratios=heights)
    look = looks_of(outcome)
    for at, line in enumerate(lines):
        for column, (tier, rows) in enumerate(line):
            axes = figure.add_subplot(grid[at, column])
            _forest(axes, outcome, tier, rows, look)
            axes.set_ylim(heights[at] - 3.4, -0.6)
            axes.set_xlabel("S, interquartile mean over blocks")
    legend(figure, families(outcome, [name for _, rows in panels for name in rows]), 4)
    return figure


def _scored(outcome: Outcome, tier: Tier) -> list[str]:
    """Return the entries of a tier with a score, best first; none where all would be references."""
    if not (math.isinf(tier.budget) or tier.groups["ranked"] or tier.groups["curve"]):
        return []
    names = [name for group in tier.groups.values() for name in group if name in outcome.standing.index]
    return sorted(names, key=lambda name: (-outcome.standing.interval(name)[0], name))


def _best(tier: Tier, rows: Sequence[str]) -> list[str]:
    """Return the best ranked entries and all that are not ranked, in their order."""
    ranked = [name for name in rows if name in tier.ranks]
    return [name for name in rows if name not in tier.ranks or name in ranked[:LONGEST]]


def _forest(axes: Axes, outcome: Outcome, tier: Tier, rows: Sequence[str], look: Mapping[str, Drawn]) -> None:
    curve = [name for name in tier.groups["curve"] if name in rows]
    if curve:
        best = outcome.standing.interval(curve[0])[0]
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.1, zorder=1)
    for place, name in enumerate(rows):
        score, low, high = outcome.standing.interval(name)
        axes.plot([low, high], [place, place], color=look[name].colour, linewidth=1.1, zorder=3)
        axes.plot(score, place, **look[name].point(4.5))
    labels = [f"{tier.ranks[name]}  {name}" if name in tier.ranks else name for name in rows]
    axes.set_yticks(range(len(rows)), labels)
    _grey(axes, [name not in tier.ranks for name in rows])
    axes.set_xlim(-0.02, 1.02)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    left_out = max(0, len(tier.ranks) - LONGEST)
    axes.set_title(f"{tier.title}\nbest {LONGEST} of {len(tier.ranks)}" if left_out else tier.title)


def _grey(axes: Axes, which: Sequence[bool]) -> None:
    """Grey the names of entries that are not ranked."""
    for label, grey in zip(axes.get_yticklabels(), which, strict=True):
        label.set_color(GREY if grey else INK)


# Axes ---------------------------------------------------------------------------------------------------------


def axis_scores(outcome: Outcome) -> Figure | None:
    """Draw the axis scores of the best entries and all not ranked: a dot a scored block, a bar at the mean."""
    blocks, tier = outcome.blocks, outcome.tiers[-1]
    rows = _best(tier, _scored(outcome, tier))
    means = axis_means(blocks, rows)
    if means.empty:
        return None
    shown = [axis for axis in AXES if axis in means]
    figure = Figure(figsize=(WIDTH, ROW * 1.1 * max(len(rows), 3) + 1.3), layout="constrained")
    panels = list(figure.subplots(1, len(shown), sharey=True, squeeze=False).ravel())
    look = looks_of(outcome)
    for axes, axis in zip(panels, shown, strict=True):
        for place, name in enumerate(rows):
            for block in blocks.scored:
                value, result = blocks.value(block, name, axis), blocks.results[(*block, name)]
                if math.isfinite(value):
                    own = replace(look[name], marker="o", hollow=bool(result.reason))
                    axes.plot(value, place, alpha=0.75, **own.point(3.2))
            mean = float(means[axis].to_dict()[name])
            axes.plot([mean, mean], [place - 0.36, place + 0.36], color=INK, linewidth=1.3, zorder=8)
        axes.set_title(TITLES[axis])
        axes.set_xlim(-0.04, 1.04)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    _grey(panels[0], [name not in tier.ranks for name in rows])
    hollow = Line2D([], [], color=INK, marker="o", linestyle="none", markerfacecolor="white", markersize=4)
    hollow.set_label("block scores 0 by a gate")
    mark = Line2D([], [], color=INK, marker="|", linestyle="none", markersize=8, markeredgewidth=1.3)
    mark.set_label("mean over blocks")
    legend(figure, [*families(outcome, rows, dots=True), hollow, mark], 4)
    return figure


# Profiles -----------------------------------------------------------------------------------------------------


def profiles(outcome: Outcome) -> Figure | None:
    """Draw the share of scored blocks in which an entry reaches a score: the best entries and retrains cut short."""
    compared = outcome.comparison
    if compared is None:
        return None
    look = looks_of(outcome)
    curve = set(outcome.tiers[-1].groups["curve"])
    best = [name for name in compared.names if name not in curve][:MOST]
    names = [name for name in compared.names if name in best or name in curve]
    figure = Figure(figsize=(WIDTH, 3.3 + 0.17 * math.ceil(len(names) / 4)), layout="constrained")
    axes = figure.add_subplot()
    handles = []
    for at, name in enumerate(names):
        share = compared.profiles[list(compared.names).index(name)]
        share = np.where(np.append(0.0, share[:-1]) + share > 0, share, np.nan)  # ends where it reaches 0
        own = look[name]
        style: dict[str, Any] = {**own.point(4.5), "linestyle": own.dash, "linewidth": own.width}
        axes.step(THRESHOLDS, share, where="pre", markevery=(4 + 3 * at % 25, 25), **style)
        handles.append(Line2D([], [], label=name, **style))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("score τ")
    axes.set_ylabel("share of blocks with S ≥ τ")
    legend(figure, handles, 4)
    return figure


# Distances ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Strip:
    """One row of the figure of nulls."""

    label: str
    null: float
    none: float
    values: Mapping[str, float]


def nulls(outcome: Outcome) -> Figure | None:
    """Draw the total variation of every entry between the null and no unlearning, a row a block."""
    blocks = outcome.blocks
    names = [name for group in outcome.tiers[-1].groups.values() for name in group]
    strips = []
    for block in blocks.board.blocks:
        row = blocks.facts[block]
        values = {n: v for n in names if math.isfinite(v := blocks.value(block, n, "tv"))}
        if values and math.isfinite(float(row["tv_null"])) and math.isfinite(float(row["tv_none"])):
            label = f"{block[0]}\n{block[1]}" + ("" if row["scored"] else " (not scored)")
            strips.append(_Strip(label, float(row["tv_null"]), float(row["tv_none"]), values))
    if not strips:
        return None
    look = looks_of(outcome)
    figure = Figure(figsize=(WIDTH, 0.46 * max(len(strips), 2) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    for place, strip in enumerate(strips):
        axes.barh(place, strip.none - strip.null, 0.8, strip.null, color=SHADE, zorder=1, linewidth=0)
        for end in (strip.null, strip.none):
            axes.plot([end, end], [place - 0.46, place + 0.46], color=INK, linewidth=1.4, zorder=2)
        for name, value in strip.values.items():
            axes.plot(value, place + _lane(names.index(name)), alpha=0.85, **look[name].point(4))
    axes.set_yticks(range(len(strips)), [strip.label for strip in strips])
    axes.set_ylim(len(strips) - 0.4, -0.6)
    axes.set_xlim(0, max(1.0, *(value for strip in strips for value in strip.values.values())) + 0.02)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("total variation between unlearned and retrained models, on the forget rows")
    ends = Line2D([], [], color=INK, marker="|", linestyle="none", markersize=9, markeredgewidth=1.4)
    ends.set_label("null (left) and no unlearning (right)")
    legend(figure, [*families(outcome, names), ends], 4)
    bare(figure)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    return figure


def _lane(at: int, lanes: int = 7) -> float:
    """Return a height within a row, so that neighbours in the table are not drawn over each other."""
    return ((at * 3) % lanes - (lanes - 1) / 2) / lanes * 0.7


FIGURES: Mapping[str, Callable[[Outcome], Figure | None]] = {
    "scores": scores,
    "axes": axis_scores,
    "pareto": pareto,
    "critical_difference": critical_difference,
    "improvement": improvement,
    "profiles": profiles,
    "nulls": nulls,
    "row_distances": closeups.row_distances,
    "roc": closeups.roc,
    "predictions": closeups.predictions,
    "spread": closeups.spread,
    "fractions": fractions,
    "cost": cost,
}
"""Function of every figure by the name of its file; the page has the captions."""
