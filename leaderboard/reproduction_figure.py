"""The published density figure again: how far each model's outputs on the forget rows are from the retrained model's.

One row of panels a dataset, as published on the left, corrected on the right.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regunlearn.benchmark.atomic import write_bytes
from regunlearn.benchmark.evidence import Array
from regunlearn.leaderboard.build import FORMATS
from regunlearn.leaderboard.panels import legend
from regunlearn.leaderboard.reproduction_numbers import CORRECTED, PUBLISHED, Numbers, load
from regunlearn.leaderboard.style import INK, WIDTH, family_colour, styled
from regunlearn.reproduction.records import MODELS

HEIGHT, SHOWN = 2.0, 2.0
"""Inches of a panel; where its axis ends."""

NAMES = {"agedb-band": "AgeDB", "utkface-band": "UTKFace, small task", "utkface-band-full": "UTKFace"}
LOOKS: Mapping[str, tuple[str, Any]] = {
    "original": (INK, "-"),
    "second_retrained": (INK, (0, (1.2, 1.2))),
    "fine_tune": (family_colour("first order"), "-"),
    "gaussian_finetune": (family_colour("relabelling"), (0, (5, 1.5))),
    "blindspot": (family_colour("distillation"), "-"),
}
CAPTION = "|prediction − retrained model's| / target, forget rows"


def density(numbers: Numbers, protocol: str, model: str) -> tuple[Array, Array] | None:
    """Return edges (n + 1) and density (n) over all seeds; what lies beyond the last edge counts in the total."""
    found = [
        record.density
        for record in numbers.records
        if (record.protocol, record.model) == (protocol, model) and record.density
    ]
    if not found:
        return None
    edges = np.asarray(found[0]["edges"], dtype=float)
    counts = np.sum([one["counts"] for one in found], axis=0)
    total = counts.sum() + sum(one["beyond"][0] for one in found)
    return edges, counts / (max(total, 1) * np.diff(edges))


def draw(boards: Sequence[Numbers]) -> Figure:
    """Draw the panels of some experiments, each with records of density."""
    figure = Figure(figsize=(WIDTH, HEIGHT * len(boards) + 0.6), layout="constrained")
    rows = figure.subplots(len(boards), 2, squeeze=False, sharex=True)
    there: dict[str, None] = {}
    for axes, numbers in zip(rows, boards, strict=True):
        for panel, protocol in zip(axes, (PUBLISHED, CORRECTED), strict=True):
            there |= dict.fromkeys(_panel(panel, numbers, protocol))
    for panel in rows[-1]:
        panel.set_xlabel(CAPTION)
    known = [name for name in LOOKS if name in there]
    legend(
        figure, [Line2D([], [], color=LOOKS[n][0], linestyle=LOOKS[n][1], label=MODELS[n]) for n in known], 5
    )
    return figure


def _panel(axes: Axes, numbers: Numbers, protocol: str) -> list[str]:
    drawn = []
    for name, (colour, dash) in LOOKS.items():
        found = density(numbers, protocol, name)
        if found is not None:
            axes.stairs(found[1], found[0], color=colour, linestyle=dash, linewidth=1.2)
            drawn.append(name)
    axes.set_xlim(0, SHOWN)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("Density")
    axes.set_title(f"{NAMES.get(numbers.experiment, numbers.experiment)}, {protocol} protocol")
    return drawn


def build(paths: Sequence[Path], out: Path) -> list[Path]:
    """Write density.png and density.svg for the files of records that hold densities; return the files, if any.

    Raises:
        BenchmarkError: records cannot be read, or nothing can be written.
    """
    boards = [load(path) for path in paths if path.exists()]
    boards = [numbers for numbers in boards if any(record.density for record in numbers.records)]
    if not boards:
        return []
    with styled():
        figure = draw(boards)
        contents = {suffix: _saved(figure, suffix, metadata) for suffix, metadata in FORMATS.items()}
    for suffix, content in contents.items():
        write_bytes(out / f"density.{suffix}", content)
    return [out / f"density.{suffix}" for suffix in contents]


def _saved(figure: Figure, suffix: str, metadata: Mapping[str, object]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, metadata=dict(metadata))
    return buffer.getvalue()
