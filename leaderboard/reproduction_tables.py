"""The tables of a reproduction: published values beside ours, and what explains them."""

import math

from regunlearn.benchmark.statistics import Interval
from regunlearn.leaderboard.reproduction_numbers import (
    ABLATION,
    CORRECTED,
    PUBLISHED,
    Numbers,
)
from regunlearn.leaderboard.text import NOTHING, Row, Table, number
from regunlearn.reproduction.records import MODELS

LABELS = {
    "test_retain": "{error}, retain test rows",
    "test_forget": "{error}, forget test rows",
    "constant_retain": "{error} of a constant",
    "w1": "W1 to retrained, forget rows",
    "attack_forget": "Attack: forget rows called members",
    "attack_members": "Attack: members called members",
    "attack_others": "Attack: test rows called members",
    "ain": "AIN",
    "disagreement": "Squared difference to retrained",
    "rnc": "RNC",
}
WORDS = frozenset({0, 1})
ABLATION_METRICS = ("test_retain", "test_forget", "w1", "disagreement")
ROUNDING = 1e-4
"""Share of a value below which a difference is one of rounding: two implementations of Adam differ in last bits."""

EXACT = 1e-12
"""Share of a mean below which the half-width of its interval is rounding."""


def figures(interval: Interval) -> str:
    """Return "mean ± half-width", the mean alone where there is no interval, or the sign for nothing."""
    mean = number(interval.estimate, 4)
    half = (interval.high - interval.low) / 2
    if half < EXACT * abs(interval.estimate):  # seeds that differ in their last bits do not differ
        half = 0.0
    return mean if not math.isfinite(half) else f"{mean} ± {number(half, 2)}"


def as_published(value: float) -> str:
    """Return a published number with the digits that it was published with, six at most."""
    return f"{value:g}"


def label(numbers: Numbers, metric: str) -> str:
    """Return the short name of a metric."""
    error = "MSE" if numbers.records[0].loss == "mse" else "MAE"
    return LABELS.get(metric, metric).format(error=error)


# Tables -------------------------------------------------------------------------------------------------------


def main_table(numbers: Numbers) -> Table:
    """Return published values beside ours, with verdicts."""
    rows = []
    for metric in numbers.metrics:
        for model in numbers.models(PUBLISHED, CORRECTED):
            value = numbers.value(model, metric)
            ours = [figures(numbers.interval(name, model, metric)) for name in (PUBLISHED, CORRECTED)]
            if value is not None or ours != [NOTHING, NOTHING]:
                said = NOTHING if value is None else as_published(value)
                verdict = numbers.verdict(model, metric).text
                rows.append(Row([MODELS[model], label(numbers, metric), said, *ours, verdict]))
    header = [
        "Model",
        "Metric",
        "Published",
        "Ours, published protocol",
        "Ours, corrected protocol",
        "Verdict",
    ]
    return Table(header, [("", rows)], frozenset({0, 1, 5}))


def constant_table(numbers: Numbers) -> Table:
    """Return each model's error on retain rows beside that of the constant with the same forget error."""
    rows = []
    for model in numbers.models(PUBLISHED):
        value = numbers.value(model, "test_retain")
        constant = numbers.value(model, "constant_retain", derived=True)
        cells = [NOTHING if one is None else as_published(one) for one in (value, constant)]
        for protocol in (PUBLISHED, CORRECTED):
            cells += [
                figures(numbers.interval(protocol, model, name))
                for name in ("test_retain", "constant_retain")
            ]
        rows.append(Row([MODELS[model], *cells]))
    heads = [f"{who}: {what}" for who in ("Published", "Ours", "Corrected") for what in ("model", "constant")]
    return Table(["Model", *heads], [("", rows)], frozenset({0}))


def correlation_table(numbers: Numbers) -> Table:
    """Return correlations of predictions and targets, published and corrected protocol."""
    names = ("pearson_test", "spearman_test", "pearson_retain", "spearman_retain")
    groups = []
    for protocol in (PUBLISHED, CORRECTED):
        rows = [
            Row([MODELS[model], *(figures(numbers.interval(protocol, model, name)) for name in names)])
            for model in numbers.models(protocol)
            if numbers.series(protocol, model, names[0])
        ]
        groups.append((f"{protocol} protocol", rows))
    heads = [
        "Pearson, all test rows",
        "Spearman, all test rows",
        "Pearson, retain rows",
        "Spearman, retain rows",
    ]
    return Table(["Model", *heads], groups, frozenset({0}))


