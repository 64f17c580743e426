"""Shipped reference models: found whatever the machine, checked to the byte, and trained again on request."""

import hashlib
import importlib.util
import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from regunlearn.benchmark import grid, runner, shipped, verification
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.grid import Protocol
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.shipped import FOLDER, MANIFEST, Layered, Shipped, ship

ROOT = Path(__file__).parents[2]
TASK, SIZE = "diabetes-mlp", 8
RULES = Protocol(name="tiny", splits={TASK: ["band"]}, ensembles={TASK: [SIZE, SIZE]})
FILES = [f"{TASK}.originals.safetensors", f"{TASK}.views.safetensors"]


def facts(seed: int = 0, kind: str = "model", **changes: Any) -> dict[str, Any]:
    """Facts of an entry, as `References.facts` has them."""
    made = {"kind": kind, "task": "made-up", "content": "c" * 16, "seed": seed, "forgotten": "f" * 16}
    return made | {"precision": "float32", "device": "cpu", "torch": "2.6.0"} | changes


def values(seed: int = 0, size: int = 5) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "head.weight": torch.randn(2, size, generator=draw),
        "half": torch.randn(3, generator=draw).half(),
        "number": torch.randn((), generator=draw, dtype=torch.float64),
        "nothing": torch.zeros(0, 4),
    }


@pytest.fixture
def source(tmp_path: Path) -> Cache:
    """A cache with three made-up entries."""
    cache = Cache(tmp_path / "cache")
    for seed in range(3):
        cache.save(facts(seed), values(seed))
    return cache


@pytest.fixture
def home(tmp_path: Path, source: Cache) -> Path:
    """A protocol's folder that ships two of them."""
    ship({"made-up.originals.safetensors": [facts(0), facts(1)]}, source, tmp_path / "home")
    return tmp_path / "home"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / FOLDER).iterdir())}


# What is found --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "machine", [{}, {"torch": "9.9.9"}, {"device": "cuda"}, {"device": "mps", "torch": "2.99"}]
)
def test_an_entry_is_found_on_any_machine(machine: dict[str, str], home: Path) -> None:
    there = Shipped(home)
    for seed in (0, 1):
        assert facts(seed, **machine) in there
        found = there.load(facts(seed, **machine))
        assert found is not None
        assert set(found) == set(values(seed))
        for name, expected in values(seed).items():
            assert found[name].dtype == expected.dtype
            assert torch.equal(found[name], expected)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"kind": "view"},
        {"task": "other"},
        {"content": "d" * 16},
        {"forgotten": "e" * 16},
        {"precision": "float64"},
        {"version": 1},
    ],
)
def test_anything_but_the_machine_makes_another_entry(change: dict[str, Any], home: Path) -> None:
    there = Shipped(home)
    assert facts(**change) not in there
    assert there.load(facts(**change)) is None
    assert facts() in there


def test_nothing_shipped_is_nothing_found(tmp_path: Path) -> None:
    assert facts() not in Shipped(tmp_path)
    assert Shipped(tmp_path).load(facts()) is None
    assert not Shipped(tmp_path).tasks


def test_the_manifest_says_what_is_there(home: Path) -> None:
    manifest = json.loads((home / FOLDER / MANIFEST).read_text())
    ((name, entry),) = manifest["files"].items()
    path = home / FOLDER / name
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (entry["bytes"], entry["entries"]) == (path.stat().st_size, 2)
    assert entry["machine"]
    assert {"torch", "numpy", "python"} <= set(entry["versions"])
    assert Shipped(home).tasks == {"made-up"}


# What is refused ------------------------------------------------------------------------------------------------


def test_a_changed_byte(home: Path) -> None:
    path = home / FOLDER / "made-up.originals.safetensors"
    before = path.read_bytes()
    for place in (0, len(before) // 2, len(before) - 1):
        path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
        with pytest.raises(BenchmarkError) as caught:
            Shipped(home).load(facts())
        assert str(path) in str(caught.value)
        assert "found another one. Restore it" in str(caught.value)
    path.write_bytes(before)
    assert facts() in Shipped(home)


def test_a_missing_file(home: Path) -> None:
    path = home / FOLDER / "made-up.originals.safetensors"
    path.unlink()
    with pytest.raises(BenchmarkError, match=r"found none\. Restore it, or remove") as caught:
        _ = facts() in Shipped(home)
    assert str(path) in str(caught.value)


SOUND = {"sha256": "0" * 64, "bytes": 1}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "\x00",
        "[]",
        "5",
        "{}",
        '{"files": []}',
        '{"files": {"a.safetensors": 5}}',
        '{"files": {"a.safetensors": {}}}',
        '{"files": {"a.safetensors": {"sha256": 5}}}',
        *(
            json.dumps({"files": {name: SOUND}})
            for name in ("../a.safetensors", "/etc/passwd", "deeper/a.safetensors", "a/", "a/..", ".")
        ),
    ],
)
def test_a_broken_manifest(text: str, home: Path, source: Cache) -> None:
    path = home / FOLDER / MANIFEST
    path.write_text(text)
    before = content(home)
    for use in (
        lambda: Shipped(home).load(facts()),
        lambda: ship({"made-up.views.safetensors": [facts(2)]}, source, home),
    ):
        with pytest.raises(BenchmarkError, match="expected the names and hashes of the shipped") as caught:
            use()
        assert str(path) in str(caught.value)
    assert content(home) == before


