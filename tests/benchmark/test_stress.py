"""What is put into the training rows is found in the original and not in the retrained model, by known amounts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor, nn

from regunlearn.benchmark import composites, stress, tasks
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.errors import BenchmarkError, UnknownName
from regunlearn.benchmark.references import References
from regunlearn.benchmark.spec import Shape
from regunlearn.benchmark.stress import StressEnsembles
from regunlearn.benchmark.stress_metrics import ENTRIES
from regunlearn.benchmark.tasks import Task

SIZE = 8
ENDS = ("_low", "_high", "_none", "_null")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def task() -> Task:
    return tasks.load("digits-mlp", torch.device("cpu"))


@pytest.fixture(scope="module")
def ridge() -> Task:
    return tasks.load("ridge", torch.device("cpu"))


@pytest.fixture(scope="module")
def ensembles(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, StressEnsembles]:
    models = References(task, Cache(tmp_path_factory.mktemp("models")))
    found = {name: stress.open_stress(models, name, SIZE) for name in stress.STRESS}
    for one in found.values():
        one.models.train([(seed, one.without(role, seed)) for role in one.sizes for seed in range(SIZE)])
    return found


class Intercept(nn.Module):
    """One number an output, whatever the input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head = nn.Linear(1, shape.outputs)
        self.layers: tuple[str, ...] = ()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.zeros_like(inputs[:, :1]))


# Corruption -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", stress.STRESS)
def test_only_the_corrupted_training_rows_change(name: str, task: Task) -> None:
    found = stress.corrupted(task, name)
    differs = (found.dataset.targets != task.dataset.targets).any(axis=1)
    differs |= (found.dataset.inputs["images"] != task.dataset.inputs["images"]).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(differs), found.corrupted)
    assert np.isin(found.corrupted, task.train).all()
    assert np.isin(found.split.forget, found.corrupted).all()
    share = 0.5 if name == "confusion-half" else 1.0
    assert len(found.split.forget) == share * len(found.corrupted)
    for mine, clean in ((found.shift, task.shift), (found.scale, task.scale)):
        np.testing.assert_array_equal(mine, clean)


@pytest.mark.parametrize("name", stress.STRESS)
def test_corruption_is_the_same_every_time_and_part_of_the_identity(name: str, task: Task) -> None:
    once, again = stress.corrupted(task, name), stress.corrupted(task, name)
    assert once.content_hash == again.content_hash != task.content_hash
    assert once.split.hash == again.split.hash
    np.testing.assert_array_equal(once.corrupted, again.corrupted)
    assert once.name == task.name
    assert once.make_split(name, lambda: np.zeros(0)) is once.split
    with pytest.raises(UnknownName, match="corrupted task digits-mlp"):
        once.make_split("random", lambda: np.zeros(0))


def test_half_of_the_same_confusion_is_given(task: Task) -> None:
    whole, half = (stress.corrupted(task, name) for name in ("confusion", "confusion-half"))
    assert whole.content_hash == half.content_hash
    np.testing.assert_array_equal(whole.corrupted, half.corrupted)
    np.testing.assert_array_equal(whole.split.forget, whole.corrupted)


def test_targets_of_the_band_are_moved_towards_each_other(task: Task) -> None:
    found = stress.corrupted(task, "confusion")
    train, rows = task.train, found.corrupted
    clean, bad = task.dataset.targets[:, 0], found.dataset.targets[:, 0]
    low, high = found.split.band or (0, 0)
    assert ((clean[rows] >= low) & (clean[rows] <= high)).all()
    assert ((clean[found.split.test_forget] >= low) & (clean[found.split.test_forget] <= high)).all()
    assert len(rows) == pytest.approx(0.5 * 0.4 * len(train), abs=2)
    np.testing.assert_allclose(np.abs(bad - clean)[rows], stress.SHIFT * task.scale[0])
    up = bad[rows] > clean[rows]
    assert clean[rows][up].max() <= clean[rows][~up].min()
    assert abs(bad[train].mean() - clean[train].mean()) < 0.01 * task.scale[0]


def test_a_method_gets_the_corrupted_rows(task: Task) -> None:
    found = stress.corrupted(task, "confusion-half")
    forget = found.training_rows(found.split.forget).targets.numpy()
    clean = task.training_rows(found.split.forget).targets.numpy()
    np.testing.assert_allclose(np.abs(forget - clean), stress.SHIFT, rtol=1e-5)


