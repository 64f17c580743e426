"""Tables and page of the stress track."""

import math
from collections.abc import Mapping, Sequence

from regunlearn.benchmark.stress_metrics import ENTRIES
from regunlearn.leaderboard.stress_board import GROUPS, PASSES, UTILITY, Stress, StressTest, long
from regunlearn.leaderboard.tables import machine_table
from regunlearn.leaderboard.text import NOTHING, Row, Table, escape_markdown, latex, markdown, number

FIGURE = "stress"
LABELS: Mapping[str, str] = {
    "confusion_rlc": "RLC",
    "confusion_memorised": "Memorised",
    "confusion_hidden": "Memorised, not named",
    "poison_z": "z",
    "poison_excess": "z − retrained's",
    "poison_detected": "Detected",
    UTILITY: "Utility ratio",
    PASSES: "Passes / retrain's",
}
TESTS: Mapping[str, str] = {
    "confusion": "Targets of half of the rows in a band were moved; the moved rows are to be forgotten.",
    "confusion-half": "As confusion, but only half of the moved rows are named.",
    "poison": "The inputs of 10% of the rows got noise; these rows are to be forgotten.",
}
"""What was done to the training data, by stress test."""

RULES = """\
**What is measured.** A known fault is put into the training data. Each method unlearns it from every original, and the
resulting models are compared with models that were never shown the faulty rows. *none* is what the originals read
(nothing done), *null* what the retrained models read. The closer to the null the better, from either side. In
`confusion-half` the retrained models were trained without all moved rows, so that a retrain without the named ones
alone does not reach the null.

**Order.** By the distance of the first number to its null, within each group. There is no gate, no score and no rank,
and no part in other boards. Entries whose intervals overlap are not told apart.

**Columns.** In brackets: 95% t interval over models. *RLC*: part of the moved targets' shift that predictions on clean
test rows of the band still show. *Memorised*: the same on the moved training rows; *not named*: on those that nobody
asked to forget. *z*: how much the loss still leans on the very noise, in standard deviations; *z − retrained's*: less
that of the retrained model of the same seed; *Detected*: share of models in which a test finds the noise (p < 0.05).
*Utility ratio*: error on clean test rows over the retrained models'. A model that says the same of every row keeps no
trace either: the utility ratio shows it. *Passes*: gradient passes as a share of a retrain's. Formulas and known
failures: `regunlearn explain METRIC`.
"""

CAPTION = (
    "Left: what is left of the fault, with 95% intervals, in the order of the tables. Right: error on clean test rows "
    "over the retrained models'. Dashed: no unlearning; solid: the null. A triangle is beyond the edge, at the number "
    "beside it."
)


# Tables -------------------------------------------------------------------------------------------------------


def label(metric: str) -> str:
    """Return the short name of a metric."""
    return LABELS.get(metric) or ENTRIES[metric].label


def heading(test: StressTest, metric: str) -> str:
    """Return a column's heading with the values of the originals and of the retrained models."""
    none, null = (number(test.anchor(metric, kind)) for kind in ("none", "null"))
    return f"{label(metric)} (none {none}, null {null})"


def shown(test: StressTest, entry: str, metric: str) -> str:
    """Return a number with its interval where it has one."""
    value, low, high = test.read(entry, metric)
    return f"{number(value)} ({number(low)} to {number(high)})" if math.isfinite(low) else number(value)


def test_table(test: StressTest) -> Table:
    """Return one row an entry: what is left of the fault, utility, cost, and how the cell ended."""
    names = [*test.metrics, UTILITY, PASSES]
    groups = [
        (
            title,
            [
                Row([entry, *(shown(test, entry, name) for name in names), test.reasons[entry] or "ok"])
                for entry in test.order[group]
            ],
        )
        for group, title in GROUPS
        if test.order[group]
    ]
    heads = [*(heading(test, name) for name in test.metrics), label(UTILITY), label(PASSES)]
    return Table(["Method", *heads, "Status"], groups, frozenset({0, len(heads) + 1}))


def short_table(found: Stress) -> Table:
    """Return the first metric of every test, for a terminal and the README."""
    groups = []
    for test in found.tests:
        names = [*test.metrics[:1], UTILITY, PASSES]
        gap = [NOTHING] * (3 - len(names))
        rows = [
            Row([entry, *gap, *(shown(test, entry, name) for name in names), test.status(entry)])
            for group, _ in GROUPS
            for entry in test.order[group]
        ]
        what = [heading(test, name) for name in test.metrics[:1]]
        groups.append((", ".join([test.task, test.split, *what]), rows))
    header = ["Method", "Left (95% interval)", label(UTILITY), label(PASSES), "Status"]
    return Table(header, groups, frozenset({0, 4}))


# Page ---------------------------------------------------------------------------------------------------------


def page(found: Stress, drawn: Sequence[str]) -> str:
    """Return the page of a protocol of stress tests; `drawn` names the figures that there are."""
    parts = [
        f"# Stress track, protocol `{found.protocol.name}`",
        f"{len(found.methods)} entries, {len(found.tests)} tests. Made from the records; do not edit.",
        *section(found, drawn),
        "## Machines",
        markdown(machine_table(found.joined())),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def section(found: Stress, drawn: Sequence[str], level: int = 2) -> list[str]:
    """Return rules, tables and figure as parts of a page, with headings of a level."""
    parts = [RULES]
    if found.unrun:
        parts.append(
            f"Of the protocol's tests, no entry has run on: {escape_markdown(', '.join(found.unrun))}."
        )
    for test in found.tests:
        parts += [
            f"{'#' * level} {escape_markdown(test.task)}, {escape_markdown(test.split)}",
            f"{TESTS[test.split]} {test.originals} originals and as many models an entry, {test.retrained} retrained "
            "models.",
            markdown(test_table(test)),
        ]
    if FIGURE in drawn:
        parts.append(
            f"![{FIGURE}: {CAPTION}](figures/{FIGURE}.png)\n\n*{CAPTION}* ([SVG](figures/{FIGURE}.svg))"
        )
    return parts


def tex(found: Stress) -> str:
    """Return the table of every test as LaTeX."""
    return "\n".join(f"% {test.task}, {test.split}\n{latex(test_table(test))}" for test in found.tests)


def csv(found: Stress) -> str:
    """Return everything as tidy CSV: see `long`. A cell that did not end well has no row."""
    return long(found).to_csv(index=False, float_format="%.7g", lineterminator="\n")
