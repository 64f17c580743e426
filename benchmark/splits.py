"""Forget splits: which training rows are to be forgotten, one function a kind.

Each takes a dataset, the seed of the split and the arguments written in the task, and returns row indices. The
indices are part of every result's identity, so that nobody can compare results on different forget sets by mistake.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.spec import Dataset, ForgetSplit, Indices

HeldOut = Callable[[], NDArray[np.float64]]
"""() -> absolute residual of each training row in sorted order, shape (n_train,), under a model not trained on it."""

Mask = NDArray[np.bool_]
Kind = Callable[..., tuple[Mask, Mask | None, tuple[float, float] | None]]
"""(dataset, rng, held_out, **arguments) -> rows to forget if in train, rows of the forget distribution, band."""


def random(
    dataset: Dataset, rng: np.random.Generator, held_out: HeldOut, *, fraction: float
) -> tuple[Mask, Mask | None, None]:
    """A random share of the training rows, as when single people ask at random."""
    return _chosen(dataset, rng.permutation(dataset.train)[: _count(dataset, fraction)]), None, None


def band(
    dataset: Dataset,
    rng: np.random.Generator,
    held_out: HeldOut,
    *,
    low: float | None = None,
    high: float | None = None,
    output: int = 0,
) -> tuple[Mask, Mask, tuple[float, float]]:
    """All training rows with a target strictly between `low` and `high` (either may be open)."""
    values = dataset.targets[:, output]
    lower, upper = -np.inf if low is None else low, np.inf if high is None else high
    inside = (values > lower) & (values < upper)
    return inside, inside, (max(lower, float(values.min())), min(upper, float(values.max())))


def group(
    dataset: Dataset,
    rng: np.random.Generator,
    held_out: HeldOut,
    *,
    grouping: str,
    group: str | int,
    whole: bool = False,
) -> tuple[Mask, Mask, None]:
    """All rows of one group: a region, a class, a source, a customer.

    `whole` says that they are one customer's and are asked for together, so that they are no audit pool, whose rows
    ask one by one.
    """
    if grouping not in dataset.groups:
        raise UnknownName(f"grouping of dataset {dataset.name}", grouping, dataset.groups)
    labels = dataset.groups[grouping].astype(str)
    if str(group) not in labels:
        raise UnknownName(f"{grouping} of dataset {dataset.name}", str(group), np.unique(labels))
    inside = labels == str(group)
    return inside, inside, None


def tail(
    dataset: Dataset, rng: np.random.Generator, held_out: HeldOut, *, fraction: float
) -> tuple[Mask, Mask | None, None]:
    """The training rows with the largest held-out residual: what only memorising can fit."""
    order = np.argsort(-held_out(), kind="stable")
    return _chosen(dataset, np.sort(dataset.train)[order[: _count(dataset, fraction)]]), None, None


def time(
    dataset: Dataset, rng: np.random.Generator, held_out: HeldOut, *, start: float, end: float, span: float
) -> tuple[Mask, Mask | None, None]:
    """All training rows whose window [timestamp, timestamp + span) touches the block [start, end).

    A row that only touches the block has seen a part of it: it is forgotten with the others, so that no retain row
    holds what is to be forgotten. Test rows lie at other times: all of them count.
    """
    if dataset.timestamps is None:
        raise BenchmarkError(
            f"dataset {dataset.name} has no timestamps: expected one for each row. Choose another kind of split."
        )
    times = dataset.timestamps
    return (times + span > start) & (times < end), None, None


KINDS: Mapping[str, Kind] = {"random": random, "band": band, "group": group, "tail": tail, "time": time}

MATCHED = ("band", "group")
"""Kinds that know which held-out rows are of the forget distribution, and so a retain distribution of their own."""


def _count(dataset: Dataset, fraction: float) -> int:
    if not 0 < fraction < 1:
        raise BenchmarkError(f"a split's fraction is {fraction}, expected more than 0 and less than 1.")
    return max(1, round(fraction * len(dataset.train)))


def _chosen(dataset: Dataset, rows: Indices) -> Mask:
    chosen = np.zeros(len(dataset.targets), dtype=bool)
    chosen[rows] = True
    return chosen


def seed_of(*parts: object) -> int:
    """Return a seed below 2^63 that depends on all parts and on nothing else.

    >>> seed_of("california-mlp", "random", 0) == seed_of("california-mlp", "random", 0)
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make(
    name: str, arguments: Mapping[str, Any], dataset: Dataset, held_out: HeldOut, *, task: str, seed: int = 0
) -> ForgetSplit:
    """Return the named forget split of a task.

    Args:
        name: of the split within the task.
        arguments: `kind` and that kind's arguments.
        dataset: the task's rows.
        held_out: asked only by splits that need residuals.
        task: name of the task; with `name` and `seed` it fixes the random draws.
        seed: another one gives another random split.

    Raises:
        UnknownName: no such kind, grouping or group.
        BenchmarkError: nothing would be forgotten, or nothing retained.
    """
    kind = arguments.get("kind", name)
    if kind not in KINDS:
        raise UnknownName("kind of forget split", str(kind), KINDS)
    rng = np.random.default_rng(seed_of("split", task, name, seed))
    rest = {key: value for key, value in arguments.items() if key != "kind"}
    try:
        forgotten, matched, interval = KINDS[kind](dataset, rng, held_out, **rest)
    except TypeError as error:
        raise BenchmarkError(
            f"split {name!r} of task {task!r}: its arguments do not fit {kind!r}: {error}."
        ) from error
    train = np.sort(dataset.train)
    forget = train[forgotten[train]]
    if not 0 < len(forget) < len(train):
        raise BenchmarkError(
            f"split {name!r} of task {task!r} forgets {len(forget)} of {len(train)} training rows: "
            "expected at least one to forget and one to retain. Change its arguments in the task's file."
        )
    test, validation = np.sort(dataset.test), np.sort(dataset.validation)
    if matched is None:
        return ForgetSplit(name, kind, forget, test, test, validation, interval)
    parts = (test[matched[test]], test[~matched[test]], validation[~matched[validation]])
    if not len(parts[1]) or not len(parts[2]):
        raise BenchmarkError(f"split {name!r} of task {task!r} leaves no test or validation row to retain.")
    return ForgetSplit(name, kind, forget, *parts, interval)


def member(pool: ForgetSplit, model: int, *, task: str) -> ForgetSplit:
    """Return the forget split of one model in the pool design (complementary pairs).

    The forget rows of `pool` are an audit pool. For the pair of models (2j, 2j + 1) a random half of the pool goes to
    2j and the rest to 2j + 1: the model is trained on its half beside all other rows, and is then to forget it. Every
    row of the pool is so forgotten by half of the models and never seen by the others, and one ensemble retrained
    without the whole pool is the reference of all of them.

    Args:
        pool: a split whose forget rows are the pool.
        model: number of the model, 0, 1, 2, ...
        task: name of the task.

    Raises:
        BenchmarkError: the pool has fewer than two rows.
    """
    if len(pool.forget) < 2:
        raise BenchmarkError(
            f"pool {pool.name!r} of task {task!r} has {len(pool.forget)} rows, expected at least 2."
        )
    rng = np.random.default_rng(seed_of("pool", task, pool.name, model // 2))
    order = rng.permutation(pool.forget)
    half = (len(order) + 1) // 2
    parts = [np.sort(order[:half]), np.sort(order[half:])]
    mine, partners = parts if model % 2 == 0 else parts[::-1]
    return replace(pool, forget=mine, absent=partners)
