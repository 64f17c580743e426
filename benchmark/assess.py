"""Scores of a method on one task and forget split, from ensembles of N models: what protocol v1 records.

Three axes, each 0 for doing nothing and 1 for another retrain, and the task score is the worst of them, because each
has a known cheat that the others catch:
S_F, calibrated total variation of the predictions on the forget rows (a re-initialised model on a band comes near);
S_P, privacy against U-LiRA, in the pool design only (a destroyed model passes);
S_W, what a linear probe cannot recover from the features (a random encoder passes).
"""

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark import composites, membership, representations
from regunlearn.benchmark import distributions as between
from regunlearn.benchmark.ensembles import Ensemble, Ensembles
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.statistics import calibrate, jackknife

Numbers = dict[str, float | None]


def assess(references: Ensembles, unlearned: Ensemble) -> dict[str, float]:
    """Return every ensemble metric that is defined and finite, by name.

    Args:
        references: the originals and retrained models, and the design.
        unlearned: views of the method's models, one a seed, in the order of the seeds.
    """
    original, retrained = references.ensemble("original"), references.ensemble("retrained")
    ensembles = (unlearned, original, retrained)
    rows, scale = references.rows, float(np.mean(references.task.scale))
    on_forget = [one.train[:, rows] for one in ensembles]
    values: Numbers = {
        **_indistinguishability(*_asked(on_forget, references), scale=scale),
        **_tests(on_forget[0], on_forget[2]),
        **_on_test(unlearned.test, retrained.test, scale=scale),
        **_utility(references, *ensembles),
        **_features(*ensembles),
    }
    values["s_weights"] = None if values["probe_recovery"] is None else 1.0 - values["probe_recovery"]
    if references.pool:
        targets = references.task.dataset.targets[references.whole.forget]
        residuals = [membership.signed_residuals(one, targets, scale) for one in on_forget]
        values |= _privacy(*residuals, inside=references.inside)
        values |= _memory(*on_forget, inside=references.inside)
    axes = [
        value for name in ("s_forget", "s_privacy", "s_weights") if (value := values.get(name)) is not None
    ]
    values["score"] = min(axes) if axes else None
    return {name: float(v) for name, v in sorted(values.items()) if v is not None and np.isfinite(v)}


def _asked(on_forget: list[Array], references: Ensembles) -> tuple[Array, Array, Array]:
    """Keep, row by row, the models that were asked to forget it; of the retrained ones all."""
    unlearned, original, retrained = on_forget
    if not references.pool:
        return unlearned, original, retrained
    inside = references.inside
    return (
        membership.by_exposure(unlearned, inside).inside,
        membership.by_exposure(original, inside).inside,
        retrained,
    )


def _indistinguishability(unlearned: Array, original: Array, retrained: Array, *, scale: float) -> Numbers:
    def tv(u: Array, r: Array) -> float:
        return between.summarise(between.total_variation(u, r)).mean

    def w1(u: Array, r: Array) -> float:
        return float(between.wasserstein(u, r, spread=between.spread_of(r)).mean())

    calibrated, interval = calibrate(tv, unlearned, original, retrained), jackknife(tv, unlearned, retrained)
    klom = between.summarise(between.klom_r(unlearned, retrained, scale=scale))
    reverse = between.summarise(between.klom_r(retrained, unlearned, scale=scale))
    quality = calibrate(between.forgetting_quality, unlearned, original, retrained, splits=2)
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
        "w1_excess": calibrate(w1, unlearned, original, retrained).excess,
        "energy": float(between.energy(unlearned, retrained, spread=between.spread_of(retrained)).mean()),
        "f_ratio": quality.ratio,
        "epsilon_certified": float(between.certified_epsilon(unlearned, retrained).mean()),
        "rnc": composites.ensemble_rnc(unlearned, original, retrained[: len(unlearned)]),
        "dsr": composites.ensemble_dsr(original, retrained[: len(original)]),
    }


def _tests(unlearned: Array, retrained: Array) -> Numbers:
    return {"permutation_p": between.permutation_test(unlearned, retrained, paired=True).p_value}


def _on_test(unlearned: Array, retrained: Array, *, scale: float) -> Numbers:
    klom = between.summarise(between.klom_r(unlearned, retrained, scale=scale))
    return {"klom_r_test": klom.mean, "klom_r_test_p95": klom.p95}


def _utility(references: Ensembles, unlearned: Ensemble, original: Ensemble, retrained: Ensemble) -> Numbers:
    """MAE on the retained test rows, relative to the retrained models', and ToW-R over forget, retain and test rows."""
    task, split = references.task, references.whole
    kept = np.searchsorted(task.test, split.test_retain)
    retain = np.searchsorted(task.train, np.setdiff1d(task.train, split.forget))
    targets = task.dataset.targets
    sides = [
        (references.rows, targets[split.forget], "train"),
        (retain, targets[task.train[retain]], "train"),
        (kept, targets[split.test_retain], "test"),
    ]

    def errors(one: Ensemble) -> Array:
        return np.stack(
            [np.abs(getattr(one, side)[:, rows] - wanted).mean(axis=(1, 2)) for rows, wanted, side in sides],
            axis=1,
        )

    of_u, of_o, of_r = (errors(one) for one in (unlearned, original, retrained))
    constant = np.array([np.abs(wanted - np.median(wanted, axis=0)).mean() for _, wanted, _ in sides])
    mean, error = float(of_r[:, 2].mean()), float(of_r[:, 2].std(ddof=1) / np.sqrt(len(of_r)))
    return {
        "mae_test_retain": float(of_u[:, 2].mean()),
        "utility_ratio": float(of_u[:, 2].mean()) / mean,
        "utility_limit": (1.05 * mean + 2 * error) / mean,
        "utility_of_original": float(of_o[:, 2].mean()) / mean,
        "retrained_to_constant": mean / float(constant[2]),
        "tow_r": float(composites.tow_r(of_u, of_r, constant).mean()),
    }


def _features(unlearned: Ensemble, original: Ensemble, retrained: Ensemble) -> Numbers:
    layers = [one.information.sum(axis=1).mean() for one in (unlearned, original, retrained)]
    gap = layers[1] - layers[2]
    return {
        "probe_recovery": representations.recovery(unlearned.probe, original.probe, retrained.probe),
        "r_idi": float((layers[0] - layers[2]) / gap) if gap > 0 else None,
    }


def _privacy(unlearned: Array, original: Array, retrained: Array, *, inside: NDArray[np.bool_]) -> Numbers:
    attack, none, null = (membership.u_lira(one, inside) for one in (unlearned, original, retrained))
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


def _memory(unlearned: Array, original: Array, retrained: Array, *, inside: NDArray[np.bool_]) -> Numbers:
    """Total variation of models that unlearned a row and of models that never saw it: memory is what they differ by."""
    asked, never = membership.by_exposure(unlearned, inside)
    of_asked, of_never = (float(between.total_variation(one, retrained).mean()) for one in (asked, never))
    return {"tv_in": of_asked, "tv_out": of_never, "residual_memory": of_asked - of_never}
