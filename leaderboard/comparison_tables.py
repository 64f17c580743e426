"""Tables of entries against each other, of how far the axes agree, and of what the sentinels must fail."""

import math
from collections.abc import Mapping

import numpy as np

from regunlearn.leaderboard.blocks import AXES, Block
from regunlearn.leaderboard.comparison import Outcome
from regunlearn.leaderboard.ensemble_tables import LABELS, mean_of
from regunlearn.leaderboard.text import NOTHING, Row, Table, number

AXIS_OF: Mapping[str, str] = {
    **dict.fromkeys(("tv", "tv_full", "klom_r", "klom_r_p95", "rnc", "s_forget"), "s_forget"),
    **dict.fromkeys(("u_lira_auc", "u_lira_tpr", "loss_auc", "residual_memory", "s_privacy"), "s_privacy"),
    **dict.fromkeys(("probe_recovery", "r_idi", "s_weights"), "s_weights"),
}
"""The axis that a sentinel must fail, by the metric that its card names."""


def rank_table(outcome: Outcome) -> Table:
    """Return the average rank over blocks, and the cliques (letters) that share no significant difference."""
    compared = outcome.comparison
    assert compared is not None
    letters: dict[int, str] = dict.fromkeys(range(len(compared.names)), "")
    for place, clique in enumerate(compared.cliques or ()):
        for index in clique:
            letters[index] += chr(ord("a") + place % 26)
    rows = [
        Row([compared.names[index], number(float(compared.ranks[index])), letters[index] or NOTHING])
        for index in map(int, np.argsort(compared.ranks, kind="stable"))
    ]
    header = ["Method", "Average rank", *(["Cliques"] if compared.cliques is not None else [])]
    return Table(header, [("", [Row(row.cells[: len(header)]) for row in rows])], frozenset({0, 2}))


def wins_table(outcome: Outcome) -> Table:
    """Return blocks won / tied / lost by the row against the column."""
    compared = outcome.comparison
    assert compared is not None
    rows = [
        Row(
            [
                name,
                *(
                    "" if row == column else "/".join(map(str, compared.wins[row, column]))
                    for column in range(len(compared.names))
                ),
            ]
        )
        for row, name in enumerate(compared.names)
    ]
    return Table(["Won/tied/lost against", *compared.names], [("", rows)], frozenset({0}))


def agreement_table(outcome: Outcome) -> Table | None:
    """Return Kendall's tau between the rankings by the axes, None for fewer than two of them."""
    compared = outcome.comparison
    if compared is None or len(compared.axes) < 2:
        return None
    names = [LABELS[axis] for axis in compared.axes]
    rows = [
        Row([name, *(number(float(value), 2) for value in values)])
        for name, values in zip(names, compared.tau, strict=True)
    ]
    return Table(["Kendall's tau", *names], [("", rows)], frozenset({0}))


def sentinel_table(outcome: Outcome) -> Table | None:
    """Return what must expose each sentinel and in how many scored blocks it did; None where there is no sentinel."""
    blocks, rows = outcome.blocks, []
    for entry in outcome.tiers[-1].groups["sentinel"]:
        metric = str(blocks.board.methods["sentinel"].to_dict()[entry])
        own = [block for block in blocks.scored if (*block, entry) in blocks.results]
        if metric == "utility_ratio":
            what = "fails the utility gate"
            hits = sum(blocks.results[(*block, entry)].reason.startswith("utility") for block in own)
        else:
            axis = AXIS_OF.get(metric, "")
            what = f"is lowest on {LABELS[axis]}" if axis else ""
            hits = sum(_lowest(outcome, block, entry) == axis for block in own)
        texts = [
            entry,
            metric or NOTHING,
            what or NOTHING,
            f"{hits} of {len(own)} blocks" if what and own else NOTHING,
        ]
        means = [number(mean_of(outcome, entry, name)) for name in (metric, *AXES)]
        rows.append(Row([*texts, *means, number(outcome.standing.interval(entry)[0])]))
    header = [
        "Sentinel",
        "Exposed by",
        "Expected: it",
        "Seen in",
        "That metric",
        "S_F",
        "S_P",
        "S_W",
        "S, IQM",
    ]
    return Table(header, [("", rows)], frozenset({0, 1, 2, 3})) if rows else None


def _lowest(outcome: Outcome, block: Block, entry: str) -> str:
    values = {axis: outcome.blocks.value(block, entry, axis) for axis in AXES}
    known = {axis: value for axis, value in values.items() if not math.isnan(value)}
    return min(known, key=lambda axis: known[axis], default="")
