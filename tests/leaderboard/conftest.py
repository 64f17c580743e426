"""Made-up records and method cards, the same on every run."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regunlearn.benchmark.grid import Protocol, save
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.registry import Card, Catalogue

METHODS: dict[str, dict[str, Any]] = {
    "original": {"family": "reference", "reference": True},
    "retrain": {"family": "reference", "reference": True},
    "truncated_retrain": {"family": "reference", "reference": True},
    "reinitialised": {"family": "sentinel", "sentinel": "utility_ratio"},
    "constant": {"family": "sentinel", "sentinel": "utility_ratio"},
    "head_distillation": {"family": "sentinel", "sentinel": "probe_recovery", "cheat": "retrained"},
    "blindspot": {"family": "distillation"},
    "bad_teacher": {"family": "distillation"},
    "gaussian_finetune": {"family": "first order"},
    "fine_tune": {"family": "first order"},
    "amnesiac": {"family": "relabelling"},
}
# closeness to the retrained model, probe recovery, utility ratio, passes, seconds over a retrain's
CHARACTER = {
    "original": (0.0, 1.0, 0.98, 0.0, 1e-5),
    "retrain": (1.0, 0.0, 1.0, 1.0, 1.0),
    "truncated_retrain": (0.82, 0.02, 1.04, 0.2, 0.21),
    "reinitialised": (-1.5, 0.0, 2.4, 0.0, 2e-4),
    "constant": (-2.0, 0.0, 2.6, 0.0, 1e-4),
    "head_distillation": (0.97, 0.99, 1.02, 0.05, 0.06),
    "blindspot": (0.75, 0.3, 1.03, 0.18, 0.25),
    "bad_teacher": (0.5, 0.45, 1.02, 0.12, 0.2),
    "gaussian_finetune": (0.62, 0.4, 1.01, 0.08, 0.09),
    "fine_tune": (0.2, 0.8, 1.0, 0.1, 0.1),
    "amnesiac": (0.66, 0.36, 1.04, 0.11, 0.12),
}
TASKS = {
    "california-mlp": ("100,000 USD", 0.35, (0.15, 5.0)),
    "mnist-rotation-allcnn": ("degrees", 6.0, (-45.0, 45.0)),
    "sentiment-lstm": ("rating", 0.7, (0.0, 4.0)),
}
UNITS = {task: unit for task, (unit, _, _) in TASKS.items()}
SPLITS = ("random", "band")
BINS = 20


def catalogue(names: "tuple[str, ...] | None" = None) -> Catalogue:
    """Cards of the made-up methods."""
    names = tuple(METHODS) if names is None else names
    cards = {
        name: Card("method", name, "", METHODS[name], {}, Path(f"{name}.py"), name, "0" * 16)
        for name in names
    }
    return Catalogue("method", cards)


def record(**changes: Any) -> Record:
    """A plain record; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "protocol": "v1",
        "method": "fine_tune",
        "method_hash": "f" * 16,
        "hyperparameters": {},
        "task": "california-mlp",
        "task_hash": "t",
        "split": "random",
        "split_hash": "s",
        "seed": 0,
        "status": "ok",
        "metrics": {"rnc": 0.5, "dsr": 3.0, "mae_test_retain": 1.0, "gap_test_retain": 0.0},
        "curves": {},
        "passes": 0.1,
        "machine": "box",
        "versions": {},
        "commit": None,
    }
    return Record(**{**fields, **changes})


