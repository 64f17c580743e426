"""From a results folder to the leaderboard: the only part that reads and writes files.

The output is a pure function of the records and of the installed libraries: sorted, without dates, paths or random
identifiers, so that a rebuild of the same records changes no byte.
"""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from regunlearn.benchmark import grid, verified
from regunlearn.benchmark.atomic import write_bytes, write_text
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.records import Record, read_all
from regunlearn.benchmark.registry import Catalogue, discover
from regunlearn.benchmark.rules import UTILITY_ERRORS, UTILITY_MARGIN
from regunlearn.leaderboard import (
    blocks,
    breakdowns,
    comparison,
    ensemble_csv,
    ensemble_figures,
    ensemble_page,
    ensemble_tables,
    frame,
    model_breakdowns,
    scores,
    stress_board,
    stress_page,
    table_files,
    tables,
    tuned,
)
from regunlearn.leaderboard.figures import FIGURES, for_figures
from regunlearn.leaderboard.panels import MOST, PANELS, lay_out, log, plain, sheet
from regunlearn.leaderboard.sheets import Reading, uncollected
from regunlearn.leaderboard.stress_board import Stress
from regunlearn.leaderboard.stress_figure import stress_figure
from regunlearn.leaderboard.style import styled
from regunlearn.leaderboard.text import Table, escape_markdown, latex, markdown

if TYPE_CHECKING:
    from regunlearn.benchmark.workers import Helpers

