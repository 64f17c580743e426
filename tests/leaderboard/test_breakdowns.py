"""Tables of parts of the grid, of costs, of needs and of the paper's metrics, and the files they stand in."""

import csv
import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from regunlearn.benchmark.registry import Catalogue
from regunlearn.leaderboard import blocks, breakdowns, model_breakdowns, scores, table_files
from regunlearn.leaderboard.comparison import Outcome, outcome
from regunlearn.leaderboard.frame import board
from regunlearn.leaderboard.tables import Numbers
from regunlearn.leaderboard.text import NOTHING, Row, Table, number
from regunlearn.leaderboard.tiers import stand


@pytest.fixture(scope="module")
def cards(made: SimpleNamespace) -> Catalogue:
    needs = {"fine_tune": ("retain",), "amnesiac": ("forget", "retain", "targets")}
    found: Catalogue = made.catalogue()
    own = {
        name: replace(card, facts={**card.facts, "needs": needs.get(name, ())})
        for name, card in found.cards.items()
    }
    return Catalogue("method", own)


@pytest.fixture(scope="module")
def full(made: SimpleNamespace, cards: Catalogue) -> Outcome:
    failed = (("sentiment-lstm", "band"),)
    records = [
        replace(one, status="error", reason="loss", metrics={}, curves={}, seconds=None, retrain_seconds=None)
        if one.key[:3] == ("california-mlp", "band", "amnesiac")
        else one
        for one in made.ensembles()
    ]
    return outcome(blocks.blocks(records, made.protocol(), made.gates(failed=failed), cards))


@pytest.fixture(scope="module")
def single(made: SimpleNamespace, cards: Catalogue) -> Numbers:
    records = [
        replace(one, metrics={**one.metrics, "dsr": 1.2})
        if (one.task, one.split) == ("sentiment-lstm", "random")
        else one
        for one in made.grid()
    ]
    there = board(records, cards, made.units)
    return Numbers(there, scores.score(there))


def cells(table: Table, name: str) -> dict[str, str]:
    """The cells of a row by the heading of their column."""
    own = next(row.cells for _, rows in table.groups for row in rows if row.cells[0] == name)
    return dict(zip(table.header, own, strict=True))


def test_a_part_is_scored_as_a_board_of_its_blocks_alone(
    made: SimpleNamespace, full: Outcome, cards: Catalogue
) -> None:
    table = breakdowns.tables(full, cards)["tasks"][0][1]
    alone = outcome(
        blocks.blocks(made.ensembles(tasks=("california-mlp",)), made.protocol(), made.gates(), cards)
    )
    score, low, high = alone.standing.interval("blindspot")
    assert cells(table, "blindspot")["california-mlp"] == f"{number(score)} ({number(low)} to {number(high)})"
    whole = full.standing.interval("blindspot")[0]
    assert cells(table, "blindspot")["S, IQM (95% interval)"].startswith(number(whole))


def test_a_block_that_is_not_scored_counts_in_no_part(full: Outcome, cards: Catalogue) -> None:
    table = breakdowns.tables(full, cards)["splits"][0][1]
    assert list(table.header[2:-1]) == ["band", "group", "random", "tail"]
    there = [task for task, split in full.blocks.scored if split == "band"]
    assert "sentiment-lstm" not in there
    values = [full.blocks.results[(task, "band", "blindspot")].score for task in there]
    assert cells(table, "blindspot")["band"].startswith(
        number(float(np.mean(values)))
    )  # of two blocks: their mean


def test_failures_say_so_in_every_table(full: Outcome, cards: Catalogue) -> None:
    found = breakdowns.tables(full, cards)
    for name in ("tasks", "splits", "cost"):
        assert cells(found[name][0][1], "amnesiac")["Status"] == "error in 1 of 11 blocks"


def test_costs(full: Outcome, cards: Catalogue) -> None:
    table = breakdowns.tables(full, cards)["cost"][0][1]
    row = cells(table, "blindspot")
    assert row["Passes / retrain's"] == "0.180"
    assert row["Seconds / retrain's (range)"] == "0.180 (0.18 to 0.18)"
    assert row["california-mlp, s"] == number(40 * 0.18 + 0.01)
    assert row["Peak memory, MiB"] == NOTHING


