"""Every formula has a known answer, and what cannot be computed is absent rather than NaN."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regunlearn.benchmark import metrics
from regunlearn.benchmark.errors import UnknownName
from regunlearn.benchmark.evidence import PARTS, Array, Evidence, ModelEvidence

SIZES = {"train_forget": 40, "train_retain": 120, "test_forget": 30, "test_retain": 60}


def phi(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def model(
    targets: Mapping[str, Array], rng: np.random.Generator, error: Mapping[str, float], shift: float = 0.0
) -> ModelEvidence:
    """Predictions that miss the targets by Gaussian noise of the given size on each part, and by `shift`."""
    predictions = {part: y + rng.normal(0, error[part], y.shape) for part, y in targets.items()}
    predictions["train_forget"] = predictions["train_forget"] + shift
    features = {p: rng.normal(size=(len(targets[p]), 4)) for p in ("train_forget", "train_retain")}
    for part, values in features.items():  # the first feature knows the target as well as the model does
        values[:, 0] = predictions[part][:, 0]
    return ModelEvidence(predictions=predictions, features=features)


ORIGINAL = {"train_forget": 0.3, "train_retain": 0.3, "test_forget": 1.0, "test_retain": 1.0}
RETRAINED, FORGOTTEN = {**ORIGINAL, "train_forget": 1.0}, 2.0


LEVELS = (0.1, 0.5, 0.9)
SPREAD = np.array([-1.0, 0.0, 1.0])
"""Of the quantiles around a prediction."""


def scene(seed: int = 0, *, sizes: Mapping[str, int] = SIZES, outputs: int = 1, seeds: int = 3) -> Evidence:
    """A cell whose unlearned model is half-way, on made-up predictions."""
    rng = np.random.default_rng(seed)
    targets = {part: rng.normal(size=(sizes[part], outputs)) for part in PARTS}
    originals = [model(targets, rng, ORIGINAL) for _ in range(seeds)]
    retrains = [model(targets, rng, RETRAINED, FORGOTTEN) for _ in range(seeds)]
    unlearned = model(targets, rng, {**ORIGINAL, "train_forget": 0.6}, FORGOTTEN / 2)
    around = {
        part: unlearned.predictions[part][..., None] + SPREAD for part in PARTS if part.startswith("test")
    }
    return Evidence(
        targets=targets,
        scale=1.0,
        unlearned=replace(unlearned, quantiles=around),
        levels=LEVELS,
        original=originals[0],
        retrained=retrains[0],
        originals=originals,
        retrains=retrains,
        seed=0,
        relearning={"unlearned": [3.0, 2.0, 1.0], "retrained": [3.0, 2.5, 2.0, 1.5, 1.0]},
    )


def with_forget_predictions(base: ModelEvidence, predictions: Array) -> ModelEvidence:
    return replace(base, predictions={**base.predictions, "train_forget": predictions})


# Errors


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (metrics.mean_absolute_error, 2.0),
        (metrics.root_mean_squared_error, math.sqrt(14 / 3)),
        (metrics.r_squared, 1 - 14 / 2),
    ],
)
def test_errors_by_hand(function: Callable[[Array, Array], float | None], expected: float) -> None:
    assert function(column(2, 4, 0), column(1, 2, 3)) == pytest.approx(expected, rel=1e-15)


def test_outputs_count_alike() -> None:
    zeros, targets = np.zeros((2, 2)), np.array([[1.0, 3.0], [2.0, 6.0]])
    assert metrics.mean_absolute_error(zeros, targets) == 3.0
    assert metrics.root_mean_squared_error(zeros, targets) == pytest.approx(math.sqrt(50 / 4))
    assert metrics.r_squared(zeros, targets) == pytest.approx(1 - 50 / (0.5 + 4.5))


def test_median_has_the_mean_absolute_deviation() -> None:
    targets = np.random.default_rng(0).gamma(2.0, size=(501, 1))
    median = np.full_like(targets, np.median(targets))
    deviation = float(np.abs(targets - np.median(targets)).mean())
    assert metrics.mean_absolute_error(median, targets) == pytest.approx(deviation, rel=1e-14)
    for other in (0.9, 1.1):
        assert (metrics.mean_absolute_error(other * median, targets) or 0) > deviation


def test_mean_has_r2_zero_and_rmse_of_the_standard_deviation() -> None:
    targets = np.random.default_rng(0).normal(3, 2, size=(200, 1))
    mean = np.full_like(targets, targets.mean())
    assert metrics.r_squared(mean, targets) == pytest.approx(0, abs=1e-12)
    assert metrics.root_mean_squared_error(mean, targets) == pytest.approx(targets.std())
    assert metrics.r_squared(targets, targets) == 1.0


@pytest.mark.parametrize("value", [0.0, 0.1, 3.5, 1e9 + 0.1])
@pytest.mark.parametrize("rows", [0, 1, 3, 7, 100])
def test_r2_of_constant_targets_is_not_defined(value: float, rows: int) -> None:
    assert metrics.r_squared(np.zeros((rows, 1)), np.full((rows, 1), value)) is None


def test_no_rows_no_error() -> None:
    empty = np.zeros((0, 1))
    assert metrics.mean_absolute_error(empty, empty) is None
    assert metrics.root_mean_squared_error(empty, empty) is None


def test_gap_and_utility_ratio() -> None:
    evidence = scene()
    zeros = {part: np.zeros_like(y) for part, y in evidence.targets.items()}
    ones = {part: y + 1.0 for part, y in evidence.targets.items()}
    twice = {part: y - 2.0 for part, y in evidence.targets.items()}
    there = replace(
        evidence, unlearned=ModelEvidence(predictions=twice), retrained=ModelEvidence(predictions=ones)
    )
    assert metrics.get("gap_test_forget").function(there) == pytest.approx(1.0)
    assert metrics.utility_ratio(there) == pytest.approx(2.0)
    exact = replace(there, retrained=ModelEvidence(predictions=dict(evidence.targets)))
    assert metrics.utility_ratio(exact) is None
    constant = replace(evidence, unlearned=ModelEvidence(predictions=zeros))
    by_hand = (
        np.abs(evidence.targets["test_retain"]).mean()
        / np.abs(evidence.retrained.predictions["test_retain"] - evidence.targets["test_retain"]).mean()
    )
    assert metrics.utility_ratio(constant) == pytest.approx(float(by_hand))


# Closeness


def test_disagreement() -> None:
    assert metrics.disagreement(column(1, 2), column(3, 2)) == 2.0
    assert metrics.disagreement(np.array([[1.0, 0.0]]), np.array([[0.0, 3.0]])) == 5.0


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        ((4.0, 4.0, 4.0, 1.0), 0.0),
        ((4.0, 1.0, 4.0, 1.0), 1.0),
        ((4.0, 0.0, 4.0, 1.0), 4 / 3),
        ((4.0, 7.0, 4.0, 1.0), -1.0),
        ((4.0, 1.0, 1.0, 1.0), None),
        ((4.0, 1.0, 1.0, 2.0), None),
        ((4.0, 1.0, 4.0, math.nan), None),
    ],
)
def test_closure(distances: tuple[float, float, float, float], expected: float | None) -> None:
    assert metrics.closure(*distances) == (None if expected is None else pytest.approx(expected))


def test_rnc_of_the_original_is_exactly_zero() -> None:
    for k in range(3):
        evidence = scene(k)
        assert metrics.rnc(replace(evidence, unlearned=evidence.original)) == 0.0


def test_rnc_of_another_retrain_is_one_on_average() -> None:
    evidence = scene(seeds=4)
    values = [
        metrics.rnc(replace(evidence, original=o, retrained=r, unlearned=other))
        for o, r in zip(evidence.originals, evidence.retrains, strict=True)
        for other in evidence.retrains
        if other is not r
    ]
    assert np.mean([value for value in values if value is not None]) == pytest.approx(1.0, rel=1e-12)
    assert len(values) == 12
    assert np.std([value for value in values if value is not None]) > 0


def test_rnc_half_way() -> None:
    """Half the way for every row leaves a quarter of the squared distance."""
    evidence, part = scene(), "train_forget"
    original, retrained = (
        [model.predictions[part] for model in models] for models in (evidence.originals, evidence.retrains)
    )
    there = with_forget_predictions(evidence.unlearned, (original[0] + retrained[0]) / 2)
    null = np.mean([np.mean((retrained[a] - retrained[b]) ** 2) for a, b in ((0, 1), (0, 2), (1, 2))])
    between = np.mean([np.mean((o - r) ** 2) for o, r in zip(original, retrained, strict=True)])
    expected = 0.75 * np.mean((original[0] - retrained[0]) ** 2) / (between - null)
    assert metrics.rnc(replace(evidence, unlearned=there)) == pytest.approx(expected)
    assert metrics.dsr(evidence) == pytest.approx(between / null)


@pytest.mark.parametrize("name", ["rnc", "dsr"])
def test_one_reference_seed_gives_no_null(name: str) -> None:
    assert metrics.get(name).function(scene(seeds=1)) is None


def test_dsr_is_not_defined_where_retrained_models_agree_exactly() -> None:
    evidence = scene()
    same = replace(evidence, retrains=[evidence.retrained] * 3)
    assert metrics.dsr(same) is None


# Membership


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_auc_of_shifted_gaussians(shift: float) -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    value = metrics.auc(rng.normal(shift, 1, n), rng.normal(0, 1, n))
    assert value == pytest.approx(phi(shift / math.sqrt(2)), abs=0.01)


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        ([1, 1], [1, 1, 1], 0.5),
        ([2, 3], [0, 1], 1.0),
        ([0, 1], [2, 3], 0.0),
        ([1, 3], [1, 2], (0.5 + 0 + 1 + 1) / 4),
        ([], [1], None),
        ([1], [], None),
    ],
)
def test_auc_by_hand(positives: list[float], negatives: list[float], expected: float | None) -> None:
    found = metrics.auc(np.array(positives, dtype=float), np.array(negatives, dtype=float))
    assert found == expected


def test_loss_auc_reads_small_losses_as_membership() -> None:
    evidence = scene()
    targets = evidence.targets
    member = {p: y + (0.1 if p == "train_forget" else 1.0) for p, y in targets.items()}
    there = replace(evidence, unlearned=ModelEvidence(predictions=member))
    assert metrics.loss_auc(there) == 1.0
    retrained = metrics.loss_auc(replace(evidence, unlearned=evidence.retrained))
    assert retrained is not None
    assert metrics.loss_auc_gap(there) == pytest.approx(1.0 - retrained)


# The paper's own


@pytest.mark.parametrize("shift", [0.0, 0.7, -3.0])
def test_wasserstein_of_a_shift(shift: float) -> None:
    values = np.random.default_rng(0).normal(size=(300, 2))
    assert metrics.wasserstein(values, values + shift) == pytest.approx(abs(shift), abs=1e-12)


def test_wasserstein_of_two_widths() -> None:
    """W1(N(0, 1), N(0, 4)) = E|z| (2 - 1) = sqrt(2 / pi)."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (40_000, 1)), rng.normal(0, 2, (40_000, 1))
    assert metrics.wasserstein(a, b) == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)