BEGIN, END = "<!-- BEGIN LEADERBOARD -->", "<!-- END LEADERBOARD -->"
FORMATS: Mapping[str, dict[str, object]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What a figure is saved as, with the metadata that would differ between two builds left out."""

RULES = f"""\
**Score.** Of a cell (a method on a task and forget split with one seed): the smaller of *closeness* =
clip(1 − |1 − RNC|, 0, 1), as seen from the predictions on the forget rows, and 1 − clip(RR, 0, 1), as seen from
inside; closeness alone where RR is not defined. 0 = did nothing, 1 = another retrain. A block is a task and split;
its score is the mean over seeds. The overall score is the mean over blocks.

**Gates.** A method whose mean MAE on the retained test rows of a block exceeds {UTILITY_MARGIN:g} × the
retrained model's mean + {UTILITY_ERRORS:g} standard errors of that mean scores 0 there ("utility"). A block
with DSR below {scores.DSR_LIMIT:g} has nothing to forget beyond seed noise: it is shown and not scored. A cell that
did not end well scores 0. A method that lacks cells which others have gets no score and no rank, and no mean over
its other cells stands in for one.

**Intervals.** Of the overall score: {scores.LEVEL:.0%} percentile interval of a bootstrap that redraws seeds within
blocks ({scores.DRAWS:,} draws, fixed generator); it says how far the score depends on the seeds, not on the choice
of tasks. Of one block ("± half-width"): {scores.LEVEL:.0%} t interval of the mean over seeds. With few seeds the
former is on the narrow side.

**Ranks.** By score. A method shares the rank of the best one of the group above it if the {scores.LEVEL:.0%}
interval of their paired difference (same redrawn seeds) contains 0. References, sentinels (deliberately wrong
methods that a metric must expose) and cheats (granted the retrained model) are shown and never ranked.

**Cost.** *Gradient passes*: rows forwarded and backwarded, as a share of a retrain's, the method's own preparation
included. *Seconds / retrain's*: both timed in one sitting on one machine, mean over seeds and blocks; speed-up is
its inverse. Peak memory is in the CSV. RNC and RR in the main table are means over the scored blocks, other columns
over all blocks; cells that did not end well are in no mean but the score's.
"""


@uncollected()
def build(
    results: Path,
    out: Path,
    readme: Path | None = None,
    *,
    catalogue: Catalogue | None = None,
    beside: Path | None = None,
    show: Callable[[str], None] | None = None,
    reading: Reading | None = None,
) -> list[Path]:
    """Write the leaderboard of a results folder and return the files, sorted.

    Args:
        results: holds `records/<method>.jsonl`.
        out: gets leaderboard.md, .csv, .tex, tables/ and figures/. A table or figure that these records do not give
            is removed there.
        readme: a file whose text between the two markers becomes the compact main table.
        catalogue: method cards; those of the package by default.
        beside: another results folder, whose methods are shown too in the cells that `results` has.
        show: given what `summary` returns, at the end.
        reading: of the same results, where it has begun already; closed here.

    Raises:
        BenchmarkError: there are no records, they cannot be read or compared, or `readme` lacks the markers.
    """
    with closing(reading or Reading(results, beside)) as begun:
        content = _content(results, begun, catalogue, beside)
        page = None if readme is None else _spliced(readme, content, out)
        figures = _Figures(content.figures, begun.helpers if content.light else None)
        written = {out / "leaderboard.csv": content.csv(), out / "leaderboard.tex": content.tex()}
        written |= {out / table_files.FOLDER / name: text for name, text in content.tables().items()}
        content.early()
        drawn = figures.drawn()
    written[out / "leaderboard.md"] = content.page(
        [name for name in content.figures if (name, "png") in drawn]
    )
    if readme is not None and page is not None:
        written[readme] = page
    for path, text in written.items():
        write_text(path, text)
    for path in _left_over(out / table_files.FOLDER, written):
        path.unlink()
    for name in content.figures:
        for suffix in FORMATS:
            path = out / "figures" / f"{name}.{suffix}"
            if (name, suffix) in drawn:
                write_bytes(path, drawn[name, suffix])
            else:
                path.unlink(missing_ok=True)
    if show is not None:
        show(_summary(content))
    return sorted([*written, *(out / "figures" / f"{name}.{suffix}" for name, suffix in drawn)])


def build_figure(results: Path, out: Path, name: str, *, catalogue: Catalogue | None = None) -> list[Path]:
    """Write one figure of a results folder into `out/figures` and return its files.

    Raises:
        UnknownName: these records have no such figure.
        BenchmarkError: there are no records, they cannot be read or compared, or give nothing to draw.
    """
    with closing(Reading(results)) as reading:
        figures = _content(results, reading, catalogue).figures
    if name not in figures:
        raise UnknownName("figure", name, figures)
    drawn = _Figures({name: figures[name]}).drawn()
    if not drawn:
        raise BenchmarkError(f"{results}: its records give nothing to draw in the figure {name!r}.")
    for (_, suffix), content in drawn.items():
        write_bytes(out / "figures" / f"{name}.{suffix}", content)
    return sorted(out / "figures" / f"{name}.{suffix}" for _, suffix in drawn)


def summary(results: Path, *, catalogue: Catalogue | None = None, beside: Path | None = None) -> str:
    """Return the main table (of ensembles, at any cost) as text for a terminal, 120 columns wide.

    Raises:
        BenchmarkError: there are no records, or they cannot be read or compared.
    """
    with closing(Reading(results, beside)) as reading:
        return _summary(_content(results, reading, catalogue, beside))


def _summary(content: "_Content") -> str:
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    from regunlearn.leaderboard.text import clean

    table = content.terminal
    shown = Grid(box=None, pad_edge=False)
    for at, heading in enumerate(table.header):
        words = at in table.words
        kept = heading == "Method" or "interval" in heading
        shown.add_column(Text(heading), justify="left" if words else "right", no_wrap=kept)
    for title, rows in table.groups:
        short = clean(title).partition(",")[0].partition(":")[0]  # a title stands in the column of names
        shown.add_row("", Text(short, style="italic"))
        for row in rows:
            shown.add_row(*(Text(clean(text)) for text in row.cells))
    console = Console(file=io.StringIO(), width=120, color_system=None, force_terminal=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join([f"Protocol {content.protocol}", *(line.rstrip() for line in lines), *content.notes, ""])


# Parts --------------------------------------------------------------------------------------------------------


def _left_over(folder: Path, written: Mapping[Path, str]) -> list[Path]:
    """Return the tables of a folder that an earlier build wrote and this one did not."""
    names = {*breakdowns.TITLES, *model_breakdowns.TITLES}
    known = [folder / f"{name}.{suffix}" for name in sorted(names) for suffix in table_files.SUFFIXES]
    return [path for path in known if path not in written and path.is_file()]


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What is written and printed of a results folder.

    Attributes:
        protocol: its name.
        page: of the names of the figures that there are.
        csv, tex: texts of the files.
        tables: texts of the files of single tables, by name.
        compact, terminal: the main table, for the README and for a terminal.
        early: makes the part of the page that takes long and does not ask which figures there are.
        figures: by name, those that take longest first; None where there is nothing to draw.
        light: whether what the figures need is little enough to be handed to other processes.
        notes: lines under the table on a terminal.
    """

    protocol: str
    page: Callable[[Sequence[str]], str]
    csv: Callable[[], str]
    tex: Callable[[], str]
    tables: Callable[[], Mapping[str, str]]
    compact: Table
    terminal: Table
    figures: Mapping[str, Callable[[], Figure | None]]
    light: bool = False
    early: Callable[[], object] = str
    notes: Sequence[str] = ()


def _records(results: Path, beside: Path | None) -> list[Record]:
    """Return the records of a folder, and of `beside` those of other methods in the same cells."""
    own = read_all(results)
    if beside is None:
        return own
    cells = {(record.task, record.split, record.seed) for record in own}
    methods = {record.method for record in own}
    others = [
        record
        for record in read_all(beside)
        if record.method not in methods and (record.task, record.split, record.seed) in cells
    ]
    return [*own, *others]


def _content(
    results: Path, reading: Reading, catalogue: Catalogue | None, beside: Path | None = None
) -> _Content:
    """Return the content for the kind of protocol: of ensembles, of stress tests alone, or of single models."""
    cards = discover("method") if catalogue is None else catalogue
    if (results / "protocol.toml").is_file() and grid.load(results).ensembles:
        records, protocol = _records(results, beside), grid.load(results)
        stress = stress_board.stress(records, protocol, catalogue)
        if stress is not None and all(record.split in grid.STRESS_TESTS for record in records):
            return _of_stress(stress)
        gates = blocks.read_gates(results / blocks.GATES)
        again = verified.entries(results, records)
        outcome = comparison.outcome(blocks.blocks(records, protocol, gates, catalogue, again))
        return _of_ensembles(outcome, stress, tuned.table(tuned.searches(results)), cards)
    if beside is None:
        rows = reading.sheet()
        if reading.helpers is not None:  # they import what draws while this process puts the board together
            reading.helpers.share(_draw, [_practice])
        board = frame.of(rows, catalogue)
    else:
        board = frame.board(_records(results, beside), catalogue)
    numbers = tables.Numbers(board, scores.score(board))
    broken, drawable = cache(partial(model_breakdowns.tables, numbers, cards)), for_figures(numbers)
    body = cache(lambda: _body(numbers, broken()))
    return _Content(
        protocol=board.protocol,
        page=lambda drawn: _page(numbers, body(), drawn),
        csv=partial(tables.csv, numbers),
        tex=lambda: latex(tables.main_table(numbers)),
        tables=lambda: table_files.files(broken(), model_breakdowns.WORDS),
        early=body,
        compact=tables.main_table(numbers, tables.COMPACT),
        terminal=tables.main_table(numbers, tables.TERMINAL),
        figures={name: partial(draw, drawable) for name, (draw, _) in FIGURES.items()},
        light=True,
    )


def _of_ensembles(
    outcome: comparison.Outcome, stress: Stress | None, searched: Table | None, cards: Catalogue
) -> _Content:
    last, broken = outcome.tiers[-1], breakdowns.tables(outcome, cards)
    figures = {name: partial(draw, outcome) for name, draw in ensemble_figures.FIGURES.items()}
    extra = {} if stress is None else {stress_page.FIGURE: partial(stress_figure, stress)}
    return _Content(
        protocol=outcome.blocks.board.protocol,
        page=partial(ensemble_page.page, outcome, stress=stress, tuned=searched, broken=broken),
        csv=partial(ensemble_csv.csv, outcome, None if stress is None else stress_board.long(stress)),
        tex=partial(ensemble_page.tex, outcome, stress),
        tables=partial(table_files.files, broken, breakdowns.WORDS),
        compact=ensemble_tables.main_table(outcome, last, ensemble_tables.COMPACT),
        terminal=ensemble_tables.main_table(outcome, last, ensemble_tables.TERMINAL),
        figures={**figures, **extra},
        notes=ensemble_tables.leaders(outcome),
    )


def _of_stress(stress: Stress) -> _Content:
    table = stress_page.short_table(stress)
    return _Content(
        protocol=stress.protocol.name,
        page=partial(stress_page.page, stress),
        csv=partial(stress_page.csv, stress),
        tex=partial(stress_page.tex, stress),
        tables=dict,
        compact=table,
        terminal=table,
        figures={stress_page.FIGURE: partial(stress_figure, stress)},
    )


Draw = Callable[[], Figure | None]


class _Figures:
    """Figures that helpers, if there are some, have begun to draw."""

    def __init__(self, figures: Mapping[str, Draw], helpers: "Helpers | None" = None) -> None:
        self._figures = figures
        self._shared = None if helpers is None else helpers.share(_draw, list(figures.values()))

    def drawn(self) -> dict[tuple[str, str], bytes]:
        """Return every figure that there is data for, by name and format."""
        draws = self._figures.values()
        made = map(_draw, draws) if self._shared is None else self._shared.results()
        return {
            (name, suffix): content
            for name, own in zip(self._figures, made, strict=True)
            for suffix, content in own.items()
        }


@uncollected()
def _draw(draw: Draw) -> dict[str, bytes]:
    """Return a figure in every format; nothing if there is no data for it."""
    with styled():
        figure = draw()
        if figure is None:
            return {}
        _settle(figure)
        return {suffix: _saved(figure, suffix) for suffix in FORMATS}


def _practice() -> Figure:
    """Return a figure that is drawn for what has to be imported and looked up for it: fonts, ticks, formats."""
    figure, (panel,) = sheet(1, 1.0)
    panel.plot([1.0, 10.0], [0.0, 1.0], marker="o", linestyle="--")
    panel.set_title("0.5")
    panel.set_xlabel("0.5")
    log(panel, plain)
    return figure


def _settle(figure: Figure) -> None:
    """Lay a figure out once, and round the places of its panels.

    The last bits of the layout depend on what the process has drawn before; without rounding they reach the files.
    """
    lay_out(figure)
    for axes in figure.axes:
        left, bottom, width, height = (round(edge, 6) for edge in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def _saved(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, metadata=FORMATS[suffix])
    return buffer.getvalue()


def _spliced(readme: Path, content: _Content, out: Path) -> str:
    """Return the text of the README with the compact main table between its markers."""
    try:
        text = readme.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{readme}: cannot be read as UTF-8 text ({error}).") from error
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or end < begin:
        raise BenchmarkError(
            f"{readme}: expected one line {BEGIN} and after it one line {END}, found {text.count(BEGIN)} and "
            f"{text.count(END)}. Add them where the table belongs."
        )
    table = markdown(content.compact)
    page = Path(os.path.relpath(out / "leaderboard.md", readme.parent)).as_posix()
    link = f"Protocol `{content.protocol}`. Rules, all metrics and figures: [{page}](<{page}>)."
    return f"{text[: begin + len(BEGIN)]}\n{table}\n{link}\n{text[end:]}"


def _page(numbers: tables.Numbers, body: Sequence[str], drawn: Sequence[str]) -> str:
    board = numbers.board
    parts = [
        f"# Leaderboard, protocol `{board.protocol}`",
        f"{len(board.methods)} methods, {len(board.blocks)} blocks (task and forget split), {board.grid} cells a "
        "method. Made from the records; do not edit.",
        markdown(tables.main_table(numbers)),
        RULES,
    ]
    parts += [
        f"![{name}: {caption}](figures/{name}.png)\n\n*{caption}* ([SVG](figures/{name}.svg))"
        for name, (_, caption) in FIGURES.items()
        if name in drawn
    ]
    if len(numbers.order["ranked"]) > MOST:
        parts.append(f"Figures show the {MOST} best of the {len(numbers.order['ranked'])} ranked methods.")
    if len(board.blocks) > PANELS:
        parts.append(f"Figures show {PANELS} of the {len(board.blocks)} blocks, the first ones by name.")
    parts += body
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _body(numbers: tables.Numbers, broken: Mapping[str, table_files.Titled]) -> list[str]:
    """Return what stands under the figures of the page."""
    board, gates = numbers.board, numbers.scores.gates
    parts = []
    for name, own in broken.items():
        if name != "paper":  # which stands with each block
            parts.append(
                table_files.section(own, table_files.linked(name, model_breakdowns.WORDS[name]), level=2)
            )
    parts += ["## Task by task", "Mean over seeds ± half-width of its 95% t interval."]
    reasons = gates["reason"].to_dict()
    for block in board.blocks:
        parts.append(f"### {block[0]}, {block[1]}")
        if reasons[block]:
            parts.append(f"**Not scored: {escape_markdown(reasons[block])}.**")
        for index, (title, table) in enumerate(tables.block_tables(numbers, block)):
            shown = markdown(table)
            folded = f"<details><summary>{title}</summary>\n\n{shown}\n</details>"
            parts.append(shown if index == 0 else folded)
    parts += ["## Metrics", markdown(tables.metric_table())]
    parts += ["## Machines", markdown(tables.machine_table(board))]
    return parts
