"""Every metric by name, of single models, of ensembles and of the stress track: one look-up for what each means."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from regunlearn.benchmark import ensemble_metrics, metrics, stress_metrics
from regunlearn.benchmark.ensemble_metrics import Entry
from regunlearn.benchmark.errors import UnknownName
from regunlearn.benchmark.metrics import Metric

Of = Literal["model", "ensemble", "stress"]

TABLES: Mapping[Of, Mapping[str, Metric] | Mapping[str, Entry]] = MappingProxyType(
    {
        "model": metrics.METRICS,
        "ensemble": ensemble_metrics.ENTRIES,
        "stress": stress_metrics.ENTRIES,
    }
)


class Meaning(NamedTuple):
    """An entry, and what it is a metric of. The same name may be one of single models and one of ensembles."""

    of: Of
    entry: Metric | Entry


def everything() -> Iterator[Meaning]:
    """Yield all entries: single models, ensembles, stress track, in the order of their tables."""
    for of, table in TABLES.items():
        for entry in table.values():
            yield Meaning(of, entry)


def columns(entry: Metric | Entry) -> tuple[str, ...]:
    """Return the columns of records that an entry explains: its own, its anchors and the ends of its interval."""
    return (entry.name, *entry.also) if isinstance(entry, Entry) else (entry.name,)


def find(name: str) -> list[Meaning]:
    """Return the entries that explain a column, at least one.

    Raises:
        UnknownName: with the nearest and all known names.
    """
    found = [meaning for meaning in everything() if name in columns(meaning.entry)]
    if not found:
        raise UnknownName("metric", name, {column for one in everything() for column in columns(one.entry)})
    return found
