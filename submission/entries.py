"""The records of a submission: whole, of the file that is there, and of the same models as everybody's."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regunlearn.benchmark import grid
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Protocol
from regunlearn.benchmark.records import Record, read, read_all
from regunlearn.benchmark.registry import Card

AXES = ("s_forget", "s_privacy", "s_weights")
REFERENCE = ("tv_null", "tv_none", "dsr", "u_lira_null", "u_lira_none")
"""Metrics of the reference models alone: the same in all records of a block."""
CLOSE = 1e-4
"""Relative; reference values are read from shipped models, and differ by rounding alone."""


def own_records(home: Path, method: str) -> list[Record]:
    """Return the records of a method and its configurations in a protocol's folder.

    Raises:
        BenchmarkError: a file is broken.
    """
    paths = sorted((home / "records").glob("*.jsonl"))
    return [record for path in paths if path.stem.partition("-")[0] == method for record in read(path)]


def problems(home: Path, card: Card, *, whole: bool = True) -> list[str]:
    """Return what is wrong with the records of a method in a protocol's folder, empty for nothing.

    Args:
        home: `results/PROTOCOL`.
        card: of the method, as its file is now.
        whole: whether every block of the protocol must have a record, of a failure at least.
    """
    try:
        protocol = grid.load(home)
        own = own_records(home, card.name)
        others = [record for record in read_all(home) if record.method.partition("-")[0] != card.name]
        machines = _machines(home)
    except BenchmarkError as error:
        return [str(error)]
    found = []
    for record in own:
        where = f"{home.name}: {record.method} on {record.task}, {record.split}, seed {record.seed}"
        same = [other for other in others if (other.task, other.split) == (record.task, record.split)]
        said = [
            *_of_the_file(record, card, protocol),
            *_of_the_block(record, protocol, same),
            *_possible(record),
        ]
        if record.machine not in machines:
            said.append(
                f"machine {record.machine!r:.40} is not in machines.json. Submit that file with the records."
            )
        found += [f"{where}: {one}" for one in said]
    return [*found, *(_holes(own, card, protocol, home) if whole else [])]


# Parts --------------------------------------------------------------------------------------------------------


def _machines(home: Path) -> Mapping[str, Any]:
    path = home / "machines.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{path}: expected the machines of a run, found {error!s:.80}. Restore it."
        ) from error
    if not isinstance(known, dict):
        raise BenchmarkError(f"{path}: expected an object, found {type(known).__name__}. Restore it.")
    return known


def _of_the_file(record: Record, card: Card, protocol: Protocol) -> list[str]:
    found = []
    if record.method_hash != card.code_hash:
        found.append(
            f"made by another version of {card.file.name} ({record.method_hash:.16}, the file here is "
            f"{card.code_hash}). Run it again."
        )
    if record.method != card.name and record.method not in protocol.configurations:
        found.append(f"is no configuration of protocol {protocol.name}. Tune it, or remove its records.")
    chosen = {**card.hyperparameters, **protocol.configurations.get(record.method, {})}
    if dict(record.hyperparameters) != chosen:
        found.append(
            f"hyperparameters {dict(record.hyperparameters)!s:.80}, expected {chosen!s:.80}. Run it again."
        )
    commit = record.commit
    if commit is None or commit.endswith("+changes"):
        found.append(
            f"made from code that was not committed ({commit!r:.40}). Commit first, then run it again."
        )
    return found


def _of_the_block(record: Record, protocol: Protocol, same: Sequence[Record]) -> list[str]:
    """Return where a record does not belong to the protocol's block, or to the models of the others."""
    if record.protocol != protocol.name:
        return [f"of protocol {record.protocol!r}, expected {protocol.name!r}. Remove it."]
    if record.split not in protocol.splits.get(record.task, ()) or record.seed not in protocol.seeds:
        return ["not in the grid of protocol.toml. Remove it."]
    found = []
    for other in same[:1]:
        found += [
            f"{name} {getattr(record, name):.16}, that of {other.method} is {getattr(other, name):.16}: another "
            "version of the data or of the training. Run it again from the current code."
            for name in ("task_hash", "split_hash")
            if getattr(record, name) != getattr(other, name)
        ]
        found += [
            f"{name} is {record.metrics[name]:g}, in the record of {other.method} {other.metrics[name]:g}: it is of "
            "the reference models, the same for all. Run it again with the shipped ones."
            for name in REFERENCE
            if name in record.metrics
            and name in other.metrics
            and not math.isclose(record.metrics[name], other.metrics[name], rel_tol=CLOSE, abs_tol=1e-9)
        ]
    return found


def _possible(record: Record) -> list[str]:
    """Return what no run of the tool can give."""
    found = []
    axes = [record.metrics[name] for name in AXES if name in record.metrics]
    score = record.metrics.get("score")
    if score is not None and axes and not math.isclose(score, min(axes), rel_tol=1e-5, abs_tol=1e-6):
        found.append(f"score {score:g} is not the smallest of its axes, {min(axes):g}. Run it again.")
    found += [
        f"{name} is {record.metrics[name]:g}, expected 0 to 1. Run it again."
        for name in ("score", *AXES)
        if not 0 <= record.metrics.get(name, 0.0) <= 1
    ]
    if record.status == "ok" and not record.metrics:
        found.append("status ok without a metric. Run it again.")
    if record.status == "ok" and record.passes is None:
        found.append("status ok without gradient passes. Run it again.")
    return found


def _holes(own: Sequence[Record], card: Card, protocol: Protocol, home: Path) -> list[str]:
    entries = {card.name, *(name for name in protocol.configurations if name.partition("-")[0] == card.name)}
    there = {record.key for record in own}
    absent = [cell.key for cell in protocol.cells(sorted(entries)) if cell.key not in there]
    if not absent:
        return []
    shown = ", ".join("/".join(map(str, key)) for key in absent[:3])
    return [
        f"{home.name}: {len(absent)} cells have no record ({shown}{', …' if len(absent) > 3 else ''}). A failure has "
        f"one too. Run `regunlearn run --protocol {protocol.name} --method {card.name} --out results/{home.name}`."
    ]
