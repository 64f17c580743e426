"""The page of a protocol: the tables of its Markdown board, and the paper's experiments likewise."""

from collections.abc import Mapping, Sequence
from typing import Any

from regunlearn.benchmark.registry import Catalogue
from regunlearn.leaderboard import (
    breakdowns,
    comparison,
    comparison_tables,
    ensemble_page,
    ensemble_tables,
    figures,
    model_breakdowns,
    reproduction_build,
    reproduction_tables,
    stress_page,
    tables,
)
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.reproduction_numbers import Numbers as Reproduction
from regunlearn.leaderboard.site_data import Folder
from regunlearn.leaderboard.table_files import Titled
from regunlearn.leaderboard.tables import machine_table
from regunlearn.leaderboard.text import Row, Table, number

Part = dict[str, Any]


def captions(folder: Folder) -> dict[str, str]:
    """Return the caption of each figure of a protocol's board, by the name of its file."""
    if folder.outcome is None and folder.numbers is not None:
        return {name: caption for name, (_, caption) in figures.FIGURES.items()}
    return {**ensemble_page.CAPTIONS, stress_page.FIGURE: stress_page.CAPTION}


def context(folder: Folder, methods: Catalogue) -> dict[str, Any]:
    """Return title and parts of a protocol's page."""
    parts: list[Part] = []
    if folder.outcome is not None:
        parts += _ensembles(folder, folder.outcome, methods)
    if folder.numbers is not None:
        parts += _models(folder, folder.numbers, methods)
    if folder.stress is not None:
        parts += [
            _part(
                f"Stress test {test.split} on {test.task}",
                stress_page.test_table(test),
                stress_page.TESTS[test.split],
            )
            for test in folder.stress.tests
        ]
    if folder.searched is not None:
        parts.append(_part("Where tuned entries were tuned", folder.searched, ensemble_page.TUNED))
    if folder.machines:
        parts.append(_part("Machines", _machines(folder)))
    return {
        "name": folder.name,
        "parts": parts,
        "records": len(folder.records),
        "entries": len(folder.entries),
    }


def experiment(numbers: Reproduction) -> dict[str, Any]:
    """Return title and parts of the page of one of the paper's experiments."""
    named = {
        "Published values beside ours": reproduction_tables.main_table,
        "Beside a constant": reproduction_tables.constant_table,
        "Correlation of predictions and targets": reproduction_tables.correlation_table,
        "Closeness to the retrained model": reproduction_tables.closeness_table,
        "The two averages": reproduction_tables.average_table,
        "What each switch does": reproduction_tables.switch_table,
        "The attention term": reproduction_tables.ablation_table,
        "Seconds": reproduction_tables.seconds_table,
    }
    shown = {title: table(numbers) for title, table in named.items()}
    parts = [
        _part(title, table, reproduction_build.HOW if at == 0 else "")
        for at, (title, table) in enumerate(shown.items())
        if any(rows for _, rows in table.groups)
    ]
    title = numbers.published.title if numbers.published else numbers.experiment
    source = numbers.published.source if numbers.published else ""
    return {
        "name": numbers.experiment,
        "title": title,
        "source": source,
        "flag": numbers.flag,
        "parts": parts,
    }


# Parts --------------------------------------------------------------------------------------------------------


def _part(title: str, table: Table, words: str = "", folded: bool = False) -> Part:
    return {"title": title, "table": table, "words": _paragraphs(words), "folded": folded}


def _paragraphs(words: str) -> Sequence[str]:
    """Return the paragraphs of a text that was written as Markdown, its marks for emphasis left out."""
    return [
        " ".join(one.replace("**", "").replace("*", "").split()) for one in words.split("\n\n") if one.strip()
    ]


def _ensembles(folder: Folder, outcome: Outcome, methods: Catalogue) -> list[Part]:
    blocks = outcome.blocks
    rules = ensemble_page.RULES.format(margin=number(outcome.standing.margin, 2))
    parts: list[Part] = [{"title": "Rules", "table": None, "words": _paragraphs(rules), "folded": True}]
    for tier in outcome.tiers:
        if any(tier.groups.values()):
            words = ensemble_tables.against_curve(outcome, tier)
            parts.append(_part(tier.title, ensemble_tables.main_table(outcome, tier), words))
    parts += _broken(breakdowns.tables(outcome, methods), breakdowns.WORDS)
    if outcome.comparison is not None:
        wins = f"Of the {comparison.COMPARED} best ranked entries and retrains cut short, whatever they cost."
        parts.append(
            _part("Average rank over the scored blocks", comparison_tables.rank_table(outcome), wins)
        )
        parts.append(
            _part("Blocks won/tied/lost by the row", comparison_tables.wins_table(outcome), "", True)
        )
    optional = (
        ("Agreement of the axes", comparison_tables.agreement_table(outcome), ""),
        (
            "Do the sentinels fail?",
            comparison_tables.sentinel_table(outcome),
            "Deliberately wrong methods, and the metric that must expose each.",
        ),
        (
            "Gates of the blocks",
            ensemble_tables.gate_table(outcome),
            "Measured on originals and retrained models, before any method.",
        ),
    )
    parts += [_part(title, table, words) for title, table, words in optional if table is not None]
    return [*parts, *_blocks(folder), _part("Where records were made", machine_table(blocks.board))]


def _models(folder: Folder, numbers: tables.Numbers, methods: Catalogue) -> list[Part]:
    made = _part("Where records were made", machine_table(numbers.board))
    broken = _broken(model_breakdowns.tables(numbers, methods), model_breakdowns.WORDS)
    return [_part("All blocks", tables.main_table(numbers)), *broken, *_blocks(folder), made]


def _broken(found: Mapping[str, Titled], words: Mapping[str, str]) -> list[Part]:
    """Return the tables of a breakdown, folded, each under its title."""
    return [
        _part(title, table, words[name] if at == 0 else "", folded=True)
        for name, own in found.items()
        for at, (title, table) in enumerate(own)
    ]


def _blocks(folder: Folder) -> list[Part]:
    """Return the first table of every block, and why one is not scored."""
    return [
        _part(
            " / ".join(block),
            own[0][1],
            f"Not scored: {folder.reasons[block]}." if folder.reasons[block] else "",
            True,
        )
        for block, own in folder.block_tables.items()
    ]


def _machines(folder: Folder) -> Table:
    names = sorted({name for facts in folder.machines.values() for name in facts})
    rows = [
        Row([machine, *(facts.get(name, "") for name in names)]) for machine, facts in folder.machines.items()
    ]
    return Table(["Machine", *names], [("", rows)], frozenset(range(len(names) + 1)))
