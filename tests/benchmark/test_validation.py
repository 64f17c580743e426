"""End to end: what must come out of the whole chain, from trained models to scores, where the answer is known.

Formulas by themselves are tested beside their code; here they are taken together, on models of the smoke tasks.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from regunlearn.benchmark import engine, metrics, scoring, tasks, training
from regunlearn.benchmark.assess import assess
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.ensembles import Ensemble, Ensembles
from regunlearn.benchmark.evidence import Evidence
from regunlearn.benchmark.grid import Cell, Protocol
from regunlearn.benchmark.references import References
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.tasks import Task
from regunlearn.datasets.ridge import closed_form

CPU = torch.device("cpu")
TASK, SIZE = "digits-mlp", 16
DESIGNS = {"random": True, "band": False}
UNIT_FREE = (
    *(
        "tv",
        "tv_null",
        "tv_none",
        "s_forget",
        "ks",
        "klom_r",
        "klom_r_p95",
        "klom_r_test",
        "w1_excess",
        "energy",
    ),
    *(
        "epsilon_certified",
        "dsr",
        "permutation_p",
        "utility_ratio",
        "utility_limit",
        "tow_r",
        "probe_recovery",
    ),
    *("r_idi", "loss_auc", "calibrated_loss_auc", "rmia_auc", "rnc", "score"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> References:
    return References(tasks.load(TASK, CPU), Cache(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="module", params=DESIGNS)
def references(request: pytest.FixtureRequest, models: References) -> Ensembles:
    found = Ensembles(models, request.param, SIZE, pool=DESIGNS[request.param])
    models.train([(seed, found.without(role, seed)) for role in found.sizes for seed in range(SIZE)])
    return found


def unlearned(references: Ensembles, states: Any) -> Ensemble:
    """The ensemble of some models, each made from its seed."""
    return references.stack([references.look(states(seed), seed) for seed in range(SIZE)])


# 1, 2: the ends of the scale ------------------------------------------------------------------------------------


def test_retrained_models_of_other_seeds_score_one(references: Ensembles) -> None:
    models = references.models
    others = [(100 + seed, references.split(seed).unseen) for seed in range(SIZE)]
    models.train(others)
    found = assess(references, unlearned(references, lambda seed: models.model(*others[seed]))).metrics
    assert 0.9 <= found["s_forget"] <= 1
    assert found["permutation_p"] > 0.05
    assert found["probe_recovery"] < 0.05
    assert found["epsilon_certified"] == 0
    assert found["tow_r"] > 0.75
    assert found["utility_ratio"] < found["utility_limit"]
    if references.pool:
        error = (found["u_lira_auc_high"] - found["u_lira_auc_low"]) / 4
        assert abs(found["u_lira_auc"] - 0.5) < 3 * error
        assert found["s_privacy"] > 0.9
        assert abs(found["residual_memory"]) < 0.03


def test_doing_nothing_scores_zero(references: Ensembles) -> None:
    found = assess(references, references.ensemble("original")).metrics
    assert [found[name] for name in ("s_forget", "s_weights", "score", "rnc")] == pytest.approx(
        [0] * 4, abs=1e-12
    )
    assert found["probe_recovery"] == 1
    assert found["tow_r"] < 0.7
    assert found["permutation_p"] < 0.01
    if references.pool:
        assert found["s_privacy"] == pytest.approx(0, abs=1e-12)


# 5: exact unlearning of a linear model --------------------------------------------------------------------------


def downdated(task: Task, forget: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of the ridge task without some rows, from those with them: one rank-one downdate a row."""
    inputs = task.dataset.inputs["features"].astype(np.float64)
    rows = np.column_stack([inputs, np.ones(len(inputs))])
    targets = ((task.dataset.targets - task.shift) / task.scale)[:, 0]
    n, decay = len(task.train), task.recipe.weight_decay
    left = n - len(forget)  # the mean is over fewer rows, so the penalty of the sum is smaller
    inverse = np.linalg.inv(rows[task.train].T @ rows[task.train] + left * decay / 2 * np.eye(rows.shape[1]))
    moment = rows[task.train].T @ targets[task.train]
    for row in forget:
        z = rows[row]
        u = inverse @ z
        inverse = inverse + np.outer(u, u) / (1 - z @ u)
        moment = moment - z * targets[row]
    weights: NDArray[np.float64] = inverse @ moment
    return weights


