"""Protocols of ensembles as files: every field survives, a frozen one stays as it is, and a broken one is told."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regunlearn.benchmark import grid
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.grid import Protocol

NAMES = st.from_regex(r"[a-z0-9]{1,8}(?:[-_.][a-z0-9]{1,6}){0,2}", fullmatch=True)
LABELS = st.from_regex(
    r"[a-z0-9]{1,8}(?:_[a-z0-9]{1,6})?-[a-z0-9]{1,6}(?:[-_.][a-z0-9]{1,6})?", fullmatch=True
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.one_of(
    st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), TEXT
)
SIZES = st.integers(4, 40).flatmap(
    lambda half: st.integers(2 * half, 200).map(lambda retrained: [2 * half, retrained])
)


def protocol(**changes: Any) -> Protocol:
    values: dict[str, Any] = {
        "name": "mine",
        "splits": {"digits-mlp": ["random", "band"], "ridge": ["random"]},
        "seeds": [0],
        "reference_seeds": [0, 1, 2],
        "share": 0.5,
        "time_limit": 60.0,
        "ensembles": {"digits-mlp": [8, 16], "ridge": [8, 8]},
        "configurations": {"fine_tune-2": {"share": 0.02}, "blindspot-tuned": {"attention": "published"}},
        "tiers": [0.02, 0.1],
    }
    return Protocol(**(values | changes))


def facts(rules: Protocol) -> dict[str, Any]:
    """Its fields as they compare: splits in any order, tuples as lists."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(rules)))
    return found | {"splits": {task: sorted(splits) for task, splits in found["splits"].items()}}


# Every field survives -------------------------------------------------------------------------------------------