def made_up(method: str, task: str, split: str, seed: int, timed: bool = True) -> Record:
    """A record with all metrics and curves, drawn around the method's character."""
    rng = np.random.default_rng(
        [list(CHARACTER).index(method), list(TASKS).index(task), SPLITS.index(split), seed]
    )
    common = np.random.default_rng([list(TASKS).index(task), SPLITS.index(split), seed])
    closeness, probe, ratio, passes, time = CHARACTER[method]
    _, error, _ = TASKS[task]
    band = split == "band"
    retrained = error * (1 + 0.03 * common.normal())
    closeness = closeness + rng.normal(0, 0.05) * (method != "original")
    forget = error * (0.2 + closeness * (1.6 if band else 0.8))
    errors = {
        "train_forget": abs(forget),
        "train_retain": 0.3 * error * ratio,
        "test_forget": abs(forget) * 1.1,
        "test_retain": retrained * (ratio + 0.01 * rng.normal()),
    }
    metrics = {
        "rnc": closeness,
        "dsr": 20.0 if band else 3.0,
        "probe_recovery": probe + rng.normal(0, 0.03),
        "utility_ratio": errors["test_retain"] / retrained,
        "loss_auc": 0.5 + 0.4 * (1 - closeness),
        "loss_auc_gap": 0.4 * (1 - closeness) + rng.normal(0, 0.01),
        "wasserstein": error * abs(1 - closeness),
        "svm_attack": 0.2 + 0.6 * abs(1 - closeness) / 3,
        "svm_attack_gap": 0.6 * abs(1 - closeness) / 3,
        "svm_attack_accuracy": 0.55,
        "ain": max(closeness, 0.01),
        "ain_censored": 0.0,
    }
    for part, value in errors.items():
        metrics |= {f"mae_{part}": value, f"rmse_{part}": 1.3 * value, f"r2_{part}": 0.7}
        metrics[f"gap_{part}"] = value - (retrained if part == "test_retain" else error)
    retrain_seconds = 40.0 * (1 + 0.02 * common.normal())
    return record(
        method=method,
        task=task,
        split=split,
        split_hash=f"{split}{seed}",
        seed=seed,
        metrics={name: float(value) for name, value in metrics.items()},
        curves=_curves(rng, task, split, closeness, ratio),
        passes=passes,
        seconds=float(time * retrain_seconds * (1 + 0.05 * rng.uniform())) if timed else None,
        retrain_seconds=float(retrain_seconds) if timed else None,
        peak_bytes=200_000_000 if timed else None,
        machine="x86-2core",
    )