def linear(task: Task, weights: NDArray[np.float64]) -> torch.nn.Module:
    model = task.new_network(0)
    with torch.no_grad():
        model.get_parameter("head.weight").copy_(torch.from_numpy(weights[None, :-1]))
        model.get_parameter("head.bias").copy_(torch.from_numpy(weights[-1:]))
    return model


@pytest.mark.parametrize("name", ["random", "band"])
def test_an_exact_downdate_is_the_retrained_model(name: str, tmp_path: Path) -> None:
    task = tasks.load("ridge", CPU)
    models = References(task, Cache(tmp_path))
    split = models.make_split(name)
    weights = downdated(task, split.forget)
    retain = task.training_rows(np.setdiff1d(task.train, split.forget))
    exact, bias = closed_form(retain.inputs[0].numpy(), retain.targets.numpy(), task.recipe.weight_decay)
    np.testing.assert_allclose(weights, [*exact[0], *bias], atol=1e-12)

    model, retrained = linear(task, weights), models.model(0, split.unseen)
    for rows in (task.train, task.test):
        mine, theirs = (training.predict(one, task.inputs(rows))[0].numpy() for one in (model, retrained))
        np.testing.assert_allclose(mine, theirs, atol=1e-8)
    protocol = Protocol(name="x", splits={"ridge": [name]}, reference_seeds=(0, 1), relearn=False)
    cell = Cell(protocol=protocol, task="ridge", split=name, method="downdate", seed=0)
    found = metrics.evaluate(scoring.gather(cell, models, split, model))
    gaps = {key: value for key, value in found.items() if key.startswith("gap_") or key.endswith("_gap")}
    assert len(gaps) >= 5
    assert list(gaps.values()) == pytest.approx([0] * len(gaps), abs=1e-8)
    assert found["utility_ratio"] == pytest.approx(1, abs=1e-8)
    assert found["wasserstein"] < 1e-8


def test_leaving_one_row_out_has_a_known_residual(tmp_path: Path) -> None:
    """r_(i) = r_i / (1 - h_ii), of models that were trained: least squares, as the penalty depends on n."""
    ridge = tasks.load("ridge", CPU)
    task = replace(ridge, recipe=replace(ridge.recipe, weight_decay=0.0))
    models = References(task, Cache(tmp_path))
    rows = np.column_stack([task.rows.inputs[0].numpy(), np.ones(len(task.train))])
    leverage = np.einsum("ij,jk,ik->i", rows, np.linalg.inv(rows.T @ rows), rows)
    targets = task.rows.targets.numpy()[:, 0]
    residuals = targets - training.predict(models.model(0), task.rows.inputs)[0].numpy()[:, 0]
    for i in (int(leverage.argmax()), int(leverage.argmin()), 17):
        alone = models.model(0, task.train[[i]])
        left_out = targets[i] - training.predict(alone, task.rows.inputs)[0].numpy()[i, 0]
        assert left_out == pytest.approx(residuals[i] / (1 - leverage[i]), abs=1e-8)
        assert abs(left_out) > abs(residuals[i])


# 6: cheats ------------------------------------------------------------------------------------------------------


def test_head_distillation_leaves_everything_in_the_encoder(references: Ensembles, tmp_path: Path) -> None:
    rules = Protocol(
        name="x", splits={TASK: [references.whole.name]}, ensembles={TASK: [SIZE, SIZE]}, time_limit=60.0
    )
    settings = Settings(cache=references.models.store.folder)
    outcome = engine.run(rules.cells(["head_distillation", "reinitialised"]), settings, tmp_path)
    cheat, destroyed = (record.metrics for record in outcome.done)
    assert cheat["probe_recovery"] == pytest.approx(1.0, abs=1e-6)
    assert cheat["score"] < 0.05
    none = assess(references, references.ensemble("original")).metrics
    assert cheat["klom_r"] < 0.8 * none["klom_r"]  # what sees outputs only is fooled, on a band nearly wholly
    assert cheat["s_forget"] > (0.1 if references.pool else 0.6)
    assert cheat["utility_ratio"] < cheat["utility_limit"]
    assert destroyed["utility_ratio"] > 1.2 * destroyed["utility_limit"]


