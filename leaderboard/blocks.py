"""Records of ensembles to one score a block: gates of blocks, gates of entries, and the delete-one values.

An entry is a method or a configuration of one (`METHOD-WORD`), and a block is a task and forget split. Nothing is
averaged over blocks here.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import STRESS_TESTS, Protocol
from regunlearn.benchmark.records import Key, Record
from regunlearn.benchmark.registry import Catalogue, discover
from regunlearn.benchmark.statistics import around, jackknife_variance
from regunlearn.leaderboard import frame
from regunlearn.leaderboard.frame import BLOCK, Board
from regunlearn.leaderboard.sheets import NO_CURVES
from regunlearn.leaderboard.text import number

Array = NDArray[np.float64]
Block = tuple[str, str]

S = "s"
"""Name of the score as measured in `Board.values`: before any gate, and so not yet the score of the tables."""
AXES = ("s_forget", "s_privacy", "s_weights")
GATES = "gates.json"
UNMEASURED = "gates not measured"
ANCHORS = ("tv_null", "tv_none", "u_lira_null", "u_lira_none")
"""Metrics of the reference models: the same in every record of a block, up to rounding."""
_ROW: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("task", "split", "design", "gate", "what"), str),
    **dict.fromkeys(("value", "low", "high", "originals", "retrained"), (int, float)),
    "least": (int, float),
    "most": (int, float, NoneType),
    "passed": bool,
}


class Result(NamedTuple):
    """One entry in one block.

    Attributes:
        score: 0..1; 0 where a gate of the entry failed, NaN where the block is not scored.
        reason: why the score is 0, "" for none.
        replicates: the score without each unit in turn, shape (units,): a seed, or a pair of models in the pool
            design. Zeros where a gate failed.
    """

    score: float
    reason: str
    replicates: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """All records of a protocol of ensembles, with one result an entry and block.

    Attributes:
        protocol: the rules.
        board: cells, metrics (the score as measured under `S`), curves and entries.
        gates: rows of gates.json.
        table: by task and split: scored, reason (of a block that is not), pool, units (behind a jackknife), models,
            retrained (numbers of models), and the `ANCHORS`.
        results: by task, split and entry.
        verified: entries that somebody else than their author has run again.
    """

    protocol: Protocol
    board: Board
    gates: pd.DataFrame
    table: pd.DataFrame
    results: Mapping[tuple[str, str, str], Result]
    verified: frozenset[str] = frozenset()

    @cached_property
    def entries(self) -> list[str]:
        """Names of methods and configurations, sorted."""
        return [str(name) for name in self.board.methods.index]

    @cached_property
    def scored(self) -> list[Block]:
        """Blocks that passed all their gates, sorted."""
        return [block for block in self.board.blocks if self.facts[block]["scored"]]

    @cached_property
    def complete(self) -> list[str]:
        """Entries with a record of every scored block; none where no block is scored."""
        return [name for name in self.entries if self.scored and not self.lacking(name)]

    def lacking(self, entry: str) -> list[Block]:
        """Return the scored blocks that an entry has no record of."""
        return [block for block in self.scored if (*block, entry) not in self.results]

    @cached_property
    def values(self) -> pd.DataFrame:
        """Metrics and costs by task, split and entry; NaN where not defined or where the cell did not end well."""
        cells = self.board.cells
        ok = (cells["status"] == "ok").to_numpy()
        costs = cells[["passes", "seconds", "retrain_seconds", "time_ratio", "peak_bytes"]]
        wide = pd.concat([self.board.values, costs], axis=1)
        wide.loc[~ok] = np.nan
        wide.index = pd.MultiIndex.from_frame(cells[[*BLOCK, "method"]])
        return wide

    def value(self, block: Block, entry: str, name: str) -> float:
        """Return one metric of one cell, NaN where there is none."""
        return self._cells.get((*block, entry), {}).get(name, float("nan"))

    @cached_property
    def _cells(self) -> dict[tuple[str, str, str], dict[str, float]]:
        rows: dict[Any, dict[Any, Any]] = self.values.to_dict("index")
        return {key: {str(name): float(v) for name, v in row.items()} for key, row in rows.items()}

    @cached_property
    def facts(self) -> Mapping[Block, Mapping[str, Any]]:
        """Rows of `table` by block."""
        rows: dict[Any, Any] = self.table.to_dict("index")
        return rows

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Kind of each entry's method, as in `Board.methods`."""
        return {str(name): str(kind) for name, kind in self.board.methods["kind"].items()}

    def metrics_of(self, block: Block) -> list[str]:
        """Return the metrics and costs that some entry has in a block, sorted."""
        known = (own for key, own in self._cells.items() if key[:2] == block)
        return sorted({name for own in known for name, value in own.items() if math.isfinite(value)})

    def half(self, block: Block, entry: str, axis: str) -> float:
        """Return half the width of the 95% jackknife interval of an axis or `S`, NaN where there is none."""
        column = "score" if axis == S else axis
        own = self.board.curves.get("jackknife", NO_CURVES).get(Key(*block, entry, 0), {})
        values = own.get(column, ())
        if len(values) < 2:
            return float("nan")
        variance = jackknife_variance(np.asarray(values, dtype=float))
        return around(0.0, variance, len(values) - 1).high


