"""One seed of one protocol: makes the models of the tables, by the published budgets and the switches.

Budgets, learning rates and checkpoint rules are those of the notebooks (A. Tarun et al., Deep Regression Unlearning,
ICML 2023, reference repository at commit 97b097e). The methods are the registered ones, called with a request; where a
notebook keeps the best epoch, which no registered method does, the same rows go through `trainers.fit`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from regunlearn.benchmark import augmentation, registry, trainers, training
from regunlearn.benchmark.cost import Meter, timed
from regunlearn.benchmark.isolation import isolated
from regunlearn.benchmark.references import NOTHING, References
from regunlearn.benchmark.request import EngineRequest
from regunlearn.benchmark.spec import Batch, ForgetSplit, Recipe, Request, Rows
from regunlearn.benchmark.splits import seed_of
from regunlearn.benchmark.tasks import Task
from regunlearn.methods import blindspot
from regunlearn.methods.gaussian_finetune import gaussian_targets
from regunlearn.reproduction.switches import CORRECTED, PUBLISHED, Switches

SECOND = 1000
"""Added to a seed for the second retrained model."""

PUBLISHED_BETA = 50.0
STUDENTS: Mapping[str, tuple[float, str]] = {
    "blindspot": (PUBLISHED_BETA, "published"),
    "blindspot_0": (0.0, "none"),
    "blindspot_5000": (5000.0, "published"),
    "blindspot_50_corrected": (PUBLISHED_BETA, "corrected"),
    "blindspot_5000_corrected": (5000.0, "corrected"),
}
"""Weight and form of the attention term, by model; a weight of 0 is the same in either form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How long each method trains, in epochs over its rows.

    Attributes:
        proxy, student: of Blindspot; the proxy at the recipe's learning rate.
        fine_tune, gaussian: of the two others.
        rate: learning rate of all but the proxy.
        keep: "best" or "last": what the switch `own_selection` makes fine-tuning, Gaussian and proxy keep.
    """

    proxy: float
    student: float
    fine_tune: float
    gaussian: float
    rate: float = 1e-3
    keep: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What one seed of one protocol works on.

    Attributes:
        models: original and retrained models of the task, as the switches make it.
        split: what is forgotten.
        switches: of the protocol.
        budgets: of the experiment.
        seed: of all draws.
    """

    models: References
    split: ForgetSplit
    switches: Switches
    budgets: Budgets
    seed: int

    @property
    def task(self) -> Task:
        """The task."""
        return self.models.task

    @property
    def whole(self) -> bool:
        """Whether all rows of the tables are made: the variants have the published ones only."""
        return self.switches in (PUBLISHED, CORRECTED)

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the methods see."""
        return replace(self.task.recipe, keep=self.budgets.keep if self.switches.own_selection else "last")

    def draws(self, what: str) -> torch.Generator:
        """Return a generator for one purpose, the same for every set of switches."""
        return torch.Generator().manual_seed(self.number(what))

    def number(self, what: str) -> int:
        """Return the seed of one purpose."""
        return seed_of("reproduction", what, self.task.name, self.split.name, self.seed)


@dataclass(frozen=True, eq=False)
class Made:
    """A model with its gradient passes as a share of a retrain's, and its seconds; None for reference models."""

    model: nn.Module
    passes: float | None = None
    seconds: float | None = None


class AugmentingRequest(EngineRequest):
    """A request whose batches are augmented as in training, which is how the notebooks unlearn."""

    def _draw(self, rows: Rows, forget: Tensor, size: int, epochs: float) -> Iterator[Batch]:
        augment = augmentation.get(self.recipe.augment)
        for batch in super()._draw(rows, forget, size, epochs):
            if augment is None:
                yield batch
            else:
                yield replace(batch, inputs=(augment(batch.inputs[0], self.generator), *batch.inputs[1:]))


def request_of(setting: Setting, draws: str) -> EngineRequest:
    """Return what a method gets: fresh copies of rows and original, all models metered without a limit."""
    task, split, meter = setting.task, setting.split, Meter()
    model = meter.attach(setting.models.model(setting.seed))
    kind = AugmentingRequest if setting.switches.augmented_updates else EngineRequest
    return kind(
        model=model,
        retain=task.training_rows(np.setdiff1d(task.train, split.unseen)),
        forget=task.training_rows(split.forget),
        validation=task.rows_of(split.validation),
        recipe=setting.recipe,
        layers=getattr(model, "layers", ()),
        head="head",
        generator=setting.draws(draws),
        device=task.device,
        share=float("inf"),
        factory=task.new_network,
        meter=meter,
    )