def test_predictions_of_other_rows_do_not_count(references: Ensembles) -> None:
    retrained = references.ensemble("retrained")
    rows = np.random.default_rng(0).permutation(retrained.forget.shape[1])
    shuffled = replace(retrained, forget=retrained.forget[:, rows])
    assert metrics.wasserstein(shuffled.forget[0], retrained.forget[0]) == pytest.approx(0, abs=1e-12)
    found = assess(references, shuffled).metrics["s_forget"]
    assert found < (0.05 if references.pool else 0.6)  # the rows of a band are like each other


# 9: what is evaluated is not changed ----------------------------------------------------------------------------


def state_of(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: values.numpy().tobytes() for name, values in model.state_dict().items()}


def test_evaluation_leaves_the_models_as_they_are(models: References, references: Ensembles) -> None:
    """The errors, attacks, probes and the relearning of single models, and the view of an ensemble's."""
    split = references.whole
    protocol = Protocol(name="x", splits={TASK: [split.name]}, reference_seeds=(0, 1), relearn=True)
    cell = Cell(protocol=protocol, task=TASK, split=split.name, method="x", seed=0)
    model = models.model(1, split.unseen)
    before = state_of(model)
    stored = [state_of(models.model(0, without)) for without in (split.absent, split.unseen)]
    results = []
    for _ in range(2):
        evidence = scoring.gather(cell, models, split, model)
        results.append((metrics.evaluate(evidence), evidence.relearning["unlearned"]))
        references.look(model, 1)
        assert state_of(model) == before
        assert not model.training
    assert results[0] == results[1], "a second call starts from the same models"
    assert [state_of(models.model(0, w)) for w in (split.absent, split.unseen)] == stored


@pytest.mark.parametrize("rate", [0.05, 0.2])
@pytest.mark.parametrize("starts", [(4.0, 4.0), (1.5, 4.0), (30.0, 2.0)])
def test_relearning_a_quadratic_takes_a_known_time(rate: float, starts: tuple[float, float]) -> None:
    """Gradient descent on L = w^2 / 2 at rate eta: L_t = L_0 (1 - eta)^(2 t)."""

    def curve(start: float) -> list[float]:
        weight, values = math.sqrt(start), []
        for _ in range(61):
            values.append(weight**2)
            weight -= rate * weight
        return values

    def closed(start: float) -> int:
        return math.ceil(math.log(metrics.RELEARN_MARGIN / start) / (2 * math.log(1 - rate)))

    unlearned, retrained = map(curve, starts)
    assert [metrics.relearning_steps(one) for one in (unlearned, retrained)] == [
        closed(one) for one in starts
    ]
    evidence = Evidence(
        targets={},
        scale=1.0,
        unlearned=None,  # type: ignore[arg-type]
        original=None,  # type: ignore[arg-type]
        retrained=None,  # type: ignore[arg-type]
        originals=[],
        retrains=[],
        seed=0,
        relearning={"unlearned": unlearned, "retrained": retrained},
    )
    assert metrics.ain(evidence) == closed(starts[0]) / closed(starts[1])
    assert metrics.ain_censored(evidence) == 0.0
    short = unlearned[: closed(starts[0])]  # it ends a step too early
    cut = replace(evidence, relearning={"unlearned": short, "retrained": retrained})
    assert metrics.ain_censored(cut) == 0.5


# 10: invariances ------------------------------------------------------------------------------------------------


