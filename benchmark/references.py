"""Original and retrained models: trained once, cached, seen by the metrics as predictions and features.

The original and the retrained model of one seed share initialisation and data order by design, and every method
starts from that original.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor, nn

from regunlearn.benchmark import stacking, trainers, training
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array, ModelEvidence
from regunlearn.benchmark.spec import ForgetSplit, Indices, Rows, hash_of
from regunlearn.benchmark.splits import MATCHED, seed_of
from regunlearn.benchmark.tasks import Task

State = Mapping[str, Tensor]
OUTPUTS_VERSION = 2
HELD_OUT_FOLDS = 2
CHECKPOINTS = (0.25, 0.5, 0.75)
"""Shares of the original's training after which its weights are kept for methods that go back to them."""
NOTHING: Indices = np.zeros(0, dtype=np.int64)


class ReferenceDivergedError(BenchmarkError):
    """A task's recipe does not train: an original or retrained model ended with weights that are not finite."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says about all rows.

    Attributes:
        train, test: predictions, shape (n, outputs), in the target's unit, rows sorted by index.
        features: inputs of the last linear layer on the training rows, shape (n_train, width).
        quantiles: of the test rows, shape (n_test, outputs, levels); no levels where none are predicted.
    """

    train: Array
    test: Array
    features: Array
    quantiles: Array


