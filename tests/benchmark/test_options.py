"""What a recipe's options do to a task: raw targets, quantiles, pixels, and which validation rows training looks at."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regunlearn.benchmark import grid, networks, references, registry, splits, training
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.references import References
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.spec import Dataset, Recipe, Shape
from regunlearn.benchmark.tasks import Task

RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=0.01)
LEVELS = (0.1, 0.5, 0.9)
SPLITS = {
    "band": {"kind": "band", "high": 10.0},
    "group": {"kind": "group", "grouping": "home", "group": "1"},
    "whole": {"kind": "group", "grouping": "home", "group": "1", "whole": True},
    "time": {"kind": "time", "start": 10, "end": 12, "span": 3},
    "random": {"kind": "random", "fraction": 0.2},
}


class Pixels(nn.Module):
    """A network that scales pixels itself."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(12, shape.outputs)
        self.layers: tuple[str, ...] = ()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head((pixels.to(self.head.weight.dtype) / 127.5 - 1).flatten(1))  # type: ignore[no-any-return]


def dataset(n: int = 60, outputs: int = 1, *, pixels: bool = False) -> Dataset:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, 5)).astype(np.float32)
    images = rng.integers(0, 256, (n, 3, 2, 2), dtype=np.uint8)
    return Dataset(
        name="made",
        inputs={"rows": images if pixels else values},
        targets=rng.normal(20, 10, (n, outputs)),
        target="age",
        unit="years",
        train=np.arange(30),
        validation=np.arange(30, 45),
        test=np.arange(45, n),
        groups={"home": np.arange(n) % 3},
        timestamps=np.arange(n, dtype=float),
    )


def task(recipe: Recipe = RECIPE, data: Dataset | None = None, build: Any = None) -> Task:
    levels = max(1, len(recipe.quantiles))
    card = Card("task", "made-mlp", "", {"splits": SPLITS, "dataset": "made"}, {}, Path(__file__), "f", "")
    return Task(card, data or dataset(), recipe, build or partial(_mlp, levels), torch.device("cpu"))


def _mlp(levels: int, shape: Shape) -> nn.Module:
    return networks.MLP(Shape(shape.inputs, shape.outputs * levels), width=4)


def test_targets_that_are_not_standardised_keep_their_unit() -> None:
    there = task(replace(RECIPE, standardise=False))
    targets = there.dataset.targets[there.train]
    np.testing.assert_allclose(there.rows.targets.numpy(), targets, rtol=1e-6)
    assert there.spread == pytest.approx(targets.std(axis=0))
    predictions = torch.full((3, 1), 7.0)
    assert there.natural(predictions).tolist() == [[7.0]] * 3
    assert task().natural(torch.zeros(3, 1)) == pytest.approx(targets.mean())


@pytest.mark.parametrize("standardise", [True, False])
def test_quantiles_in_the_target_s_unit_and_their_median_as_the_point(standardise: bool) -> None:
    recipe = replace(RECIPE, loss="pinball", quantiles=LEVELS, standardise=standardise)
    there = task(recipe, dataset(outputs=2))
    predictions = torch.arange(12, dtype=torch.float64).reshape(2, 6)
    found = there.quantiles(predictions)
    assert found.shape == (2, 2, 3)
    np.testing.assert_allclose(found[..., 1], there.natural(predictions))
    expected = np.arange(12).reshape(2, 2, 3) * there.scale[:, None] + there.shift[:, None]
    np.testing.assert_allclose(found, expected)
    assert task().quantiles(torch.zeros(4, 1)).shape == (4, 1, 0)


def test_outputs_of_a_model_of_quantiles() -> None:
    there = task(replace(RECIPE, loss="pinball", quantiles=LEVELS), dataset(outputs=2))
    found = references.outputs_of(there.new_network(0), there)
    assert found.train.shape == (30, 2)
    assert found.quantiles.shape == (15, 2, 3)
    np.testing.assert_array_equal(found.quantiles[..., 1], found.test)


def test_pixels_stay_bytes_from_the_file_to_the_network() -> None:
    there = task(data=dataset(pixels=True), build=Pixels)
    assert there.rows.inputs[0].dtype == torch.uint8
    assert there.inputs(there.test)[0].dtype == torch.uint8
    model = training.fit(there.new_network(0), there.rows, there.recipe, torch.Generator())
    images = there.rows.inputs[0]
    torch.testing.assert_close(model(images), model(images.float()))


@pytest.mark.parametrize(
    "options",
    [
        {"keep": "best"},
        {"clip": 0.1},
        {"order": "fixed"},
        {"partial": True},
        {"standardise": False},
        {"average": "batches"},
        {"schedule": "plateau"},
    ],
)
def test_an_option_is_part_of_a_task_s_identity_only_where_it_is_set(options: Mapping[str, Any]) -> None:
    assert task(replace(RECIPE, **options)).content_hash != task().content_hash
    defaults = {name: getattr(RECIPE, name) for name in options}
    assert task(replace(RECIPE, **defaults)).content_hash == task().content_hash


@pytest.mark.parametrize("name", ["band", "group", "whole", "time", "random"])
def test_a_retrained_model_looks_at_the_retain_distribution(name: str, tmp_path: Path) -> None:
    models = References(task(replace(RECIPE, keep="best")), Cache(tmp_path))
    split = models.make_split(name)
    seen, whole = models.validation(split.unseen), models.validation(references.NOTHING)
    assert seen is not None
    assert whole is not None
    assert len(whole) == 15
    expected = models.task.rows_of(split.validation)
    torch.testing.assert_close(seen.targets, expected.targets)
    if name == "band":
        assert len(seen) < 15
        assert float(models.task.natural(seen.targets).min()) >= 10.0
    assert References(task(), Cache(tmp_path)).validation(split.unseen) is None


def test_reference_models_of_such_a_recipe_are_trained_once(tmp_path: Path) -> None:
    models = References(task(replace(RECIPE, keep="best", partial=True)), Cache(tmp_path))
    split = models.make_split("band")
    models.train([(0, references.NOTHING), (0, split.unseen)])
    assert models.facts("model", 0, split.unseen) in models.store
    state = models.state(0)
    again = models._train(0, references.NOTHING).state_dict()
    assert all(torch.equal(values, again[name]) for name, values in state.items())


# The time split


def test_a_time_block_takes_every_window_that_touches_it() -> None:
    split = task().make_split("time", held_out=lambda: np.zeros(30))
    assert split.forget.tolist() == [8, 9, 10, 11]  # windows of 3 from 8 to 11 touch [10, 12)
    np.testing.assert_array_equal(split.test_retain, np.arange(45, 60))
    np.testing.assert_array_equal(split.test_forget, split.test_retain)


def test_a_time_block_needs_timestamps() -> None:
    data = replace(dataset(), timestamps=None)
    with pytest.raises(BenchmarkError, match="no timestamps"):
        splits.make("time", SPLITS["time"], data, lambda: np.zeros(30), task="made-mlp")


def test_a_group_that_asks_together_is_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    card = task().card
    monkeypatch.setattr(registry, "discover", lambda _: registry.Catalogue("task", {"made-mlp": card}))
    protocol = grid.Protocol(name="made", splits={"made-mlp": [*SPLITS]}, ensembles={"made-mlp": [8, 8]})
    pools = {design.split: design.pool for design in protocol.designs()}
    assert pools == {"band": False, "group": True, "whole": False, "time": False, "random": True}
    one, other = (task().make_split(name, held_out=lambda: np.zeros(30)) for name in ("group", "whole"))
    np.testing.assert_array_equal(one.forget, other.forget)
