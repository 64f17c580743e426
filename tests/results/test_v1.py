"""What protocol v1 publishes holds: anchors stand where they must on every admitted block, and nothing is missing."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from regunlearn.benchmark import grid, registry, rules
from regunlearn.benchmark.gates import FILE
from regunlearn.benchmark.records import Record, read_all
from regunlearn.benchmark.shipped import FOLDER, LARGEST, MANIFEST
from regunlearn.leaderboard.build import build

ROOT = Path(__file__).parents[2]
HOME = ROOT / "results" / "v1"
PROTOCOL = grid.load(HOME)
GATES: list[dict[str, Any]] = json.loads((HOME / FILE).read_text())
BLOCKS = [(task, split) for task in sorted(PROTOCOL.splits) for split in sorted(PROTOCOL.splits[task])]
ADMITTED = [
    block for block in BLOCKS if all(row["passed"] for row in GATES if (row["task"], row["split"]) == block)
]
TASKS = registry.discover("task")


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, str, str], Record]:
    return {(record.task, record.split, record.method): record for record in read_all(HOME)}


def kind(task: str, split: str) -> str:
    return str(TASKS.get(task).fact("splits")[split].get("kind", split))


# Gates


def test_every_block_has_its_gates() -> None:
    for task, split in BLOCKS:
        rows = [row for row in GATES if (row["task"], row["split"]) == (task, split)]
        assert [row["gate"] for row in rows] == ["G1", "G1", "G2", "G3", "G4", "G5"]
        assert {(row["originals"], row["retrained"]) for row in rows} == {tuple(PROTOCOL.ensembles[task])}
        for row in rows:
            assert row["low"] <= row["value"] <= row["high"]
            above = row["most"] is not None and row["value"] > row["most"]
            assert row["passed"] == (row["value"] >= row["least"] and not above)


@pytest.mark.parametrize("task", sorted(PROTOCOL.splits))
def test_each_modality_has_a_random_a_band_and_a_group_split(task: str) -> None:
    assert {"random", "band", "group"} <= {kind(*block) for block in ADMITTED if block[0] == task}


# Records


def test_the_grid_is_whole(records: dict[tuple[str, str, str], Record]) -> None:
    names = {*registry.discover("method").cards, *PROTOCOL.configurations}
    assert set(records) == {(*block, name) for block in BLOCKS for name in names}


def test_the_records_are_of_the_methods_that_are_here(records: dict[tuple[str, str, str], Record]) -> None:
    cards = registry.discover("method").cards
    for (task, _, method), record in records.items():
        card = cards[method.partition("-")[0]]
        chosen = {**card.hyperparameters, **PROTOCOL.configurations.get(method, {})}
        assert (record.method_hash, dict(record.hyperparameters)) == (card.code_hash, chosen)
        assert record.protocol == "v1"
        if record.status == "ok":
            assert record.metrics["models"] == PROTOCOL.ensembles[task][0]


def test_versions_of_a_task_are_not_mixed(records: dict[tuple[str, str, str], Record]) -> None:
    for block in BLOCKS:
        own = [record for key, record in records.items() if key[:2] == block]
        assert len({(record.task_hash, record.split_hash) for record in own}) == 1


# Anchors


@pytest.mark.parametrize("block", ADMITTED, ids="/".join)
def test_another_retrain_passes(block: tuple[str, str], records: dict[tuple[str, str, str], Record]) -> None:
    found = records[*block, "retrain"].metrics
    assert found["score"] >= 0.9
    assert found["permutation_p"] > 0.05
    assert found["utility_ratio"] <= found["utility_limit"]


@pytest.mark.parametrize("block", ADMITTED, ids="/".join)
def test_doing_nothing_scores_nothing(
    block: tuple[str, str], records: dict[tuple[str, str, str], Record]
) -> None:
    found = records[*block, "original"].metrics
    assert found["s_forget"] == 0
    assert found["score"] == 0
    assert found["probe_recovery"] == pytest.approx(1)
    assert found["permutation_p"] < 0.05


@pytest.mark.parametrize("block", ADMITTED, ids="/".join)
@pytest.mark.parametrize("method", ["reinitialised", "constant"])
def test_destroyed_models_fail_the_utility_gate(
    method: str, block: tuple[str, str], records: dict[tuple[str, str, str], Record]
) -> None:
    found = records[*block, method].metrics
    assert found["utility_ratio"] > found["utility_limit"]


@pytest.mark.parametrize("block", ADMITTED, ids="/".join)
def test_an_edited_head_is_seen_through(
    block: tuple[str, str], records: dict[tuple[str, str, str], Record]
) -> None:
    found = records[*block, "head_distillation"].metrics
    assert found["probe_recovery"] > 0.9
    assert found["score"] < 0.1


@pytest.mark.parametrize("block", BLOCKS, ids="/".join)
def test_a_retrain_cut_short_is_there_at_every_budget(
    block: tuple[str, str], records: dict[tuple[str, str, str], Record]
) -> None:
    budgets = {"": 0.2, "-2": 0.02, "-10": 0.1, "-25": 0.25}
    assert set(PROTOCOL.tiers) <= set(budgets.values())
    for word, share in budgets.items():
        record = records[*block, f"truncated_retrain{word}"]
        assert record.hyperparameters["share"] == share
        assert record.passes is not None
        assert share * 0.9 <= record.passes <= share * (1 + 1e-6)


def test_the_utility_limit_is_the_rule(records: dict[tuple[str, str, str], Record]) -> None:
    limits = {
        key[:2]: record.metrics["utility_limit"] for key, record in records.items() if record.status == "ok"
    }
    assert all(rules.UTILITY_MARGIN <= limit < 1.1 for limit in limits.values())


# Shipped references and the board


def test_shipped_references_are_whole() -> None:
    folder = HOME / FOLDER
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *files}
    assert sorted(files) == sorted(
        f"{task}.{part}.safetensors" for task in PROTOCOL.splits for part in ("originals", "views")
    )
    for name, facts in files.items():
        content = (folder / name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (facts["sha256"], facts["bytes"])
    assert sum(facts["bytes"] for facts in files.values()) <= LARGEST


def test_the_board_is_that_of_the_records(tmp_path: Path) -> None:
    built = build(HOME, tmp_path)
    published = ROOT / "leaderboard" / "v1"
    for path in built:
        if path.suffix != ".png":
            name = path.relative_to(tmp_path)
            assert path.read_bytes() == (published / name).read_bytes(), name
    assert {path.relative_to(tmp_path) for path in built} == {
        path.relative_to(published) for path in published.rglob("*") if path.is_file()
    }