def closeness_table(numbers: Numbers) -> Table:
    """Return how near each model's outputs on the forget rows are to the retrained model's, and what it cost."""
    names = ("rnc", "disagreement", "w1", "passes")
    groups = []
    for protocol in (PUBLISHED, CORRECTED):
        rows = [
            Row([MODELS[model], *(figures(numbers.interval(protocol, model, name)) for name in names)])
            for model in numbers.models(protocol)
            if model != "retrained"
        ]
        groups.append((f"{protocol} protocol, DSR {number(numbers.dsr(protocol))}", rows))
    heads = ["RNC", "Squared difference to retrained", "W1 to retrained", "Gradient passes / retrain's"]
    return Table(["Model", *heads], groups, frozenset({0}))


def average_table(numbers: Numbers) -> Table:
    """Return the published protocol's errors of the same models as means over rows and as means of batch means."""
    rows = []
    for model in numbers.models(PUBLISHED):
        own = [
            figures(numbers.interval(PUBLISHED, model, f"{part}_{average}"))
            for part in ("test_retain", "test_forget")
            for average in ("rows", "batches")
        ]
        rows.append(Row([MODELS[model], *own]))
    heads = [f"{part}: {how}" for part in ("Retain", "Forget") for how in ("rows", "batch means")]
    return Table(["Model", *heads], [("", rows)], frozenset({0}))


def switch_table(numbers: Numbers) -> Table:
    """Return what each switch does: the published protocol, the same without it, and the paired difference."""
    groups = []
    for variant in numbers.variants:
        rows = []
        for metric in numbers.metrics:
            for model in numbers.models(variant):
                both = [numbers.interval(protocol, model, metric) for protocol in (PUBLISHED, variant)]
                change = numbers.difference((variant, model), (PUBLISHED, model), metric)
                if math.isfinite(change.estimate):
                    cells = [*map(figures, both), figures(change), changed(change, both[0].estimate)]
                    rows.append(Row([MODELS[model], label(numbers, metric), *cells]))
        groups.append((variant, rows))
    header = ["Model", "Metric", "Published protocol", "Without", "Difference", "Interval excludes 0"]
    return Table(header, groups, WORDS)


def changed(difference: Interval, base: float) -> str:
    """Say whether the interval of a difference to `base` excludes 0; rounding errors are no difference."""
    if not math.isfinite(difference.low):
        return NOTHING
    if max(abs(difference.low), abs(difference.high)) <= ROUNDING * abs(base):
        return "no: the same"
    return "no" if difference.low <= 0 <= difference.high else "yes"


def ablation_table(numbers: Numbers) -> Table:
    """Return the attention term's effect: paired differences to the student trained without it."""
    groups = []
    for protocol in (PUBLISHED, CORRECTED):
        rows = []
        for metric in ABLATION_METRICS:
            for model in [name for name in ABLATION if numbers.series(protocol, name, metric)]:
                own, change, said = effect(numbers, protocol, model, metric)
                rest = [NOTHING] * 2 if model == ABLATION[0] else [figures(change), said]
                rows.append(Row([MODELS[model], label(numbers, metric), figures(own), *rest]))
        groups.append((f"{protocol} protocol", rows))
    header = ["Model", "Metric", "Value", "Difference to β = 0", "Interval excludes 0"]
    return Table(header, groups, WORDS)


def effect(numbers: Numbers, protocol: str, model: str, metric: str) -> tuple[Interval, Interval, str]:
    """Return a student's value, its difference to the one without attention, and whether that excludes 0."""
    own = numbers.interval(protocol, model, metric)
    change = numbers.difference((protocol, model), (protocol, ABLATION[0]), metric)
    return own, change, changed(change, own.estimate)


def seconds_table(numbers: Numbers) -> Table:
    """Return the seconds of each method, on the machines of the records, beside the published ones."""
    rows = []
    for model in [name for name in MODELS if numbers.series(PUBLISHED, name, "seconds")]:
        value = numbers.value(model, "seconds")
        said = NOTHING if value is None else as_published(value)
        rows.append(Row([MODELS[model], said, figures(numbers.interval(PUBLISHED, model, "seconds"))]))
    return Table(["Model", "Published, s", "Ours, s"], [("", rows)], frozenset({0}))
