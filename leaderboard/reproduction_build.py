"""From the records of a reproduction to its page, CSV and LaTeX. The same records give the same bytes."""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from regunlearn.benchmark.atomic import write_text
from regunlearn.leaderboard import reproduction_figure
from regunlearn.leaderboard.reproduction_numbers import (
    ABLATION,
    BORROWED,
    CORRECTED,
    PUBLISHED,
    Numbers,
    load,
    prediction,
)
from regunlearn.leaderboard.reproduction_tables import (
    ABLATION_METRICS,
    ablation_table,
    average_table,
    closeness_table,
    constant_table,
    correlation_table,
    effect,
    main_table,
    seconds_table,
    switch_table,
)
from regunlearn.leaderboard.text import NOTHING, Table, clean, escape_markdown, latex, markdown
from regunlearn.reproduction.records import MODELS, VALUES
from regunlearn.reproduction.switches import explanations

DENSITY = "figure-density"
"""Folder of the figure of all experiments."""

LONGEST = 600
"""Characters of a dataset's notes that are shown."""

# Page ---------------------------------------------------------------------------------------------------------

HOW = """\
Mean ± half-width of its 95% t interval over seeds. **Verdict**: a published number is one run; *inside* means that it
lies in the 95% prediction interval for one more run of ours by the published protocol, mean ∓ t s sqrt(1 + 1/n).
*Published protocol*: every quirk of the reference code that applies. *Corrected protocol*: none of them."""


