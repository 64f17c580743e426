"""One function a table, and the tidy CSV. `text` renders them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from csv import writer
from functools import cached_property
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd

from regunlearn.benchmark.metrics import METRICS
from regunlearn.leaderboard.frame import BLOCK, Board
from regunlearn.leaderboard.scores import Scores, t_half_width
from regunlearn.leaderboard.text import NOTHING, Row, Table, number, spread

SCORE = "Score (95% interval)"
EVERY = "*"
"""Stands for all tasks or all splits in the CSV; not a valid name, so it cannot be taken for one."""

GROUPS = (
    ("ranked", "Methods"),
    ("incomplete", "Incomplete, not ranked"),
    ("exact", "Exact unlearning, a track of its own: it trains the original in its own way"),
    ("reference", "References, not ranked"),
    ("sentinel", "Sentinels and cheats, not ranked"),
)
TABS = (("main", "Closeness"), ("errors", "Errors"), ("paper", "Metrics of the paper"), ("other", "Other"))


# Numbers behind the tables ------------------------------------------------------------------------------------


class Numbers:
    """Means over seeds and their 95% t intervals, computed once for all tables and figures."""

    def __init__(self, board: Board, scores: Scores) -> None:
        self.board, self.scores = board, scores
        self.block_tables: dict[tuple[str, str], list[tuple[str, Table]]] = {}

    @cached_property
    def long(self) -> pd.DataFrame:
        """One row a (task, split, method, metric): mean, half, n. Costs count as metrics; failed cells are out."""
        ok = self.board.cells["status"] == "ok"
        costs = self.board.cells[["passes", "seconds", "retrain_seconds", "time_ratio", "peak_bytes"]]
        wide = pd.concat([self.board.values, costs], axis=1)[ok]
        keys = [self.board.cells.loc[ok, key] for key in (*BLOCK, "method")]
        groups = wide.groupby(keys)
        long = pd.DataFrame(
            {
                name: frame.rename_axis(columns="metric").stack()
                for name, frame in (
                    ("mean", groups.mean()),
                    ("deviation", groups.std()),
                    ("n", groups.count()),
                )
            }
        )
        long = long.dropna(subset="mean").reset_index()
        long["half"] = t_half_width(long["deviation"], long["n"])
        return pd.DataFrame(long[[*BLOCK, "method", "metric", "mean", "half", "n"]])

    @cached_property
    def overall(self) -> pd.DataFrame:
        """Means over blocks of the means over seeds: one row a method, one column a metric.

        RNC and probe recovery are taken over the scored blocks only: elsewhere there is nothing to close.
        `speed_up` is 1 / time_ratio, infinite for a method that takes no time.
        """
        scored = self.scores.gates["scored"]
        block = pd.MultiIndex.from_frame(self.long[BLOCK])
        closing = self.long["metric"].isin(["rnc", "probe_recovery"])
        used = self.long[~closing | scored.reindex(block).to_numpy(dtype=bool)]
        overall = used.pivot_table(index="method", columns="metric", values="mean", aggfunc="mean")
        overall = overall.reindex(self.board.methods.index)
        for name in ("rnc", "probe_recovery", "utility_ratio", "loss_auc_gap", "passes", "time_ratio"):
            if name not in overall:
                overall[name] = np.nan
        with np.errstate(divide="ignore"):
            overall["speed_up"] = 1.0 / overall["time_ratio"].to_numpy()
        return overall

    @cached_property
    def order(self) -> dict[str, list[str]]:
        """Methods by group of rows: by score from the highest, then by name."""
        methods = self.board.methods
        scores = self.scores.methods["score"].fillna(-1.0)
        rows = zip(
            methods.index, scores.reindex(methods.index), methods["kind"], methods["missing"], strict=True
        )
        order: dict[str, list[str]] = {group: [] for group, _ in GROUPS}
        for name, _, kind, missing in sorted(rows, key=lambda row: (-row[1], row[0])):
            honest = "incomplete" if missing else "ranked"
            order[honest if kind == "honest" else kind].append(str(name))
        return order

    @cached_property
    def blocks(self) -> dict[tuple[str, str], pd.DataFrame]:
        """`long` by block, indexed by method and metric."""
        return {
            (str(task), str(split)): own.set_index(["method", "metric"])[["mean", "half", "n"]].sort_index()
            for (task, split), own in self.long.groupby(BLOCK)
        }

    @cached_property
    def results(self) -> dict[tuple[str, str, str], tuple[float, float, str]]:
        """Score, half-width of its interval, and reason by task, split and method."""
        own = self.scores.blocks
        columns = (own[name].tolist() for name in ("score", "half", "reason"))
        return dict(zip(own.index.tolist(), zip(*columns, strict=True), strict=True))


# Tables -------------------------------------------------------------------------------------------------------

Show = Callable[[Numbers, str], str]


def at(frame: pd.DataFrame, row: Any, column: str) -> float:
    """Return one number of a frame."""
    value: Any = frame.at[row, column]
    return float(value)


def _mean(metric: str, suffix: str = "") -> Show:
    def show(numbers: Numbers, method: str) -> str:
        text = number(at(numbers.overall, method, metric))
        return text if text == NOTHING else text + suffix

    return show


def _rank(numbers: Numbers, method: str) -> str:
    rank = at(numbers.scores.methods, method, "rank")
    return "" if math.isnan(rank) else str(int(rank))


def _score(numbers: Numbers, method: str) -> str:
    score, low, high = (at(numbers.scores.methods, method, name) for name in ("score", "low", "high"))
    return NOTHING if math.isnan(score) else f"{number(score)} ({number(low)} to {number(high)})"


_COLUMNS: Mapping[str, Show] = {
    "Rank": _rank,
    "Method": lambda _, method: method,
    "Family": lambda numbers, method: str(numbers.board.methods.loc[method, "family"]),
    SCORE: _score,
    "RNC": _mean("rnc"),
    "RR": _mean("probe_recovery"),
    "Utility ratio": _mean("utility_ratio"),
    "Loss-AUC gap": _mean("loss_auc_gap"),
    "Gradient passes / retrain's": _mean("passes"),
    "Seconds / retrain's": _mean("time_ratio"),
    "Speed-up": _mean("speed_up", "×"),
    "Status": lambda numbers, method: str(numbers.scores.methods.loc[method, "status"]),
}
COMPACT = (
    "Rank",
    "Method",
    "Family",
    SCORE,
    "RNC",
    "RR",
    "Utility ratio",
    "Gradient passes / retrain's",
    "Speed-up",
    "Status",
)
"""Columns of the table in the README."""

TERMINAL = ("Rank", "Method", SCORE, "Gradient passes / retrain's", "Speed-up", "Status")
"""Columns of the table on the terminal."""

_WORDS = {"Method", "Family", "Status"}


def main_table(numbers: Numbers, columns: Sequence[str] = tuple(_COLUMNS)) -> Table:
    """Return one row a method over the whole grid; name and score of the best honest methods are bold."""
    groups = []
    best = {at for at, name in enumerate(columns) if name in ("Method", SCORE)}
    for group, title in GROUPS:
        methods = numbers.order[group]
        rows = [
            Row(
                [_COLUMNS[name](numbers, method) for name in columns],
                frozenset(best if _is_best(numbers.scores, method) else ()),
            )
            for method in methods
        ]
        if rows:
            groups.append((title, rows))
    return Table(columns, groups, frozenset(at for at, name in enumerate(columns) if name in _WORDS))


def _is_best(scores: Scores, method: str) -> bool:
    return at(scores.methods, method, "rank") == 1 and at(scores.methods, method, "score") > 0


def tab_of(metric: str) -> str:
    """Return the tab that a metric is shown in; "other" for one that this version does not know."""
    return METRICS[metric].tab if metric in METRICS else "other"


def block_tables(numbers: Numbers, block: tuple[str, str]) -> Sequence[tuple[str, Table]]:
    """Return the tables of one task and split, by tab: one row a method, mean ± half-width of the 95% t interval.

    The first one begins with the score and ends with the reasons of failures. Page and files show the same ones.
    """
    if block not in numbers.block_tables:
        numbers.block_tables[block] = list(_block_tables(numbers, block))
    return numbers.block_tables[block]


def _block_tables(numbers: Numbers, block: tuple[str, str]) -> Iterator[tuple[str, Table]]:
    board, own = numbers.board, numbers.blocks.get(block)
    means: dict[Any, float] = {} if own is None else own["mean"].to_dict()
    halves: dict[Any, float] = {} if own is None else own["half"].to_dict()
    there = {metric for _, metric in means}
    unit = board.units.get(block[0], "")
    for tab, title in TABS:
        known = [name for name in METRICS if tab_of(name) == tab and name in there]
        names = known or sorted(there & {name for name in board.values if tab_of(str(name)) == tab})
        if not names and tab != "main":
            continue
        first = tab == "main"
        header = ["Method", *(["Score"] if first else []), *(_heading(name, unit) for name in names)]
        groups = []
        for group, group_title in GROUPS:
            rows = []
            for method in numbers.order[group]:
                cells = [
                    spread(means.get((method, n), math.nan), halves.get((method, n), math.nan)) for n in names
                ]
                if first:
                    score, half, reason = numbers.results[(*block, method)]
                    cells = [spread(score, half), *cells, reason or "ok"]
                rows.append(Row([method, *cells]))
            if rows:
                groups.append((group_title, rows))
        header += ["Status"] if first else []
        yield title, Table(header, groups, frozenset({0, len(header) - 1} if first else {0}))


def _heading(metric: str, unit: str) -> str:
    if metric not in METRICS:
        return metric
    entry = METRICS[metric]
    shown = unit if entry.unit == "target" else entry.unit
    return f"{entry.label} ({shown})" if shown else entry.label


def metric_table() -> Table:
    """Return what every metric is, where its good end lies, and where it comes from."""
    rows = [
        Row(
            [entry.name, entry.label, entry.unit or NOTHING, _GOOD[entry.better], entry.formula, entry.source]
        )
        for entry in METRICS.values()
    ]
    header = ["Metric", "Shown as", "Unit", "Good end", "Formula", "Source"]
    return Table(header, [("", rows)], frozenset(range(len(header))))


_GOOD = {
    "lower": "lower",
    "higher": "higher",
    "zero": "0",
    "one": "1",
    "retrained": "the retrained model's value",
}


def machine_table(board: Board) -> Table:
    """Return which machines made how many cells."""
    cells = board.cells.assign(timed=board.cells["seconds"].notna())
    rows = [
        Row([str(machine), str(len(own)), str(int(own["timed"].sum()))])
        for machine, own in cells.groupby("machine")
    ]
    return Table(["Machine", "Cells", "of them timed"], [("", rows)], frozenset({0}))


def csv(numbers: Numbers) -> str:
    """Return all means as tidy CSV: task, split, method, metric, mean, low, high, n, unit.

    Scores of blocks and of the whole grid (task and split "*") are rows with the metric "score". The interval of a
    block's score is cut to 0..1.
    """
    board, scores = numbers.board, numbers.scores
    long = numbers.long.assign(low=lambda f: f["mean"] - f["half"], high=lambda f: f["mean"] + f["half"])
    units = {
        "seconds": "s",
        "retrain_seconds": "s",
        "peak_bytes": "B",
        "passes": "retrains",
        "time_ratio": "",
    }
    units |= {name: entry.unit for name, entry in METRICS.items()}
    kinds = long["metric"].map(units).fillna("")
    long["unit"] = np.where(kinds == "target", long["task"].map(dict(board.units)), kinds)
    blocks = scores.blocks.dropna(subset="score").reset_index().rename(columns={"score": "mean"})
    blocks = blocks.assign(
        low=(blocks["mean"] - blocks["half"]).clip(0, 1),
        high=(blocks["mean"] + blocks["half"]).clip(0, 1),
        **{"metric": "score", "unit": ""},
    )
    every = (
        scores.methods.dropna(subset="score").reset_index(names="method").rename(columns={"score": "mean"})
    )
    every = every.assign(task=EVERY, split=EVERY, metric="score", unit="")
    every["n"] = (
        int(scores.cells["score"].notna().groupby(board.cells["method"]).sum().max()) if len(every) else 0
    )
    columns = [*BLOCK, "method", "metric", "mean", "low", "high", "n", "unit"]
    parts = [part[columns] for part in (long, blocks, every) if len(part)]
    frame = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    frame = frame.sort_values([*BLOCK, "method", "metric"], ignore_index=True)
    text = StringIO()
    lines = writer(text, lineterminator="\n")  # several times faster than the frame's own `to_csv`
    lines.writerow(columns)
    lines.writerows(zip(*(_written(frame[name]) for name in columns), strict=True))
    return text.getvalue()


def _written(column: "pd.Series[Any]") -> list[Any]:
    """Return floats to seven digits, nothing for what is not defined, and all else as it is."""
    values: list[Any] = column.tolist()
    if column.dtype.kind != "f":
        return values
    return ["" if value != value else f"{value:.7g}" for value in values]  # NaN is not itself
