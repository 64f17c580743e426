"""Forget splits: subsets of the training rows, the same every time, and never everything or nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from regunlearn.benchmark import splits
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.spec import Dataset, ForgetSplit, hash_of


def dataset(seed: int = 0, sizes: tuple[int, int, int] = (60, 20, 30), outputs: int = 1) -> Dataset:
    """Rows in a random division, not sorted, with targets on a coarse grid so that some lie on a bound."""
    rng = np.random.default_rng(seed)
    n = sum(sizes) + 5  # some rows belong to no part
    train, validation, test, _ = np.split(rng.permutation(n), np.cumsum(sizes))
    return Dataset(
        name="made-up",
        inputs={"x": np.zeros((n, 1), dtype=np.float32)},
        targets=rng.integers(-8, 9, size=(n, outputs)) / 4,
        target="y",
        unit="u",
        train=train,
        validation=validation,
        test=test,
        groups={"letter": rng.choice(list("abcd"), n), "number": rng.integers(0, 3, n)},
    )


def residuals(rows: Dataset) -> Array:
    """One residual per training row, in the order of the sorted rows as `References.held_out` gives them."""
    return np.abs(np.sin(np.sort(rows.train) * 1.7))


def make(rows: Dataset, seed: int = 0, name: str = "cut", **arguments: Any) -> ForgetSplit:
    return splits.make(name, arguments, rows, lambda: residuals(rows), task="t", seed=seed)


KINDS: list[dict[str, Any]] = [
    {"kind": "random", "fraction": 0.25},
    {"kind": "band", "low": 0.5},
    {"kind": "band", "high": -0.5},
    {"kind": "band", "low": -1, "high": 1},
    {"kind": "group", "grouping": "letter", "group": "a"},
    {"kind": "group", "grouping": "number", "group": 2},
    {"kind": "tail", "fraction": 0.1},
]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), arguments=st.sampled_from(KINDS))
def test_every_kind(seed: int, arguments: Mapping[str, Any]) -> None:
    rows = dataset(seed)
    split = make(rows, **arguments)
    for part, source in (
        (split.forget, rows.train),
        (split.test_forget, rows.test),
        (split.test_retain, rows.test),
        (split.validation, rows.validation),
    ):
        assert np.isin(part, source).all()
        assert (np.diff(part) > 0).all()
    assert 0 < len(split.forget) < len(rows.train)
    again = make(dataset(seed), **arguments)
    assert again.hash == split.hash
    if split.test_forget is split.test_retain:
        assert split.kind in ("random", "tail")
        assert np.array_equal(split.test_forget, np.sort(rows.test))
    else:
        both = np.concatenate([split.test_forget, split.test_retain])
        assert np.array_equal(np.sort(both), np.sort(rows.test))


@given(fraction=st.floats(0.001, 0.98), seed=st.integers(0, 100))
def test_random_fraction_is_exact(fraction: float, seed: int) -> None:
    rows = dataset()
    split = make(rows, seed, kind="random", fraction=fraction)
    assert len(split.forget) == max(1, round(fraction * len(rows.train)))


def test_random_depends_on_task_name_and_seed() -> None:
    rows = dataset()
    arguments = {"kind": "random", "fraction": 0.25}
    hashes = {
        splits.make(name, arguments, rows, lambda: residuals(rows), task=task, seed=seed).hash
        for name in ("a", "b")
        for task in ("t", "u")
        for seed in (0, 1)
    }
    assert len(hashes) == 8


def test_random_is_uniform() -> None:
    rows = dataset()
    counts = np.zeros(len(rows.targets))
    for seed in range(400):
        counts[make(rows, seed, kind="random", fraction=0.5).forget] += 1
    shares = counts[np.sort(rows.train)] / 400
    assert shares.mean() == pytest.approx(0.5)
    assert np.abs(shares - 0.5).max() < 0.12  # nearly five standard deviations


@given(
    seed=st.integers(0, 100),
    low=st.none() | st.integers(-8, 0).map(lambda v: v / 4),
    high=st.none() | st.integers(1, 8).map(lambda v: v / 4),
)
def test_band_bounds_are_strict(seed: int, low: float | None, high: float | None) -> None:
    rows = dataset(seed)
    values = rows.targets[:, 0]
    inside = (values > (-np.inf if low is None else low)) & (values < (np.inf if high is None else high))
    parts = [inside[part] for part in (rows.train, rows.test, rows.validation)]
    assume(parts[0].any() and not any(part.all() for part in parts))
    split = make(rows, kind="band", low=low, high=high)
    assert np.array_equal(split.forget, np.sort(rows.train[inside[rows.train]]))
    assert np.array_equal(split.test_forget, np.sort(rows.test[inside[rows.test]]))
    assert not inside[split.test_retain].any()
    assert not inside[split.validation].any()
    assert split.band is not None
    bottom, top = split.band
    assert bottom == (values.min() if low is None else max(low, values.min()))
    assert top == (values.max() if high is None else min(high, values.max()))


def test_band_of_another_output() -> None:
    rows = dataset(outputs=2)
    split = make(rows, kind="band", low=0.5, output=1)
    assert (rows.targets[split.forget, 1] > 0.5).all()
    assert not (rows.targets[split.forget, 0] > 0.5).all()


@pytest.mark.parametrize("group", ["a", "d"])
def test_group_has_all_its_rows(group: str) -> None:
    rows = dataset()
    split = make(rows, kind="group", grouping="letter", group=group)
    labels = rows.groups["letter"]
    assert set(split.forget) == {row for row in rows.train if labels[row] == group}
    assert set(split.test_forget) == {row for row in rows.test if labels[row] == group}
    assert group not in labels[split.test_retain]
    assert group not in labels[split.validation]


@pytest.mark.parametrize("seed", range(3))
def test_tail_has_the_largest_residuals(seed: int) -> None:
    rows = dataset(seed)
    split = make(rows, kind="tail", fraction=0.1)
    by_row = dict(zip(np.sort(rows.train), residuals(rows), strict=True))
    worst = sorted(by_row, key=lambda row: -by_row[row])[:6]
    assert set(split.forget) == set(worst)


def test_only_tail_asks_for_residuals() -> None:
    def never() -> Array:
        raise AssertionError("asked for residuals")

    rows = dataset()
    for arguments in KINDS[:-1]:
        splits.make("cut", arguments, rows, never, task="t")
    with pytest.raises(AssertionError):
        splits.make("cut", KINDS[-1], rows, never, task="t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "band", "low": 100}, "forgets 0 of 60"),
        ({"kind": "band", "low": 1, "high": 1}, "forgets 0 of 60"),
        ({"kind": "band", "low": -100}, "forgets 60 of 60"),
        ({"kind": "random", "fraction": 0.999}, "forgets 60 of 60"),
        ({"kind": "tail", "fraction": 0.999}, "forgets 60 of 60"),
        ({"kind": "random", "fraction": 0.0}, "fraction is 0.0"),
        ({"kind": "random", "fraction": 1.0}, "fraction is 1.0"),
        ({"kind": "random", "fraction": float("nan")}, "fraction is nan"),
        ({"kind": "tail", "fraction": -1}, "fraction is -1"),
    ],
)
def test_nothing_to_forget_or_to_retain(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        make(dataset(), **arguments)


def test_no_test_row_to_retain() -> None:
    rows = dataset()
    targets = rows.targets.copy()
    targets[rows.test] = 1.0
    with pytest.raises(BenchmarkError, match="no test or validation row to retain"):
        make(replace(rows, targets=targets), kind="band", low=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "radnom"}, "Did you mean 'random'"),
        ({"kind": "group", "grouping": "leter", "group": "a"}, "Did you mean 'letter'"),
        ({"kind": "group", "grouping": "letter", "group": "z"}, "Known: a, b, c, d"),
    ],
)
def test_unknown_names(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        make(dataset(), **arguments)


@pytest.mark.parametrize(
    "arguments", [{"kind": "random"}, {"kind": "random", "fraction": 0.1, "colour": "red"}]
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any]) -> None:
    with pytest.raises(BenchmarkError, match="cut"):
        make(dataset(), **arguments)


def test_the_kind_is_the_name_unless_given() -> None:
    assert make(dataset(), name="random", fraction=0.5).kind == "random"


def test_hash_changes_with_any_row() -> None:
    split = make(dataset(), kind="band", low=0.5)
    parts = ("forget", "test_forget", "test_retain", "validation")
    changed = {replace(split, **{part: getattr(split, part)[1:]}).hash for part in parts}
    assert len(changed | {split.hash}) == 5
    moved = replace(
        split,
        test_forget=split.test_forget[:-1],
        test_retain=np.concatenate([split.test_forget[-1:], split.test_retain]),
    )
    assert moved.hash != split.hash


def test_hash_is_the_same_on_every_machine() -> None:
    rows = np.array([1, 2, 3])
    assert hash_of(rows) == hash_of(rows.astype(">i8")) == hash_of(rows.astype(np.int32))
    assert hash_of(rows, rows) != hash_of(rows)
    assert hash_of(np.array([1]), np.array([2])) != hash_of(np.array([1, 2]))


@given(st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4))
def test_seed_of(parts: list[object]) -> None:
    seed = splits.seed_of(*parts)
    assert 0 <= seed < 2**63
    assert seed == splits.seed_of(*parts)
    assert seed != splits.seed_of(*parts, "more")


# The pool design


def pool_of(rows: int = 60) -> ForgetSplit:
    return make(dataset(), kind="random", fraction=0.5)


@given(st.integers(0, 40))
def test_partners_share_the_pool(pair: int) -> None:
    pool = pool_of()
    first, second = (splits.member(pool, model, task="t") for model in (2 * pair, 2 * pair + 1))
    np.testing.assert_array_equal(first.forget, second.absent)
    np.testing.assert_array_equal(first.absent, second.forget)
    for one in (first, second):
        assert len(np.intersect1d(one.forget, one.absent)) == 0
        np.testing.assert_array_equal(one.unseen, pool.forget)
        assert abs(len(one.forget) - len(one.absent)) <= 1
    assert first.hash != second.hash


def test_pairs_halve_the_pool_differently_and_the_same_on_every_call() -> None:
    pool = pool_of()
    halves = [tuple(splits.member(pool, model, task="t").forget) for model in range(0, 20, 2)]
    assert len(set(halves)) == 10
    assert halves == [tuple(splits.member(pool, model, task="t").forget) for model in range(0, 20, 2)]


def test_a_pool_of_one_row() -> None:
    pool = pool_of()
    with pytest.raises(BenchmarkError, match="at least 2"):
        splits.member(replace(pool, forget=pool.forget[:1]), 0, task="t")
