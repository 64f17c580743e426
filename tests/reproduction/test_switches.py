"""The quirks by name, and the protocols that they make."""

import dataclasses

import pytest

from regunlearn.benchmark.errors import UnknownName, UsageError
from regunlearn.reproduction.experiments import EXPERIMENTS
from regunlearn.reproduction.switches import (
    CORRECTED,
    NAMES,
    PUBLISHED,
    RELEVANT,
    UNPUBLISHED,
    explanations,
    protocols,
    title,
    variants,
    without,
)


def test_published_has_every_quirk_and_corrected_none() -> None:
    assert set(dataclasses.asdict(PUBLISHED).values()) == {True}
    assert set(dataclasses.asdict(CORRECTED).values()) == {False}
    assert (title(PUBLISHED), title(CORRECTED)) == ("published", "corrected")


def test_a_variant_differs_from_the_published_protocol_in_one_switch() -> None:
    for experiment, names in RELEVANT.items():
        if experiment in UNPUBLISHED:
            assert variants(experiment) == []
            continue
        for name, switches in zip(names, variants(experiment), strict=True):
            on, off = dataclasses.asdict(PUBLISHED), dataclasses.asdict(switches)
            assert {one for one in NAMES if on[one] != off[one]} == {name}
            assert title(switches) == f"published without {name}"


def test_switches_off_together_are_one_protocol() -> None:
    found = protocols("stsb-band", ["lost_rows", "batch_means"])
    assert [title(one) for one in found] == [
        "published",
        "corrected",
        "published without batch_means, lost_rows",
    ]
    assert len(protocols("stsb-band")) == 5


def test_unknown_and_useless_switches_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"Did you mean 'lost_rows'\?"):
        without(["lost_row"])
    with pytest.raises(
        UsageError, match=r"worn_models' does nothing in stsb-band\. Those that do: batch_means"
    ):
        protocols("stsb-band", ["worn_models"])
    with pytest.raises(UnknownName, match="experiment"):
        protocols("nothing")


def test_every_experiment_and_switch_is_described() -> None:
    assert set(RELEVANT) == set(EXPERIMENTS)
    assert tuple(explanations()) == NAMES
    assert all(text.endswith(".") and "\n" not in text for text in explanations().values())
    assert {name for names in RELEVANT.values() for name in names} == set(NAMES)
