"""What protocol fractions publishes is whole, by the rules of v1, and of the code that is here."""

from pathlib import Path

import pytest

from regunlearn.benchmark import grid, registry
from regunlearn.benchmark.records import Record, read_all
from regunlearn.leaderboard.build import build

ROOT = Path(__file__).parents[2]
HOME = ROOT / "results" / "fractions"
PROTOCOL = grid.load(HOME)
SPLITS = PROTOCOL.splits["california-mlp"]


@pytest.fixture(scope="module")
def records() -> dict[tuple[str, str], Record]:
    return {(record.split, record.method): record for record in read_all(HOME)}


def test_its_rules_are_those_of_protocol_v1() -> None:
    whole = grid.load(ROOT / "results" / "v1")
    for rule in ("share", "time_limit", "tiers", "reference_seeds"):
        assert getattr(PROTOCOL, rule) == pytest.approx(getattr(whole, rule))
    assert PROTOCOL.configurations == {
        name: value for name, value in whole.configurations.items() if not name.endswith("-tuned")
    }
    assert PROTOCOL.ensembles["california-mlp"] == whole.ensembles["california-mlp"]


def test_its_splits_are_random_ones_of_five_sizes() -> None:
    facts = registry.discover("task").get("california-mlp").fact("splits")
    assert {facts[split]["kind"] for split in SPLITS} == {"random"}
    assert sorted(facts[split]["fraction"] for split in SPLITS) == [0.02, 0.05, 0.1, 0.2, 0.4]


def test_the_grid_is_whole(records: dict[tuple[str, str], Record]) -> None:
    names = {*registry.discover("method").cards, *PROTOCOL.configurations}
    assert set(records) == {(split, name) for split in SPLITS for name in names}


def test_the_records_are_of_the_methods_that_are_here(records: dict[tuple[str, str], Record]) -> None:
    cards = registry.discover("method").cards
    for (_, method), record in records.items():
        card = cards[method.partition("-")[0]]
        chosen = {**card.hyperparameters, **PROTOCOL.configurations.get(method, {})}
        assert (record.method_hash, dict(record.hyperparameters)) == (card.code_hash, chosen)
        assert "+" not in (record.commit or "+")
        if record.status == "ok":
            assert record.metrics["models"] == PROTOCOL.ensembles[record.task][0]


def test_the_board_is_that_of_the_records(tmp_path: Path) -> None:
    built = build(HOME, tmp_path)
    published = ROOT / "leaderboard" / "fractions"
    for path in built:
        if path.suffix != ".png":
            name = path.relative_to(tmp_path)
            assert path.read_bytes() == (published / name).read_bytes(), name
    assert {path.relative_to(tmp_path) for path in built} == {
        path.relative_to(published) for path in published.rglob("*") if path.is_file()
    }
