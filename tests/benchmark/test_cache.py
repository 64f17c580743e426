"""The cache gives back what it got or nothing, and never half of it."""

import errno
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from regunlearn.benchmark.cache import Cache, key_of
from regunlearn.benchmark.errors import BenchmarkError

FACTS: dict[str, Any] = {"kind": "model", "task": "ridge", "seed": 0, "forgotten": "abc", "share": 0.1}
TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "turned": torch.arange(6, dtype=torch.float64).reshape(2, 3).T,
    "last": torch.ones(1, 2, 4, 4).to(memory_format=torch.channels_last),
    "scalar": torch.tensor(3, dtype=torch.int64),
    "empty": torch.zeros(0, 2),
    "half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
}


def same(one: Tensor, other: Tensor) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and torch.equal(one.nan_to_num(), other.nan_to_num())
    )


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_round_trip(tmp_path: Path) -> None:
    store = Cache(tmp_path / "deep" / "cache")
    assert FACTS not in store
    assert store.load(FACTS) is None
    store.save(FACTS, TENSORS)
    assert FACTS in store
    found = Cache(store.folder).load(FACTS)
    assert found is not None
    assert found.keys() == TENSORS.keys()
    assert all(same(found[name], TENSORS[name]) for name in TENSORS)
    assert files(store.folder) == [store.path(FACTS)]


def test_what_comes_back_is_private(tmp_path: Path) -> None:
    store = Cache(tmp_path)
    store.save(FACTS, {"a": torch.zeros(3)})
    first = store.load(FACTS)
    assert first is not None
    first["a"] += 1
    again = store.load(FACTS)
    assert again is not None
    assert torch.equal(again["a"], torch.zeros(3))


def test_saving_again_replaces(tmp_path: Path) -> None:
    store = Cache(tmp_path)
    for value in (1.0, 2.0):
        store.save(FACTS, {"a": torch.tensor(value)})
    found = store.load(FACTS)
    assert found is not None
    assert found["a"] == 2.0


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_believed(
    place: float, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it is: in the numbers it means None; in what names the facts the tensors are still the right ones."""
    store = Cache(tmp_path_factory.mktemp("cache"))
    tensors = {"weight": torch.arange(64, dtype=torch.float64)}
    store.save(FACTS, tensors)
    path = store.path(FACTS)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)
    found = store.load(FACTS)
    assert found is None or torch.equal(found["weight"], tensors["weight"])
    assert path.exists() == (found is not None)


@pytest.mark.parametrize("keep", [0, 1, 7, 100, -1, -8])
def test_truncation(keep: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Cache(tmp_path)
    store.save(FACTS, TENSORS)
    path = store.path(FACTS)
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING, "regunlearn"):
        assert store.load(FACTS) is None
    assert "is broken" in caplog.text
    assert str(path) in caplog.text
    assert files(tmp_path) == []
    store.save(FACTS, TENSORS)
    assert store.load(FACTS) is not None


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, write = Cache(tmp_path), Path.write_bytes
    store.save({"old": 1}, TENSORS)

    def half(self: Path, content: bytes) -> int:
        write(self, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        for facts in (FACTS, {"old": 1}):
            with pytest.raises(BenchmarkError, match="No space left"):
                store.save(facts, TENSORS)
    assert files(tmp_path) == [store.path({"old": 1})]
    assert store.load({"old": 1}) is not None


@pytest.mark.parametrize("name", FACTS)
def test_every_fact_is_in_the_key(name: str) -> None:
    assert key_of({**FACTS, name: "another"}) != key_of(FACTS)
    assert key_of({key: value for key, value in FACTS.items() if key != name}) != key_of(FACTS)


def test_the_key_is_the_facts_alone() -> None:
    assert key_of(FACTS) == key_of(dict(reversed(FACTS.items())))
    assert len(key_of(FACTS)) == 32
    assert key_of({**FACTS, "more": None}) != key_of(FACTS)
    assert key_of({"seed": 1}) != key_of({"seed": "1"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"share": float("nan")})
