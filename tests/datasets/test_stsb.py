"""STS-B: reading, cleaning, word vectors and both preparations on small made files, and the counts of the real ones."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.benchmark import registry, splits
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Dataset, Recipe
from regunlearn.datasets import _glove, stsb
from regunlearn.datasets._stop_words import STOP_WORDS

HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
KNOWN = ["man", "rides", "horse", "dog", "runs", "boat", "poor's"]

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (os.environ.get("REGUNLEARN_TEST_DATA") and os.environ.get("REGUNLEARN_DATA")),
        reason="REGUNLEARN_TEST_DATA and REGUNLEARN_DATA are not set",
    ),
]


def table(pairs: Sequence[tuple[str, str, object]], header: str = HEADER) -> str:
    lines = [
        f"{k}\tnews\tx\t2014\t{k}\tnone\tnone\t{a}\t{b}\t{score}" for k, (a, b, score) in enumerate(pairs)
    ]
    return "\n".join([header, *lines]) + "\n"


def glove(words: Sequence[str], dimension: int = 4, seed: int = 0) -> tuple[str, np.ndarray]:
    values = np.random.default_rng(seed).normal(size=(len(words), dimension)).round(4).astype(np.float32)
    lines = (f"{word} {' '.join(map(str, row))}" for word, row in zip(words, values, strict=True))
    return "\n".join(lines) + "\n", values


TRAIN = [
    ("A man rides a horse.", "A dog runs.", 0.0),
    ("Man runs", "dog rides", "1.5"),
    ("The boat.", "A boat!", "2.000"),
    ('Dog "rides', "boat", 3),
    ('A "horse" runs', 'The man"', 4),
    ("horse", "horse http://x.y/boat", 5),
]
DEV = [("The boat.", "a boat!", 1), ("dog runs", "zzz qqq", 2), ("dog rides", "Man runs", 5)]
TEST = [("man", "boat", 0), ("A dog runs.", "A man rides a horse.", 4.25), ("horse", "dog", 4.5)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a user's folder with a small copy of both sources."""
    root = tmp_path / "data"
    for name in ("stsb", "glove"):
        (root / name).mkdir(parents=True)
    for name, pairs in (("train", TRAIN), ("dev", DEV), ("test", TEST)):
        (root / "stsb" / f"{name}_new.tsv").write_text(table(pairs))
    (root / "glove" / "small.txt").write_text(glove(KNOWN)[0])
    monkeypatch.setenv("REGUNLEARN_DATA", str(root))
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    return root


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("A man is NOT riding a horse, no!", ["man", "riding", "horse"]),
        ("See https://a.b/c?d=e it's great", ["see", "great"]),
        ("250 points (3%) on 9/11", ["points"]),
        ("'Standard & Poor's' isn't 'up'", ["standard", "poor's"]),
        ("Iran's 'new' clichés aren’t", ["iran's", "new", "clich"]),
        ("he said ''so''", ["said", "'so"]),
        ("the and not", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert stsb.words(text) == expected


@given(st.text())
def test_words_hold_letters_and_no_stop_word(text: str) -> None:
    for word in stsb.words(text):
        assert set(word) <= set("abcdefghijklmnopqrstuvwxyz'")
        assert word not in STOP_WORDS


def test_stop_words_are_the_179() -> None:
    assert len(STOP_WORDS) == 179
    assert {"no", "nor", "not", "don't", "wouldn't", "the"} <= STOP_WORDS


def test_quotes_swallow_lines_as_published(folder: Path) -> None:
    path = folder / "stsb" / "train_new.tsv"
    pairs = [("a", "b", 0), ('"One', "two", 1), ("three", 'four"', 2), ("five", "six", ""), ('"x" y', "z", 4)]
    write(path, table(pairs))
    published = stsb.parse(path, published=True)
    assert published.scores.tolist() == [0, 4], "a field reaches over two lines, and a pair has no score"
    write(path, table([pair for pair in pairs if pair[2] != ""]))
    ours = stsb.parse(path)
    assert ours.scores.tolist() == [0, 1, 2, 4]
    assert (ours.first[1], ours.second[2]) == ('"One', 'four"')


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b\n1,2\n", "no column sentence1, sentence2, score among a,b"),
        (table(TRAIN, HEADER.replace("score", "label")), "no column score"),
        ("", "EmptyDataError"),
        (table([("a", "b", 0), ("a", "b", 7)]), "pair 2: score '?7"),
    ],
)
@pytest.mark.parametrize("published", [False, True])
def test_a_file_of_another_form_is_named(tmp_path: Path, text: str, found: str, published: bool) -> None:
    path = write(tmp_path / "train_new.tsv", text)
    with pytest.raises(BenchmarkError, match=rf"train_new\.tsv: expected lines of ten columns.*{found}"):
        stsb.parse(path, published=published)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("1\tnews\tx\t2014\t1\tnone\tnone\ta\tb\t", "pair 2: score ''"),
        ("1\tnews\tx\t2014\t1\tnone\tnone\ta\tb\tgood", "pair 2: score 'good'"),
        ("1\tnews\tx\t2014\t1\tnone\tnone\ta\tb\t3\tmore", "line 3"),
        ("1\tnews\tx", "pair 2: score"),
    ],
)
def test_nothing_vanishes_silently(tmp_path: Path, line: str, found: str) -> None:
    path = write(tmp_path / "dev_new.tsv", table([("a", "b", 0)]) + line + "\n")
    with pytest.raises(BenchmarkError, match=found):
        stsb.parse(path)