def make(setting: Setting) -> dict[str, Made]:
    """Return the models of the tables by name, each clean, in evaluation mode, on the device.

    Raises:
        DivergedError: a model has weights that are not finite.
    """
    unseen, seed, models = setting.split.unseen, setting.seed, setting.models
    made = {
        "original": Made(models.model(seed, NOTHING)),
        "retrained": Made(models.model(seed, unseen)),
    }
    if setting.whole:
        made["second_retrained"] = Made(models.model(SECOND + seed, unseen))
    made["fine_tune"] = _made(setting, "fine_tune", fine_tune)
    made["gaussian_finetune"] = _made(setting, "gaussian_finetune", gaussian_finetune)
    proxy = _made(setting, "proxy", train_proxy)
    made["blindspot_proxy"] = proxy
    for name in STUDENTS if setting.whole else ("blindspot",):
        made[name] = _student(setting, name, proxy)
    return made


def fine_tune(setting: Setting, request: EngineRequest) -> nn.Module:
    """Return the original trained on with the retain rows."""
    epochs = setting.budgets.fine_tune
    if request.recipe.keep == "best":
        return _select(setting, request, request.retain, epochs)
    return _registered("fine_tune", setting, request, epochs)


def gaussian_finetune(setting: Setting, request: EngineRequest) -> nn.Module:
    """Return the original trained on with all rows, forget targets drawn from a Gaussian."""
    epochs = setting.budgets.gaussian
    if request.recipe.keep != "best":
        return _registered("gaussian_finetune", setting, request, epochs)
    parts = (request.retain, request.forget.with_targets(gaussian_targets(cast(Request, request))))
    rows = Rows(
        tuple(torch.cat(values) for values in zip(*(part.inputs for part in parts), strict=True)),
        torch.cat([part.targets for part in parts]),
        torch.cat([part.index for part in parts]),
        request.retain.universe,
    )
    return _select(setting, request, rows, epochs)


def train_proxy(setting: Setting, request: EngineRequest) -> nn.Module:
    """Return Blindspot's proxy: a new network trained on the retain rows for a few epochs."""
    return request.fit(request.new_model(), request.retain, epochs=setting.budgets.proxy)


def _registered(name: str, setting: Setting, request: EngineRequest, epochs: float) -> nn.Module:
    recipe, method = request.recipe, registry.load(registry.discover("method").get(name))
    model: nn.Module = method(
        request, share=epochs / recipe.epochs, rate=setting.budgets.rate / recipe.learning_rate
    )
    return model


def _select(setting: Setting, request: EngineRequest, rows: Rows, epochs: float) -> nn.Module:
    """Train the original on as the registered methods do, and keep the best epoch on the retain-validation rows."""
    plain = replace(request.recipe, schedule="constant", optimiser="adam", weight_decay=0.0, clip=0.0)
    return trainers.fit(
        request.model,
        rows,
        plain,
        request.generator,
        validation=request.validation,
        epochs=epochs,
        learning_rate=setting.budgets.rate,
    )


def _student(setting: Setting, name: str, proxy: Made) -> Made:
    """Train one student; all students of a seed have the same proxy, batches and dropout."""
    beta, attention = STUDENTS[name]

    def unlearn(setting: Setting, request: EngineRequest) -> nn.Module:
        teacher = request.meter.attach(_clean(setting, proxy.model))
        rate = setting.budgets.rate / request.recipe.learning_rate
        return blindspot.unlearn(
            cast(Request, request),
            teacher,
            epochs=setting.budgets.student,
            rate=rate,
            beta=beta,
            attention=attention,
        )

    done = _made(setting, "student", unlearn)
    assert done.passes is not None
    assert done.seconds is not None
    assert proxy.passes is not None
    assert proxy.seconds is not None
    return replace(done, passes=done.passes + proxy.passes, seconds=done.seconds + proxy.seconds)


def _made(setting: Setting, draws: str, method: Callable[[Setting, EngineRequest], nn.Module]) -> Made:
    """Run a method with its own seeds, metered and timed."""
    task, request = setting.task, request_of(setting, draws)
    with isolated(setting.number(f"dropout {draws}"), task.device):
        model, seconds = timed(lambda: method(setting, request), task.device)
    retrain = trainers.passes_of(task.recipe, len(request.retain), len(request.validation))
    return Made(_clean(setting, model), request.meter.passes / retrain, seconds)


def _clean(setting: Setting, model: nn.Module) -> nn.Module:
    """Return a copy without hooks.

    Raises:
        DivergedError: a weight is not finite.
    """
    training.require_finite(model)
    copy = setting.task.new_network(0)
    copy.load_state_dict(model.state_dict())
    return copy
