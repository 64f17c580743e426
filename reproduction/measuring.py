"""The values of one seed's models: everything that the tables show of them.

The order is the notebook's: errors, then the attack, then the AIN, and W1 and density last. With the switch
`worn_models` the AIN retrains the models that W1 and density then see.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from torch import nn

from regunlearn.benchmark import augmentation, metrics, trainers, training
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.isolation import isolated
from regunlearn.benchmark.spec import Indices
from regunlearn.reproduction import attack, measures, relearning
from regunlearn.reproduction.procedure import Made, Setting

ATTACKED = (
    *("original", "retrained", "second_retrained", "fine_tune", "gaussian_finetune", "blindspot_proxy"),
    "blindspot",
)
RELEARNED = ("fine_tune", "gaussian_finetune", "blindspot")
"""Models with a published AIN, in the order in which the notebook retrains them."""

CONSTANT = "constant"


@dataclass(frozen=True)
class Measured:
    """What is recorded of one model."""

    values: dict[str, float]
    density: dict[str, list[float]] = field(default_factory=dict)
    seconds: float | None = None


class Ruler:
    """Measures the models of one setting.

    Args:
        setting: of the seed.
        attacked: also take attack, AIN and density, as was published for images.
    """

    def __init__(self, setting: Setting, *, attacked: bool) -> None:
        self.setting, self.attacked = setting, attacked
        self.task, self.split, self.switches = setting.task, setting.split, setting.switches
        self.loss = "mse" if self.task.recipe.loss == "mse" else "l1"

    def measure(self, made: Mapping[str, Made]) -> dict[str, Measured]:
        """Return what is recorded, by model."""
        found = {name: Measured(self._direct(one.model), seconds=one.seconds) for name, one in made.items()}
        for name, one in made.items():
            if one.passes is not None:
                found[name].values["passes"] = one.passes
        if self.attacked:
            self._attack(made, found)
        models = {name: one.model for name, one in made.items()}
        if self.attacked:
            models = self._relearn(models, found)
        self._compare(models, found)
        self._disagree(made, found)
        if self.setting.whole:
            found[CONSTANT] = self._constant(made["retrained"].model)
        return found

    # Rows

    def targets(self, indices: Indices) -> Array:
        """Return the targets of rows of the dataset, shape (n,)."""
        values: Array = self.task.dataset.targets[indices, 0]
        return values

    @cached_property
    def parts(self) -> tuple[Indices, Indices]:
        """Positions of the retain and of the forget test rows among all test rows."""
        retain, forget = (
            np.searchsorted(self.task.test, rows) for rows in (self.split.test_retain, self.split.test_forget)
        )
        return retain, forget

    def predict(self, model: nn.Module, indices: Indices, crops: str = "") -> Array:
        """Return predictions for rows of the dataset, shape (n,), in the target's unit.

        `crops` names the draw of an augmentation that the rows go through first, if the switches say so.
        """
        task = self.task
        augment = augmentation.get(
            task.recipe.augment if self.switches.augmented_measurement and crops else None
        )
        generator, pieces = self.setting.draws(f"crops {crops}"), []
        for start in range(0, len(indices), training.EVALUATION_BATCH):
            inputs = task.inputs(indices[start : start + training.EVALUATION_BATCH])
            if augment is not None:
                inputs = (augment(inputs[0], generator), *inputs[1:])
            pieces.append(task.natural(training.predict(model, inputs)[0])[:, 0])
        found: Array = np.concatenate(pieces)
        if not np.isfinite(found).all():
            raise training.DivergedError("predictions are not finite")
        return found

    # Values

    def _direct(self, model: nn.Module) -> dict[str, float]:
        return self._errors(self.predict(model, self.task.test))

    def _errors(self, predictions: Array) -> dict[str, float]:
        targets = self.targets(self.task.test)
        retain, forget = ((predictions[rows], targets[rows]) for rows in self.parts)
        batch = self.task.recipe.batch_size or len(targets)
        return measures.errors(retain, forget, self.loss, batch) | measures.correlations(
            {"test": (predictions, targets), "retain": retain}
        )

    def _attack(self, made: Mapping[str, Made], found: Mapping[str, Measured]) -> None:
        task = self.task
        drawn = attack.draw(
            len(task.train),
            len(task.test),
            np.searchsorted(task.train, self.split.forget),
            np.random.default_rng(self.setting.number("attack")),
            mixed=self.switches.mixed_members,
        )
        if drawn is None:
            return
        rows = {"train": task.train, "test": task.test, "forget": self.split.forget}
        for name in [name for name in ATTACKED if name in made]:
            residuals = {
                part: np.abs(
                    self.predict(made[name].model, own, "" if part == "test" else f"attack {part} {name}")
                    - self.targets(own)
                )
                for part, own in rows.items()
            }
            found[name].values.update(attack.rates(**residuals, drawn=drawn))

    def _relearn(self, models: dict[str, nn.Module], found: Mapping[str, Measured]) -> dict[str, nn.Module]:
        """Take the AIN of each model; return the models that W1 and density are to see."""
        task, worn = self.task, self.switches.worn_models
        probe = task.rows_of(np.setdiff1d(task.dataset.validation, self.split.validation))
        level = trainers.validation_error(models["original"], probe, task.recipe)
        left = {name: deepcopy(model) for name, model in models.items()}

        def relearn(model: nn.Module) -> relearning.Relearned:
            draws = self.setting.draws("relearning")
            with isolated(self.setting.number("dropout relearning"), task.device):
                return relearning.relearn(model, task.rows, probe, level, task.recipe, draws)

        names = [*RELEARNED, *(["second_retrained"] if not worn and "second_retrained" in models else [])]
        once = None if worn else relearn(deepcopy(models["retrained"]))
        for name in names:
            own = relearn(left[name])
            found[name].values.update(relearning.index(own, once or relearn(left["retrained"])))
        return left if worn else models

    def _compare(self, models: Mapping[str, nn.Module], found: Mapping[str, Measured]) -> None:
        """Take W1 and density to the retrained model on the forget rows."""
        forget = self.split.forget
        seen = {name: self.predict(model, forget, f"compared {name}") for name, model in models.items()}
        wanted = seen["retrained"]
        for name in [name for name in models if name != "retrained"]:
            found[name].values["w1"] = metrics.wasserstein(seen[name][:, None], wanted[:, None])
            if self.attacked and name in ATTACKED:
                found[name].density.update(measures.density(seen[name], wanted, self.targets(forget)))

    def _disagree(self, made: Mapping[str, Made], found: Mapping[str, Measured]) -> None:
        """Take the mean squared difference to the retrained model, on models and rows as they are."""
        wanted = self.predict(made["retrained"].model, self.split.forget)
        for name in [name for name in made if name != "retrained"]:
            own = self.predict(made[name].model, self.split.forget)
            found[name].values["disagreement"] = metrics.disagreement(own, wanted)

    def _constant(self, retrained: nn.Module) -> Measured:
        rows = np.setdiff1d(self.task.train, self.split.unseen)
        best = measures.best_constant(self.targets(rows), self.loss)
        values = self._errors(np.full(len(self.task.test), best))
        wanted = self.predict(retrained, self.split.forget)
        same = np.full(len(wanted), best)
        values["w1"] = metrics.wasserstein(same[:, None], wanted[:, None])
        values["disagreement"] = metrics.disagreement(same, wanted)
        return Measured(values)
