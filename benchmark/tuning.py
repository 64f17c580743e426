"""Tuning: twenty points of a method's search space, on tasks whose rows no scored task has, within the budget.

The points are a scrambled Sobol sequence. Each is a configuration of an ordinary run, so that a killed tuning goes on
where it was. The defaults are measured beside the points and take no part. See docs/tuning.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regunlearn.benchmark import engine, grid, selection, space
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.grid import Protocol
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.selection import Blocks, Tuning
from regunlearn.benchmark.space import Space
from regunlearn.benchmark.splits import seed_of

POINTS, BUDGET = 20, 0.10
SEEDS, REFERENCE_SEEDS = (1000, 1001, 1002), tuple(range(1000, 1008))


def tune(
    card: Card,
    settings: Settings,
    folder: Path,
    *,
    points: int = POINTS,
    budget: float = BUDGET,
    blocks: Blocks | None = None,
    seeds: Sequence[int] = SEEDS,
    reference_seeds: Sequence[int] = REFERENCE_SEEDS,
    jobs: int = 1,
    progress: engine.Progress | None = None,
) -> Tuning:
    """Measure points of a method's search space, and its defaults; what `folder` holds already is kept.

    Args:
        card: of the method.
        settings: where and how.
        folder: of the run; gets records like any other run.
        points: how many; the first ones are the same whatever their number.
        budget: most gradient passes of a run, as a share of a retrain's.
        blocks: tasks and splits; by default those of the dev suite.
        seeds: of the runs.
        reference_seeds: of the originals and retrained models over which means and nulls are taken, at least two.
        jobs: processes.
        progress: told about each step.

    Raises:
        UsageError: the method has no search space, or a number is out of its range.
        BenchmarkError: a task could not be run, or none has anything to forget.
    """
    drawn = draw(_space_of(card), card.name, points)
    protocol = _protocol(card, drawn, budget, blocks or dev_blocks(), seeds, reference_seeds)
    cells = protocol.cells([card.name, *protocol.configurations])
    outcome = engine.run(cells, settings, folder, jobs=jobs, progress=progress)
    if outcome.troubles:
        raise BenchmarkError(f"{card.name} is not tuned: {' '.join(outcome.troubles)}")
    return selection.judge(card, protocol, selection.records_of(cells, folder), outcome, settings)


def dev_blocks() -> Blocks:
    """Return the tasks and splits on which methods are tuned."""
    return grid.of_suite("dev").splits


def draw(where: Space, name: str, count: int) -> list[dict[str, space.Value]]:
    """Return the first points of a scrambled Sobol sequence in the space; the scrambling is the method's own."""
    from scipy.stats import qmc

    if count < 1:
        raise UsageError(f"--points {count}: expected at least 1.")
    sequence = qmc.Sobol(len(where), scramble=True, seed=seed_of("tuning", name))
    cube = sequence.random_base2((count - 1).bit_length())[:count]
    return [space.at(where, position) for position in cube.tolist()]


def _space_of(card: Card) -> Space:
    found = space.parse(card.fact("search", {}), card.hyperparameters)
    if not found:
        one = next(iter(card.hyperparameters), "share")
        raise UsageError(
            f"method {card.name} has no search space. Declare one in the decorator in {card.file}: "
            f'@method("{card.name}", ..., search={{"{one}": [low, high, "log"]}}); its hyperparameters are '
            f"{', '.join(card.hyperparameters) or 'none: there is nothing to tune'}."
        )
    if "-" in card.name:
        raise UsageError(
            f"method {card.name}: points are filed as METHOD-pNN, so a method to be tuned has no '-' in its name. "
            f"Rename it in {card.file}."
        )
    return found


def _protocol(
    card: Card,
    drawn: Sequence[Mapping[str, Any]],
    budget: float,
    blocks: Blocks,
    seeds: Sequence[int],
    reference_seeds: Sequence[int],
) -> Protocol:
    if not 0 < budget <= 1:
        raise UsageError(f"--budget {budget:g}: expected a share of a retrain's gradient passes, in (0, 1].")
    if len(reference_seeds) < 2:
        raise UsageError(f"reference seeds {list(reference_seeds)}: expected at least two, for a null.")
    return Protocol(
        name="tuning",
        splits={task: list(splits) for task, splits in blocks.items()},
        seeds=list(seeds),
        reference_seeds=list(reference_seeds),
        share=budget,
        relearn=False,
        configurations={f"{card.name}-p{k:02d}": values for k, values in enumerate(drawn)},
    )
