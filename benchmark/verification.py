"""Train some of a protocol's shipped reference models again and compare: nobody has to take them on trust."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from regunlearn.benchmark import runner
from regunlearn.benchmark.ensembles import Ensembles, Role
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.grid import Design
from regunlearn.benchmark.runner import Settings

MOST_DRIFT = 0.5
"""Drift up to which a model counts as the same: rounding differs between processors and versions of torch."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One reference model, shipped and trained again.

    Attributes:
        task, split, role, seed: which it is.
        identical: whether every prediction has the same bits.
        drift: root mean square difference of the predictions on the forget rows, over that between this model
            and the shipped one of the next seed. 0 = the same model, 1 = as far as another seed.
    """

    task: str
    split: str
    role: Role
    seed: int
    identical: bool
    drift: float

    @property
    def passed(self) -> bool:
        """Whether the two are the same model but for rounding."""
        return self.drift <= MOST_DRIFT


def verify(designs: Sequence[Design], settings: Settings, count: int) -> Iterator[Finding]:
    """Train the first `count` models of each kind, task and forget split again and yield how they compare.

    Args:
        designs: of the protocol.
        settings: with the folder of the shipped references.
        count: models of each kind.

    Raises:
        BenchmarkError: a reference model is not shipped, or a file is not what the manifest says.
    """
    with tempfile.TemporaryDirectory() as folder:
        fresh_settings = replace(settings, references=None, cache=Path(folder))
        for design in designs:
            shipped = runner.open_scored(design, settings)
            fresh = runner.open_scored(design, fresh_settings)
            for role in shipped.sizes:
                fresh.models.train([(seed, fresh.without(role, seed)) for seed in range(count)])
                for seed in range(count):
                    yield _compare(design, role, seed, shipped, fresh)


def _compare(design: Design, role: Role, seed: int, shipped: Ensembles, fresh: Ensembles) -> Finding:
    following = (seed + 1) % shipped.sizes[role]
    for one in (seed, following):
        if shipped.facts(role, one) not in shipped.models.store:
            raise BenchmarkError(
                f"{design.task} / {design.split}: the {role} model with seed {one} is not shipped, or the code that "
                "trains it has changed since. Make the references again with scripts/ship_references.py."
            )
    mine, theirs, other = (
        view.forget.ravel().astype(np.float64)
        for view in (fresh.view(role, seed), shipped.view(role, seed), shipped.view(role, following))
    )
    apart = float(np.sqrt(np.square(theirs - other).mean()))
    drift = float(np.sqrt(np.square(mine - theirs).mean())) / max(apart, np.finfo(np.float64).tiny)
    return Finding(design.task, design.split, role, seed, bool((mine == theirs).all()), drift)