@pytest.mark.parametrize("name", ["", ".."])
def test_a_name_that_is_no_file(name: str, home: Path) -> None:
    (home / FOLDER / MANIFEST).write_text(json.dumps({"files": {name: SOUND}}))
    with pytest.raises(BenchmarkError, match="found none"):
        Shipped(home).load(facts())


# Shipping -------------------------------------------------------------------------------------------------------


def test_other_files_stay(home: Path, source: Cache) -> None:
    sizes = ship({"other.views.safetensors": [facts(2)]}, source, home)
    there = Shipped(home)
    assert all(facts(seed) in there for seed in range(3))
    assert set(sizes) == {"made-up.originals.safetensors", "other.views.safetensors"}
    assert there.tasks == {"made-up", "other"}


def test_shipping_again_gives_the_same_bytes(home: Path, source: Cache) -> None:
    before = content(home)
    ship({"made-up.originals.safetensors": [facts(0), facts(1)]}, source, home)
    assert content(home) == before


@pytest.mark.parametrize("name", ["made-up.originals.safetensors", "made-up.views.safetensors"])
def test_too_large_is_refused_and_nothing_is_lost(
    name: str, home: Path, source: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.save(facts(7), values(7, size=2000))
    before = content(home)
    monkeypatch.setattr(shipped, "LARGEST", 5000)
    with pytest.raises(BenchmarkError, match=r"take 0\.0 MB, expected at most 0\. Ship fewer") as caught:
        ship({"a-first.views.safetensors": [facts(2)], name: [facts(0), facts(7)]}, source, home)
    assert str(home / FOLDER) in str(caught.value)
    assert content(home) == before
    assert all(facts(seed) in Shipped(home) for seed in (0, 1))


def test_what_is_not_in_the_cache_cannot_be_shipped(home: Path, source: Cache) -> None:
    before = content(home)
    wanted = {"made-up.originals.safetensors": [facts(2)], "made-up.views.safetensors": [facts(5, "view")]}
    with pytest.raises(
        BenchmarkError, match=r"a view of task made-up \(seed 5\) is not in the cache"
    ) as caught:
        ship(wanted, source, home)
    assert "regunlearn check --gates --protocol home" in str(caught.value)
    assert content(home) == before


# Before the cache -----------------------------------------------------------------------------------------------


def test_shipped_entries_come_first_and_are_never_written(tmp_path: Path, home: Path) -> None:
    store, before = Layered(tmp_path / "own", Shipped(home)), content(home)
    assert facts(0) in store
    found = store.load(facts(0, torch="9.9"))
    assert found is not None
    assert torch.equal(found["half"], values(0)["half"])
    assert not (tmp_path / "own").exists()
    store.save(facts(4), values(4))
    assert facts(4) in store
    assert len(list((tmp_path / "own").rglob("*.safetensors"))) == 1
    own = store.load(facts(4))
    assert own is not None
    assert torch.equal(own["half"], values(4)["half"])
    assert content(home) == before


def test_other_views_are_told_once(
    tmp_path: Path, source: Cache, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source.save(facts(0, "view"), values(0))
    ship({"made-up.views.safetensors": [facts(0, "view")]}, source, home)
    store = Layered(tmp_path / "own", Shipped(home))
    with caplog.at_level(logging.WARNING, logger="regunlearn"):
        assert store.load(facts(0, "view")) is not None
        assert store.load(facts(0, "model", content="new")) is None  # weights that are not shipped
        assert store.load(facts(0, "unlearned", content="new")) is None
        assert store.load(facts(0, "view", task="not-shipped")) is None
        assert not caplog.messages
        for seed in range(3):
            assert store.load(facts(seed, "view", content="new")) is None
    (message,) = caplog.messages
    assert "the shipped reference models of task made-up are not those of the code here" in message


# A protocol on a smoke task -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A protocol's folder whose references the script made, and the cache that they came from."""
    place = tmp_path_factory.mktemp("tiny")
    grid.save(RULES, place / "results/tiny")
    settings = Settings(cache=place / "cache/models", device="cpu")
    for design in RULES.designs():
        there = runner.open_scored(design, settings)
        for (
            role,
            size,
        ) in there.sizes.items():  # each alone, as where they are trained again: stacks round otherwise
            for seed in range(size):
                there.models.train([(seed, there.without(role, seed))])
                there.view(role, seed)
    script = ROOT / "scripts/ship_references.py"
    spec = importlib.util.spec_from_file_location("ship_references", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("REGUNLEARN_CACHE", str(place / "cache"))
        patch.setattr("sys.argv", ["ship_references", "tiny"])
        module.main()
    return place / "results/tiny", place / "cache/models"


def test_the_script_ships_weights_of_originals_and_all_views(tiny: tuple[Path, Path]) -> None:
    home, _ = tiny
    assert sorted(content(home)) == [*FILES, MANIFEST]
    there = Shipped(home)
    assert {name: entry["entries"] for name, entry in there.manifest["files"].items()} == {
        FILES[0]: SIZE,
        FILES[1]: 2 * SIZE,
    }
    assert there.tasks == {TASK}


def test_every_reference_is_found_and_nothing_is_trained(
    tiny: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, cache = tiny
    mine = Settings(cache=tmp_path / "empty", device="cpu", references=home)
    made = Settings(cache=cache, device="cpu")
    for design in RULES.designs():
        there, before = runner.open_scored(design, mine), runner.open_scored(design, made)
        monkeypatch.setattr(there.models, "_train", lambda *_: pytest.fail("a model was trained"))
        for role, size in there.sizes.items():
            for seed in range(size):
                one, other = there.view(role, seed), before.view(role, seed)
                for name, array in vars(one).items():
                    np.testing.assert_array_equal(array, getattr(other, name))
        for seed in range(SIZE):
            state, expected = (e.models.state(seed, e.without("original", seed)) for e in (there, before))
            assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert not (tmp_path / "empty").exists()


def test_models_trained_again_are_identical(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    settings = Settings(cache=tmp_path / "cache", device="cpu", references=tiny[0])
    found = list(verification.verify(RULES.designs(), settings, 1))
    assert [(one.role, one.seed) for one in found] == [("original", 0), ("retrained", 0)]
    assert all(one.identical and one.passed and one.drift == 0.0 for one in found)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(("by", "passed"), [(1e-4, True), (2.0, False)])
def test_a_changed_prediction_is_drift(
    by: float, passed: bool, tiny: tuple[Path, Path], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(tiny[0], home)
    path = home / FOLDER / FILES[1]
    there = runner.open_scored(RULES.designs()[0], Settings(cache=tmp_path / "cache", references=home))
    key = shipped.shipped_key(there.facts("original", 0))
    tensors = load_file(path)
    scale = float(there.task.scale[0])
    tensors[f"{key}/forget"] += by * scale
    save_file(tensors, path)
    manifest = json.loads((home / FOLDER / MANIFEST).read_text())
    manifest["files"][FILES[1]]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (home / FOLDER / MANIFEST).write_text(json.dumps(manifest))
    settings = Settings(cache=tmp_path / "cache", device="cpu", references=home)
    original, retrained = verification.verify(RULES.designs(), settings, 1)
    assert not original.identical
    assert original.passed is passed
    assert original.drift > 0
    assert retrained.identical


def test_models_that_all_agree_are_no_division_by_zero(
    tiny: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds of a convex task reach one solution: the same model again is no drift, any other is."""
    there = runner.open_scored(RULES.designs()[0], Settings(cache=tiny[1], device="cpu"))
    same = there.view("original", 0)
    other = replace(same, forget=same.forget + 1)
    for view, drifted in ((same, False), (other, True)):
        monkeypatch.setattr(there, "view", lambda role, seed: same)
        fresh = type("Fresh", (), {"view": lambda self, role, seed, view=view: view})()
        found = verification._compare(RULES.designs()[0], "original", 0, there, fresh)
        assert found.identical is not drifted
        assert found.passed is not drifted
        assert np.isfinite(found.drift)


def test_what_is_not_shipped_cannot_be_verified(tiny: tuple[Path, Path], tmp_path: Path) -> None:
    rules = replace(RULES, splits={TASK: ["random"]})
    settings = Settings(cache=tmp_path / "cache", device="cpu", references=tiny[0])
    with pytest.raises(BenchmarkError, match="the original model with seed 0 is not shipped"):
        list(verification.verify(rules.designs(), settings, 1))
    stress = replace(RULES, splits={TASK: ["confusion"]})
    with pytest.raises(UsageError, match="ships no models"):
        list(verification.verify(stress.designs(), settings, 1))
