"""The cheapest cell of an entry, run again from nothing but the shipped reference models, and compared."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regunlearn.benchmark import grid, registry, verified
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Cell, Protocol
from regunlearn.benchmark.records import Record
from regunlearn.submission.entries import AXES

COST_CLOSE = 1e-3
"""Relative; gradient passes are counted, and only a method that stops by what it sees can differ in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One cell, as recorded and as run again.

    Attributes:
        recorded, again: the two records.
        tolerance: of the protocol, on every axis.
    """

    recorded: Record
    again: Record
    tolerance: float

    @property
    def differences(self) -> dict[str, float]:
        """How far the rerun lies from the record, by axis; infinite where only one of them has it."""
        names = [name for name in ("score", *AXES) if name in {*self.recorded.metrics, *self.again.metrics}]
        old, new = self.recorded.metrics, self.again.metrics
        return {
            name: abs(old[name] - new[name]) if name in old and name in new else math.inf for name in names
        }

    @property
    def problems(self) -> list[str]:
        """What is not as recorded, empty for nothing."""
        old, new = self.recorded, self.again
        where = f"{old.method} on {old.task}, {old.split}, seed {old.seed}"
        if old.status != new.status:
            return [
                f"{where}: run again it ends with status {new.status!r} ({new.reason}), recorded is {old.status!r}."
            ]
        found = [
            f"{where}: run again {name} is {new.metrics.get(name, math.nan):.4g}, recorded "
            f"{old.metrics.get(name, math.nan):.4g}, tolerance {self.tolerance:g}."
            for name, gap in self.differences.items()
            if gap > self.tolerance
        ]
        if not math.isclose(old.passes or 0.0, new.passes or 0.0, rel_tol=COST_CLOSE, abs_tol=1e-9):
            found.append(
                f"{where}: run again it takes {new.passes} of a retrain's passes, recorded {old.passes}."
            )
        return found


def cheapest(records: Sequence[Record], protocol: Protocol) -> Record:
    """Return the record whose cell takes the fewest epochs to make again, as shares of retrains over all its models.

    Raises:
        BenchmarkError: there are no records.
    """
    if not records:
        raise BenchmarkError("there is no record to run again. Run the method on the protocol first.")
    tasks = registry.discover("task")

    def cost(record: Record) -> tuple[float, Any]:
        models = protocol.ensembles.get(record.task, (1,))[0]
        epochs = float(tasks.get(record.task).fact("recipe", {}).get("epochs", 1.0))
        return (1.0 if record.passes is None else record.passes) * models * epochs, record.key

    return min(records, key=cost)


def rerun(
    record: Record, home: Path, *, methods: Path | None = None, device: str = "cpu", jobs: int = 1
) -> Finding:
    """Run a record's cell again with an empty cache of models and compare.

    Args:
        record: of the cell.
        home: `results/PROTOCOL`.
        methods: folder of the method's file, that of the package by default.
        device: cpu or cuda.
        jobs: processes.

    Raises:
        BenchmarkError: the cell cannot be run here at all, for want of data, say.
    """
    from regunlearn.benchmark import engine
    from regunlearn.benchmark.runner import Settings

    protocol = grid.load(home)
    shipped = home.parent / protocol.references if protocol.references else home
    cell = Cell(
        protocol=protocol, task=record.task, split=record.split, method=record.method, seed=record.seed
    )
    with tempfile.TemporaryDirectory(prefix="regunlearn-rerun-") as folder:
        settings = Settings(
            cache=Path(folder) / "models",
            device=device,
            threads=1,
            timed=False,
            methods=methods,
            references=shipped if protocol.ensembles else None,
        )
        outcome = engine.run([cell], settings, Path(folder) / "results", jobs=jobs)
    made = outcome.done
    if len(made) != 1:
        said = "; ".join(outcome.troubles) or "no record came out"
        raise BenchmarkError(f"{'/'.join(map(str, record.key))} cannot be run again: {said}.")
    return Finding(recorded=record, again=made[0], tolerance=protocol.tolerance)


def note(finding: Finding, home: Path) -> None:
    """Keep in `verified.json` that an entry's cheapest cell was run again and held.

    Raises:
        BenchmarkError: it did not hold, or the file is broken.
    """
    if finding.problems:
        raise BenchmarkError(" ".join(finding.problems))
    old, gap = finding.recorded, max(finding.differences.values(), default=0.0)
    facts = {
        "method_hash": old.method_hash,
        "task": old.task,
        "split": old.split,
        "difference": float(f"{gap:.3g}"),
        "machine": finding.again.machine,
        "commit": finding.again.commit,
    }
    verified.keep(home, old.method, facts)
