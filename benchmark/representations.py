"""What hidden layers still know: probes and similarity, which an edit of the last layer cannot fool.

Features of a layer have the shape (rows, width), for the same rows in all models compared.
"""

from collections.abc import Sequence

import numpy as np

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.evidence import Array, Evidence, ModelEvidence
from regunlearn.benchmark.metrics import fit_probe
from regunlearn.benchmark.statistics import Indices, Interval, t_interval

FOLDS = 5
PENALTIES = np.logspace(-4, 4, 9)


# Probe recovery -----------------------------------------------------------------------------------------------


def probe_error(
    retain_features: Array, retain_targets: Array, forget_features: Array, forget_targets: Array
) -> float:
    """Return the MAE on the forget rows of a ridge head refitted on the retain rows' features, in the target's unit.

    Features (rows, width), targets (rows, outputs). No forget label is fitted; see `metrics.fit_probe`.
    """
    model = ModelEvidence(
        predictions={}, features={"train_retain": retain_features, "train_forget": forget_features}
    )
    evidence = Evidence(
        targets={"train_retain": retain_targets, "train_forget": forget_targets},
        scale=1.0,
        unlearned=model,
        original=model,
        retrained=model,
        originals=(),
        retrains=(),
        seed=0,
    )
    return fit_probe(model, evidence)


def recovery(unlearned: Array, original: Array, retrained: Array) -> float | None:
    """Return RR = clip((H_R - H_U) / (H_R - H_O), 0, 1) of mean probe errors H over seeds, shape (seeds,) each.

    To 0 = another retrain; 1 = the encoder still holds everything (no unlearning, and any edit of the head alone).
    S_W = 1 - RR. After the head-distillation argument of Jeon et al., arXiv:2405.17878. None where the original's
    encoder predicts the forget rows no better than the retrained one's. Fails to see what is not linear.
    """
    gap = float(retrained.mean() - original.mean())
    return float(np.clip((retrained.mean() - unlearned.mean()) / gap, 0.0, 1.0)) if gap > 0 else None


# Probe information --------------------------------------------------------------------------------------------


def gaussian_information(features: Array, targets: Array, *, folds: int = FOLDS, seed: int = 0) -> float:
    """Return the linear Gaussian information of a layer about the target, in nats, mean over outputs.

    I = 1/2 ln(Var y / MSE), MSE of a ridge probe cross-fitted over `folds` (penalty by generalised cross-validation
    in each, features standardised). Not clipped: a little below 0 for a layer that knows nothing, by -p/2n or less.
    Z = y + N(0, s^2): 1/2 ln(1 + Var y / s^2). Features (rows, width), targets (rows, outputs). V-information, Xu et
    al., ICLR 2020. Fails to see what is not linear.
    """
    from sklearn.linear_model import RidgeCV

    n = len(targets)
    if n < 2 * folds:
        raise BenchmarkError(
            f"{n} rows are too few to cross-fit a probe in {folds} folds: give at least {2 * folds}."
        )
    parts = np.array_split(np.random.default_rng(seed).permutation(n), folds)
    errors = np.empty_like(targets)
    for part in parts:
        fitted = np.ones(n, dtype=bool)
        fitted[part] = False
        mean, spread = features[fitted].mean(axis=0), features[fitted].std(axis=0)
        alive = spread > 1e-9 * max(float(spread.max()), 1e-30)
        inputs = np.where(alive, (features - mean) / np.where(alive, spread, 1.0), 0.0)
        probe = RidgeCV(alphas=PENALTIES).fit(inputs[fitted], targets[fitted])
        errors[part] = probe.predict(inputs[part]).reshape(targets[part].shape) - targets[part]
    return float(0.5 * np.log(targets.var(axis=0) / np.square(errors).mean(axis=0)).mean())