class References:
    """The trained models of one task, by seed and forget split."""

    def __init__(self, task: Task, store: Cache) -> None:
        self.task, self.store = task, store
        self.make_split = cache(self._make_split)
        self.evidence = cache(self._evidence)

    # Models

    def facts(self, kind: str, seed: int, without: Indices) -> dict[str, object]:
        """Return what makes a model, or something derived from it, what it is: the key of its cache entry."""
        return {
            "kind": kind,
            "task": self.task.name,
            "content": self.task.content_hash,
            "seed": seed,
            "forgotten": hash_of(without),
            "precision": self.task.recipe.precision,
            "device": self.task.device.type,
            "torch": torch.__version__.partition("+")[0],
        }

    def state(self, seed: int, without: Indices = NOTHING) -> State:
        """Return the weights of a model trained from scratch without some training rows, cached.

        The original is trained without nothing (or, in the pool design, without `split.absent`), the retrained model
        without `split.unseen`.

        Raises:
            ReferenceDivergedError: training ended with weights that are not finite.
        """
        facts = self.facts("model", seed, without)
        state = self.store.load(facts)
        if state is None:
            with self.store.making([facts]):
                state = self.store.load(facts)  # another run may have trained it meanwhile
                if state is None:
                    state = self._train(seed, without).state_dict()
                    self.store.save(facts, state)
        return state

    def _train(
        self,
        seed: int,
        without: Indices,
        *,
        steps: int | None = None,
        look: Callable[[nn.Module, object], None] | None = None,
    ) -> nn.Module:
        rows = self.task.training_rows(np.setdiff1d(self.task.train, without))
        generator = torch.Generator().manual_seed(seed_of("order", self.task.name, seed))
        model = self.task.new_network(seed_of("initialisation", self.task.name, seed))
        if look is not None:
            model.register_forward_pre_hook(look)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("dropout", self.task.name, seed))
            try:
                return trainers.fit(
                    model,
                    rows,
                    self.task.recipe,
                    generator,
                    validation=self.validation(without),
                    steps=steps,
                )
            except training.DivergedError as error:
                raise ReferenceDivergedError(
                    f"task {self.task.name}: training a reference model with seed {seed} diverged ({error}). "
                    f"Mend the recipe in {self.task.card.file}."
                ) from error

    def trajectory(self, seed: int, without: Indices = NOTHING) -> dict[float, dict[str, Tensor]]:
        """Return the weights of such a model on its way, by the share of its steps that were done, cached.

        The training is repeated to its last checkpoint. A step calls the model once in training mode, so a call sees
        the weights after as many steps as there were calls before it.
        """
        facts = self.facts("trajectory", seed, without)
        stored = self.store.load(facts)
        if stored is None:
            total = trainers.steps_of(self.task.recipe, len(self.task.train) - len(without))
            places = {share: round(share * total) for share in CHECKPOINTS}
            stored, calls = {}, [0]

            def look(model: nn.Module, arguments: object) -> None:
                if model.training:
                    for share in (share for share, place in places.items() if place == calls[0]):
                        kept = {
                            f"{share}/{name}": values.clone() for name, values in model.state_dict().items()
                        }
                        stored.update(kept)
                    calls[0] += 1

            self._train(seed, without, steps=max(places.values()) + 1, look=look)
            self.store.save(facts, stored)
        return {
            share: {
                name.partition("/")[2]: values.to(self.task.device)
                for name, values in stored.items()
                if name.startswith(f"{share}/")
            }
            for share in CHECKPOINTS
        }

    def validation(self, without: Indices) -> Rows | None:
        """Return the rows that training looks at, None if the recipe does not.

        A model trained without the rows of a forget split looks at that split's retain distribution only.
        """
        task = self.task
        if not trainers.validates(task.recipe):
            return None
        named = (
            name for name, facts in task.card.fact("splits").items() if facts.get("kind", name) in MATCHED
        )
        splits = (self.make_split(name) for name in named)
        found = (split.validation for split in splits if np.array_equal(split.unseen, np.sort(without)))
        return task.rows_of(next(found, np.sort(task.dataset.validation)))

    @cached_property
    def stacked(self) -> bool:
        """Whether models are trained together where that is faster: linear layers and ReLU only, see `train`."""
        task = self.task
        return (
            trainers.plain(task.recipe)
            and not task.recipe.augment
            and stacking.layers_of(task.new_network(0), task.rows.inputs) is not None
        )

    def train(self, wanted: Sequence[tuple[int, Indices]]) -> None:
        """Train models, (seed, rows to leave out) each, that are not in the cache; those of equal size together.

        A network of linear layers and ReLU is stacked where that is measured to be faster: it takes the very gradients
        of the loop. Under Adam the weights may differ in their last bits, as a processor rounds the ends of small
        tensors otherwise than the inside of large ones. Any other network is trained one by one.

        Raises:
            ReferenceDivergedError: training ended with weights that are not finite.
        """
        task = self.task
        if not trainers.plain(task.recipe):
            for one in wanted:
                self.state(*one)
            return
        with self.store.making(self.facts("model", *one) for one in self._untrained(wanted)):
            self._train_together(self._untrained(wanted))

    def _untrained(self, wanted: Sequence[tuple[int, Indices]]) -> list[tuple[int, Indices]]:
        return [one for one in wanted if self.facts("model", *one) not in self.store]

    def _train_together(self, missing: Sequence[tuple[int, Indices]]) -> None:
        task = self.task
        rows = [np.setdiff1d(task.train, without) for _, without in missing]
        models = [task.new_network(seed_of("initialisation", task.name, seed)) for seed, _ in missing]
        trained = stacking.fit_each(
            models,
            task.rows,
            [torch.as_tensor(np.searchsorted(task.train, own)).to(task.device) for own in rows],
            task.recipe,
            [torch.Generator().manual_seed(seed_of("order", task.name, seed)) for seed, _ in missing],
            how="auto" if self.stacked else "loop",
            seeds=[seed_of("dropout", task.name, seed) for seed, _ in missing],
        )
        try:
            for k, state in trained:
                self.store.save(self.facts("model", *missing[k]), state)
        except training.DivergedError as error:
            raise ReferenceDivergedError(
                f"task {task.name}: training reference models diverged ({error}). "
                f"Mend the recipe in {task.card.file}."
            ) from error

    def model(self, seed: int, without: Indices = NOTHING) -> nn.Module:
        """Return a private copy of such a model, in evaluation mode, on the device."""
        model = self.task.new_network(0)
        model.load_state_dict(self.state(seed, without))
        return model

    def has(self, seed: int, without: Indices = NOTHING) -> bool:
        """Return whether such a model and its outputs are in the cache."""
        facts = self.facts("outputs", seed, without)
        return (
            self.facts("model", seed, without) in self.store
            and {**facts, "version": OUTPUTS_VERSION} in self.store
        )

    # What the metrics see

    def outputs(self, seed: int, without: Indices = NOTHING) -> Outputs:
        """Return the predictions and features of such a model, cached."""
        facts = {**self.facts("outputs", seed, without), "version": OUTPUTS_VERSION}
        stored = self.store.load(facts)
        if stored is None:
            fresh = outputs_of(self.model(seed, without), self.task)
            stored = {name: torch.from_numpy(values) for name, values in vars(fresh).items()}
            self.store.save(facts, stored)
        return Outputs(**{name: values.numpy() for name, values in stored.items()})

    def _evidence(self, seed: int, split_name: str, retrained: bool) -> ModelEvidence:
        split = self.make_split(split_name)
        outputs = self.outputs(seed, split.unseen if retrained else split.absent)
        return evidence_of(outputs, self.task, split)

    # Splits

    def _make_split(self, name: str) -> ForgetSplit:
        return self.task.make_split(name, self.held_out)

    @property
    def held_out_facts(self) -> dict[str, object]:
        """Key of the held-out residuals in the cache."""
        return self.facts("held-out", HELD_OUT_FOLDS, NOTHING)

    def held_out(self) -> Array:
        """Return |residual| of each training row under the task's own network trained on the other half.

        Shape (n_train,), mean over outputs, of targets as they are trained on; two-fold cross-fitting, cached.
        """
        facts = self.held_out_facts
        stored = self.store.load(facts)
        if stored is None:
            with self.store.making([facts]):
                stored = self.store.load(facts) or self._held_out()
                self.store.save(facts, stored)
        return stored["residuals"].numpy()

    def _held_out(self) -> dict[str, Tensor]:
        train, task = self.task.train, self.task
        fold = np.random.default_rng(seed_of("folds", task.name)).permutation(len(train)) % HELD_OUT_FOLDS
        residuals = np.zeros(len(train))
        for k in range(HELD_OUT_FOLDS):
            model = self._train(seed_of("held-out", k), train[fold == k])
            rows = task.training_rows(train[fold == k])
            points = task.points(training.predict(model, rows.inputs)[0])
            residuals[fold == k] = (points - rows.targets).abs().mean(dim=1).double().cpu().numpy()
        return {"residuals": torch.from_numpy(residuals)}