def test_wasserstein_is_blind_to_permutations_and_rnc_is_not() -> None:
    evidence = scene()
    part = "train_forget"
    shuffled = np.random.default_rng(1).permutation(evidence.retrained.predictions[part])
    there = replace(evidence, unlearned=with_forget_predictions(evidence.unlearned, shuffled))
    assert metrics.wasserstein_to_retrained(there) == 0.0
    assert metrics.disagreement(shuffled, evidence.retrained.predictions[part]) > 0.5


BIG = {"train_forget": 400, "train_retain": 2400, "test_forget": 600, "test_retain": 1800}


def attacked(errors: Mapping[str, float], *, seed: int = 0) -> tuple[ModelEvidence, Evidence]:
    evidence = replace(scene(sizes=BIG), seed=seed)
    return model(evidence.targets, np.random.default_rng(5), errors), evidence


def test_svm_attack_is_blind_to_identical_distributions() -> None:
    everywhere = dict.fromkeys(PARTS, 0.7)
    attacker, evidence = attacked(everywhere)
    rates = []
    for part in PARTS:  # what the attack says of any set of rows, shown to it in the place of the forget rows
        targets = {**evidence.targets, "train_forget": evidence.targets[part]}
        there = with_forget_predictions(attacker, attacker.predictions[part])
        rate = metrics.svm_attack_rate(there, replace(evidence, targets=targets))
        assert rate is not None
        rates.append(rate[0])
        assert rate[1] == pytest.approx(0.5, abs=0.05)
    assert max(rates) - min(rates) < 0.1