def information_difference(
    unlearned: Sequence[Array],
    original: Sequence[Array],
    retrained: Sequence[Array],
    targets: Array,
    *,
    seed: int = 0,
) -> float | None:
    """Return R-IDI = sum over layers of (I_unlearned - I_retrained) / sum over layers of (I_original - I_retrained).

    One feature array a layer, on `balanced_rows`: as many retain as forget rows. To 0; 1 for no unlearning, below 0
    for a model that knows less than a retrained one. IDI of Jeon et al., arXiv:2405.17878, with Gaussian information
    about the target in place of InfoNCE about membership. None where the original holds no more information than the
    retrained model. Not comparable between architectures. Fails to see what is not linear.
    """
    if not len(unlearned) == len(original) == len(retrained) > 0:
        raise BenchmarkError(
            f"models have {len(unlearned)}, {len(original)} and {len(retrained)} layers of features: expected the same."
        )
    of_u, of_o, of_r = (
        sum(gaussian_information(layer, targets, seed=seed) for layer in layers)
        for layers in (unlearned, original, retrained)
    )
    return (of_u - of_r) / (of_o - of_r) if of_o > of_r else None


def balanced_rows(n_forget: int, n_retain: int, *, seed: int = 0) -> Indices:
    """Return which retain rows go with all forget rows into a probe: as many, drawn without replacement, sorted."""
    return np.sort(np.random.default_rng(seed).permutation(n_retain)[:n_forget])


# Similarity ---------------------------------------------------------------------------------------------------


def linear_cka(one: Array, other: Array) -> float:
    """Return the linear CKA of two layers' features on the same rows, (rows, width) each, with debiased HSIC.

    HSIC(K, L) = [tr KL + (1'K1)(1'L1)/((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n(n-3)), K and L with zero diagonals;
    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). 1 for Z and c Z Q, Q orthogonal; unrelated features 0 on average,
    below 0 by chance (the biased form is of the order width/rows). Null .7 to .8 between retrained models. Song et
    al., JMLR 2012; Nguyen et al., ICLR 2021. Needs memory for rows x width only. Fails alone: a model that shares
    its initialisation with the retrained one looks close without unlearning. NaN for features that do not vary.
    """
    n = len(one)
    if n != len(other) or n < 4:
        raise BenchmarkError(f"features have {n} and {len(other)} rows: CKA needs the same rows, at least 4.")
    a, b = (features - features.mean(axis=0) for features in (one, other))
    norm = _hsic(a, a) * _hsic(b, b)
    return float(_hsic(a, b) / np.sqrt(norm)) if norm > 0 else float("nan")


def _hsic(a: Array, b: Array) -> float:
    """Debiased HSIC of centred features with linear kernels, without forming the kernels.

    With centred rows a_i, row sums of the kernel without its diagonal are -|a_i|^2.
    """
    n = len(a)
    diagonal_a, diagonal_b = np.square(a).sum(axis=1), np.square(b).sum(axis=1)
    trace = float(np.square(a.T @ b).sum() - diagonal_a @ diagonal_b)
    sums = float(diagonal_a.sum() * diagonal_b.sum()) / ((n - 1) * (n - 2))
    return (trace + sums - 2 / (n - 2) * float(diagonal_a @ diagonal_b)) / (n * (n - 3))


def delta_cka(unlearned: Sequence[Array], retrained: Sequence[Array]) -> Interval:
    """Return the mean over seeds k of CKA(U_k, R_k+1) - CKA(R_k, R_k+1), with its Student interval.

    To 0 from either side; null 0 by construction. Model k of both ensembles shares its seed, and both are compared
    with the next seed's retrained model, so that a shared initialisation gives no unlearning no advantage. Use at
    least 8 seeds. Fails as a score (a diagnostic): the no-unlearning value may lie above or below 0.
    """
    if len(unlearned) != len(retrained) or len(retrained) < 2:
        raise BenchmarkError(
            f"features of {len(unlearned)} unlearned and {len(retrained)} retrained models: expected pairs, at least 2."
        )
    following = [*retrained[1:], retrained[0]]
    gaps = [
        linear_cka(u, f) - linear_cka(r, f) for u, r, f in zip(unlearned, retrained, following, strict=True)
    ]
    return t_interval(np.array(gaps))