def copied(references: Ensembles, dataset: Any, folder: Path) -> Ensembles:
    """The same weights on rows that are written differently."""
    task = replace(references.task, dataset=dataset)
    models = References(task, Cache(folder))
    models.make_split = lambda name: references.whole  # type: ignore[assignment]
    there = Ensembles(models, references.whole.name, 8, pool=references.pool)
    for role in there.sizes:
        for seed in range(8):
            without = there.without(role, seed)
            state = references.models.state(seed, without)
            there.models.store.save(there.models.facts("model", seed, without), state)
    return there


def half_way(references: Ensembles, size: int = 8) -> Mapping[str, float]:
    """Metrics of models between original and retrained, which no score clips."""

    def mixed(seed: int) -> torch.nn.Module:
        states = [
            references.models.state(seed, references.without(r, seed)) for r in ("original", "retrained")
        ]
        model = references.task.new_network(0)
        model.load_state_dict({name: 0.6 * states[0][name] + 0.4 * states[1][name] for name in states[0]})
        return model

    views = [references.look(mixed(seed), seed) for seed in range(size)]
    return assess(references, references.stack(views)).metrics


@pytest.fixture(scope="module")
def plain(references: Ensembles, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, float]:
    return half_way(copied(references, references.task.dataset, tmp_path_factory.mktemp("plain")))


def test_the_targets_unit_does_not_matter(
    references: Ensembles, plain: Mapping[str, float], tmp_path: Path
) -> None:
    targets = 40.0 * references.task.dataset.targets - 1000.0
    other = half_way(copied(references, replace(references.task.dataset, targets=targets), tmp_path))
    names = [name for name in (*UNIT_FREE, "u_lira_auc", "s_privacy", "u_lira_tpr") if name in plain]
    assert len(names) >= len(UNIT_FREE)
    assert {name: other[name] for name in names} == pytest.approx(
        {name: plain[name] for name in names}, rel=1e-3, abs=1e-3
    )
    assert other["mae_test_retain"] == pytest.approx(40 * plain["mae_test_retain"], rel=1e-3)


def test_the_order_of_the_rows_does_not_matter(
    references: Ensembles, plain: Mapping[str, float], tmp_path: Path
) -> None:
    data = references.task.dataset
    turned = {part: getattr(data, part)[::-1].copy() for part in ("train", "validation", "test")}
    assert half_way(copied(references, replace(data, **turned), tmp_path)) == plain


def test_the_batch_size_of_evaluation_does_not_matter(
    references: Ensembles, plain: Mapping[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EVALUATION_BATCH", 37)
    found = half_way(copied(references, references.task.dataset, tmp_path))
    assert found == pytest.approx(plain, rel=1e-3, abs=1e-3)


# 14: what the clock sees ----------------------------------------------------------------------------------------

SLEEPER = '''"""Made up.

paper: none.
"""

import time

from regunlearn.benchmark.registry import method

{outside}

@method("{name}", paper="none", family="test")
def it(request):
    """Return the original."""
    {inside}
    return request.model
'''


def test_only_the_method_s_own_time_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "methods"
    folder.mkdir()
    for name, outside, inside in (
        ("inside", "", "time.sleep(0.5)"),
        ("outside", "time.sleep(0.5)", ""),
        ("warm", "calls = []", "time.sleep(0 if calls else 0.5), calls.append(1)"),
    ):
        text = SLEEPER.format(name=name, outside=outside, inside=inside)
        (folder / f"{name}.py").write_text(text)
    rules = Protocol(name="x", splits={"ridge": ["random"]}, reference_seeds=(0, 1), relearn=False)
    settings = Settings(cache=tmp_path / "cache", methods=folder, timed=True)
    done = engine.run(rules.cells(["inside", "outside", "warm"]), settings, tmp_path / "out").done
    seconds = {record.method: record.seconds for record in done}
    assert all(record.status == "ok" for record in done)
    assert seconds["inside"] is not None
    assert 0.5 <= seconds["inside"] < 0.95
    for name in ("outside", "warm"):  # the import, and what the call before the clock does once
        other = seconds[name]
        assert other is not None
        assert other < 0.45