def outputs_of(model: nn.Module, task: Task) -> Outputs:
    """Return predictions of a model in the target's unit, and its features; no gradients, fixed order."""
    train, features = training.predict(model, task.rows.inputs, head="head")
    test, _ = training.predict(model, task.inputs(task.test))
    assert features is not None
    last = features.flatten(1).double().cpu().numpy()
    return Outputs(task.natural(train), task.natural(test), last, task.quantiles(test))


def positions(split: ForgetSplit, task: Task) -> dict[str, Indices]:
    """Return the rows of each part, as positions among the sorted training or test rows."""
    retain = np.setdiff1d(task.train, split.unseen)
    return {
        "train_forget": np.searchsorted(task.train, split.forget),
        "train_retain": np.searchsorted(task.train, retain),
        "test_forget": np.searchsorted(task.test, split.test_forget),
        "test_retain": np.searchsorted(task.test, split.test_retain),
    }


def evidence_of(outputs: Outputs, task: Task, split: ForgetSplit) -> ModelEvidence:
    """Cut a model's outputs into the four parts of a forget split."""
    parts = positions(split, task)
    sides = {"train": outputs.train, "test": outputs.test}
    return ModelEvidence(
        predictions={part: sides[part.partition("_")[0]][rows] for part, rows in parts.items()},
        features={part: outputs.features[rows] for part, rows in parts.items() if part.startswith("train")},
        quantiles={part: outputs.quantiles[rows] for part, rows in parts.items() if part.startswith("test")},
    )


def targets_of(task: Task, split: ForgetSplit) -> dict[str, Array]:
    """Return the targets of the four parts, in the target's unit."""
    sides = {"train": task.dataset.targets[task.train], "test": task.dataset.targets[task.test]}
    return {part: sides[part.partition("_")[0]][rows] for part, rows in positions(split, task).items()}
