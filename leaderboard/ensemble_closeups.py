"""Figures of a few entries close up: distances row by row, the attack's ROC, predictions, the spread over models.

They show the best ranked entries between doing nothing and another retrain. Each returns None where the records lack
what it draws. Draw and save inside `style.styled()`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from regunlearn.benchmark.records import Key
from regunlearn.leaderboard.blocks import Block, base_of
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_looks import Drawn, families, looks_of
from regunlearn.leaderboard.panels import COLUMNS, legend, plain, sheet
from regunlearn.leaderboard.sheets import NO_CURVES
from regunlearn.leaderboard.style import FAINT, INK, WIDTH
from regunlearn.leaderboard.tiers import NOTHING_DONE, NULL

BEST = 4
"""Ranked entries in a panel of lines or points: of each method its best."""
SPREAD = 12
"""Ranked entries in the figure of spreads."""
CLIP = (-1.0, 2.0)
"""Range of RNC that is drawn; what lies outside stands on its edge."""
DECADES = (1e-3, 1e-2, 1e-1, 1.0)
MODELS = 64
"""Models at most that stand as dots in a row."""

Columns = Mapping[str, Sequence[float]]


def row_distances(outcome: Outcome) -> Figure | None:
    """Draw how many forget rows of a block have which total variation to the retrained models."""
    names = _there(outcome, [*_best(outcome), NOTHING_DONE, NULL])
    found = _of_blocks(outcome, "row_tv", names)
    if not found:
        return None
    figure, panels = sheet(len(found), 1.75, 0.9)
    look = looks_of(outcome)
    for axes, (block, curves) in zip(panels, found.items(), strict=True):
        for name, columns in curves.items():
            counts = np.asarray(columns["counts"])
            edges = np.linspace(0, 1, len(counts) + 1)
            axes.stairs(counts / counts.sum(), edges, **_line(look[name]))
        axes.set_title("\n".join(block), fontsize="medium")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
    _outer(panels, "TV to retrained models", "share of forget rows")
    legend(figure, _handles(look, names), 3)
    return figure


def roc(outcome: Outcome) -> Figure | None:
    """Draw the ROC of U-LiRA in the blocks of an audit pool, both axes logarithmic."""
    names = _there(outcome, [*_best(outcome), NOTHING_DONE, NULL])
    found = _of_blocks(outcome, "roc", names)
    if not found:
        return None
    figure, panels = sheet(len(found), 2.4, 0.9)
    look = looks_of(outcome)
    for axes, (block, curves) in zip(panels, found.items(), strict=True):
        axes.plot([1e-3, 1], [1e-3, 1], color=INK, linestyle=":", linewidth=0.9, zorder=1)
        for name, columns in curves.items():
            axes.plot(columns["fpr"], columns["tpr"], **_line(look[name]))
        axes.set_title("\n".join(block), fontsize="medium")
        axes.set_xscale("log")
        axes.set_yscale("log")
        for side in (axes.xaxis, axes.yaxis):
            side.set_major_locator(FixedLocator(DECADES))
            side.set_major_formatter(FuncFormatter(plain))
            side.set_minor_formatter(NullFormatter())
        axes.set_xlim(1e-3, 1)
        axes.set_ylim(1e-3, 1.05)
    _outer(panels, "false-positive rate", "true-positive rate")
    blind = Line2D([], [], color=INK, linestyle=":", linewidth=0.9, label="blind attack")
    legend(figure, [*_handles(look, names), blind], 3)
    return figure


def predictions(outcome: Outcome) -> Figure | None:
    """Draw the mean prediction of unlearned against retrained models on forget rows: a column a task."""
    names = _there(outcome, [NOTHING_DONE, *_best(outcome)[: BEST - 1], NULL])
    found = _of_blocks(outcome, "predictions", names)
    blocks = {task: min(_order(block) for block in found if block[0] == task)[1] for task, _ in found}
    if not blocks:
        return None
    figure = Figure(figsize=(WIDTH, 1.55 * len(names) + 0.6), layout="constrained")
    grid = figure.subplots(len(names), len(blocks), squeeze=False)
    look = looks_of(outcome)
    for column, (task, block) in enumerate(blocks.items()):
        values = [value for own in found[block].values() for name in own for value in own[name]]
        span = (min(values), max(values))
        for row, name in enumerate(names):
            axes = grid[row][column]
            axes.plot(span, span, color=FAINT, linewidth=1.0, zorder=1)
            if (own := found[block].get(name)) is not None:
                axes.plot(
                    own["retrained"], own["unlearned"], linestyle="none", alpha=0.8, **look[name].point(3.2)
                )
            axes.set_xlim(*span)
            axes.set_ylim(*span)
            if row == 0:
                axes.set_title(f"{task}\n{block[1]}", fontsize="medium")
            if column == 0:
                axes.set_ylabel(name, fontsize="small")
    figure.supxlabel("mean prediction of the retrained models", fontsize="medium")
    figure.supylabel("mean prediction of the unlearned models", fontsize="medium")
    return figure


def spread(outcome: Outcome) -> Figure | None:
    """Draw the RNC of every single model of the best entries: what one seed would have said. A panel a task."""
    names = _there(outcome, [*_ranked(outcome)[:SPREAD], NULL, NOTHING_DONE])
    found = _of_blocks(outcome, "runs", names)
    tasks = list(dict.fromkeys(task for task, _ in found))
    if not tasks:
        return None
    figure = Figure(figsize=(WIDTH, 0.22 * len(names) + 1.3), layout="constrained")
    panels = list(figure.subplots(1, len(tasks), sharey=True, squeeze=False).ravel())
    look = looks_of(outcome)
    for axes, task in zip(panels, tasks, strict=True):
        for place, name in enumerate(names):
            blocks = [own[name]["rnc"] for block, own in found.items() if block[0] == task and name in own]
            for at, values in enumerate(blocks):
                lane = place + (at + 0.5) / len(blocks) * 0.7 - 0.35
                dots = np.clip(np.asarray(values[:MODELS]), *CLIP)
                axes.plot(
                    dots, np.full(len(dots), lane), linestyle="none", alpha=0.5, **look[name].point(1.8)
                )
        for mark in (0, 1):
            axes.axvline(mark, color=INK, linewidth=0.7, linestyle=":", zorder=1)
        axes.set_title(task, fontsize="medium")
        axes.set_xlim(CLIP[0] - 0.05, CLIP[1] + 0.05)
        axes.set_xlabel("RNC of single models")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    legend(figure, families(outcome, names), 4)
    return figure


# Parts --------------------------------------------------------------------------------------------------------


def _ranked(outcome: Outcome) -> list[str]:
    return [name for name in outcome.tiers[-1].groups["ranked"] if name in outcome.standing.index]


def _best(outcome: Outcome) -> list[str]:
    """Return the best ranked entries, of each method its best one."""
    first: dict[str, str] = {}
    for name in _ranked(outcome):
        first.setdefault(base_of(name), name)
    return list(first.values())[:BEST]


def _there(outcome: Outcome, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in outcome.blocks.entries]


def _of_blocks(outcome: Outcome, curve: str, names: Sequence[str]) -> dict[Block, dict[str, Columns]]:
    """Return the columns of a curve by block and entry; blocks that none of the entries has it for are left out."""
    own = outcome.blocks.board.curves.get(curve, NO_CURVES) if _ranked(outcome) else NO_CURVES
    found = {
        block: {name: own[key] for name in names if (key := Key(*block, name, 0)) in own}
        for block in outcome.blocks.board.blocks
    }
    return {block: curves for block, curves in found.items() if curves}


def _order(block: Block) -> tuple[bool, Block]:
    """Sort the blocks of a task by which shows most: a band of the target, where predictions move together."""
    return not block[1].startswith("band"), block


def _line(look: Drawn) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": look.dash,
        "linewidth": max(look.width, 1.1),
        "zorder": look.order + 1,
    }


def _handles(look: Mapping[str, Drawn], names: Sequence[str]) -> list[Line2D]:
    said = {NOTHING_DONE: "original: no unlearning", NULL: "retrain: another retrain"}
    return [
        Line2D(
            [],
            [],
            label=said.get(name, name),
            color=look[name].colour,
            linestyle=look[name].dash,
            linewidth=1.6,
        )
        for name in names
    ]


def _outer(panels: Sequence[Axes], below: str, beside: str) -> None:
    """Name the axes at the foot of each column and at the start of each row."""
    for at, axes in enumerate(panels):
        axes.tick_params(labelsize="small")
        if at + COLUMNS >= len(panels):
            axes.set_xlabel(below, fontsize="small")
        if at % COLUMNS == 0:
            axes.set_ylabel(beside, fontsize="small")
