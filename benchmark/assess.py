"""Scores of a method on one task and forget split, from ensembles of N models: what protocol v1 records.

Three axes, each 0 for doing nothing and 1 for another retrain, and the task score is the worst of them, because each
has a known cheat that the others catch:
S_F, calibrated total variation of the predictions on the forget rows (a re-initialised model on a band comes near);
S_P, privacy against U-LiRA, in the pool design only (a destroyed model passes);
S_W, what a linear probe cannot recover from the features (a random encoder passes).
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import composites, ensemble_curves, membership, representations
from regunlearn.benchmark import distributions as between
from regunlearn.benchmark.ensembles import Ensemble, Ensembles
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.membership import Lira, Residuals
from regunlearn.benchmark.metrics import disagreement
from regunlearn.benchmark.statistics import Calibration, Indices, Statistic, calibrate, jackknife, partitions

Numbers = dict[str, float | None]
AXES = ("s_forget", "s_privacy", "s_weights")
ATTACK_REFERENCES = 8
"""Retrained models that calibrate a population attack on one model."""


class Assessment(NamedTuple):
    """Metrics by name, and lists of numbers for intervals and figures: (curve, column) to values."""

    metrics: Mapping[str, float]
    curves: Mapping[str, Mapping[str, list[float]]]


def assess(references: Ensembles, unlearned: Ensemble) -> Assessment:
    """Return every ensemble metric that is defined and finite, and what intervals of the scores are made of.

    Args:
        references: the originals and retrained models, and the design.
        unlearned: views of the method's models, one a seed, in the order of the seeds.
    """
    original, retrained = references.ensemble("original"), references.ensemble("retrained")
    anchors, forgotten = _anchors(references), unlearned.forget
    values: Numbers = {
        **_indistinguishability(references, forgotten, anchors),
        **_tests(forgotten, anchors.retrained),
        **_on_test(unlearned.test, retrained.test, scale=anchors.scale),
        **_utility(references, unlearned, original, retrained),
        **_features(unlearned, original, retrained),
        **_population(references, unlearned, anchors),
    }
    values["s_weights"] = None if values["probe_recovery"] is None else 1.0 - values["probe_recovery"]
    if references.pool:
        values |= _privacy(references, forgotten, anchors)
        values |= _memory(forgotten, anchors.retrained, inside=references.inside)
    closures = _closures(references, forgotten, anchors)
    values["rnc"] = float(np.mean(closures)) if closures else None
    axes = [value for name in AXES if (value := values.get(name)) is not None]
    values["score"] = min(axes) if axes else None
    curves = {
        "jackknife": _replicates(references, unlearned, anchors, values),
        "runs": {"rnc": closures} if closures else {},
        **_shown(references, forgotten, anchors),
    }
    return Assessment(
        {name: float(v) for name, v in sorted(values.items()) if v is not None and np.isfinite(v)},
        {name: columns for name, columns in curves.items() if columns},
    )


# What does not depend on the method ------------------------------------------------------------------------------


class Anchors(NamedTuple):
    """Predictions on the forget rows (all of a pool's), and what the metrics say of originals and retrained models.

    Attributes:
        original, retrained: shape (models, rows, outputs).
        scale: standard deviation of the training targets, mean over outputs.
        targets: of the forget rows, shape (rows, outputs).
        attack_none, attack_null: U-LiRA on the originals and on as many retrained models; None without a pool.
    """

    original: Array
    retrained: Array
    scale: float
    targets: Array
    attack_none: Lira | None
    attack_null: Lira | None


@cache
def _anchors(references: Ensembles) -> Anchors:
    targets = references.task.dataset.targets[references.whole.forget]
    scale = float(np.mean(references.task.spread))
    original, retrained = (references.ensemble(role).forget for role in ("original", "retrained"))
    attacks: list[Lira | None] = [None, None]
    if references.pool:
        ensembles = (original, retrained[: references.size])
        residuals = [membership.signed_residuals(one, targets, scale) for one in ensembles]
        attacks = [membership.u_lira(one, references.inside) for one in residuals]
    return Anchors(original, retrained, scale, targets, *attacks)


def _asked(forgotten: Array, references: Ensembles) -> Array:
    """Keep, row by row, the models that were asked to forget it."""
    return membership.by_exposure(forgotten, references.inside).inside if references.pool else forgotten


def _tv(u: Array, r: Array) -> float:
    return between.summarise(between.total_variation(u, r)).mean


def _w1(u: Array, r: Array) -> float:
    return float(between.wasserstein(u, r, spread=between.spread_of(r)).mean())


def _indistinguishability(references: Ensembles, forgotten: Array, anchors: Anchors) -> Numbers:
    unlearned, original = _asked(forgotten, references), _asked(anchors.original, references)
    retrained, paired = anchors.retrained, not references.pool

    def against(statistic: Statistic, splits: int = 20) -> Calibration:
        return calibrate(statistic, unlearned, original, retrained, splits=splits, paired=paired)

    calibrated, interval = against(_tv), jackknife(_tv, unlearned, retrained)
    klom = between.summarise(between.klom_r(unlearned, retrained, scale=anchors.scale))
    reverse = between.summarise(between.klom_r(retrained, unlearned, scale=anchors.scale))
    return {
        "tv": calibrated.value,
        "tv_null": calibrated.null,
        "tv_none": calibrated.none,
        "tv_full": interval.estimate,
        "tv_full_low": interval.low,
        "tv_full_high": interval.high,
        "tv_p95": between.summarise(between.total_variation(unlearned, retrained)).p95,
        "s_forget": calibrated.score,
        "ks": float(between.kolmogorov_smirnov(unlearned, retrained).mean()),
        "klom_r": klom.mean,
        "klom_r_p95": klom.p95,
        "klom_r_reverse": reverse.mean,
        "w1_excess": against(_w1).excess,
        "energy": float(between.energy(unlearned, retrained, spread=between.spread_of(retrained)).mean()),
        "f_ratio": against(between.forgetting_quality, splits=2).ratio,
        "epsilon_certified": float(between.certified_epsilon(unlearned, retrained).mean()),
        "dsr": composites.ensemble_dsr(original, retrained[: len(original)]),
    }


def _tests(unlearned: Array, retrained: Array) -> Numbers:
    paired = retrained[: len(unlearned)]
    return {"permutation_p": between.permutation_test(unlearned, paired, paired=True).p_value}


def _on_test(unlearned: Array, retrained: Array, *, scale: float) -> Numbers:
    klom = between.summarise(between.klom_r(unlearned, retrained, scale=scale))
    return {"klom_r_test": klom.mean, "klom_r_test_p95": klom.p95}


def _utility(references: Ensembles, unlearned: Ensemble, original: Ensemble, retrained: Ensemble) -> Numbers:
    """Errors on the four parts, relative utility on the retained test rows, and ToW-R over forget, retain and test.

    A model's forget rows are those that it was asked to forget.
    """
    task, split, targets = references.task, references.whole, references.task.dataset.targets
    sides = {
        "test_retain": np.searchsorted(task.test, split.test_retain),
        "test_forget": np.searchsorted(task.test, split.test_forget),
    }
    wanted = {
        "forget": targets[split.forget],
        "retain": targets[np.setdiff1d(task.train, split.forget)],
        **{name: targets[task.test[rows]] for name, rows in sides.items()},
    }

    def errors(one: Ensemble) -> Array:
        gaps = np.abs(one.forget[: references.size] - wanted["forget"]).mean(axis=2)
        found = [np.average(gaps, axis=1, weights=references.inside), one.retain[: references.size]]
        found += [
            np.abs(one.test[: references.size, rows] - wanted[name]).mean(axis=(1, 2))
            for name, rows in sides.items()
        ]
        return np.stack(found, axis=1)

    of_u, of_o, of_r = (errors(one) for one in (unlearned, original, retrained))
    constant = np.array([np.abs(one - np.median(one, axis=0)).mean() for one in wanted.values()])
    mean, error = float(of_r[:, 2].mean()), float(of_r[:, 2].std(ddof=1) / np.sqrt(len(of_r)))
    return {
        **{f"mae_{name}": float(of_u[:, k].mean()) for k, name in enumerate(wanted)},
        "utility_ratio": float(of_u[:, 2].mean()) / mean,
        "utility_limit": (1.05 * mean + 2 * error) / mean,
        "utility_of_original": float(of_o[:, 2].mean()) / mean,
        "retrained_to_constant": mean / float(constant[2]),
        "tow_r": float(composites.tow_r(of_u[:, :3], of_r[:, :3], constant[:3]).mean()),
    }


def _features(unlearned: Ensemble, original: Ensemble, retrained: Ensemble) -> Numbers:
    layers = [one.information.sum(axis=1).mean() for one in (unlearned, original, retrained)]
    gap = layers[1] - layers[2]
    pairs = len(unlearned.features)
    return {
        "probe_recovery": representations.recovery(unlearned.probe, original.probe, retrained.probe),
        "r_idi": float((layers[0] - layers[2]) / gap) if gap > 0 else None,
        "delta_cka": representations.delta_cka(
            list(unlearned.features), list(retrained.features[:pairs])
        ).estimate,
    }


def _population(references: Ensembles, unlearned: Ensemble, anchors: Anchors) -> Numbers:
    """Return attacks that need one model and a few retrained ones: mean AUC over models, and the retrained models'.

    Held-out rows are the test rows of the forget distribution; RMIA takes half of them for its population.
    """
    task, split, inside = references.task, references.whole, references.inside
    held = np.searchsorted(task.test, split.test_forget)
    if len(held) < 2:
        return {}
    of_test = task.dataset.targets[split.test_forget]
    retrained = references.ensemble("retrained")
    sides = [
        [
            membership.signed_residuals(train, anchors.targets, anchors.scale),
            membership.signed_residuals(test[:, held], of_test, anchors.scale),
        ]
        for train, test in (
            (unlearned.forget, unlearned.test),
            (anchors.retrained, retrained.test),
        )
    ]
    sigma = membership.root_mean_square(sides[1][1])
    totals: dict[str, list[float]] = {}
    for k, mine in enumerate(inside):
        others = [(k + step) % len(anchors.retrained) for step in range(1, ATTACK_REFERENCES + 1)]
        for suffix, (train, test) in zip(("", "_null"), sides, strict=True):
            forget = Residuals(train[k][mine], sides[1][0][others][:, mine])
            outside = Residuals(test[k], sides[1][1][others])
            even, odd = (Residuals(outside.own[part::2], outside.references[:, part::2]) for part in (0, 1))
            found = {
                "loss_auc": float(membership.loss_auc(forget.own[None], outside.own[None])[0]),
                "calibrated_loss_auc": membership.calibrated_loss_auc(forget, outside),
                "rmia_auc": membership.rmia_auc(forget, even, odd, sigma=sigma),
            }
            for name, value in found.items():
                totals.setdefault(name + suffix, []).append(value)
    return {name: float(np.mean(values)) for name, values in totals.items()}


def _privacy(references: Ensembles, forgotten: Array, anchors: Anchors) -> Numbers:
    none, null = anchors.attack_none, anchors.attack_null
    assert none is not None
    assert null is not None
    residuals = membership.signed_residuals(forgotten, anchors.targets, anchors.scale)
    attack = membership.u_lira(residuals, references.inside)
    return {
        "u_lira_auc": attack.auc.estimate,
        "u_lira_auc_low": attack.auc.low,
        "u_lira_auc_high": attack.auc.high,
        "u_lira_tpr": attack.tpr,
        "u_lira_row_p95": attack.row_p95,
        "u_lira_null": null.auc.estimate,
        "u_lira_none": none.auc.estimate,
        "s_privacy": membership.privacy_score(attack.advantage, null.advantage, none.advantage),
    }


def _shown(references: Ensembles, forgotten: Array, anchors: Anchors) -> dict[str, dict[str, list[float]]]:
    """Return what figures show of the predictions on the forget rows."""
    asked = _asked(forgotten, references)
    found = {
        "row_tv": ensemble_curves.row_distances(asked, anchors.retrained),
        "predictions": ensemble_curves.mean_predictions(asked, anchors.retrained, anchors.targets),
    }
    if references.pool:
        residuals = membership.signed_residuals(forgotten, anchors.targets, anchors.scale)
        found["roc"] = ensemble_curves.attack_roc(residuals, references.inside)
    return found


def _memory(forgotten: Array, retrained: Array, *, inside: NDArray[np.bool_]) -> Numbers:
    """Total variation of models that unlearned a row and of models that never saw it: memory is what they differ by."""
    asked, never = membership.by_exposure(forgotten, inside)
    of_asked, of_never = (float(between.total_variation(one, retrained).mean()) for one in (asked, never))
    return {"tv_in": of_asked, "tv_out": of_never, "residual_memory": of_asked - of_never}


# What intervals are made of --------------------------------------------------------------------------------------


def _replicates(
    references: Ensembles, unlearned: Ensemble, anchors: Anchors, values: Numbers
) -> dict[str, list[float]]:
    """Return the axis scores and their minimum without each unit in turn: a seed, or a pair of models of a pool.

    A unit takes along the retrained models of its seeds. The null and no-unlearning values, which all methods share,
    stay as they are.
    """
    size = references.size
    units = np.arange(size).reshape(-1, 2 if references.pool else 1)
    kept = [np.setdiff1d(np.arange(size), unit) for unit in units]
    columns: dict[str, list[float]] = {}
    if values.get("s_forget") is not None:
        columns["s_forget"] = [
            _clipped(values["tv_none"], values["tv_null"], value)
            for value in _tv_without(references, unlearned.forget, anchors, kept)
        ]
    if values.get("s_privacy") is not None:
        assert anchors.attack_none is not None
        assert anchors.attack_null is not None
        none, null = anchors.attack_none.advantage, anchors.attack_null.advantage
        residuals = membership.signed_residuals(unlearned.forget, anchors.targets, anchors.scale)
        found = membership.leave_pair_out_auc(residuals, references.inside)
        columns["s_privacy"] = [membership.privacy_score(abs(2 * v - 1), null, none) or 0.0 for v in found]
    if values.get("s_weights") is not None:
        probes = [references.ensemble(role).probe.mean() for role in ("original", "retrained")]
        columns["s_weights"] = [_clipped(probes[0], probes[1], unlearned.probe[keep].mean()) for keep in kept]
    if columns:
        columns["score"] = np.min(list(columns.values()), axis=0).tolist()
    return columns


def _clipped(none: float | None, null: float | None, value: float) -> float:
    assert none is not None
    assert null is not None
    return float(np.clip((none - value) / (none - null), 0.0, 1.0))


def _tv_without(
    references: Ensembles, forgotten: Array, anchors: Anchors, kept: list[Indices]
) -> list[float]:
    """Return the calibrated value of the total variation with some seeds only, shape (units,)."""
    retrained, size = anchors.retrained, references.size
    found = []
    for keep in kept:
        models = forgotten[keep]
        if references.pool:
            models = membership.by_exposure(models, references.inside[keep]).inside
        of_kept = np.isin(np.arange(len(retrained)) % size, keep)
        sizes = (
            (size, size, len(retrained)) if not references.pool else (size // 2, size // 2, len(retrained))
        )
        values = []
        for part in partitions(*sizes, paired=not references.pool):
            other = retrained[part.other[of_kept[part.other]]]
            chosen = models if references.pool else forgotten[np.intersect1d(part.unlearned, keep)]
            values.append(_tv(chosen, other))
            if not references.pool and len(part.other) == len(retrained) - size and size < len(retrained):
                break  # every split compares the same models
        found.append(float(np.mean(values)))
    return found


def _closures(references: Ensembles, forgotten: Array, anchors: Anchors) -> list[float]:
    """Return each seed's RNC on the rows that it was asked to forget, against the mean gap and the mean null."""
    inside, pairs = references.inside, range(references.size)
    none = float(
        np.mean(
            [disagreement(anchors.original[k, inside[k]], anchors.retrained[k, inside[k]]) for k in pairs]
        )
    )
    gap = none - composites.null_disagreement(anchors.retrained)
    if gap <= 0:
        return []
    own = [disagreement(forgotten[k, inside[k]], anchors.retrained[k, inside[k]]) for k in pairs]
    return [(none - value) / gap for value in own]
