"""Is unlearning worth it: what entries score and cost, and what a retrain takes, for the page that does the sums.

The arithmetic itself stands in `assets/worth.js` and in the page's own words. `arithmetic` does the same sums for the
entry that the page shows before any script runs, and a test holds the two together.
"""

import math
from collections.abc import Mapping
from typing import Any

from regunlearn.leaderboard.site_data import Folder, Results
from regunlearn.leaderboard.tables import at
from regunlearn.leaderboard.tiers import group_of

DEFAULTS: Mapping[str, float] = {"deletions": 100, "together": 1, "price": 1.0, "upkeep": 1.0, "life": 30}
"""Made-up numbers that a reader replaces: deletions a day, requests handled together, cost of a machine's hour, upkeep
a day, days until the model is trained anew anyway."""


def context(results: Results) -> dict[str, Any]:
    """Return the entries that may be chosen, the seconds of a retrain of each task, and the first values."""
    retrains = _retrains(results)
    first = next(iter(sorted(retrains, key=lambda row: -row["seconds"])), None)
    entries = _entries(results)
    defaults = {**DEFAULTS, "seconds": float(first["seconds"]) if first else 3600.0}
    best = next((row for row in entries if row["share"] is not None), None)
    return {
        "main": results.main.name,
        "entries": entries,
        "retrains": retrains,
        "defaults": defaults,
        "tiers": [tier.budget for tier in results.main.outcome.tiers[:-1]] if results.main.outcome else [],
        "timed": any(row["time"] is not None for row in entries),
        "example": None if best is None else {**best, **arithmetic(best["share"], best["before"], defaults)},
    }


def arithmetic(share: float, before: float, given: Mapping[str, float]) -> dict[str, float | None]:
    """Return what deletions cost a day by retraining and by unlearning, and from how many on unlearning is cheaper.

    Args:
        share: cost of the method, as a share of a retrain's.
        before: what its own way of training the original costs beyond a plain one, in retrains.
        given: the numbers that a reader enters, as in `DEFAULTS`, and `seconds` of a retrain.
    """
    retrain = given["seconds"] / 3600 * given["price"]
    runs = given["deletions"] / given["together"]
    fixed = given["upkeep"] + before * retrain / given["life"]
    saved = (1 - share) * retrain / given["together"]
    return {
        "retrain": retrain,
        "by_retraining": runs * retrain,
        "fixed": fixed,
        "by_unlearning": runs * share * retrain + fixed,
        "break_even": fixed / saved if saved > 0 else None,
    }


# Parts --------------------------------------------------------------------------------------------------------


def _entries(results: Results) -> list[dict[str, Any]]:
    """Return what may be compared with a retrain, the highest score first."""
    main, rows = results.main, []
    quick = {
        name: folder
        for name, folder in results.folders.items()
        if folder.numbers is not None and name != main.name
    }
    for entry in main.entries:
        score, low, high, share, time, before, group = _of(main, entry)
        seconds = [own for folder in quick.values() if (own := _time(folder, entry)) is not None]
        if group in ("anchor", "sentinel", "reference") or not math.isfinite(score):
            continue
        rows.append(
            {
                "name": entry,
                "score": score,
                "low": low,
                "high": high,
                "share": _finite(share),
                "time": _finite(time) if math.isfinite(time) else next(iter(seconds), None),
                "before": before,
                "track": group,
            }
        )
    return sorted(rows, key=lambda row: (-row["score"], row["name"]))


def _of(folder: Folder, entry: str) -> tuple[float, float, float, float, float, float, str]:
    """Return score with its interval, share of passes and of seconds, passes beforehand, and group of an entry."""
    if folder.outcome is not None:
        means = folder.outcome.means
        values = [at(means, entry, name) if name in means else math.nan for name in ("passes", "time_ratio")]
        trained = at(means, entry, "training_passes") if "training_passes" in means else math.nan
        before = max(trained - 1.0, 0.0) if math.isfinite(trained) else 0.0
        group = group_of(folder.outcome.blocks, entry)
        return (*folder.outcome.standing.interval(entry), values[0], values[1], before, group)
    assert folder.numbers is not None
    numbers, scores = folder.numbers, folder.numbers.scores.methods
    values = [at(scores, entry, name) for name in ("score", "low", "high")]
    costs = [at(numbers.overall, entry, name) for name in ("passes", "time_ratio")]
    kind = str(numbers.board.methods["kind"].to_dict()[entry])
    return values[0], values[1], values[2], costs[0], costs[1], 0.0, kind


def _time(folder: Folder, entry: str) -> float | None:
    """Return the measured seconds of a method over a retrain's, None where they were not measured."""
    assert folder.numbers is not None
    overall = folder.numbers.overall
    return _finite(at(overall, entry, "time_ratio")) if entry in overall.index else None


def _retrains(results: Results) -> list[dict[str, Any]]:
    """Return the median seconds of a retrain of each task and machine that timed records have."""
    found: dict[tuple[str, str], list[float]] = {}
    for folder in results.folders.values():
        for record in folder.records:
            if record.retrain_seconds is not None:
                found.setdefault((record.task, record.machine), []).append(record.retrain_seconds)
    rows = []
    for (task, machine), seconds in sorted(found.items()):
        ordered = sorted(seconds)
        rows.append({"task": task, "machine": machine, "seconds": float(f"{ordered[len(ordered) // 2]:.3g}")})
    return rows


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None