@pytest.mark.parametrize(("forget", "low", "high"), [(0.05, 0.8, 1.0), (2.0, 0.0, 0.2)])
def test_svm_attack_detects_members(forget: float, low: float, high: float) -> None:
    attacker, evidence = attacked({**dict.fromkeys(PARTS, 2.0), "train_retain": 0.05, "train_forget": forget})
    rate = metrics.svm_attack_rate(attacker, evidence)
    assert rate is not None
    assert low <= rate[0] <= high
    assert rate[1] > 0.9


def test_svm_attack_is_seeded() -> None:
    attacker, evidence = attacked(ORIGINAL)
    rates = [metrics.svm_attack_rate(attacker, replace(evidence, seed=seed)) for seed in (0, 0, 1)]
    assert rates[0] == rates[1]
    assert rates[0] != rates[2]


def test_svm_attack_is_fitted_once_for_its_three_metrics_and_for_each_seed_and_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    rate = metrics.svm_attack_rate
    monkeypatch.setattr(metrics, "svm_attack_rate", lambda m, e: asked.append(e.seed) or rate(m, e))
    attacker, evidence = attacked(ORIGINAL)
    names = ("svm_attack", "svm_attack_gap", "svm_attack_accuracy")

    def values(shown: Evidence) -> list[float | None]:
        return [metrics.METRICS[name].function(replace(shown, unlearned=attacker)) for name in names]

    first = values(evidence)
    assert len(asked) == 2  # of the unlearned model and of the retrained one
    assert values(replace(evidence, targets=dict(evidence.targets))) == first
    assert len(asked) == 2
    assert values(replace(evidence, seed=7)) != first
    assert values(replace(evidence, targets={name: 2 * v for name, v in evidence.targets.items()})) != first
    assert len(asked) == 6


