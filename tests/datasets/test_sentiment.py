"""Sentiment: the tokeniser, the parsers and the preparation, on small made files."""

import html
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.datasets import sentiment


@given(st.text())
def test_tokens_lose_nothing_but_space(text: str) -> None:
    words = sentiment.tokens(text)
    assert "".join(words) == "".join(html.unescape(text).lower().split())
    assert all(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Don't STOP!!", ["do", "n't", "stop", "!", "!"]),
        ("It's John's, isn't it?", ["it", "'s", "john", "'s", ",", "is", "n't", "it", "?"]),
        ("can't we'll i'm", ["ca", "n't", "we", "'ll", "i", "'m"]),
        ("clichés &amp; ad-2500", ["clichés", "&", "ad", "-", "2500"]),
        (":) ''so''", [":", ")", "'", "'", "so", "'", "'"]),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert sentiment.tokens(text) == expected


def test_parse() -> None:
    content = "1_1\t-0.9\tIt broke.\r\n1_2\t3.85\tI \u2013 love clichés\r\n\r\n2\t-4\tno".encode()
    texts, ratings = sentiment.parse(content, "x.txt")
    assert texts == ["It broke.", "I \u2013 love clichés", "no"]
    assert ratings == [-0.9, 3.85, -4.0]


@pytest.mark.parametrize(
    "line", ["1\t0.5", "1\tgood\ttext", "1\t4.1\ttext", "1\tnan\ttext", "1\t0.5\ttext\tmore", "<html>"]
)
def test_parse_names_the_line(line: str) -> None:
    with pytest.raises(BenchmarkError, match=r"x.txt:2: expected an id, a rating in \[-4, 4\] and a text"):
        sentiment.parse(f"1\t0.5\tfine\n{line}\n".encode(), "x.txt")


def parquet(columns: dict[str, list[str]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_vocabulary() -> None:
    assert sentiment.vocabulary(parquet({"index": ["the", "n't"]})) == {"the": 0, "n't": 1}


@pytest.mark.parametrize("content", [b"<html>", parquet({"words": ["the"]})])
def test_vocabulary_names_what_is_wrong(content: bytes) -> None:
    with pytest.raises(BenchmarkError, match="expected a Parquet file with the column 'index'"):
        sentiment.vocabulary(content)


@given(st.lists(st.lists(st.sampled_from(["good", "bad", "zzz"]), max_size=30), max_size=5))
def test_encode_pads_on_the_left_and_keeps_the_first_words(sentences: list[list[str]]) -> None:
    rows = {"good": 0, "bad": 1}
    codes, coverage = sentiment.encode([" ".join(words) for words in sentences], rows)
    assert codes.shape == (len(sentences), sentiment.WORDS)
    read = [words[: sentiment.WORDS] for words in sentences]
    for code, words in zip(codes.tolist(), read, strict=True):
        assert code == [-1] * (sentiment.WORDS - len(words)) + [rows.get(word, -1) for word in words]
    known = sum(word in rows for words in read for word in words)
    assert coverage == pytest.approx(known / max(1, sum(map(len, read))))


def test_sentences_that_read_the_same_are_dropped() -> None:
    words = [f"w{k}" for k in range(40)]
    vectors = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    movie = [*words[:20], "W3", "zzz w4 zzz", "yyy w4 xxx", "zzz", ""]
    tweets = [*words[20:], "w5"]
    made = sentiment._prepare(
        {
            "movie": (movie, np.linspace(-4, 4, len(movie))),
            "tweets": (tweets, np.linspace(-4, 4, len(tweets))),
        },
        {word: k for k, word in enumerate(words)},
        vectors,
        (21, 10, 10),
    )
    assert made.notes.startswith("5 sentences dropped")
    inputs = made.inputs["words"]
    assert inputs.shape == (41, 32, 50)
    assert inputs.dtype == np.float32
    assert not inputs[:, :-3].any()
    np.testing.assert_array_equal(inputs[3, -1], vectors[3])
    np.testing.assert_array_equal(inputs[20, -3:], [np.zeros(50), vectors[4], np.zeros(50)])
    assert made.groups["source"].tolist() == ["movie"] * 21 + ["tweets"] * 20
    assert made.targets[3, 0] == np.linspace(-4, 4, len(movie))[3]


def test_the_sentences_for_tuning_are_others() -> None:
    words = [f"w{k}" for k in range(40)]
    vectors = np.eye(40, 50, dtype=np.float32)
    sentences = {"movie": (words, np.linspace(-4, 4, 40))}
    rows = {word: k for k, word in enumerate(words)}
    scored, dev = (
        sentiment._prepare(sentences, rows, vectors, (10, 5, 5), (10, 5, 5), dev=dev) for dev in (False, True)
    )
    assert (len(dev.train), len(dev.validation), len(dev.test)) == (10, 5, 5)
    assert not set(scored.targets[:, 0]) & set(dev.targets[:, 0])
