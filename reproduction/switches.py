"""The quirks of the published code as named switches, so that a reader can see what each does to a number.

Tags D1..D10 number the defects and quirks of the reference code as `docs/reproduction.md` lists them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace

from regunlearn.benchmark.errors import UnknownName, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Which quirks are on."""

    batch_means: bool
    """D3: errors, and the validation error that chooses checkpoints, are means of batch means, not means over rows."""

    mixed_members: bool
    """D5: the attack's members are drawn from all training rows, forget rows too, and no attack row is held out."""

    augmented_measurement: bool
    """D6: training rows go through the random crops and flips of training when W1, density and attack are measured."""

    own_selection: bool
    """D8: each method has its own checkpoint rule: on STS-B fine-tuning, Gaussian and proxy keep the best epoch."""

    lost_rows: bool
    """D10: STS-B as the notebook reads it: quotation marks swallow rows, and pairs of the test rows are trained on."""

    worn_models: bool
    """D1, D2: the AIN retrains models in place, and W1 and density are then measured on what is left of them."""

    augmented_updates: bool
    """No defect: unlearning trains on augmented batches, as published; the registered methods do not augment."""


NAMES: tuple[str, ...] = tuple(field.name for field in fields(Switches))
PUBLISHED = Switches(**dict.fromkeys(NAMES, True))
CORRECTED = Switches(**dict.fromkeys(NAMES, False))

_IMAGES = ("batch_means", "mixed_members", "augmented_measurement", "worn_models", "augmented_updates")
RELEVANT: Mapping[str, tuple[str, ...]] = {
    "stsb-band": ("batch_means", "own_selection", "lost_rows"),
    "agedb-band": _IMAGES,
    "utkface-band": _IMAGES,
    "utkface-band-full": _IMAGES,
}
"""Switches that do something, by experiment. On images every method keeps its last weights, in both protocols."""

UNPUBLISHED = ("utkface-band", "utkface-band-full")
"""Experiments without published numbers: a switch is turned off there only where it is asked for."""


def without(names: Iterable[str]) -> Switches:
    """Return the published protocol with some switches off.

    Raises:
        UnknownName: there is no such switch.
    """
    off = list(names)
    for name in off:
        if name not in NAMES:
            raise UnknownName("switch", name, NAMES)
    return replace(PUBLISHED, **dict.fromkeys(off, False))


def title(switches: Switches) -> str:
    """Return the name of the protocol that these switches make.

    >>> title(without(["worn_models", "batch_means"]))
    'published without batch_means, worn_models'
    """
    if switches == CORRECTED:
        return "corrected"
    off = [name for name, on in asdict(switches).items() if not on]
    return f"published without {', '.join(off)}" if off else "published"


def variants(experiment: str) -> list[Switches]:
    """Return the published protocol with one relevant switch off each, where there are published numbers to explain."""
    return [] if experiment in UNPUBLISHED else [without([name]) for name in relevant(experiment)]


def protocols(experiment: str, off: Iterable[str] = ()) -> list[Switches]:
    """Return what is run: published, corrected, and each variant, or the one with the switches `off` instead.

    Raises:
        UnknownName: there is no such experiment or switch.
        UsageError: a switch does nothing in this experiment.
    """
    named = list(off)
    chosen = [without(named)] if named else variants(experiment)
    for name in named:
        if name not in relevant(experiment):
            raise UsageError(
                f"switch {name!r} does nothing in {experiment}. Those that do: {', '.join(relevant(experiment))}."
            )
    return [PUBLISHED, CORRECTED, *chosen]


def relevant(experiment: str) -> tuple[str, ...]:
    """Return the switches that do something in an experiment.

    Raises:
        UnknownName: there is no such experiment.
    """
    if experiment not in RELEVANT:
        raise UnknownName("experiment", experiment, RELEVANT)
    return RELEVANT[experiment]


def explanations() -> dict[str, str]:
    """Return what each switch does, in one line: its docstring in the source."""
    import ast
    import inspect
    from itertools import pairwise

    (body,) = (
        node.body for node in ast.parse(inspect.getsource(Switches)).body if isinstance(node, ast.ClassDef)
    )
    texts = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            texts[field.target.id] = str(text.value.value)
    return texts