def test_pairs_of_other_parts_are_dropped(folder: Path) -> None:
    data = stsb.stsb()
    assert data.name == "stsb"
    assert data.notes.startswith(
        "2 training pairs dropped that are, in either order, test pairs (1) or validation pairs (1). Vectors: "
        "small.txt, 4 dimensions, "
    )
    assert data.targets[data.train, 0].tolist() == [2, 3, 4, 5], "the boats differ in case and stay"
    assert data.targets[data.validation, 0].tolist() == [1, 2, 5]
    assert data.targets[data.test, 0].tolist() == [0, 4.25, 4.5]
    rows = np.concatenate([data.train, data.validation, data.test])
    np.testing.assert_array_equal(rows, np.arange(len(data.targets)))


def test_the_published_rows(folder: Path) -> None:
    data = stsb.stsb_published()
    assert data.name == "stsb-published"
    assert data.targets[data.train, 0].tolist() == [0, 1.5, 2, 3, 4, 5], "a quote inside a field is no quote"
    write(folder / "stsb" / "train_new.tsv", table([*TRAIN[:3], ('"Dog', "boat", 3), *TRAIN[4:]]))
    other = stsb.stsb_published()
    assert other.targets[other.train, 0].tolist() == [0, 1.5, 2, 4, 5], (
        "two lines make one pair, with the later score"
    )
    assert "swallow" in other.notes


def test_both_sentences_are_embedded_in_their_order(folder: Path) -> None:
    data = stsb.stsb()
    values = glove(KNOWN)[1]
    first, second = data.inputs["first"], data.inputs["second"]
    assert list(data.inputs) == ["first", "second"]
    assert first.dtype == second.dtype == np.float32
    assert first.shape == second.shape == (10, 10, 4)
    row = data.test[1]
    np.testing.assert_array_equal(first[row, -2:], values[[3, 4]])
    np.testing.assert_array_equal(second[row, -3:], values[[0, 1, 2]])
    assert not first[row, :-2].any()
    assert not second[data.validation[1]].any(), "no word of it is known"


vectors = st.integers(1, 5).flatmap(
    lambda count: st.lists(st.sampled_from([*KNOWN[:count], "zzz", "yyy"]), max_size=14)
)


@given(st.lists(vectors, min_size=1, max_size=4))
def test_embed(sentences: list[list[str]]) -> None:
    values = glove(KNOWN)[1]
    known = _glove.Vectors({word: row for row, word in enumerate(KNOWN)}, values, "x.txt")
    made = _glove.embed(sentences, known, 10)
    assert made.shape == (len(sentences), 10, 4)
    for row, sentence in zip(made, sentences, strict=True):
        rows = [known.rows[word] for word in sentence if word in known.rows]
        mean = values[rows].mean(axis=0) if rows else np.zeros(4)
        expected = [values[known.rows[word]] if word in known.rows else mean for word in sentence[:10]]
        padded = [np.zeros(4)] * (10 - len(expected)) + expected
        np.testing.assert_allclose(row, padded, rtol=1e-5, atol=1e-6)


def test_the_first_ten_words_count() -> None:
    known = _glove.Vectors({"a": 0}, np.ones((1, 2), np.float32), "x.txt")
    made = _glove.embed([["zzz"] * 10 + ["a"], ["a"] * 10 + ["zzz"]], known, 10)
    assert (made == 1).all(), "an unknown word is the mean of the whole sentence"


# Word vectors