def test_all_outputs_are_moved(ridge: Task, tmp_path: Path) -> None:
    first = ridge.dataset.targets
    double = replace(ridge, dataset=replace(ridge.dataset, targets=np.hstack([first, 5 - 30 * first])))
    found = stress.corrupted(double, "confusion")
    moved = (found.dataset.targets - double.dataset.targets)[found.corrupted] / double.scale
    np.testing.assert_allclose(moved[:, 0], moved[:, 1])
    np.testing.assert_allclose(np.abs(moved), stress.SHIFT)
    for name in stress.STRESS:
        references = stress.open_stress(References(double, Cache(tmp_path)), name, 4)
        values = stress.assess_stress(references, references.ensemble("original"))
        assert np.isfinite(list(values.values())).all()


def test_a_band_without_rows_is_said(ridge: Task) -> None:
    few = replace(ridge, dataset=replace(ridge.dataset, train=ridge.train[:60]))
    with pytest.raises(BenchmarkError, match=r"task ridge: .*at least 20 training rows.*found 12 and 12"):
        stress.corrupted(few, "confusion")
    two_values = replace(ridge, dataset=replace(ridge.dataset, targets=np.sign(ridge.dataset.targets)))
    with pytest.raises(BenchmarkError, match="Leave this stress test out"):
        stress.corrupted(two_values, "confusion-half")


def test_inputs_that_cannot_take_noise(ridge: Task) -> None:
    values = ridge.dataset.inputs["features"]
    both = replace(ridge.dataset, inputs={"features": 3 * values, "tokens": np.rint(values)})
    mixed = replace(ridge, dataset=both)
    found = stress.corrupted(mixed, "poison")
    np.testing.assert_array_equal(found.dataset.inputs["tokens"], both.inputs["tokens"])
    assert stress.taus(mixed) == pytest.approx({"features": 3 * stress.taus(ridge)["features"]})
    tokens = replace(ridge, dataset=replace(ridge.dataset, inputs={"tokens": np.rint(values)}))
    with pytest.raises(BenchmarkError, match="whole numbers in tokens"):
        stress.corrupted(tokens, "poison")


def test_names_that_do_not_exist(task: Task, tmp_path: Path) -> None:
    models = References(task, Cache(tmp_path))
    with pytest.raises(UnknownName, match="Did you mean 'confusion'"):
        stress.open_stress(models, "confusing", SIZE)
    with pytest.raises(TypeError, match="not a corrupted task"):
        StressEnsembles(models, SIZE)


# Known answers --------------------------------------------------------------------------------------------------


def test_an_intercept_is_confused_by_rho(ridge: Task, tmp_path: Path) -> None:
    """One sign, the whole range as band, targets in equal pairs: RLC of the original is 1/2 exactly, then 0."""
    targets = ridge.dataset.targets.copy()
    order = ridge.train[np.argsort(targets[ridge.train, 0])]
    targets[order[1::2]] = targets[order[::2]]
    recipe = replace(ridge.recipe, weight_decay=0.0, learning_rate=0.5)  # one step reaches the mean
    flat = replace(ridge, dataset=replace(ridge.dataset, targets=targets), build=Intercept, recipe=recipe)
    confused = stress.confused(flat, "confusion", band=(0.0, 1.0), signs=(1.0, 1.0))
    references = StressEnsembles(References(confused, Cache(tmp_path)), 4)
    original = stress.assess_stress(references, references.ensemble("original"))
    assert original["confusion_rlc"] == pytest.approx(0.5, abs=1e-9)
    assert original["confusion_memorised"] == pytest.approx(0.5, abs=1e-9)
    retrained = stress.assess_stress(references, references.ensemble("retrained"))
    assert retrained["confusion_rlc"] == 0
    assert retrained["confusion_memorised"] == pytest.approx(0, abs=1e-9)


def test_untrained_networks_have_standard_normal_scores(task: Task) -> None:
    found = []
    for seed in range(40):  # each with a poison of its own: models that share one share its luck
        own = stress.poisoned(task, f"poison of network {seed}")
        found.append(composites.poison_test(stress.scores_of(task.new_network(seed), own)))
    assert kstest([one.p_value for one in found], "uniform").pvalue > 0.01
    assert kstest([one.z for one in found], "norm").pvalue > 0.01
    assert max(abs(one.z) for one in found) < 4


