"""From cells to a ranking: pure formulas first, then the one function that applies them to a board.

A cell's score is how close the unlearned model came to the retrained one, from 0 (did nothing, or ended as far on
the other side) to 1, as seen from outside and from inside. Utility and cost are gates and columns, never factors.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regunlearn.benchmark.rules import closeness, utility_limit
from regunlearn.benchmark.statistics import t_quantile
from regunlearn.leaderboard.frame import BLOCK, Board

Array = NDArray[np.float64]

LEVEL = 0.95
DRAWS = 10_000
SEED = 0
DSR_LIMIT = 1.5


def whitebox(probe_recovery: ArrayLike) -> Array:
    """Return 1 - clip(probe_recovery, 0, 1): 0 where a refitted head recovers all that was to be forgotten."""
    return np.asarray(1.0 - np.clip(np.asarray(probe_recovery, dtype=float), 0.0, 1.0))


def cell_score(rnc: ArrayLike, probe_recovery: ArrayLike) -> Array:
    """Return min(closeness, whitebox); closeness alone where probe_recovery is NaN; NaN where rnc is NaN."""
    outside = closeness(rnc)
    return np.where(np.isnan(outside), np.nan, np.fmin(outside, whitebox(probe_recovery)))


def something_to_forget(dsr: float) -> bool:
    """Tell whether original and retrained differ by at least 1.5 times what two retrained models do (NaN: yes)."""
    return not dsr < DSR_LIMIT


def t_half_width(deviation: ArrayLike, count: ArrayLike) -> Array:
    """Return half the width of the 95% t interval of a mean: t(0.975, n - 1) sd / sqrt(n); NaN for n < 2.

    Args:
        deviation: sample standard deviation (n - 1 in the denominator).
        count: n.
    """
    n = np.asarray(count, dtype=float)
    enough = n > 1
    free = np.where(enough, n - 1.0, 1.0)
    width = t_quantile(0.5 + LEVEL / 2, free) * np.asarray(deviation, dtype=float) / np.sqrt(free + 1.0)
    return np.where(enough, width, np.nan)


def bootstrap(blocks: Sequence[Array], draws: int = DRAWS, seed: int = SEED) -> Array:
    """Return bootstrap draws of the overall score: seeds redrawn within each block, blocks fixed.

    All methods share the redrawn seeds, so that differences of columns are paired.

    Args:
        blocks: one array a block, shape (seeds, methods), without NaN.
        draws: how many.
        seed: of the generator.

    Returns:
        Shape (draws, methods): mean over blocks of the mean over redrawn seeds.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((draws, blocks[0].shape[1]))
    for scores in blocks:
        n = len(scores)
        total += rng.multinomial(n, np.full(n, 1.0 / n), size=draws) / n @ scores
    return total / len(blocks)


def interval(draws: Array) -> tuple[Array, Array]:
    """Return the 2.5% and 97.5% quantiles along the first axis."""
    low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return low, high


def ranks(scores: Array, draws: Array) -> NDArray[np.int64]:
    """Return the rank of each method, 1 for the highest score; what cannot be told apart shares a rank.

    Going down from the highest score, a method shares the rank of the best one of the current group if the 95%
    interval of the paired difference (best of the group - method) contains 0; otherwise it opens the next group,
    whose rank is its position. So all of a group are tied with its best, not necessarily with each other.

    Args:
        scores: shape (methods,). Equal scores keep their order.
        draws: their bootstrap draws, shape (draws, methods).
    """
    result = np.zeros(len(scores), dtype=np.int64)
    best = -1
    for position, index in enumerate(np.argsort(-scores, kind="stable")):
        if best >= 0:
            low, high = interval(draws[:, best] - draws[:, index])
            if low <= 1e-12 and high >= -1e-12:
                result[index] = result[best]
                continue
        best, result[index] = int(index), position + 1
    return result


def pareto_front(score: ArrayLike, cost: ArrayLike) -> NDArray[np.bool_]:
    """Tell which points no other dominates (at least as high a score and as low a cost, one of them strictly).

    Points with NaN are never on the front. Sorted sweep, n log n.
    """
    up, down = np.asarray(score, dtype=float), np.asarray(cost, dtype=float)
    valid = np.flatnonzero(~(np.isnan(up) | np.isnan(down)))
    front = np.zeros(len(up), dtype=np.bool_)
    order = valid[np.lexsort((-up[valid], down[valid]))]
    best, at = -np.inf, np.nan
    for index in order:
        if up[index] > best:
            best, at = up[index], down[index]
            front[index] = True
        elif up[index] == best and down[index] == at:
            front[index] = True
    return front


