"""The membership attack: which rows it draws, and what it says where members can be told apart."""

import numpy as np
import pytest

from regunlearn.reproduction import attack

FORGET = np.arange(0, 40)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_as_published_forget_rows_are_members_and_nothing_is_held_out() -> None:
    drawn = attack.draw(200, 100, FORGET, rng(), mixed=True, rows=80)
    assert drawn is not None
    assert np.intersect1d(drawn.members, FORGET).size
    np.testing.assert_array_equal(drawn.members, drawn.rated_members)
    np.testing.assert_array_equal(drawn.others, drawn.rated_others)
    assert len(drawn.members) == len(drawn.others) == 80
    assert len(np.unique(drawn.forget)) == 40


def test_corrected_members_are_retain_rows_and_rates_are_held_out() -> None:
    drawn = attack.draw(200, 100, FORGET, rng(), mixed=False, rows=80)
    assert drawn is not None
    assert (
        len(drawn.members) == len(drawn.others) == len(drawn.rated_members) == len(drawn.rated_others) == 50
    )
    assert not np.intersect1d(np.concatenate([drawn.members, drawn.rated_members]), FORGET).size
    assert not np.intersect1d(drawn.members, drawn.rated_members).size
    assert not np.intersect1d(drawn.others, drawn.rated_others).size


def test_the_draw_is_seeded_and_needs_rows() -> None:
    first, second = (attack.draw(200, 100, FORGET, rng(), mixed=True) for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.members, second.members)
    assert attack.draw(42, 100, FORGET, rng(), mixed=False) is None


@pytest.mark.parametrize("mixed", [True, False])
def test_well_fitted_rows_are_called_members(mixed: bool) -> None:
    draw = rng()
    train, test = draw.uniform(0, 1, 200), draw.uniform(3, 6, 100)
    drawn = attack.draw(200, 100, FORGET, rng(), mixed=mixed, rows=80)
    assert drawn is not None
    known, unknown = (
        attack.rates(train, test, values, drawn) for values in (train[FORGET], np.full(40, 5.0))
    )
    assert known == {"attack_forget": 1.0, "attack_members": 1.0, "attack_others": 0.0}
    assert unknown["attack_forget"] == 0.0