def test_text_with_words_that_hold_spaces(tmp_path: Path) -> None:
    text, values = glove(
        [",", "email", ". . .", "at name@domain.com", "at", "the", "email name@domain.com", "at"]
    )
    found = _glove.read(write(tmp_path / "v.txt", text), {"email", "at", "unheard", "."})
    assert found.rows.keys() == {"email", "at"}
    np.testing.assert_array_equal(found.values[found.rows["email"]], values[1])
    np.testing.assert_array_equal(found.values[found.rows["at"]], values[4])
    assert (found.dimension, found.origin, found.values.dtype) == (4, "v.txt", np.dtype(np.float32))


def test_text_with_a_line_of_counts_first(tmp_path: Path) -> None:
    text, values = glove(["the", "man"], 5)
    found = _glove.read(write(tmp_path / "v.txt", f"2 5\n{text}"), {"man"})
    np.testing.assert_array_equal(found.values, values[1:])


def test_text_without_any_needed_word(tmp_path: Path) -> None:
    found = _glove.read(write(tmp_path / "v.txt", glove(["the"])[0]), {"man"})
    assert (found.rows, found.values.shape) == ({}, (0, 4))


def archive(path: Path, **arrays: np.ndarray) -> Path:
    with path.open("wb") as handle:
        np.savez(handle, **arrays)  # type: ignore[arg-type]
    return path


def test_npz_and_text_give_the_same(tmp_path: Path) -> None:
    text, values = glove(KNOWN)
    packed = archive(
        tmp_path / "v.npz", words=np.array([*KNOWN, "man"]), vectors=np.vstack([values, values[3:4]])
    )
    wanted = {"man", "boat", "zzz"}
    one, other = _glove.read(packed, wanted), _glove.read(write(tmp_path / "v.txt", text), wanted)
    assert one.rows.keys() == other.rows.keys() == {"man", "boat"}
    for word, row in one.rows.items():
        np.testing.assert_array_equal(one.values[row], other.values[other.rows[word]])


@pytest.mark.parametrize(
    ("name", "make", "found"),
    [
        ("v.txt", lambda path: path.write_bytes(b""), "its first line has no vector"),
        ("v.txt", lambda path: path.write_text("<html>\nman\n"), "first line has no vector|has 0 numbers"),
        (
            "v.txt",
            lambda path: path.write_text("the 1 2 3\nman 1 2\n"),
            "line 2 has 2 numbers and the first has 3",
        ),
        ("v.txt", lambda path: path.write_text("the 1 2 3\nman 1 x 2\n"), "could not convert"),
        ("v.txt", lambda path: path.write_text("the 1 2 3\nman 1 nan 2\n"), "vector of 'man' is not finite"),
        ("v.npz", lambda path: path.write_bytes(b"PK\x03\x04cut"), "BadZipFile"),
        ("v.npz", lambda path: path.write_text("text"), "ValueError"),
        ("v.npz", lambda path: archive(path, words=np.array(["man"])), "KeyError"),
        (
            "v.npz",
            lambda path: archive(path, words=np.array(["man"]), vectors=np.ones((2, 3))),
            r"vectors float64",
        ),
        (
            "v.npz",
            lambda path: archive(path, words=np.array([{}]), vectors=np.ones((1, 3))),
            "allow_pickle=False",
        ),
    ],
)
def test_damaged_vectors_are_named(
    tmp_path: Path, name: str, make: Callable[[Path], object], found: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(BenchmarkError, match=rf"{name}: expected word vectors.*({found})"):
        _glove.read(tmp_path / name, {"man"})


def test_the_papers_vectors_are_preferred(tmp_path: Path) -> None:
    names = [_glove.PREFERRED, "a.txt", "z.txt", "a.npz"]
    for name in names:
        (tmp_path / name).touch()
    for name in names:
        assert _glove.choose(tmp_path).name == name
        (tmp_path / name).unlink()
    with pytest.raises(BenchmarkError, match=r"expected glove\.840B\.300d\.txt, another \.txt or an \.npz"):
        _glove.choose(tmp_path)


def test_identity_reads_the_ends_of_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_glove, "SMALL", 100)
    monkeypatch.setattr(_glove, "EDGE", 30)
    large = bytes(range(200))
    contents = [b"", b"abc", large, large[:-1] + b"x", b"x" + large[1:], large + b"x"]
    found = []
    for content in contents:
        (tmp_path / "v.txt").write_bytes(content)
        found.append(_glove.identity(tmp_path / "v.txt"))
    assert len(set(found)) == len(contents)


