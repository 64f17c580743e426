"""The published numbers: all there, each with a place, and a damaged file is refused."""

from pathlib import Path

import pytest

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.reproduction import published


def test_all_published_rows_are_there() -> None:
    found = published.load()
    assert set(found) == {"stsb-band", "agedb-band"}
    text, images = found["stsb-band"], found["agedb-band"]
    assert len(text.values) == 6
    assert all({"test_retain", "test_forget"} <= set(numbers) for numbers in text.values.values())
    assert set(text.derived) == set(text.values)
    assert len(images.values) == 5
    assert all("attack_forget" in numbers for numbers in images.values.values())
    assert all("97b097e" in one.source for one in found.values())
    for one in found.values():
        assert {name for numbers in one.values.values() for name in numbers} <= set(one.units)


def test_numbers_that_check_each_other() -> None:
    found = published.load()
    text, images = found["stsb-band"].values, found["agedb-band"].values
    blindspot = text["blindspot"]
    assert blindspot["seconds"] == pytest.approx(
        blindspot["student_seconds"] + text["blindspot_proxy"]["seconds"]
    )
    steps = {"fine_tune": 152, "gaussian_finetune": 104, "blindspot": 3}
    for model, denominator in steps.items():
        assert images[model]["ain"] == pytest.approx(1 / denominator, rel=1e-4)
    assert set(found["agedb-band"].not_comparable) == {"w1", "ain"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[a", "not a file of published numbers"),
        ("[a]\ntitle = 'x'", "missing"),
        (
            "[a]\ntitle='x'\nsource=''\nderived={}\nunits={}\nnot_comparable={}\nvalues={nobody={w1=1}}",
            "'nobody'",
        ),
        (
            "[a]\ntitle='x'\nsource=''\nderived={}\nunits={}\nnot_comparable={}\nvalues={original={w1='1'}}",
            "w1 = '1'",
        ),
        (
            "[a]\ntitle='x'\nsource=''\nderived={}\nunits={}\nnot_comparable={}\nvalues={original={x=1}}",
            "x = 1",
        ),
    ],
)
def test_a_damaged_file_is_refused_by_name(text: str, named: str, tmp_path: Path) -> None:
    path = tmp_path / "published.toml"
    path.write_text(text)
    with pytest.raises(BenchmarkError, match=named) as caught:
        published.load(path)
    assert str(path) in str(caught.value)
