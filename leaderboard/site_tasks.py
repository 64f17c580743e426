"""The page of a task: its rows, network and recipe, the gates of its blocks, how its references spread, and results."""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from regunlearn.benchmark.registry import Card, Catalogue, discover
from regunlearn.leaderboard import ensemble_tables, stress_page
from regunlearn.leaderboard.site_data import Folder, Results
from regunlearn.leaderboard.site_render import HERE
from regunlearn.leaderboard.text import NOTHING, Row, Table, number

EXAMPLES = HERE / "examples"
SPREAD = {
    "dsr": "DSR",
    "tv_null": "TV, null",
    "tv_none": "TV, no unlearning",
    "u_lira_null": "U-LiRA AUC, null",
    "u_lira_none": "U-LiRA AUC, no unlearning",
    "retrained_to_constant": "Retrained error / best constant's",
    "utility_of_original": "Original error / retrained's",
    "utility_limit": "Highest utility ratio that passes",
}
"""What records of every method say alike of the reference models of a block."""


def names(results: Results, tasks: Catalogue) -> list[str]:
    """Return the tasks that have a page: registered ones, and those that records are of."""
    known = {record.task for folder in results.folders.values() for record in folder.records}
    return sorted({*known, *tasks.cards})


def context(results: Results, task: str, tasks: Catalogue) -> dict[str, Any]:
    """Return what the page of a task shows."""
    card = tasks.cards.get(task)
    dataset = None if card is None else discover("dataset").cards.get(str(card.fact("dataset")))
    folders = results.folders.values()
    return {
        "task": task,
        "card": card,
        "dataset": dataset,
        "story": _story(dataset),
        "recipe": _pairs(card.fact("recipe", {})) if card else None,
        "splits": _splits(card) if card else None,
        "examples": _examples(task),
        "gates": [(folder.name, table) for folder in folders if (table := _gates(folder, task))],
        "spread": [(folder.name, table) for folder in folders if (table := _spread(folder, task))],
        "blocks": [block for folder in folders for block in _blocks(folder, task)],
    }


def listing(results: Results, tasks: Catalogue) -> list[dict[str, Any]]:
    """Return what the list of tasks says of each."""
    datasets = discover("dataset").cards
    rows = []
    for name in names(results, tasks):
        card = tasks.cards.get(name)
        dataset = None if card is None else datasets.get(str(card.fact("dataset")))
        boards = sorted(f.name for f in results.folders.values() if any(r.task == name for r in f.records))
        rows.append(
            {
                "name": name,
                "summary": card.summary if card else "",
                "suite": str(card.fact("suite")) if card else NOTHING,
                "modality": str(dataset.fact("modality")) if dataset else NOTHING,
                "licence": str(dataset.fact("licence")) if dataset else NOTHING,
                "boards": ", ".join(boards) or NOTHING,
            }
        )
    return rows


# Parts --------------------------------------------------------------------------------------------------------


def _story(dataset: Card | None) -> str:
    """Return the header of a dataset's file: where the rows come from, what was dropped, why so many."""
    if dataset is None or not dataset.file.is_file():
        return ""
    return ast.get_docstring(ast.parse(dataset.file.read_text(encoding="utf-8"))) or ""


def _pairs(facts: Mapping[str, Any]) -> Table:
    rows = [
        Row([str(name), f"{value!r}" if isinstance(value, str) else f"{value}"])
        for name, value in facts.items()
    ]
    return Table(["Setting", "Value"], [("", rows)], frozenset({0, 1}))


def _splits(card: Card) -> Table:
    rows = [
        Row(
            [
                name,
                str(facts.get("kind", name)),
                ", ".join(f"{k} = {v}" for k, v in facts.items() if k != "kind"),
            ]
        )
        for name, facts in card.fact("splits", {}).items()
    ]
    return Table(["Forget split", "Kind", "Arguments"], [("", rows)], frozenset({0, 1, 2}))


def _examples(task: str) -> dict[str, Any] | None:
    """Return a few rows that may be shown, from a file that was made once; None for a task that has none."""
    path = EXAMPLES / f"{task}.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found["curves"] = [_curve(one["past"], one["future"]) for one in found["curves"]]
    return found


def _curve(past: Sequence[float], future: Sequence[float]) -> dict[str, Any]:
    """Return a window with its points on a canvas of 420 x 120; the forecast joins the last hour that is seen."""
    every = [*past, *future]
    low, high = min(every), max(every)
    width, height = 420 / (len(every) - 1), 120 / ((high - low) or 1.0)
    points = [f"{width * at:.1f},{height * (high - value):.1f}" for at, value in enumerate(every)]
    seen = len(past)
    joined = {"past_points": " ".join(points[:seen]), "future_points": " ".join(points[seen - 1 :])}
    return {"past": past, "future": future, **joined}


def _gates(folder: Folder, task: str) -> Table | None:
    if folder.outcome is None:
        return None
    table = ensemble_tables.gate_table(folder.outcome)
    if table is None:
        return None
    rows = [
        Row(row.cells[1:], frozenset(place - 1 for place in row.bold))
        for _, own in table.groups
        for row in own
        if row.cells[0] == task
    ]
    return Table(table.header[1:], [("", rows)], frozenset({0, 1, 2, 4, 5})) if rows else None


def _spread(folder: Folder, task: str) -> Table | None:
    """Return what the records of a protocol say of the reference models of each block: medians over entries."""
    if folder.outcome is None:
        return None
    blocks, rows = folder.outcome.blocks, []
    values = blocks.values.reindex(columns=list(SPREAD))
    medians = values.groupby(level=["task", "split"]).median().to_dict("index")
    for block in blocks.board.blocks:
        if block[0] == task:
            facts: Mapping[Any, Any] = medians[block]
            sizes = [str(blocks.facts[block][name]) for name in ("models", "retrained")]
            design = "audit pool" if blocks.facts[block]["pool"] else "fixed forget set"
            rows.append(Row([block[1], design, *sizes, *(number(float(facts[name])) for name in SPREAD)]))
    header = ["Split", "Design", "Originals", "Retrained", *SPREAD.values()]
    return Table(header, [("", rows)], frozenset({0, 1})) if rows else None


def _blocks(folder: Folder, task: str) -> list[dict[str, Any]]:
    """Return the tables of a protocol's blocks of one task, with the reason of one that is not scored."""
    found = [
        _block(folder, block[1], own, folder.reasons[block])
        for block, own in folder.block_tables.items()
        if block[0] == task
    ]
    if folder.stress is not None:
        for test in folder.stress.tests:
            if test.task == task:
                own = [(stress_page.TESTS[test.split], stress_page.test_table(test))]
                found.append(_block(folder, test.split, own, ""))
    return found


def _block(folder: Folder, split: str, own: Sequence[tuple[str, Table]], reason: str) -> dict[str, Any]:
    return {"protocol": folder.name, "split": split, "tables": own, "reason": reason}