def test_other_vectors_or_pairs_are_prepared_anew(folder: Path) -> None:
    before = stsb.stsb()
    write(folder / "glove" / "small.txt", glove(KNOWN, seed=1)[0])
    other = stsb.stsb()
    assert not np.array_equal(before.inputs["first"], other.inputs["first"])
    write(folder / "glove" / _glove.PREFERRED, glove(KNOWN, 6)[0])
    assert "glove.840B.300d.txt, 6 dimensions" in stsb.stsb().notes
    write(folder / "stsb" / "test_new.tsv", table(TEST[:2]))
    assert len(stsb.stsb().test) == 2


def test_vectors_of_another_language_are_refused(folder: Path) -> None:
    write(folder / "glove" / "small.txt", glove(["und", "nicht"])[0])
    with pytest.raises(BenchmarkError, match=r"small\.txt has none of the \d+ words of stsb"):
        stsb.stsb()


@pytest.mark.parametrize(("missing", "name"), [("stsb/dev_new.tsv", "stsb"), ("glove/small.txt", "glove")])
def test_what_is_missing_is_named(folder: Path, missing: str, name: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BenchmarkError, match=f"data get {name}"):
        stsb.stsb()


# Tasks


def test_the_tasks_differ_in_the_average_alone() -> None:
    cards = registry.discover("task")
    ours, published = (cards.get(name) for name in ("stsb-lstm", "stsb-published-lstm"))
    assert ours.facts["splits"] == published.facts["splits"]
    assert {**ours.facts["recipe"], "average": "batches"} == published.facts["recipe"]
    assert Recipe(**ours.facts["recipe"]).order == "fixed"


def test_the_bands_are_below_two_and_from_four_on(folder: Path) -> None:
    pairs = [(f"man {k}", "boat", score) for k, score in enumerate([0, 1.99, 2, 2.5, 3.99, 4, 4.5, 5])]
    for name in ("train", "dev", "test"):
        write(folder / "stsb" / f"{name}_new.tsv", table([(a + name, b, score) for a, b, score in pairs]))
    data = stsb.stsb()
    for name, expected in (("band", [0, 1.99]), ("high", [4, 4.5, 5])):
        arguments = registry.discover("task").get("stsb-lstm").facts["splits"][name]
        made = splits.make(name, arguments, data, lambda: np.zeros(0), task="stsb-lstm")
        assert data.targets[made.forget, 0].tolist() == expected
        assert data.targets[made.test_forget, 0].tolist() == expected
        assert len(made.validation) == 8 - len(expected)


# The real files


@lru_cache(maxsize=1)
def real(name: str) -> Dataset:
    loaded: Dataset = registry.load(registry.discover("dataset").get(name))()
    return loaded


def counts(data: Dataset) -> dict[str, tuple[int, int, int]]:
    """Return of each part the number of rows, of rows below 2, and of rows of 4 and more."""
    rows = {"train": data.train, "validation": data.validation, "test": data.test}
    scores = {part: data.targets[indices, 0] for part, indices in rows.items()}
    return {part: (len(s), int((s < 2).sum()), int((s >= 4).sum())) for part, s in scores.items()}


@pytest.mark.parametrize(
    ("name", "train", "validation", "test"),
    [
        pytest.param(
            "stsb-published", (5107, 1561, 1255), (999, 400, 200), (954, 377, 200), marks=needs_data
        ),
        pytest.param("stsb", (5213, 1559, 1256), (1000, 400, 200), (1000, 400, 200), marks=needs_data),
    ],
)
def test_real_counts(name: str, train: object, validation: object, test: object) -> None:
    assert counts(real(name)) == {"train": train, "validation": validation, "test": test}


@pytest.mark.parametrize("name", [pytest.param("stsb", marks=needs_data)])
def test_real_pairs_in_two_parts(name: str) -> None:
    from regunlearn.benchmark import sources

    folder = sources.folder_of(stsb.SPLIT)
    pairs = {part: stsb.parse(folder / file) for part, file in stsb.PARTS.items()}
    assert {part: len(rows) for part, rows in pairs.items()} == {
        "train": 5249,
        "validation": 1000,
        "test": 1000,
    }
    assert stsb.shared(pairs["train"], pairs["test"]).sum() == 25
    assert stsb.shared(pairs["train"], pairs["validation"]).sum() == 12
    assert stsb.shared(pairs["validation"], pairs["test"]).sum() == 3
    assert real(name).notes.startswith("36 training pairs dropped")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_data) for name in ("stsb", "stsb-published")]
)
def test_real_validation_and_test_rows_are_sorted_by_score(name: str) -> None:
    data = real(name)
    for rows in (data.validation, data.test):
        bins = data.targets[rows, 0] // 0.2501
        assert (np.diff(bins) >= -1).all()
        assert bins[0] == 0
        assert bins[-1] == bins.max()
