"""Composite scores and the stress track: tolerance to retraining, closure of ensembles, interval confusion, poison.

Ensembles have the shape (models, rows, outputs) in the target's unit; model k of all of them shares its seed.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import kstest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array
from regunlearn.benchmark.metrics import closure, disagreement


def tow_r(unlearned: Array, retrained: Array, constant: Array) -> Array:
    """Return ToW-R = prod over sets S of (1 - min(1, |MAE_S(U) - MAE_S(R)| / MAE_const,S)), shape (seeds,).

    MAEs of the unlearned and the retrained model of each seed, shape (seeds, sets), sets forget, retain and test;
    of the best constant predictor, shape (sets,). To 1, identical models; null just below 1. ToW of Zhao et al.,
    NeurIPS 2024 (kairanzhao/RUM), with errors for accuracies. Fails to see rows (MAEs may agree while predictions do
    not) and hides which set is off.
    """
    if not (constant > 0).all():
        raise BenchmarkError("ToW-R divides by the constant predictor's MAE: a set's targets do not vary.")
    product: Array = (1 - np.minimum(1.0, np.abs(unlearned - retrained) / constant)).prod(axis=-1)
    return product


# Closure of ensembles -----------------------------------------------------------------------------------------


def null_disagreement(retrained: Array) -> float:
    """Return the mean over pairs of different models of their mean squared difference, in the squared unit.

    Twice the variance over models (ddof = 1), mean over rows and outputs: no pair is formed.
    """
    if len(retrained) < 2:
        raise BenchmarkError("the disagreement of retrained models needs 2 of them, found one.")
    return 2.0 * float(retrained.var(axis=0, ddof=1).mean())


def ensemble_rnc(unlearned: Array, original: Array, retrained: Array) -> float | None:
    """Return RNC = (D(O, R) - D(U, R)) / (D(O, R) - D(R, R')), D the mean squared prediction difference.

    Means over seeds (same k) before the ratio. 0 = did nothing, 1 = another retrain, below 0 = moved away; above 1
    is possible for smoother models. None where there is no gap. A 2026 replication study of time-series unlearning.
    Fails near 1: it cannot tell good methods apart, and a re-initialised model gets .8 on band forgetting.
    """
    none = disagreement(original, retrained)
    return closure(none, disagreement(unlearned, retrained), none, null_disagreement(retrained))


def ensemble_dsr(original: Array, retrained: Array) -> float | None:
    """Return DSR = D(O, R) / D(R, R'): admission gate G1 asks for 1.5. 1 = nothing to forget beyond seed noise."""
    null = null_disagreement(retrained)
    return disagreement(original, retrained) / null if null > 0 else None


# Interval-shift confusion -------------------------------------------------------------------------------------


class Confusion(NamedTuple):
    """What is left of a corruption, each of shape (models,), in units of the shift; 0 = nothing.

    Attributes:
        generalised: RLC, on clean test rows of the band.
        memorised: on the corrupted training rows themselves.
    """

    generalised: Array
    memorised: Array


def interval_confusion(
    unlearned_test: Array,
    retrained_test: Array,
    shift_test: Array | float,
    unlearned_forget: Array,
    clean_forget: Array,
    shift_forget: Array | float,
) -> Confusion:
    """Return the two parts of the interval-shift confusion test.

    A share rho of a target band was trained with y + Delta and is then forgotten. RLC = mean over clean test rows of
    the band of (f_U - f_R) / Delta; memorisation = mean over the corrupted rows of (f_U(x) - y_clean) / Delta.
    Predictions (models, rows), clean targets (rows,), shifts one number or (rows,) where their sign alternates. To
    0; null 0; an intercept-only original has RLC = rho, one that memorises its rows memorisation 1. After Goel et
    al., arXiv:2201.06640 (two classes swapped). Fails where f_R is itself biased on the band: the memorised part of
    a retrained model is its bias over Delta, so print it beside.
    """
    return Confusion(
        ((unlearned_test - retrained_test) / shift_test).mean(axis=-1),
        ((unlearned_forget - clean_forget) / shift_forget).mean(axis=-1),
    )


# Gaussian poison ----------------------------------------------------------------------------------------------


class PoisonTest(NamedTuple):
    """The scores' departure from N(0, 1).

    Attributes:
        z: sqrt(n) mean: N(0, 1) itself for a model that never saw the poison, positive or negative for one that did.
        distance: Kolmogorov-Smirnov distance to N(0, 1).
        p_value: of that distance.
    """

    z: float
    distance: float
    p_value: float


def poison_scores(gradients: Array, poison: Array, tau: float) -> Array:
    """Return s_i = <g_i, xi_i> / (tau |g_i|) of rows with a gradient: shape (n,) or shorter.

    Gradients of each forget row's loss at its clean input and the poison that was added to it in training,
    N(0, tau^2 I), shape (n, ...) each. Given a model that does not depend on xi, exactly N(0, 1), independent over
    rows. Rows whose gradient is 0 have no score. Pawelczyk et al., ICLR 2025, arXiv:2406.17216.
    """
    flat_g, flat_xi = gradients.reshape(len(gradients), -1), poison.reshape(len(poison), -1)
    size = np.linalg.norm(flat_g, axis=1)
    seen = size > 0
    scores: Array = np.einsum("nd,nd->n", flat_g[seen], flat_xi[seen]) / (tau * size[seen])
    return scores


def poison_test(scores: Array) -> PoisonTest:
    """Test poison scores, shape (n,), against N(0, 1). To z = 0.

    Null: z is N(0, 1) exactly and p uniform; no unlearning is far from 0. Needs no retrained model. Fails for inputs
    that cannot take noise (tokens, categories), and with few rows to see weak traces.
    """
    if not len(scores):
        raise BenchmarkError("no forget row has a gradient: the poison score is not defined for this model.")
    result = kstest(scores, "norm")
    return PoisonTest(
        float(np.sqrt(len(scores)) * scores.mean()), float(result.statistic), float(result.pvalue)
    )
