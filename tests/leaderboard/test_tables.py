"""Tables of three toy methods against committed files, and the shape of the tidy CSV."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from regunlearn.leaderboard import scores, tables
from regunlearn.leaderboard.frame import board
from regunlearn.leaderboard.tables import Numbers
from regunlearn.leaderboard.text import latex, markdown

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def toy(made: SimpleNamespace) -> Numbers:
    made_board = board(made.toy(), made.toy_catalogue(), {"toy-mlp": "metres"})
    return Numbers(made_board, scores.score(made_board))


def same_as_golden(name: str, text: str) -> None:
    """Compare with the committed file; REGUNLEARN_GOLDEN=1 writes it anew."""
    path = GOLDEN / name
    if os.environ.get("REGUNLEARN_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_markdown(toy: Numbers) -> None:
    same_as_golden("main.md", markdown(tables.main_table(toy)))


def test_block_markdown(toy: Numbers) -> None:
    parts = [
        f"{title}\n\n{markdown(table)}" for title, table in tables.block_tables(toy, ("toy-mlp", "band"))
    ]
    same_as_golden("block.md", "\n".join(parts))


def test_latex(toy: Numbers) -> None:
    same_as_golden("main.tex", latex(tables.main_table(toy)))


def test_csv(toy: Numbers) -> None:
    same_as_golden("long.csv", tables.csv(toy))


def test_csv_is_tidy(made: SimpleNamespace) -> None:
    full = board(made.grid(tasks=("california-mlp",)), made.catalogue(), made.units)
    frame = pd.read_csv(io.StringIO(tables.csv(Numbers(full, scores.score(full)))))
    assert list(frame) == ["task", "split", "method", "metric", "mean", "low", "high", "n", "unit"]
    assert not frame.duplicated(["task", "split", "method", "metric"]).any()
    assert (frame["low"] <= frame["high"]).all()
    assert set(frame.loc[frame["metric"] == "mae_test_retain", "unit"]) == {"100,000 USD"}
    assert set(frame.loc[frame["task"] == tables.EVERY, "metric"]) == {"score"}


def test_overall_means_are_over_blocks_and_closing_ones_over_scored_blocks(made: SimpleNamespace) -> None:
    records = [
        made.record(
            split=split, split_hash=split, seed=seed, metrics={"rnc": rnc, "dsr": dsr, "utility_ratio": ratio}
        )
        for split, rnc, dsr, ratio, seeds in (("band", 0.6, 9.0, 1.0, 2), ("random", 0.1, 1.2, 1.2, 6))
        for seed in range(seeds)
    ]
    made_board = board(records, made.catalogue())
    overall = Numbers(made_board, scores.score(made_board)).overall
    assert overall["rnc"]["fine_tune"] == pytest.approx(0.6)
    assert overall["utility_ratio"]["fine_tune"] == pytest.approx(1.1)
    assert np.isnan(overall["speed_up"]["fine_tune"])


def test_a_board_of_failures_has_tables(made: SimpleNamespace) -> None:
    failed = board([made.record(status="error", reason="x", metrics={}, passes=None)], made.catalogue())
    numbers = Numbers(failed, scores.score(failed))
    assert "error in 1 of 1 cells" in markdown(tables.main_table(numbers))
    assert "error&#58;" not in markdown(tables.main_table(numbers))
    (_, table), *_ = tables.block_tables(numbers, failed.blocks[0])
    assert "error: x" in markdown(table)
    assert tables.csv(numbers).startswith("task,split")
