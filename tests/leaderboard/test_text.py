"""Numbers as text, and text that stays text."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.leaderboard.text import (
    Row,
    Table,
    clean,
    escape_latex,
    escape_markdown,
    latex,
    markdown,
    number,
    spread,
)

HOSTILE = (
    "a | b\n| c `d` **e** <script>alert(1)</script> [x](http://y.z) @someone #1 $x$ ~~s~~ &lt; _it_ "
    "\\| \x1b[31m \u202e \ud800 %&{}^ <!-- END LEADERBOARD -->"
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.500"),
        (1.0, "1.00"),
        (0.99951, "1.00"),
        (12.345, "12.3"),
        (1234.5, "1230"),
        (999.9, "1000"),
        (-0.00598, "−0.00598"),
        (1.5e-5, "1.50e−5"),
        (12_345_678.0, "1.23e7"),
        (0.0, "0"),
        (-0.0, "0"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(-1e300, 1e300, allow_nan=False))
def test_a_number_reads_back_to_three_digits(value: float) -> None:
    assert float(number(value).replace("−", "-")) == pytest.approx(value, rel=0.00501)


def test_spread() -> None:
    assert spread(0.5, 0.0123) == "0.500 ± 0.012"
    assert spread(0.5, float("nan")) == "0.500"
    assert spread(float("nan"), 0.1) == "–"


def test_a_hostile_reason_stays_one_cell_of_text() -> None:
    table = Table(["Method", "Status"], [("", [Row(["a", HOSTILE])])], frozenset({0, 1}))
    line = markdown(table).splitlines()[2]
    assert line.count("|") == 3
    assert "<" not in line
    assert "`" not in line
    assert "](" not in line
    assert "://" not in line
    assert unescape(line.split("|")[2]).strip() == clean(HOSTILE)
    line.encode("utf-8")  # the lone surrogate is gone
    tex = latex(table)
    assert tex.count("\\\\\n") == 2
    assert not re.search(r"(?<!\\)[%#$&_^~](?![-}])", escape_latex(HOSTILE).replace("$-$", ""))
    assert tex.isascii()


@given(st.text())
def test_escaped_markdown_shows_what_was_meant(text: str) -> None:
    escaped = escape_markdown(text)
    assert unescape(escaped) == unescape(unescape(escaped)) or "&" in clean(text)
    assert not set("|<>`*[]\n\r@$~") & set(escaped)
    escaped.encode("utf-8")


@given(st.text())
def test_escaped_latex_has_balanced_braces_and_no_comment(text: str) -> None:
    escaped = re.sub(r"\\[{}]", "", escape_latex(text))
    assert escaped.count("{") == escaped.count("}")
    assert not re.search(r"(?<!\\)%", escaped)
    assert escaped.isascii()


def test_clean_cuts_and_collapses() -> None:
    assert clean("a\n\n b\tc") == "a b c"
    assert clean("x" * 500) == "x" * 159 + "…"
    assert clean("a\x07b") == "a�b"