def test_the_retrain_that_scores_as_high_is_the_cheapest_one_that_was_run(
    full: Outcome, cards: Catalogue
) -> None:
    table = breakdowns.tables(full, cards)["cost"][0][1]
    budgets = {
        "truncated_retrain-2": "0.0200",
        "truncated_retrain-10": "0.100",
        "truncated_retrain-25": "0.250",
    }
    curve = {name: full.standing.interval(name)[0] for name in [*budgets, "retrain"]}
    for entry in ("blindspot", "fine_tune", "amnesiac"):
        score = full.standing.interval(entry)[0]
        enough = [name for name, reached in curve.items() if reached >= score]
        assert cells(table, entry)["Retrain to the same S"] == budgets.get(enough[0], "1.00")
    assert cells(table, "original")["Retrain to the same S"] == "0.0200"  # doing nothing scores 0
    assert curve["retrain"] < 1.0
    best = breakdowns._budget(1.0, [(0.1, 0.4), (1.0, curve["retrain"])])
    assert best == "more"
    assert breakdowns._budget(float("nan"), [(0.1, 0.4)]) == NOTHING


def test_parts_leave_the_board_as_it_is(full: Outcome, cards: Catalogue) -> None:
    before = list(full.blocks.scored)
    breakdowns.tables(full, cards)
    assert full.blocks.scored == before
    assert stand(full.blocks).names == full.standing.names


def test_needs_are_those_of_the_cards(full: Outcome, cards: Catalogue) -> None:
    table = breakdowns.tables(full, cards)["needs"][0][1]
    assert list(table.header) == ["Method", "Family", "forget", "retain", "targets"]
    assert cells(table, "fine_tune") == {
        "Method": "fine_tune",
        "Family": "first order",
        "forget": "",
        "retain": "yes",
        "targets": "",
    }
    names = [row.cells[0] for row in table.groups[0][1]]
    assert len(names) == len(set(names))  # a row a method, not a configuration
    assert "fine_tune-tuned" not in names


def test_blocks_of_single_models(single: Numbers, cards: Catalogue) -> None:
    table = model_breakdowns.tables(single, cards)["blocks"][0][1]
    assert "(sentiment-lstm / random)" in table.header  # its DSR is too low
    at = ("california-mlp", "band", "blindspot")
    score = float(single.scores.blocks.loc[at, "score"])
    assert cells(table, "blindspot")["california-mlp / band"].startswith(number(score))
    assert cells(table, "constant")["california-mlp / band"].endswith("(utility)")


def test_costs_of_single_models(single: Numbers, cards: Catalogue) -> None:
    table = model_breakdowns.tables(single, cards)["cost"][0][1]
    row = cells(table, "blindspot")
    assert row["Passes / retrain's"] == "0.180"
    assert row["Peak memory, MiB"] == number(200_000_000 / 2**20)
    seconds = [r.seconds for r in _records(single) if (r.method, r.task) == ("blindspot", "california-mlp")]
    assert row["california-mlp, s"] == number(float(np.mean(seconds)))


def _records(numbers: Numbers) -> list[SimpleNamespace]:
    rows = numbers.board.cells.to_dict("records")
    return [SimpleNamespace(**{str(name): value for name, value in row.items()}) for row in rows]


def test_the_paper_has_a_table_a_block_with_both_references(single: Numbers, cards: Catalogue) -> None:
    paper = model_breakdowns.tables(single, cards)["paper"]
    assert [title for title, _ in paper] == [
        f"Metrics of the paper: {task} / {split}" for task, split in single.board.blocks
    ]
    for _, table in paper:
        assert {"retrain", "original"} <= {row.cells[0] for _, rows in table.groups for row in rows}


def test_files_hold_the_same_cells_in_three_ways(full: Outcome, cards: Catalogue) -> None:
    found = breakdowns.tables(full, cards)
    files = table_files.files(found, breakdowns.WORDS)
    assert set(files) == {f"{name}.{suffix}" for name in breakdowns.TITLES for suffix in ("csv", "md", "tex")}
    rows = list(csv.DictReader(io.StringIO(files["tasks.csv"])))
    table = found["tasks"][0][1]
    assert [row["Method"] for row in rows] == [row.cells[0] for _, own in table.groups for row in own]
    assert {row["Group"] for row in rows} == {title for title, _ in table.groups}
    assert files["cost.tex"].count(r"\toprule") == 1
    assert files["cost.tex"].count("\\\\\n") == files["cost.csv"].count("\n") - 1 + 1 + len(
        found["cost"][0][1].groups
    )
    assert files["cost.md"].startswith("# Cost\n\n*Passes*")


def test_a_hostile_cell_stays_text() -> None:
    bad = 'x"><script>,\n=1+1 & \\input{y} |'
    table = Table(["Method", bad], [(bad, [Row([bad, bad])])], frozenset({0}))
    files = table_files.files({"tasks": [(bad, table)]}, {"tasks": "Words."})
    assert "<script>" not in files["tasks.md"]
    comment, *lines = files["tasks.tex"].splitlines()
    assert comment.startswith("% ")
    assert not any(r"\input" in line for line in lines)
    assert len(list(csv.reader(io.StringIO(files["tasks.csv"])))) == 2