def test_svm_attack_never_fits_on_forget_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import sklearn.svm

    fitted: list[Array] = []
    plain = sklearn.svm.SVC.fit
    monkeypatch.setattr(
        sklearn.svm.SVC, "fit", lambda self, X, y: fitted.append(X.copy()) or plain(self, X, y)
    )
    attacker, evidence = attacked(ORIGINAL)
    before = metrics.svm_attack_rate(attacker, evidence)
    residuals = metrics.absolute_residuals(attacker, evidence, "train_forget")
    assert before is not None
    assert len(fitted) == 1
    assert fitted[0].shape == (2 * metrics.MEMBERS, 1)
    assert not np.isin(residuals, fitted[0]).any()


def test_svm_attack_holds_out_rows_where_both_test_parts_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random splits have one set of test rows under two names: no row may be fitted and scored."""
    import sklearn.svm

    seen: dict[str, list[Array]] = {"fit": [], "predict": []}
    fit, predict = sklearn.svm.SVC.fit, sklearn.svm.SVC.predict
    monkeypatch.setattr(
        sklearn.svm.SVC, "fit", lambda self, X, y: seen["fit"].append(X.copy()) or fit(self, X, y)
    )
    monkeypatch.setattr(
        sklearn.svm.SVC, "predict", lambda self, X: seen["predict"].append(X.copy()) or predict(self, X)
    )
    attacker, evidence = attacked(ORIGINAL)
    same = {**evidence.targets, "test_forget": evidence.targets["test_retain"].copy()}
    predictions = {**attacker.predictions, "test_forget": attacker.predictions["test_retain"].copy()}
    assert metrics.svm_attack_rate(
        replace(attacker, predictions=predictions), replace(evidence, targets=same)
    )
    assert not np.isin(seen["predict"][0], seen["fit"][0]).any()


@pytest.mark.parametrize(
    ("curve", "steps"),
    [
        ([3.0, 2.0, 1.04], 2),
        ([3.0, 1.05, 1.0], 1),
        ([1.0, 0.9], 1),
        ([3.0, 2.0, 1.06], 3),
        ([math.nan, 2.0], 2),
    ],
)
def test_relearning_steps(curve: list[float], steps: int) -> None:
    assert metrics.relearning_steps(curve) == steps


@pytest.mark.parametrize(
    ("unlearned", "retrained", "ain", "censored"),
    [
        ([3, 2, 1], [3, 2, 2, 2, 1], 2 / 4, 0.0),
        ([1, 1], [3, 1], 1.0, 0.0),
        ([3, 3, 3], [3, 3, 1], 3 / 2, 0.5),
        ([3, 3, 3], [3, 3, 3], 1.0, 1.0),
        ([3, 2, 1], [1, 1], None, None),
    ],
)
def test_ain(
    unlearned: list[float], retrained: list[float], ain: float | None, censored: float | None
) -> None:
    evidence = replace(scene(), relearning={"unlearned": unlearned, "retrained": retrained})
    assert metrics.ain(evidence) == ain
    assert metrics.ain_censored(evidence) == censored


def test_ain_without_relearning() -> None:
    evidence = replace(scene(), relearning={})
    assert metrics.ain(evidence) is None
    assert metrics.ain_censored(evidence) is None


# Probe


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_probe_on_noisy_targets(noise: float) -> None:
    """z = y + s e with y, e standard normal: the best line leaves Gaussian residuals of variance s^2 / (1 + s^2)."""
    rng, n = np.random.default_rng(0), 4000
    targets = {part: rng.normal(size=(n, 1)) for part in PARTS}
    features = {part: targets[part] + noise * rng.normal(size=(n, 1)) for part in PARTS[:2]}
    probed = ModelEvidence(predictions={}, features=features)
    expected = noise / math.sqrt(1 + noise**2) * math.sqrt(2 / math.pi)
    evidence = replace(scene(), targets=targets)
    assert metrics.fit_probe(probed, evidence) == pytest.approx(expected, rel=0.05)


def test_probe_never_sees_a_forget_label() -> None:
    evidence = scene()
    targets = {**evidence.targets, "train_forget": evidence.targets["train_forget"] + 100.0}
    near, far = (
        metrics.fit_probe(evidence.original, e) for e in (evidence, replace(evidence, targets=targets))
    )
    assert far == pytest.approx(100.0, abs=near + 1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("elsewhere", [0.0, 5.0])
def test_probe_on_dead_features_is_the_mean_predictor(value: float, elsewhere: float) -> None:
    evidence = scene()
    features = {
        "train_retain": np.full((SIZES["train_retain"], 3), value),
        "train_forget": np.full((SIZES["train_forget"], 3), value + elsewhere),
    }
    dead = ModelEvidence(predictions={}, features=features)
    mean = evidence.targets["train_retain"].mean()
    expected = float(np.abs(evidence.targets["train_forget"] - mean).mean())
    assert metrics.fit_probe(dead, evidence) == pytest.approx(expected, rel=1e-9)


def test_probe_recovery_of_a_head_edit_is_exactly_one() -> None:
    evidence = scene()
    wild = {part: values * 1e3 for part, values in evidence.original.predictions.items()}
    features = {part: values.copy() for part, values in evidence.original.features.items()}
    edited = ModelEvidence(predictions=wild, features=features)
    assert metrics.probe_recovery(replace(evidence, unlearned=edited)) == 1.0


def test_probe_recovery_of_retrained_models_is_zero_on_average() -> None:
    evidence = scene()
    values = [
        metrics.probe_recovery(replace(evidence, original=o, unlearned=r))
        for o, r in zip(evidence.originals, evidence.retrains, strict=True)
    ]
    assert np.mean([value for value in values if value is not None]) == pytest.approx(0, abs=1e-12)


def test_probe_recovery_needs_features_and_a_gap() -> None:
    evidence = scene()
    bare = replace(evidence.unlearned, features={})
    assert metrics.probe_recovery(replace(evidence, unlearned=bare)) is None
    assert metrics.probe_recovery(replace(evidence, originals=evidence.retrains)) is None


# Invariance, the table as a whole


def moved(evidence: Evidence, a: float, b: float) -> Evidence:
    """The same cell with the target in another unit: y -> a y + b. Features do not know the unit."""

    def of(one: ModelEvidence) -> ModelEvidence:
        return replace(one, predictions={part: a * p + b for part, p in one.predictions.items()})

    def all_of(many: Sequence[ModelEvidence]) -> list[ModelEvidence]:
        return [of(one) for one in many]

    return replace(
        evidence,
        targets={part: a * y + b for part, y in evidence.targets.items()},
        scale=a * evidence.scale,
        unlearned=of(evidence.unlearned),
        original=of(evidence.original),
        retrained=of(evidence.retrained),
        originals=all_of(evidence.originals),
        retrains=all_of(evidence.retrains),
    )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 50),
    a=st.floats(1e-3, 1e3),
    b=st.floats(-1e3, 1e3),
    outputs=st.sampled_from([1, 2]),
)
def test_scores_do_not_depend_on_the_unit(seed: int, a: float, b: float, outputs: int) -> None:
    evidence = scene(seed, outputs=outputs)
    there = moved(evidence, a, b)
    for name in ("rnc", "dsr", "probe_recovery", "loss_auc", "loss_auc_gap", "utility_ratio"):
        score = metrics.get(name).function
        before, after = score(evidence), score(there)
        assert (before is None) == (after is None)
        if before is not None:
            assert after == pytest.approx(before, rel=1e-4, abs=1e-4), name


def test_every_metric_gives_a_finite_number_on_a_full_cell() -> None:
    values = metrics.evaluate(replace(scene(), training_passes=1.25))
    assert set(values) == set(metrics.METRICS)
    assert values["training_passes"] == 1.25
    assert all(type(value) is float and math.isfinite(value) for value in values.values())


@pytest.mark.filterwarnings("error")
def test_no_test_rows_of_the_forget_distribution() -> None:
    values = metrics.evaluate(scene(sizes={**SIZES, "test_forget": 0}))
    errors = ("mae", "rmse", "r2", "gap", "pinball")
    absent = {f"{name}_test_forget" for name in errors} | {"loss_auc", "loss_auc_gap", "training_passes"}
    assert set(metrics.METRICS) - set(values) == absent


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_absent(value: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {name: replace(entry, function=lambda e: value) for name, entry in metrics.METRICS.items()}
    monkeypatch.setattr(metrics, "METRICS", {**table, "sound": replace(table["rnc"], function=lambda e: 1)})
    assert metrics.evaluate(scene()) == {"sound": 1.0}


def test_the_table_describes_itself() -> None:
    for name, entry in metrics.METRICS.items():
        assert entry.name == name
        assert entry.label
        assert entry.formula
        assert entry.source
    with pytest.raises(UnknownName, match="Did you mean 'rnc'"):
        metrics.get("rcn")


def test_the_table_cannot_be_changed() -> None:
    table: Any = metrics.METRICS
    with pytest.raises(TypeError):
        table["rnc"] = None


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_pinball_of_a_normal_quantile(level: float) -> None:
    """E max(q (y - z), (q - 1) (y - z)) = phi(z) for y ~ N(0, 1) and z its q-quantile, the smallest there is."""
    from scipy.stats import norm

    y, z = np.random.default_rng(0).normal(size=400_000), float(norm.ppf(level))
    found = [metrics.pinball(np.full_like(y, value), y, level) for value in (z - 0.2, z, z + 0.2)]
    assert found[1] == pytest.approx(float(norm.pdf(z)), abs=3e-3)
    assert found[1] < min(found[0], found[2])


def test_pinball_of_all_levels_is_their_mean() -> None:
    quantiles, targets = np.array([[[0.0, 1.0, 4.0]]]), column(3)
    expected = (0.1 * 3 + 0.5 * 2 + 0.1 * 1) / 3
    assert metrics.mean_pinball(quantiles, targets, LEVELS) == pytest.approx(expected, rel=1e-15)
    assert metrics.mean_pinball(None, targets, LEVELS) is None
    assert metrics.mean_pinball(quantiles[..., :0], targets, ()) is None


def test_crossing_counts_rows_and_outputs_with_a_lower_quantile_above_a_higher_one() -> None:
    evidence = scene()
    crossed = np.zeros((4, 2, 3)) + SPREAD
    crossed[0, 1] = [0.0, -0.1, 1.0]
    crossed[2, 0] = [1.0, 0.0, -1.0]
    model = replace(evidence.unlearned, quantiles={"test_retain": crossed})
    assert metrics.crossing_rate(replace(evidence, unlearned=model)) == 2 / 8
    assert metrics.crossing_rate(evidence) == 0
    points = replace(evidence.unlearned, quantiles={"test_retain": crossed[..., :0]})
    assert metrics.crossing_rate(replace(evidence, unlearned=points)) is None
