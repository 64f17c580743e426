"""Search spaces: what tuning may choose a method's hyperparameters from, as the method's decorator says it.

Of each hyperparameter either a range, `[low, high, scale]` with scale "log", "linear" or "integer", or a list of
choices, all text or all true and false. Whatever is not named keeps its default.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regunlearn.benchmark.errors import BenchmarkError

Value = float | int | str | bool
SCALES = ("log", "linear", "integer")
DIGITS = 7
"""Significant digits of a value, so that a file holds what was run."""


class SpaceError(BenchmarkError):
    """A search space cannot be drawn from."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included, uniform in the logarithm, in the number, or in the whole number."""

    low: float
    high: float
    scale: str

    def at(self, u: float) -> float | int:
        """Return the value at the position u in [0, 1], rounded to 7 significant digits within the range."""
        if self.scale == "integer":
            return min(int(self.high), int(self.low) + math.floor(u * (self.high - self.low + 1)))
        if self.scale == "log":
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + u * (high - low))
        else:
            value = self.low + u * (self.high - self.low)
        return min(max(float(f"{value:.{DIGITS}g}"), float(self.low)), float(self.high))

    def __contains__(self, value: object) -> bool:
        """Tell whether the value lies in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some texts, or true and false, each as likely."""

    values: Sequence[str | bool]

    def at(self, u: float) -> str | bool:
        """Return the value at the position u in [0, 1]."""
        return self.values[min(len(self.values) - 1, math.floor(u * len(self.values)))]

    def __contains__(self, value: object) -> bool:
        """Tell whether the value is one of the choices."""
        return value in self.values


Axis = Range | Choice
Space = Mapping[str, Axis]


def parse(search: object, defaults: Mapping[str, Any]) -> Space:
    """Return the search space of a method, in the order in which it is written.

    Args:
        search: the decorator's argument.
        defaults: of the method's hyperparameters.

    Raises:
        SpaceError: a name is no hyperparameter, or what is written for it is no range and no list of choices, or
            does not fit its default.
    """
    if not isinstance(search, Mapping):
        raise SpaceError(f"expected ranges and choices by name of the hyperparameter, found {search!r:.60}")
    strange = [name for name in search if name not in defaults]
    if strange:
        raise SpaceError(
            f"{', '.join(map(repr, strange))}: expected names of hyperparameters, which are "
            f"{', '.join(map(repr, defaults)) or 'none'}"
        )
    return {name: _axis(name, written, defaults[name]) for name, written in search.items()}


def at(space: Space, position: Sequence[float]) -> dict[str, Value]:
    """Return the hyperparameters at a point of the unit cube, shape (number of searched hyperparameters,)."""
    return {name: axis.at(u) for (name, axis), u in zip(space.items(), position, strict=True)}


def outside(space: Space, defaults: Mapping[str, Any]) -> list[str]:
    """Return the searched hyperparameters whose default is not in the space."""
    return [name for name, axis in space.items() if defaults[name] not in axis]


def _axis(name: str, written: object, default: object) -> Axis:
    if not isinstance(written, list | tuple):
        raise SpaceError(f"{name!r}: expected [low, high, scale] or a list of choices, found {written!r:.60}")
    numbers = [value for value in written if isinstance(value, int | float) and not isinstance(value, bool)]
    axis = _range(name, written) if numbers else _choice(name, written)
    kinds = (int, float) if isinstance(axis, Range) else (type(axis.values[0]),)
    if not isinstance(default, kinds) or (isinstance(default, bool) and bool not in kinds):
        raise SpaceError(f"{name!r}: {list(written)} does not fit the default {default!r}")
    return axis


def _range(name: str, written: Sequence[Any]) -> Range:
    form = f"{name!r}: expected [low, high, scale] with scale {', '.join(map(repr, SCALES))}"
    if len(written) != 3 or written[2] not in SCALES:
        raise SpaceError(f"{form}, found {list(written)}")
    low, high, scale = written
    kinds = (int,) if scale == "integer" else (int, float)
    if any(isinstance(bound, bool) or not isinstance(bound, kinds) for bound in (low, high)):
        raise SpaceError(f"{form} and {'whole ' if scale == 'integer' else ''}numbers, found {list(written)}")
    if not low < high:
        raise SpaceError(f"{name!r}: expected low < high, found {list(written)}")
    if scale == "log" and low <= 0:
        raise SpaceError(f"{name!r}: expected low > 0 on a log scale, found {list(written)}")
    return Range(low, high, scale)


def _choice(name: str, written: Sequence[Any]) -> Choice:
    kinds = {type(value) for value in written}
    if kinds not in ({str}, {bool}) or len(written) < 2 or len(set(written)) < len(written):
        raise SpaceError(
            f"{name!r}: expected at least two different choices, all text or all true and false, found {list(written)}"
        )
    return Choice(tuple(written))