def page(numbers: Numbers) -> str:
    """Return the page of an experiment."""
    title = (
        numbers.published.title
        if numbers.published
        else f"{numbers.experiment}: the AgeDB procedure on UTKFace"
    )
    parts = [f"# {escape_markdown(title)}", *_header(numbers), HOW, markdown(main_table(numbers))]
    sections: Sequence[tuple[str, str, Callable[[Numbers], Table]]] = [
        (
            "Beside a constant",
            "*Constant*: what the constant prediction with the same error on the forget test rows has on the retain "
            "test rows. A model near it has learned little beyond one number.",
            constant_table,
        ),
        ("Correlation of predictions and targets", "", correlation_table),
        (
            "Closeness to the retrained model",
            "On the forget rows, measured on models and rows as they are; W1 as the protocol measures it. RNC: 0 = "
            "did nothing, 1 = another retrain. DSR: below 1.5 there is nothing to forget.",
            closeness_table,
        ),
        ("The two averages", "The same models of the published protocol, averaged both ways.", average_table),
    ]
    for heading, words, table in sections:
        parts += [f"## {heading}", *([words] if words else []), markdown(table(numbers))]
    if numbers.variants:
        words = "\n".join(f"- `{name}`: {escape_markdown(text)}" for name, text in _switched(numbers))
        parts += ["## What each switch does", words, markdown(switch_table(numbers))]
    parts += [
        "## Does the attention term do anything?",
        _ablation_words(numbers),
        markdown(ablation_table(numbers)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _header(numbers: Numbers) -> list[str]:
    counts = ", ".join(f"{name} {numbers.seeds(name)}" for name in numbers.protocols)
    lines = [f"- Seeds: {counts}."]
    if numbers.published:
        tally = numbers.tally()
        outside = f"{tally['above']} above and {tally['below']} below our interval"
        lines += [
            f"- Published values: {numbers.published.source}; single runs, without a spread.",
            f"- Of {sum(tally.values())} published numbers, {tally['inside']} lie inside, {outside}, "
            f"{tally['not comparable']} are not comparable.",
        ]
    if numbers.experiment in BORROWED:
        lines.append("- Nothing was published on these data: values cannot be compared with AgeDB's.")
    notes = {name: escape_paragraph(clean(numbers.data(name), LONGEST)) for name in (PUBLISHED, CORRECTED)}
    lines += [f"- Rows, {name} protocol: {note}." for name, note in notes.items()]
    if numbers.flag:
        lines.append(f"- **{numbers.flag}**")
    return ["\n".join(lines)]


def _switched(numbers: Numbers) -> list[tuple[str, str]]:
    off = {
        name
        for record in numbers.records
        if record.protocol in numbers.variants
        for name, on in record.switches.items()
        if not on
    }
    return [(name, text) for name, text in explanations().items() if name in off]


def _ablation_words(numbers: Numbers) -> str:
    """Return how many differences to the student without the attention term an interval tells from 0."""
    found = []
    for protocol in (PUBLISHED, CORRECTED):
        for attention, names in (("published", ABLATION[1:3]), ("corrected", ABLATION[3:])):
            effects = [
                effect(numbers, protocol, model, metric)[2] for model in names for metric in ABLATION_METRICS
            ]
            known = [said for said in effects if said != NOTHING]
            told = sum(said == "yes" for said in known)
            found.append(f"{protocol} protocol, {attention} attention: {told} of {len(known)}")
    return (
        "Students of one proxy per seed, with the same batches and dropout. Differences to β = 0 whose 95% interval "
        f"excludes 0: {'; '.join(found)}. By chance alone one in twenty would."
    )


# Files --------------------------------------------------------------------------------------------------------


def csv(numbers: Numbers) -> str:
    """Return everything as tidy CSV: protocol, model, metric, seeds, mean, interval, prediction interval, verdict."""
    names = [*VALUES, "test_retain", "test_forget", "constant_retain", "rnc"]
    rows: list[dict[str, Any]] = []
    for protocol in numbers.protocols:
        for model in MODELS:
            for metric in names:
                values = [*numbers.series(protocol, model, metric).values()]
                if not values:
                    continue
                mean, low, high = numbers.interval(protocol, model, metric)
                ends = prediction(values)
                said = numbers.value(model, metric) if protocol == PUBLISHED else None
                rows.append(
                    {
                        **{"protocol": protocol, "model": model, "metric": metric, "seeds": len(values)},
                        **{"mean": mean, "low": low, "high": high},
                        **{"prediction_low": ends[0], "prediction_high": ends[1], "published": said},
                        "verdict": "" if said is None else numbers.verdict(model, metric).text,
                    }
                )
    frame = pd.DataFrame(rows)
    frame["published"] = frame["published"].astype(float)
    return frame.to_csv(index=False, float_format="%.7g", lineterminator="\n")


def tex(numbers: Numbers) -> str:
    """Return the main tables as LaTeX."""
    tables = {
        "published and ours": main_table,
        "beside a constant": constant_table,
        "attention": ablation_table,
    }
    return "\n".join(
        f"% {numbers.experiment}, {name}\n{latex(table(numbers))}" for name, table in tables.items()
    )


def seconds(numbers: Numbers) -> str:
    """Return the page of seconds: they differ from run to run, and are kept out of the others for that."""
    machines = ", ".join(sorted({record.machine for record in numbers.records}))
    words = (
        "Each method once a seed, published protocol, on one thread, other processes beside it unless the run had one "
        f"job. Not comparable with the published ones, which are of another machine. Machines: {machines}."
    )
    heading = f"# Seconds: {escape_markdown(numbers.experiment)}"
    return "\n\n".join([heading, escape_paragraph(words), markdown(seconds_table(numbers))])


def escape_paragraph(words: str) -> str:
    """Return a text of any length with everything that Markdown would read as mark-up escaped."""
    return " ".join(escape_markdown(word) for word in words.split(" "))


def build(path: Path, out: Path) -> list[Path]:
    """Write the tables of one file of records and return the files.

    Args:
        path: `<experiment>.jsonl`.
        out: gets table.md, table.csv, table.tex and seconds.md.

    Raises:
        BenchmarkError: there are no records, or they cannot be read, or nothing can be written.
    """
    numbers = load(path)
    texts = {
        "table.md": page(numbers),
        "table.csv": csv(numbers),
        "table.tex": tex(numbers),
        "seconds.md": seconds(numbers),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def rebuild(folder: Path, out: Path) -> list[Path]:
    """Write the tables of every experiment in a folder of records, and the density figure; return the files.

    Raises:
        BenchmarkError: records cannot be read, or nothing can be written.
    """
    paths = sorted(folder.glob("*.jsonl"))
    written = [file for path in paths for file in build(path, out / path.stem)]
    return written + reproduction_figure.build(paths, out / DENSITY)


def summary(path: Path, width: int = 150) -> str:
    """Return the main table as text for a terminal."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    numbers = load(path)
    table = main_table(numbers)
    shown = Grid(box=None, pad_edge=False)
    for at, heading in enumerate(table.header):
        shown.add_column(Text(heading), justify="left" if at in table.words else "right", overflow="fold")
    for _, rows in table.groups:
        for row in rows:
            shown.add_row(*(Text(clean(text)) for text in row.cells))
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    return "\n".join([numbers.experiment, *lines, *([numbers.flag] if numbers.flag else []), ""])


def as_json(path: Path) -> list[dict[str, Any]]:
    """Return the main table as plain values, None for what is not there."""
    numbers = load(path)
    found = []
    for metric in numbers.metrics:
        for model in numbers.models(PUBLISHED, CORRECTED):
            row: dict[str, Any] = {"experiment": numbers.experiment, "model": model, "metric": metric}
            row["published"] = numbers.value(model, metric)
            for protocol in (PUBLISHED, CORRECTED):
                ends = numbers.interval(protocol, model, metric)
                plain = [None if math.isnan(end) else end for end in ends]
                row[f"ours_{protocol}"] = dict(zip(("mean", "low", "high"), plain, strict=True))
            row["verdict"] = numbers.verdict(model, metric).text
            found.append(row)
    return found
