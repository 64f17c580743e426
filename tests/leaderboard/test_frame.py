"""What a board takes, refuses and lists."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.leaderboard import frame


def test_cells_values_and_curves(made: SimpleNamespace) -> None:
    board = frame.board(made.grid(seeds=(0,)), made.catalogue(), made.units)
    assert board.grid == 6
    assert len(board.cells) == 66
    assert board.missing.empty
    assert board.units["mnist-rotation-allcnn"] == "degrees"
    assert set(board.curves) == {"error_by_target", "relative_difference"}
    kinds = board.methods["kind"].to_dict()
    assert kinds["retrain"] == "reference"
    assert kinds["head_distillation"] == kinds["constant"] == "sentinel"
    assert kinds["blindspot"] == "honest"


def test_order_of_the_records_does_not_matter(made: SimpleNamespace) -> None:
    records = made.toy()
    one, other = frame.board(records, made.toy_catalogue()), frame.board(records[::-1], made.toy_catalogue())
    assert one.cells.equals(other.cells)
    assert one.values.equals(other.values)


def test_untimed_costs_and_undefined_metrics_are_nan(made: SimpleNamespace) -> None:
    records = [
        made.record(passes=None),
        made.record(seed=1, metrics={"ain": 1.0}, seconds=2.0, retrain_seconds=0.0),
    ]
    board = frame.board(records, made.catalogue())
    assert np.isnan(board.cells["passes"][0])
    assert board.cells["time_ratio"].isna().all()
    assert np.isnan(board.values["ain"][0])
    assert board.values["ain"][1] == 1.0


def test_a_method_without_a_card_is_unregistered(made: SimpleNamespace) -> None:
    board = frame.board([made.record(method="stranger")], made.catalogue())
    assert board.methods.loc["stranger", ["family", "kind"]].to_list() == ["unregistered", "honest"]


def test_the_cards_of_the_package_are_read_by_default(made: SimpleNamespace) -> None:
    assert frame.board([made.record(method="retrain")]).methods["reference"]["retrain"]


def test_the_units_of_the_package_are_read_by_default(made: SimpleNamespace) -> None:
    assert frame.board([made.record(task="nowhere-mlp")], made.catalogue()).units == {
        "nowhere-mlp": "target unit"
    }


def test_holes_are_listed(made: SimpleNamespace) -> None:
    records = [made.record(seed=0), made.record(seed=1), made.record(seed=1, method="amnesiac")]
    board = frame.board(records, made.catalogue())
    assert board.missing.to_numpy().tolist() == [["california-mlp", "random", "amnesiac", 0]]
    assert board.methods["missing"].to_dict() == {"amnesiac": 1, "fine_tune": 0}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "v2", "seed": 1}, "one protocol, found v1, v2"),
        ({}, "there 2 times"),
        ({"task_hash": "x", "seed": 1}, "versions of the task"),
        ({"split_hash": "x", "method": "amnesiac"}, "draws of the forget rows"),
        ({"metrics": {"score": 1.0}, "seed": 1}, "called score"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    made: SimpleNamespace, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(BenchmarkError, match=message):
        frame.board([made.record(), made.record(**changes)], made.catalogue())


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="found none"):
        frame.board([])
    with pytest.raises(BenchmarkError, match="found none"):
        frame.load(tmp_path)


def test_a_broken_file_is_named_with_its_line(made: SimpleNamespace, tmp_path: Path) -> None:
    made.write(tmp_path, [made.record()])
    with (tmp_path / "records" / "fine_tune.jsonl").open("a") as handle:
        handle.write("{half")
    with pytest.raises(BenchmarkError, match=r"fine_tune\.jsonl:2"):
        frame.load(tmp_path, made.catalogue())


def test_load_reads_what_was_written(made: SimpleNamespace, tmp_path: Path) -> None:
    records = [dataclasses.replace(record, curves={}) for record in made.toy()]
    board = frame.load(made.write(tmp_path, records), made.toy_catalogue(), {"toy-mlp": "m"})
    assert len(board.cells) == len(records)
    assert board.units == {"toy-mlp": "m"}