# The board ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What the formulas make of a board.

    Attributes:
        cells: rows as in `Board.cells`: score (NaN where not scored) and reason ("" for none).
        blocks: by task, split and method: score (mean over seeds), half (half-width of its 95% t interval), n
            (cells behind it) and reason. The score is NaN where the block is not scored or the method lacks cells.
        gates: by task and split: dsr, limit (of the utility gate, in the target's unit), scored, reason.
        methods: by method: score (mean over scored blocks), low, high (95% bootstrap), rank (honest and complete
            methods, else NaN), status. NaN for a method that lacks cells of the grid.
    """

    cells: pd.DataFrame
    blocks: pd.DataFrame
    gates: pd.DataFrame
    methods: pd.DataFrame


def score(board: Board) -> Scores:
    """Apply gates and formulas to every cell, and average: seeds within a block, then blocks."""
    gates = _gates(board)
    cells = _score_cells(board, gates)
    blocks = _score_blocks(board, cells, gates)
    return Scores(
        cells=cells, blocks=blocks, gates=gates, methods=_score_methods(board, cells, blocks, gates)
    )


def _column(board: Board, name: str) -> "pd.Series[float]":
    """Return a metric's column, NaN where it is not defined and in cells that did not end well."""
    values = board.values.get(name, pd.Series(np.nan, index=board.cells.index))
    return values.where(board.cells["status"] == "ok")


def _gates(board: Board) -> pd.DataFrame:
    keyed = board.cells[[*BLOCK, "seed"]].assign(
        dsr=_column(board, "dsr"),
        retrained=_column(board, "mae_test_retain") - _column(board, "gap_test_retain"),
        rnc=_column(board, "rnc"),
    )
    # The same number is in the record of every method, up to rounding: one value a seed.
    seeds = keyed.groupby([*BLOCK, "seed"])[["dsr", "retrained", "rnc"]].median().reset_index()
    rows = []
    for (task, split), own in seeds.groupby(BLOCK):
        dsr, retrained = float(own["dsr"].mean()), own["retrained"].dropna().to_numpy()
        reason = ""
        if not something_to_forget(dsr):
            reason = f"nothing to forget (DSR {dsr:.3g})"
        elif own["rnc"].isna().all():
            reason = "nothing to forget (RNC not defined)"
        limit = utility_limit(retrained) if len(retrained) else float("nan")
        rows.append((task, split, dsr, limit, not reason, reason))
    columns = [*BLOCK, "dsr", "limit", "scored", "reason"]
    return pd.DataFrame(rows, columns=columns).set_index(BLOCK)


def _score_cells(board: Board, gates: pd.DataFrame) -> pd.DataFrame:
    cells = board.cells
    block = pd.MultiIndex.from_frame(cells[BLOCK])
    own = gates.loc[block]
    rnc = _column(board, "rnc")
    # A seed for which no method has an RNC has nothing to forget; one method alone without it has no excuse.
    defined = rnc.notna().groupby([cells[key] for key in (*BLOCK, "seed")]).transform("any")
    error = _column(board, "mae_test_retain").groupby([cells[key] for key in (*BLOCK, "method")])
    useless = error.transform("mean").to_numpy() > own["limit"].to_numpy()

    failed = (cells["status"] != "ok").to_numpy()
    unmeasured = ~failed & rnc.isna().to_numpy() & defined.to_numpy()
    zero = failed | unmeasured | useless
    scored = own["scored"].to_numpy(dtype=bool)
    value = np.where(zero, 0.0, cell_score(rnc, _column(board, "probe_recovery")))
    reason = np.select(
        [failed, ~scored, ~defined, unmeasured, useless],
        [
            cells["status"] + ": " + cells["reason"],
            own["reason"].to_numpy(),
            "nothing to forget (RNC not defined)",
            "RNC not defined",
            "utility",
        ],
        default="",
    )
    # A failed cell counts only where the other methods' cells of this seed do.
    value = np.where(scored & defined.to_numpy(), value, np.nan)
    return pd.DataFrame({"score": value, "reason": reason}, index=cells.index)


def _score_blocks(board: Board, cells: pd.DataFrame, gates: pd.DataFrame) -> pd.DataFrame:
    keyed = board.cells[[*BLOCK, "method", "status"]].assign(score=cells["score"], reason=cells["reason"])
    groups = keyed.groupby([*BLOCK, "method"])
    result = groups["score"].agg(["mean", "std", "count"])
    result["half"] = t_half_width(result["std"], result["count"])
    holes = board.missing.groupby([*BLOCK, "method"]).size()
    result = result.reindex(result.index.union(holes.index)).sort_index()
    lacking = holes.reindex(result.index, fill_value=0)
    result.loc[lacking > 0, ["mean", "half"]] = np.nan
    sizes = groups.size().reindex(result.index, fill_value=0) + lacking
    bad: dict[tuple[str, str, str], Counter[str]] = {}
    wrong = keyed[keyed["reason"] != ""]
    for *key, reason in zip(*(wrong[name].tolist() for name in (*BLOCK, "method", "reason")), strict=True):
        bad.setdefault(tuple(key), Counter())[reason] += 1
    result["reason"] = [
        _reason(bad.get(key, {}), lacks, size)
        for key, lacks, size in zip(result.index, lacking, sizes, strict=True)
    ]
    result = result.rename(columns={"mean": "score", "count": "n"})
    result["n"] = result["n"].fillna(0).astype(int)
    return result[["score", "half", "n", "reason"]]


def _reason(bad: Mapping[str, int], lacking: int, size: int) -> str:
    """Return what is wrong with so many of the cells of a method in a block, "" for nothing."""
    parts = [f"missing {lacking} of {size} cells"] if lacking else []
    parts += [
        reason if times == size else f"{reason} ({times} of {size} cells)" for reason, times in bad.items()
    ]
    return "; ".join(parts)


def _score_methods(
    board: Board, cells: pd.DataFrame, blocks: pd.DataFrame, gates: pd.DataFrame
) -> pd.DataFrame:
    result = pd.DataFrame(
        {"score": np.nan, "low": np.nan, "high": np.nan, "rank": np.nan}, index=board.methods.index
    )
    complete = board.methods.index[board.methods["missing"] == 0]
    wide = (
        board.cells.assign(score=cells["score"])
        .pivot(index=[*BLOCK, "seed"], columns="method", values="score")[complete]
        .dropna(how="all")
    )
    if len(wide) and len(complete):
        parts = [own.to_numpy() for _, own in wide.groupby(BLOCK)]
        drawn = bootstrap(parts)
        result.loc[complete, "score"] = np.mean([part.mean(axis=0) for part in parts], axis=0)
        result.loc[complete, "low"], result.loc[complete, "high"] = interval(drawn)
        honest = (board.methods.loc[complete, "kind"] == "honest").to_numpy()
        if honest.any():
            own = result.loc[complete[honest], "score"].to_numpy()
            result.loc[complete[honest], "rank"] = ranks(own, drawn[:, honest])
    own = dict(list(board.cells.assign(scored=cells["reason"]).groupby("method")))
    lacking = board.methods["missing"].astype(int).to_dict()
    result["status"] = [_status(board, own[name], lacking[name]) for name in result.index]
    return result


def _status(board: Board, own: pd.DataFrame, lacking: int) -> str:
    """Return "ok", or what went wrong and how often, without the free text of the reasons.

    Args:
        board: for the size of its grid.
        own: the method's cells, with the reasons of their scores in the column "scored".
        lacking: how many cells of the grid the method lacks.
    """
    parts = []
    if lacking:
        parts.append(f"missing {lacking} of {board.grid} cells")
    counts = Counter(str(name) for name in own["status"] if name != "ok")
    parts += [f"{name} in {count} of {board.grid} cells" for name, count in sorted(counts.items())]
    useless = own.loc[own["scored"] == "utility", BLOCK].drop_duplicates()
    if len(useless):
        parts.append(f"utility gate failed in {len(useless)} of {len(board.blocks)} blocks")
    unmeasured = int((own["scored"] == "RNC not defined").sum())
    if unmeasured:
        parts.append(f"RNC not defined in {unmeasured} of {board.grid} cells")
    versions = own["method_hash"].nunique()
    if versions > 1:
        parts.append(f"records of {versions} versions of the method's file")
    return "; ".join(parts) or "ok"