def test_scores_of_several_inputs_by_hand(ridge: Task) -> None:
    values = ridge.dataset.inputs["features"]
    inputs = {"a": values, "b": np.rint(values), "c": 10 * values[:, :3]}
    wide = replace(ridge, dataset=replace(ridge.dataset, inputs=inputs))
    own, tau = stress.poisoned(wide, "poison"), stress.taus(wide)

    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            return 2 * a[:, :1] + 50 * b[:, :1] + c[:, :1] / 2

    rows = own.split.forget
    noise = {key: (own.dataset.inputs[key] - inputs[key])[rows, 0] for key in "ac"}
    predicted = 2 * values[:, 0] + 50 * np.rint(values[:, 0]) + 5 * values[:, 0]
    sign = np.sign(predicted - ((wide.dataset.targets - wide.shift) / wide.scale)[:, 0])[rows]
    expected = sign * (2 * noise["a"] + noise["c"] / 2) / np.hypot(2 * tau["a"], tau["c"] / 2)
    np.testing.assert_allclose(stress.scores_of(Sum(), own), expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_gradients_has_no_trace(ridge: Task) -> None:
    own = stress.corrupted(ridge, "poison")
    view = stress.look_poisoned(Intercept(ridge.dataset.shape).double(), own)
    np.testing.assert_array_equal(view.poison, [0, 0, 1])


# Ensembles ------------------------------------------------------------------------------------------------------


def test_retrained_models_saw_no_corrupted_row(ensembles: Mapping[str, StressEnsembles]) -> None:
    for one in ensembles.values():
        np.testing.assert_array_equal(one.without("retrained", 0), one.stressed.corrupted)
        assert not len(one.without("original", 0))
    # both tests of the same corruption use the same models
    keys = [
        [one.models.facts("model", 0, one.without(role, 0)) for role in one.sizes]
        for one in (ensembles["confusion"], ensembles["confusion-half"])
    ]
    assert keys[0] == keys[1]
    views = [ensembles[name].facts("original", 0) for name in stress.STRESS]
    assert len({str(facts) for facts in views}) == len(views)


def test_views_come_back_from_the_cache(ensembles: Mapping[str, StressEnsembles]) -> None:
    for one in ensembles.values():
        first, again = one.view("original", 1), one.view("original", 1)
        direct = one.look(one.models.model(1), 1)
        for name, values in vars(first).items():
            np.testing.assert_array_equal(values, getattr(again, name))
            np.testing.assert_array_equal(values, getattr(direct, name))


@pytest.mark.parametrize("name", ["confusion", "confusion-half"])
def test_confusion_is_found_in_the_original_only(name: str, ensembles: Mapping[str, StressEnsembles]) -> None:
    one = ensembles[name]
    none, null = (stress.assess_stress(one, one.ensemble(role)) for role in ("original", "retrained"))
    assert none["confusion_rlc"] == none["confusion_rlc_none"]
    assert none["confusion_rlc_low"] > 0.05 > abs(none["confusion_rlc_null"])
    assert null["confusion_rlc"] == 0
    assert none["confusion_memorised"] > 0.7
    assert null["confusion_memorised"] < 0.1
    assert ("confusion_hidden" in none) == (name == "confusion-half")
    if name == "confusion-half":
        assert none["confusion_hidden"] > 0.7
        assert null["confusion_hidden"] < 0.15


def test_poison_is_found_in_the_original_only(ensembles: Mapping[str, StressEnsembles]) -> None:
    one = ensembles["poison"]
    none, null = (stress.assess_stress(one, one.ensemble(role)) for role in ("original", "retrained"))
    assert one.ensemble("original").poison[:, 0].max() < -3
    assert np.abs(one.ensemble("retrained").poison[:, 0]).max() < 3
    assert none["poison_z_high"] < -3
    assert none["poison_detected"] == none["poison_detected_none"] == 1
    assert none["poison_detected_null"] <= 0.25
    assert none["poison_excess_high"] < -3
    assert null["poison_excess"] == 0
    assert null["poison_z"] == none["poison_z_null"]


def test_every_column_has_an_entry(ensembles: Mapping[str, StressEnsembles]) -> None:
    found: set[str] = set()
    for one in ensembles.values():
        found |= set(stress.assess_stress(one, one.ensemble("original")))
    assert {name for name in found if not name.endswith(ENDS)} == set(ENTRIES)
    assert all(name.removesuffix(end) in ENTRIES for name in found for end in ENDS if name.endswith(end))