def _curves(
    rng: np.random.Generator, task: str, split: str, closeness: float, ratio: float
) -> dict[str, Any]:
    _, error, (low, high) = TASKS[task]
    edges = np.linspace(low, high, BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    mae = error * ratio * (1 + 0.1 * rng.normal(size=BINS)) + 0.2 * error * np.abs(
        middle - middle.mean()
    ) / np.ptp(edges)
    end = low + 0.25 * (high - low)
    inside = middle < end
    if split == "band":
        mae = mae + inside * error * 3 * closeness * (end - middle) / (end - low)
    mae[-1] = -1
    scale = 0.15 + 0.5 * abs(1 - closeness) * (2 if split == "band" else 1)
    gaps = np.linspace(0, 4, 41)
    counts, _ = np.histogram(np.abs(rng.normal(0, scale, 400)), bins=gaps)
    return {
        "error_by_target": {
            "edges": edges.tolist(),
            "mae": np.where(mae < 0, -1.0, mae).tolist(),
            "forget_low": [low] if split == "band" else [],
            "forget_high": [float(end)] if split == "band" else [],
        },
        "relative_difference": {"edges": gaps.tolist(), "counts": [float(count) for count in counts]},
    }


def grid(
    methods: "tuple[str, ...] | None" = None,
    tasks: "tuple[str, ...] | None" = None,
    splits: tuple[str, ...] = SPLITS,
    seeds: tuple[int, ...] = (0, 1, 2),
    timed: bool = True,
) -> list[Record]:
    """Records of all cells."""
    return [
        made_up(method, task, split, seed, timed)
        for method in (tuple(METHODS) if methods is None else methods)
        for task in (tuple(TASKS) if tasks is None else tasks)
        for split in splits
        for seed in seeds
    ]


def write(folder: Path, records: list[Record]) -> Path:
    """Write records as a results folder and return it."""
    lines: dict[str, list[str]] = {}
    for own in sorted(records, key=lambda record: record.key):
        lines.setdefault(own.method, []).append(own.to_line() + "\n")
    for method, text in lines.items():
        path = folder / "records" / f"{method}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(text), encoding="utf-8")
    return folder


def toy() -> list[Record]:
    """Three methods, one task, two splits, two seeds, numbers that can be followed by hand."""
    rnc = {
        ("alpha", "band"): (0.9, 0.7),
        ("alpha", "random"): (0.6, 0.8),
        ("beta", "band"): (0.5, None),
        ("beta", "random"): (0.4, 1.5),
        ("retrain", "band"): (1.0, 1.1),
        ("retrain", "random"): (0.9, 1.0),
    }
    records = []
    for (method, split), values in rnc.items():
        for seed, value in enumerate(values):
            mae = {"alpha": 1.02, "beta": 1.0, "retrain": 1.0}[method] * (1.0 + 0.1 * seed)
            share = {"alpha": 0.25, "beta": 0.1, "retrain": 1.0}[method]
            failed = value is None
            records.append(
                record(
                    method=method,
                    task="toy-mlp",
                    split=split,
                    split_hash=split,
                    seed=seed,
                    status="diverged" if failed else "ok",
                    reason="loss | nan <b>at</b>\nstep_1" if failed else None,
                    metrics={}
                    if failed
                    else {
                        "rnc": value,
                        "dsr": 4.0,
                        "probe_recovery": {"alpha": 0.25, "beta": 0.1, "retrain": 0.0}[method],
                        "utility_ratio": mae / (1.0 + 0.1 * seed),
                        "mae_test_retain": mae,
                        "gap_test_retain": mae - (1.0 + 0.1 * seed),
                    },
                    passes=share,
                    seconds=10.0 * share,
                    retrain_seconds=10.0,
                )
            )
    return records


def toy_catalogue() -> Catalogue:
    """Cards of the three."""
    facts: dict[str, dict[str, Any]] = {
        "alpha": {"family": "first order"},
        "beta": {"family": "second_order & more"},
        "retrain": {"family": "reference", "reference": True},
    }
    cards = {
        name: Card("method", name, "", own, {}, Path(f"{name}.py"), name, "0" * 16)
        for name, own in facts.items()
    }
    return Catalogue("method", cards)


# Ensembles ----------------------------------------------------------------------------------------------------

CONFIGURATIONS = {
    "truncated_retrain-2": {"share": 0.02},
    "truncated_retrain-10": {"share": 0.1},
    "truncated_retrain-25": {"share": 0.25},
    "fine_tune-tuned": {"share": 0.02},
}
# total variation's closeness, privacy, features, utility ratio, passes
ENTRIES = {
    "original": (0.0, 0.0, 0.0, 0.98, 0.0),
    "retrain": (0.98, 0.99, 0.99, 1.0, 1.0),
    "truncated_retrain-2": (0.2, 0.97, 0.95, 1.04, 0.02),
    "truncated_retrain-10": (0.45, 0.97, 0.96, 1.03, 0.1),
    "truncated_retrain-25": (0.7, 0.98, 0.97, 1.02, 0.25),
    "reinitialised": (0.1, 0.99, 0.9, 2.4, 0.0),
    "constant": (0.0, 0.99, 0.0, 2.6, 0.0),
    "head_distillation": (0.95, 0.8, 0.01, 1.02, 0.05),
    "blindspot": (0.6, 0.55, 0.7, 1.03, 0.18),
    "bad_teacher": (0.4, 0.5, 0.45, 1.02, 0.12),
    "gaussian_finetune": (0.35, 0.4, 0.4, 1.01, 0.08),
    "fine_tune": (0.2, 0.2, 0.2, 1.0, 0.1),
    "fine_tune-tuned": (0.3, 0.28, 0.3, 1.01, 0.02),
    "amnesiac": (0.55, 0.5, 0.5, 1.03, 0.11),
}
POOLED = ("random", "group")
V1_SPLITS = ("band", "group", "random", "tail")
UNITS_OF = {"california-mlp": 32}
TV_NULL, TV_NONE = 0.08, 0.9


def ensemble_protocol(
    tasks: "tuple[str, ...] | None" = None, splits: tuple[str, ...] = V1_SPLITS
) -> Protocol:
    """A protocol of ensembles over the made-up tasks."""
    names = tuple(TASKS) if tasks is None else tasks
    return Protocol(
        name="v1",
        splits={task: list(splits) for task in names},
        ensembles={task: [UNITS_OF.get(task, 16), 32] for task in names},
        configurations=CONFIGURATIONS,
        tiers=[0.02, 0.1, 0.25],
    )


def _close_up(
    rng: np.random.Generator, metrics: dict[str, float], pooled: bool
) -> dict[str, dict[str, list[float]]]:
    """What figures show beyond metrics: distances row by row, predictions, single models, the attack's ROC."""
    target = np.sort(rng.uniform(-2, 3, 40))
    rates = np.logspace(-3, 0, 25)
    power = 1.0 if not pooled else 1.0 - 0.9 * (2 * metrics["u_lira_auc"] - 1)
    counts, _ = np.histogram(rng.normal(metrics["tv"], 0.1, 200).clip(0, 1), bins=20, range=(0, 1))
    found = {
        "runs": {"rnc": rng.normal(metrics["rnc"], 0.2, int(metrics["models"])).tolist()},
        "row_tv": {"counts": counts.astype(float).tolist()},
        "predictions": {
            "target": target.tolist(),
            "retrained": (0.6 * target).tolist(),
            "unlearned": (target * (1 - 0.4 * metrics["s_forget"])).tolist(),
        },
    }
    return {**found, "roc": {"fpr": rates.tolist(), "tpr": (rates**power).tolist()}} if pooled else found


def ensemble(method: str, task: str, split: str) -> Record:
    """A record of an ensemble, drawn around the entry's character."""
    rng = np.random.default_rng(
        [list(ENTRIES).index(method), list(TASKS).index(task), V1_SPLITS.index(split)]
    )
    forget, privacy, weights, ratio, passes = ENTRIES[method]
    units = UNITS_OF.get(task, 16) // (2 if split in POOLED else 1)
    means = {"s_forget": forget, "s_weights": weights} | ({"s_privacy": privacy} if split in POOLED else {})
    columns = {}
    for name, mean in means.items():
        own = np.clip(mean + rng.normal(0, 0.06), 0, 1) if 0 < mean < 1 else np.array(mean)
        columns[name] = np.clip(own + rng.normal(0, 0.01, units) * (0 < mean < 1), 0, 1)
    columns["score"] = np.min(list(columns.values()), axis=0)
    metrics = {name: float(values.mean()) for name, values in columns.items()}
    metrics["score"] = min(metrics[name] for name in means)
    tv = TV_NONE - metrics["s_forget"] * (TV_NONE - TV_NULL)
    metrics |= {
        "models": float(UNITS_OF.get(task, 16)),
        "tv": tv,
        "tv_null": TV_NULL,
        "tv_none": TV_NONE,
        "tv_full": tv,
        "tv_full_low": tv - 0.02,
        "tv_full_high": tv + 0.02,
        "klom_r": 3 * (1 - metrics["s_forget"]),
        "klom_r_p95": 5 * (1 - metrics["s_forget"]),
        "probe_recovery": 1 - metrics["s_weights"],
        "r_idi": 1 - metrics["s_weights"],
        "utility_ratio": ratio + 0.003 * rng.normal(),
        "utility_limit": 1.08,
        "permutation_p": 0.4 if forget > 0.9 else 0.001,
        "rnc": metrics["s_forget"],
        "tow_r": 0.5,
    }
    if split in POOLED:
        metrics |= {"u_lira_auc": 0.98 - 0.48 * privacy, "u_lira_tpr": 0.5 * (1 - privacy)}
        metrics |= {
            "u_lira_auc_low": metrics["u_lira_auc"] - 0.01,
            "u_lira_auc_high": metrics["u_lira_auc"] + 0.01,
        }
        metrics |= {"u_lira_null": 0.503, "u_lira_none": 0.978}
    return record(
        method=method,
        task=task,
        split=split,
        split_hash=split,
        metrics=metrics,
        curves={
            "jackknife": {name: values.tolist() for name, values in columns.items()},
            **_close_up(rng, metrics, split in POOLED),
        },
        passes=passes,
        seconds=40.0 * passes + 0.01,
        retrain_seconds=40.0,
    )


def ensembles(
    methods: "tuple[str, ...] | None" = None,
    tasks: "tuple[str, ...] | None" = None,
    splits: tuple[str, ...] = V1_SPLITS,
) -> list[Record]:
    """Records of all cells of ensembles."""
    return [
        ensemble(method, task, split)
        for method in (tuple(ENTRIES) if methods is None else methods)
        for task in (tuple(TASKS) if tasks is None else tasks)
        for split in splits
    ]


def gates(
    tasks: "tuple[str, ...] | None" = None,
    splits: tuple[str, ...] = V1_SPLITS,
    failed: "tuple[tuple[str, str], ...]" = (),
) -> list[dict[str, Any]]:
    """Rows of gates.json, of which those of some blocks fail G1."""
    rows = []
    for task in tuple(TASKS) if tasks is None else tasks:
        for split in splits:
            bad = (task, split) in failed
            for gate, what, value, least, most in (
                ("G1", "DSR, D(original, retrained) / D(retrained, other)", 1.2 if bad else 4.0, 1.5, None),
                ("G2", "retrained MAE / best constant's", 0.5, 0.0, 0.8),
            ):
                rows.append(
                    {
                        "task": task,
                        "split": split,
                        "design": "pool" if split in POOLED else "fixed set",
                        "originals": 16,
                        "retrained": 32,
                        "gate": gate,
                        "what": what,
                        "value": value,
                        "low": value - 0.1,
                        "high": value + 0.1,
                        "least": least,
                        "most": most,
                        "passed": not (bad and gate == "G1"),
                    }
                )
    return rows


STRESS = {  # the originals' value and the retrained models', by test and metric
    "confusion": {"confusion_rlc": (0.031, 0.001), "confusion_memorised": (0.42, 0.08)},
    "confusion-half": {
        "confusion_rlc": (0.031, 0.001),
        "confusion_memorised": (0.42, 0.08),
        "confusion_hidden": (0.41, 0.08),
    },
    "poison": {"poison_z": (-4.9, 0.3), "poison_excess": (-5.2, 0.02), "poison_detected": (1.0, 0.125)},
}


def stress_protocol(
    splits: tuple[str, ...] = tuple(STRESS), tasks: tuple[str, ...] = ("california-mlp",)
) -> Protocol:
    """A protocol of stress tests."""
    return Protocol(
        name="stress",
        splits={task: list(splits) for task in tasks},
        ensembles={task: [8, 16] for task in tasks},
        configurations=CONFIGURATIONS,
    )


def stress_record(method: str, split: str, task: str = "california-mlp", protocol: str = "stress") -> Record:
    """A record of a stress test: between originals and retrained models, by the entry's character."""
    rng = np.random.default_rng([list(ENTRIES).index(method), list(STRESS).index(split)])
    forget, _, _, ratio, passes = ENTRIES[method]
    metrics = {"models": 8.0, "stress_utility": ratio}
    for name, (none, null) in STRESS[split].items():
        gap = abs(none - null)
        value = null + (1 - forget) * (none - null) + 0.03 * gap * float(rng.normal())
        metrics |= {name: value, f"{name}_none": none, f"{name}_null": null}
        if name != "poison_detected":
            half = gap * (0.05 + 0.1 * float(rng.uniform()))
            metrics |= {f"{name}_low": value - half, f"{name}_high": value + half}
    if method == "constant" and split != "poison":
        metrics |= {"confusion_rlc": 0.4, "confusion_rlc_low": 0.39, "confusion_rlc_high": 0.41}
    return record(
        protocol=protocol,
        method=method,
        task=task,
        split=split,
        task_hash=f"{task}{split}",
        metrics=metrics,
        passes=passes,
    )


def stress_records(
    methods: tuple[str, ...] = tuple(ENTRIES), splits: tuple[str, ...] = tuple(STRESS), **changes: str
) -> list[Record]:
    """Records of all cells of stress tests."""
    return [stress_record(method, split, **changes) for method in methods for split in splits]


def write_ensembles(
    folder: Path, records: list[Record], protocol: Protocol, rows: "list[dict[str, Any]] | None"
) -> Path:
    """Write a results folder of ensembles; no gates.json where `rows` is None."""
    write(folder, records)
    save(protocol, folder)
    if rows is not None:
        (folder / "gates.json").write_text(json.dumps(rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def made() -> SimpleNamespace:
    """Everything above, for the tests (test files cannot import this one)."""
    return SimpleNamespace(
        record=record,
        grid=grid,
        catalogue=catalogue,
        units=UNITS,
        write=write,
        toy=toy,
        toy_catalogue=toy_catalogue,
        methods=tuple(METHODS),
        ensemble=ensemble,
        ensembles=ensembles,
        entries=tuple(ENTRIES),
        protocol=ensemble_protocol,
        gates=gates,
        write_ensembles=write_ensembles,
        stress_protocol=stress_protocol,
        stress_record=stress_record,
        stress_records=stress_records,
    )
