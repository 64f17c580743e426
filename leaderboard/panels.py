"""What the figures share: which methods, panels, legends and logarithmic axes."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from regunlearn.leaderboard.style import WIDTH, Look
from regunlearn.leaderboard.tables import Numbers

MOST = 12
"""Honest methods that a figure of lines shows: the best ones."""

COLUMNS = 3

PANELS = 9
"""Tasks and splits that a figure of panels shows, the first ones by name: three rows fit on a screen."""


def shown(numbers: Numbers, groups: Sequence[str]) -> list[str]:
    """Return the methods of these groups of rows, best first, at most `MOST` of the ranked ones."""
    return [name for group in groups for name in numbers.order[group][: MOST if group == "ranked" else None]]


def sheet(count: int, height: float, extra: float = 0.7) -> tuple[Figure, list[Axes]]:
    """Return a figure of `count` panels, three a row, each `height` inches, and `extra` inches for the legend."""
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(WIDTH, rows * height + extra), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def lay_out(figure: Figure) -> None:
    """Find the places of all panels, for good. Drawing would do so too, and then draw."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
    figure.set_layout_engine(None)  # "none" would leave something that has every saving draw twice


def legend(figure: Figure, handles: Sequence[Any], columns: int = 5) -> None:
    """Put the legend under the panels, `columns` entries a row."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=min(columns, len(handles)),
        handlelength=2.6,
        columnspacing=1.4,
    )


def handle(name: str, look: Look, line: bool, marker: bool) -> Line2D:
    """Return the legend's entry for a method, drawn as its line, its marker, or both."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.dash if line else "none",
        linewidth=look.width,
        marker=look.marker if marker else "none",
        markersize=5,
        label=name,
    )


def bare(figure: Figure) -> None:
    """Leave of the frames of all panels the line at the bottom."""
    for axes in figure.axes:
        axes.spines[["top", "right", "left"]].set_visible(False)


def plain(value: float, _position: object = None) -> str:
    """Return the label of a tick at 1, 2 or 5 times a power of ten."""
    if value >= 1e-3:
        return f"{value:,.7g}"
    power = str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}"


def times(value: float, _position: object = None) -> str:
    """Return the label of a tick that stands for a factor."""
    return f"{plain(value)}×"


def log(axes: Axes, formatter: Callable[[float, object], str], dense: float = 1.5) -> None:
    """Make the x axis logarithmic, labelled at 1, 2 and 5 up to `dense` decades, at powers of ten beyond."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    wide = math.log10(high / low) > dense
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=7))
    axes.xaxis.set_major_formatter(FuncFormatter(formatter))
    axes.xaxis.set_minor_formatter(NullFormatter())