def test_round_trip(tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    found = grid.load(tmp_path)
    assert facts(found) == facts(protocol())
    grid.save(found, tmp_path / "again")
    assert (tmp_path / "again/protocol.toml").read_bytes() == (tmp_path / "protocol.toml").read_bytes()


@settings(max_examples=25, deadline=None)
@given(
    name=NAMES,
    ensembles=st.dictionaries(NAMES, SIZES, min_size=1, max_size=3),
    splits=st.lists(NAMES, unique=True, min_size=1, max_size=3),
    configurations=st.dictionaries(LABELS, st.dictionaries(TEXT, VALUES, max_size=3), max_size=3),
    tiers=st.lists(st.floats(1e-6, 1.0), max_size=3),
    share=st.floats(1e-9, 1e9),
    time_limit=st.floats(1e-3, 1e20),
    reference_seeds=st.lists(st.integers(0, 2**40), unique=True, min_size=1, max_size=3),
)
def test_round_trip_of_any_names_and_values(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    ensembles: dict[str, list[int]],
    splits: list[str],
    configurations: dict[str, dict[str, Any]],
    tiers: list[float],
    share: float,
    time_limit: float,
    reference_seeds: list[int],
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any-protocol"
    (folder / "protocol.toml").unlink(missing_ok=True)
    # what holds no value leaves no trace in the file
    configurations = {label: values for label, values in configurations.items() if values}
    rules = Protocol(
        name=name,
        splits={task: splits for task in ensembles},
        ensembles=ensembles,
        configurations=configurations,
        tiers=tiers,
        share=share,
        time_limit=time_limit,
        reference_seeds=reference_seeds,
    )
    grid.save(rules, folder)
    found = grid.load(folder)
    assert facts(found) == facts(rules)
    for label, values in configurations.items():
        assert {key: type(value) for key, value in found.configurations[label].items()} == {
            key: type(value) for key, value in values.items()
        }
    before = (folder / "protocol.toml").read_bytes()
    grid.save(rules, folder)
    assert (folder / "protocol.toml").read_bytes() == before


def test_an_empty_list_is_nothing(tmp_path: Path) -> None:
    grid.save(protocol(tiers=[], configurations={}), tmp_path)
    grid.save(protocol(tiers=(), configurations={}), tmp_path)
    grid.save(protocol(tiers=[], configurations={}), tmp_path)


def test_what_is_not_asked_for_is_not_written(tmp_path: Path) -> None:
    plain = Protocol(name="plain", splits={"ridge": ["random"]})
    grid.save(plain, tmp_path)
    text = (tmp_path / "protocol.toml").read_text()
    assert not any(word in text for word in ("ensembles", "configurations", "tiers"))


# Frozen ---------------------------------------------------------------------------------------------------------

PARTS = {
    "one task": {"splits": {"ridge": ["random"]}},
    "one split": {"splits": {"digits-mlp": ["band"]}},
    "no configuration": {"configurations": {}},
    "fewer sizes": {"splits": {"ridge": ["random"]}, "ensembles": {"ridge": [8, 8]}},
    "another order": {"splits": {"ridge": ["random"], "digits-mlp": ["band", "random"]}},
    "nothing new": {},
}
STRANGE = {
    "digits-mlp / tail": {"splits": {"digits-mlp": ["random", "tail"]}},
    "diabetes-mlp / band": {
        "splits": {"diabetes-mlp": ["band"]},
        "ensembles": {"diabetes-mlp": [8, 8]},
    },
    "ensembles of digits-mlp": {"ensembles": {"digits-mlp": [10, 16], "ridge": [8, 8]}},
    "ensembles of ridge": {"ensembles": {"digits-mlp": [8, 16], "ridge": [8, 9]}},
    "configurations of fine_tune-2": {"configurations": {"fine_tune-2": {"share": 0.03}}},
    "configurations of blindspot-tuned": {"configurations": {"blindspot-tuned": {"attention": "corrected"}}},
}
RULES = {
    "name": {"name": "other"},
    "share": {"share": 0.25},
    "time_limit": {"time_limit": 61.0},
    "tiers": {"tiers": [0.02, 0.11]},
    "reference_seeds": {"reference_seeds": [0, 1]},
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_accepted_and_changes_nothing(part: str, tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    path = tmp_path / "protocol.toml"
    path.write_text("# A comment of its author.\n" + path.read_text())
    before = path.read_bytes()
    grid.save(protocol(**PARTS[part]), tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_not_a_part_is_refused(strange: str, tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    before = (tmp_path / "protocol.toml").read_bytes()
    with pytest.raises(UsageError, match=r"protocol\.toml: is a frozen protocol without ") as caught:
        grid.save(protocol(**STRANGE[strange]), tmp_path)
    assert caught.value.exit_code == 2
    assert strange in str(caught.value)
    assert (tmp_path / "protocol.toml").read_bytes() == before


@pytest.mark.parametrize("rule", RULES)
def test_other_rules_are_refused(rule: str, tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    with pytest.raises(
        UsageError, match=rf"holds records made with {rule} = .*Choose another --out"
    ) as caught:
        grid.save(protocol(**RULES[rule]), tmp_path)
    assert caught.value.exit_code == 2


def test_single_models_and_ensembles_do_not_mix(tmp_path: Path) -> None:
    single = protocol(ensembles={}, configurations={})
    grid.save(single, tmp_path / "single")
    with pytest.raises(UsageError, match="is a frozen protocol without ensembles"):
        grid.save(protocol(), tmp_path / "single")
    grid.save(protocol(), tmp_path / "many")
    before = (tmp_path / "many/protocol.toml").read_bytes()
    grid.save(replace(single, splits={"ridge": ["random"]}), tmp_path / "many")
    assert (tmp_path / "many/protocol.toml").read_bytes() == before


# What is no protocol --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [8],
        [8, 8, 8],
        [7, 8],
        [9, 9],
        [6, 8],
        [8, 6],
        [0, 0],
        [-8, 8],
        [8.0, 8],
        [8, 16.0],
        ["8", "8"],
        [True, 8],
    ],
)
def test_sizes_that_are_refused(sizes: list[Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"task ridge has ensembles of \[.*expected two numbers") as caught:
        protocol(ensembles={"digits-mlp": [8, 16], "ridge": sizes})
    assert caught.value.exit_code == 2
    text = f'name = "x"\n[splits]\nridge = ["random"]\n[ensembles]\nridge = {json.dumps(sizes)}\n'
    (tmp_path / "protocol.toml").write_text(text)
    with pytest.raises(BenchmarkError, match=r"protocol\.toml: is not a protocol"):
        grid.load(tmp_path)


def test_every_task_needs_sizes() -> None:
    with pytest.raises(UsageError, match=r"task ridge has ensembles of \[\]"):
        protocol(ensembles={"digits-mlp": [8, 16]})


@pytest.mark.parametrize("seeds", [[1], [0, 1]])
def test_ensembles_have_no_seeds_to_choose(seeds: list[int]) -> None:
    with pytest.raises(UsageError, match="it has no seeds to choose"):
        protocol(seeds=seeds)


@pytest.mark.parametrize("name", ["fine_tune", "fine_tune-", "-2", "Fine-2", "../x-2", "a b-c"])
def test_names_of_configurations(name: str) -> None:
    with pytest.raises(BenchmarkError, match="configuration"):
        protocol(configurations={name: {}})


@pytest.mark.parametrize(
    "text", ["ensembles = 3", "[ensembles]\nridge = 8", "tiers = 1\n[configurations]\na-b = 3\nname = 1"]
)
def test_files_that_are_no_protocol(text: str, tmp_path: Path) -> None:
    (tmp_path / "protocol.toml").write_text(f'name = "x"\nsplits = {{ridge = ["random"]}}\n{text}\n')
    with pytest.raises(BenchmarkError, match=r"protocol\.toml: is not a protocol.*Restore it"):
        grid.load(tmp_path)


# Tuned configurations -------------------------------------------------------------------------------------------


def put(folder: Path, method: str, content: object) -> Path:
    path = folder / "tuned" / f"{method}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_tuned_values_are_configurations(tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    put(tmp_path, "fine_tune", {"hyperparameters": {"share": 0.07, "rate": 3}, "score": 0.5})
    found = grid.load(tmp_path).configurations
    assert found["fine_tune-tuned"] == {"share": 0.07, "rate": 3}
    assert found["fine_tune-2"] == {"share": 0.02}
    put(tmp_path, "blindspot", {"hyperparameters": {"attention": "corrected"}})
    assert grid.load(tmp_path).configurations["blindspot-tuned"] == {"attention": "corrected"}
    assert grid.tuned(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "\x00",
        [],
        5,
        {},
        {"hyperparameters": None},
        {"hyperparameters": [1]},
        {"hyperparameters": {"share": None}},
        {"hyperparameters": {"share": [0.1]}},
        {"hyperparameters": {"share": {"low": 0.1}}},
    ],
)
def test_a_broken_outcome_of_tuning(content: object, tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    path = put(tmp_path, "fine_tune", content)
    with pytest.raises(BenchmarkError) as caught:
        grid.load(tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "expected the outcome of `regunlearn tune fine_tune`" in message
    assert "Run it again." in message


def test_a_broken_name_of_a_tuned_method(tmp_path: Path) -> None:
    grid.save(protocol(), tmp_path)
    put(tmp_path, "Fine Tune", {"hyperparameters": {}})
    with pytest.raises(BenchmarkError, match="method 'Fine Tune' is not a valid name"):
        grid.load(tmp_path)


# By name --------------------------------------------------------------------------------------------------------


def test_of_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("v1", "stress"):
        grid.save(protocol(name=name), Path("results") / name)
    grid.save(protocol(name="own"), Path("elsewhere/own"))
    found, folder = grid.of_name("v1")
    assert (found.name, folder) == ("v1", Path("results/v1"))
    found, folder = grid.of_name("elsewhere/own")
    assert (found.name, folder) == ("own", Path("elsewhere/own"))
    with pytest.raises(UnknownName) as caught:
        grid.of_name("stres")
    assert caught.value.exit_code == 2
    assert str(caught.value) == "unknown protocol 'stres'. Did you mean 'stress'? Known: stress, v1."


def test_of_name_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownName, match=r"unknown protocol 'v1'\. Known: none\."):
        grid.of_name("v1")


def test_a_broken_file_is_not_an_unknown_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results/v1/protocol.toml"
    path.parent.mkdir(parents=True)
    path.write_text("name = ")
    with pytest.raises(BenchmarkError, match=r"results/v1/protocol\.toml: is not a protocol"):
        grid.of_name("v1")


# Designs --------------------------------------------------------------------------------------------------------


def test_designs_follow_the_kind_of_the_split() -> None:
    rules = protocol(
        splits={"digits-mlp": ["random", "group", "band", "tail", "confusion"], "ridge": ["tail"]}
    )
    found = {(one.task, one.split): one for one in rules.designs()}
    assert {key for key, one in found.items() if one.pool} == {
        ("digits-mlp", "random"),
        ("digits-mlp", "group"),
    }
    assert {(one.size, one.retrained) for one in found.values() if one.task == "digits-mlp"} == {(8, 16)}
    assert len(rules.designs()) == len(set(rules.designs())) == 6


def test_cells_of_a_configuration() -> None:
    cells = protocol().cells(["fine_tune", "fine_tune-2"])
    assert len(cells) == 6
    assert {cell.entry for cell in cells} == {"fine_tune"}
    assert {(cell.method, json.dumps(cell.configuration)) for cell in cells} == {
        ("fine_tune", "{}"),
        ("fine_tune-2", '{"share": 0.02}'),
    }
    assert {cell.seed for cell in cells} == {0}


def test_of_ensembles_and_narrow() -> None:
    suite = grid.narrow(grid.of_suite("smoke"), tasks=["ridge"], splits=["band"])
    assert set(map(tuple, grid.of_ensembles(suite, 8, 16).ensembles.values())) == {(8, 16)}
    rules = grid.of_ensembles(suite, 8)
    assert [tuple(one) for one in rules.designs()] == [("ridge", "band", 8, 8, False)]
    for size in (6, 9):
        with pytest.raises(UsageError, match="expected two numbers"):
            grid.of_ensembles(suite, size)
    part = grid.narrow(protocol(), tasks=["digits-mlp"], splits=["confusion", "band", "band"])
    assert part.splits == {"digits-mlp": ["confusion", "band"]}
    assert grid.narrow(protocol(), tasks=["ridge"]).splits == {"ridge": ["random"]}
    with pytest.raises(UnknownName, match="Did you mean 'confusion'"):
        grid.narrow(protocol(), splits=["confusio"])
    with pytest.raises(UnknownName, match="split of task ridge 'confusion'"):
        grid.narrow(suite, splits=["confusion"])
    with pytest.raises(UsageError, match=r"task diabetes-mlp has ensembles of \[\]"):
        grid.narrow(protocol(), tasks=["diabetes-mlp"])