def blocks(
    records: Sequence[Record],
    protocol: Protocol,
    gates: Sequence[Mapping[str, Any]],
    catalogue: Catalogue | None = None,
    verified: frozenset[str] = frozenset(),
) -> Blocks:
    """Return one result an entry and block.

    Args:
        records: of ensembles, one a task, split and entry. Those of stress tests are left out: they have no score.
        protocol: their rules.
        gates: rows as in gates.json.
        catalogue: method cards; those of the package by default.
        verified: entries that somebody else than their author has run again.

    Raises:
        BenchmarkError: records cannot be compared (see `frame.board`), or their delete-one values do not fit.
    """
    records = [record for record in records if record.split not in STRESS_TESTS]
    cards = with_configurations(discover("method") if catalogue is None else catalogue, records)
    board = frame.board([_with_own_score(record) for record in records], cards)
    rows = pd.DataFrame([dict(row) for row in gates], columns=[*_ROW])
    table = _table(board, protocol, rows)
    results = _results(board, records, table)
    return Blocks(protocol=protocol, board=board, gates=rows, table=table, results=results, verified=verified)


def read_gates(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gates.json, none where the file is not there.

    Raises:
        BenchmarkError: it is not a list of gates.
    """
    if not path.is_file():
        return []
    advice = "Measure the gates again with `regunlearn check --gates --protocol NAME --write`."
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(f"{path}: expected JSON, found {error!s:.100}. {advice}") from error
    if not isinstance(rows, list):
        raise BenchmarkError(f"{path}: expected a list of gates, found {type(rows).__name__}. {advice}")
    for at, row in enumerate(rows):
        for name, kind in _ROW.items():
            there = isinstance(row, dict) and name in row
            value = row[name] if there else None
            if not there or not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
                said = f"{value!r:.60}" if there else "missing"
                raise BenchmarkError(f"{path}: row {at}: {name} is {said}. {advice}")
    return rows


# Parts --------------------------------------------------------------------------------------------------------


def base_of(entry: str) -> str:
    """Return the method that a configuration is one of: `fine_tune` of `fine_tune-tuned`."""
    return entry.partition("-")[0]


def with_configurations(catalogue: Catalogue, records: Sequence[Record]) -> Catalogue:
    """Return cards by entry: a configuration has the card of its method."""
    cards = {
        name: card
        for name in {record.method for record in records}
        if (card := catalogue.cards.get(name) or catalogue.cards.get(base_of(name))) is not None
    }
    return Catalogue("method", cards, catalogue.broken)


def _with_own_score(record: Record) -> Record:
    metrics = {S if name == "score" else name: value for name, value in record.metrics.items()}
    return replace(record, metrics=metrics)


def _table(board: Board, protocol: Protocol, gates: pd.DataFrame) -> pd.DataFrame:
    values = board.values.reindex(columns=[*ANCHORS, "s_privacy"])
    anchors = values[[*ANCHORS]].groupby([board.cells[key] for key in BLOCK]).median()
    private = values["s_privacy"].notna().groupby([board.cells[key] for key in BLOCK]).any().to_dict()
    rows = []
    for block in board.blocks:
        own = gates[(gates["task"] == block[0]) & (gates["split"] == block[1])]
        models, retrained = protocol.ensembles.get(block[0], (0, 0))
        pool = bool((own["design"] == "pool").any()) or bool(private[block])
        reason = "; ".join(failure(gate) for gate in own[~own["passed"].astype(bool)].to_dict("records"))
        if own.empty:
            reason = UNMEASURED
        units = _units(board, block) or max(models // 2 if pool else models, 2)
        rows.append((*block, not reason, reason, pool, units, models, retrained))
    columns = [*BLOCK, "scored", "reason", "pool", "units", "models", "retrained"]
    return pd.DataFrame(rows, columns=columns).set_index(BLOCK).join(anchors)


def failure(gate: Mapping[Any, Any]) -> str:
    """Return a failed gate in words: its name, what it measures, the value and the limit."""
    return f"{gate['gate']} {gate['what']}: {number(float(gate['value']))}, {limit_of(gate)}"


def limit_of(gate: Mapping[Any, Any]) -> str:
    """Return the range in which a gate passes in words. No gate measures anything below 0."""
    least, most = float(gate["least"]), math.inf if gate["most"] is None else float(gate["most"])
    if not math.isfinite(most):  # pandas keeps "no upper limit" as NaN
        return f"at least {least:g}"
    if least == most:
        return f"{most:g}"
    return f"at most {most:g}" if least <= 0 else f"{least:g} to {most:g}"


def _units(board: Board, block: Block) -> int:
    """Return how many units the records of a block delete in turn, 0 where none of them does.

    Raises:
        BenchmarkError: not as many in all of them.
    """
    found: dict[int, str] = {}
    for key, columns in sorted(board.curves.get("jackknife", NO_CURVES).items()):
        if (key.task, key.split) == block and "score" in columns:
            found.setdefault(len(columns["score"]), key.method)
    if len(found) > 1 or 1 in found:
        said = " and ".join(f"{size} ({entry})" for size, entry in sorted(found.items()))
        raise BenchmarkError(
            f"{block[0]} / {block[1]}: expected the same number of delete-one scores of every entry, at least 2, "
            f"found {said}. Run the older cells again."
        )
    return next(iter(found), 0)


def _results(
    board: Board, records: Sequence[Record], table: pd.DataFrame
) -> dict[tuple[str, str, str], Result]:
    results = {}
    scored, units = table["scored"].to_dict(), table["units"].to_dict()
    for record in sorted(records, key=lambda record: record.key):
        block = (record.task, record.split)
        reason, zeros = _reason(record), np.zeros(units[block])
        if not scored[block]:
            results[(*block, record.method)] = Result(float("nan"), reason, zeros)
        elif reason:
            results[(*block, record.method)] = Result(0.0, reason, zeros)
        else:
            column = record.curves.get("jackknife", {}).get("score", [])
            if len(column) != units[block]:
                raise BenchmarkError(
                    f"{' / '.join(map(str, record.key))}: expected {units[block]} delete-one scores in the curve "
                    f"jackknife, found {len(column)}. Run the cell again."
                )
            score = float(np.clip(record.metrics["score"], 0.0, 1.0))
            results[(*block, record.method)] = Result(score, "", np.asarray(column, dtype=float))
    return results


def _reason(record: Record) -> str:
    """Return why a record scores 0, "" where it does not."""
    if record.status != "ok":
        return f"{record.status}: {record.reason or ''}".rstrip(": ")
    if "score" not in record.metrics:
        return "score not defined"
    ratio, limit = record.metrics.get("utility_ratio"), record.metrics.get("utility_limit")
    if ratio is not None and limit is not None and ratio > limit:
        return f"utility: {number(ratio)} of the retrained models' error, limit {number(limit)}"
    return ""
