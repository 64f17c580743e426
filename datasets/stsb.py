"""Semantic similarity of sentence pairs (STS-B), the text task of the paper, in its balanced split.

Origin: D. Cer et al., "SemEval-2017 Task 1: Semantic Textual Similarity", 2017; split with a balanced validation and
test part ("STS-B-DIR") by Y. Yang et al., "Delving into Deep Imbalanced Regression", ICML 2021
(github.com/YyzHarry/imbalanced-regression). Three files of ten columns with tabs between, sorted by score. Task and
recipe: A. Tarun et al., "Deep Regression Unlearning", ICML 2023, notebook STSB_LSTM_Unlearn_0_to_2 of its code.
Terms: the split is MIT; the sentences carry their sources' own terms. GloVe is PDDL.

Sentences, as in the notebook: lower case, links removed, only letters and apostrophes inside words kept, stop words
left out, "not" and "no" among them; the first ten words, padded with zeros on the left. A word without a vector is the
mean of the vectors of the whole sentence. A sentence has 6.4 words left on average; 11 % have more than ten.

Two datasets:
- `stsb-published` reads the files as the notebook does, where a quotation mark swallows what follows up to the next
  one: 142 of 5,249 training pairs, 1 of 1,000 validation and 46 of 1,000 test pairs are lost (pandas 3.1), and 4
  training and 2 test pairs have other lines inside a sentence.
- `stsb` reads all lines. It drops the 36 training pairs whose two sentences, in either order, are a pair of the test
  (25) or validation rows (12, one of them in both). Three validation pairs are test pairs too; both stay, as balanced.

Validation and test rows keep the files' order, by score: the published validation error is a mean of means over
batches of 256 rows, and depends on it.
The paper forgets scores below 2 (`band`); `high`, scores of 4 and more, is known from a file name alone.
Vectors: the paper's are GloVe 840B with 300 dimensions; other files serve too and give other, not comparable results.
"""

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import nn

from regunlearn.benchmark import fetch, sources
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.registry import dataset, task
from regunlearn.benchmark.siamese import SiameseLSTM
from regunlearn.benchmark.sources import Download, Source
from regunlearn.benchmark.spec import Dataset, Shape
from regunlearn.datasets import _glove, _stop_words
from regunlearn.datasets._stop_words import STOP_WORDS

_RAW = (
    "https://raw.githubusercontent.com/YyzHarry/imbalanced-regression/"
    "c37d6f46d35e5a0b37277d8d925ad112ed8ef487/sts-b-dir/glue_data/STS-B/"
)
PARTS = {"train": "train_new.tsv", "validation": "dev_new.tsv", "test": "test_new.tsv"}
SPLIT = Source(
    name="stsb",
    title="STS-B-DIR: sentence pairs with a similarity score, in a balanced split",
    files=tuple(PARTS.values()),
    url="https://github.com/YyzHarry/imbalanced-regression",
    downloads=(
        Download(
            url=_RAW + "train_new.tsv",
            file="train_new.tsv",
            sha256="4da3322ae29f7ad1b7d03cdeafcb2480c276e5df1d08737678a7856697218a9a",
            size_mb=0.9,
        ),
        Download(
            url=_RAW + "dev_new.tsv",
            file="dev_new.tsv",
            sha256="9ec12d785aa817ffe4b0f88fde442d3bf57161d8cbeaa84aaa1fdf764cca6dd6",
            size_mb=0.2,
        ),
        Download(
            url=_RAW + "test_new.tsv",
            file="test_new.tsv",
            sha256="55f90b3c5a0b2947d5ff64c41536191e9e1ba3bb5ffe64aca5465ab25fa8e94c",
            size_mb=0.2,
        ),
    ),
    licence="MIT",
    terms="The split is MIT; the sentences carry their sources' own terms.",
)
GLOVE = Source(
    name="glove",
    title="GloVe word vectors, 840B tokens, 300 dimensions",
    files=("glove.840B.300d.txt|*.txt|*.npz",),
    url="https://nlp.stanford.edu/projects/glove/",
    downloads=(
        Download(
            url="https://nlp.stanford.edu/data/glove.840B.300d.zip",
            file="glove.840B.300d.zip",
            sha256=None,
            size_mb=2180,
            unpack="glove.840B.300d.txt",
        ),
    ),
    licence="PDDL",
    terms="The vectors are in the public domain (PDDL 1.0).",
    how="unpack glove.840B.300d.zip, or put there any other GloVe text file, or an .npz of `words` and `vectors`.",
)

LENGTH = 10
"""Words of a sentence that are read."""

COLUMNS = ("sentence1", "sentence2", "score")

_LINK = re.compile(r"http\S+")
_OTHER = re.compile(r"[^a-z' ]+")
_LOOSE = re.compile(r"[^a-z]'|'[^a-z]")
"""An apostrophe at the edge of a word. Of two in a row before a word one stays, as published: ''so'' is 'so."""


def words(text: str) -> list[str]:
    """Return the words of a sentence that are read.

    >>> words("The U.S. isn't at http://a.b/c -- 'Poor's' lost 250 points!")
    ['u', "poor's", 'lost', 'points']
    """
    letters = _OTHER.sub(" ", _LINK.sub(" ", text.lower()))
    return [word for word in _LOOSE.sub(" ", f" {letters} ").split() if word not in STOP_WORDS]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sentence pairs in the order of their file, and their scores in points, 0 to 5."""

    first: list[str]
    second: list[str]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    def unordered(self) -> list[frozenset[str]]:
        """Return each pair without its order."""
        return [frozenset(pair) for pair in zip(self.first, self.second, strict=True)]

    def take(self, rows: Sequence[int]) -> "Pairs":
        """Return some of the pairs."""
        return Pairs(
            [self.first[row] for row in rows], [self.second[row] for row in rows], self.scores[[*rows]]
        )


def parse(path: Path, *, published: bool = False) -> Pairs:
    """Read one file of pairs.

    Args:
        path: of the file.
        published: read it as the notebook does: quotation marks quote, lines that do not fit are skipped, pairs
            without a score are dropped.

    Raises:
        BenchmarkError: the file has no such columns, a score is outside 0 to 5, or, unless published, a line does not
            fit or a score is missing; the message has its number.
    """
    try:
        if published:
            frame = pd.read_csv(path, sep="\t", on_bad_lines="skip", low_memory=False)
        else:
            frame = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, dtype=str, na_filter=False)
    except (ValueError, OSError) as error:  # pandas' own errors and wrong encodings are ValueErrors
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise _damaged(
            path, f"no column {', '.join(missing)} among {', '.join(map(str, frame.columns))[:120]}"
        )
    scores = pd.to_numeric(frame["score"], errors="coerce").to_numpy(dtype=np.float64)
    if published:
        frame, scores = frame[~np.isnan(scores)], scores[~np.isnan(scores)]
    bad = ~((scores >= 0) & (scores <= 5))
    if bad.any():
        row = int(bad.argmax())
        raise _damaged(
            path, f"pair {row + 1}: score {str(frame['score'].iloc[row])!r}, not a number from 0 to 5"
        )
    first, second = (["" if pd.isna(text) else str(text) for text in frame[name]] for name in COLUMNS[:2])
    return Pairs(first, second, scores)


def _damaged(path: Path, found: str) -> BenchmarkError:
    return BenchmarkError(
        f"{path}: expected lines of ten columns with tabs between, {', '.join(COLUMNS)} among them; found: {found}. "
        "Remove the file and run `regunlearn data get stsb --accept-terms`."
    )


def shared(train: Pairs, other: Pairs) -> NDArray[np.bool_]:
    """Return which training pairs are pairs of `other` too, in either order, word for word: shape (n,)."""
    known = set(other.unordered())
    return np.array([pair in known for pair in train.unordered()], dtype=bool)


@dataset(
    "stsb",
    modality="text",
    source="STS-B-DIR (Yang et al., 2021), GloVe; pairs of the test and validation rows dropped from training",
    licence="MIT; sentences under their sources' terms; GloVe PDDL",
)
def stsb() -> Dataset:
    """Mean human rating of how similar two sentences are."""
    return _load("stsb", published=False)


@dataset(
    "stsb-published",
    modality="text",
    source="STS-B-DIR (Yang et al., 2021), GloVe; as the paper's notebook reads it",
    licence="MIT; sentences under their sources' terms; GloVe PDDL",
)
def stsb_published() -> Dataset:
    """Similarity of two sentences, with the pairs that the published code loses lost."""
    return _load("stsb-published", published=True)


def _load(name: str, *, published: bool) -> Dataset:
    folder = sources.folder_of(SPLIT)
    paths = {part: folder / file for part, file in PARTS.items()}
    vectors = _glove.choose(sources.folder_of(GLOVE))
    helpers = [
        hashlib.sha256(Path(str(module.__file__)).read_bytes()).hexdigest()
        for module in (_glove, _stop_words)
    ]
    key = [sources.fingerprint([*paths.values()]), vectors.name, _glove.identity(vectors), *helpers]

    def build() -> Dataset:
        pairs = {part: parse(path, published=published) for part, path in paths.items()}
        return _prepare(name, pairs, vectors, published=published)

    return fetch.processed(name, key, Path(__file__), build)


def _prepare(name: str, pairs: dict[str, Pairs], vectors: Path, *, published: bool) -> Dataset:
    notes = ["Read as the published code reads it: quotation marks swallow lines."]
    if not published:
        train = pairs["train"]
        in_test, in_validation = (shared(train, pairs[part]) for part in ("test", "validation"))
        kept = np.flatnonzero(~(in_test | in_validation))
        notes = [
            f"{len(train) - len(kept)} training pairs dropped that are, in either order, test pairs ({in_test.sum()}) "
            f"or validation pairs ({in_validation.sum()})."
        ]
        pairs = {**pairs, "train": train.take(kept.tolist())}
    first = [words(text) for part in PARTS for text in pairs[part].first]
    second = [words(text) for part in PARTS for text in pairs[part].second]
    found = _glove.read(vectors, {word for sentence in (*first, *second) for word in sentence})
    every = [word for sentence in (*first, *second) for word in sentence]
    share = sum(word in found.rows for word in every) / max(len(every), 1)
    if not share:
        raise BenchmarkError(
            f"{vectors} has none of the {len(set(every))} words of {name}. Choose another file."
        )
    notes.append(f"Vectors: {found.origin}, {found.dimension} dimensions, {share:.2%} of the words have one.")
    train_rows, validation_rows, test_rows = np.split(
        np.arange(len(first)), np.cumsum([len(pairs[part]) for part in PARTS])[:-1]
    )
    return Dataset(
        name=name,
        inputs={"first": _glove.embed(first, found, LENGTH), "second": _glove.embed(second, found, LENGTH)},
        targets=np.concatenate([pairs[part].scores for part in PARTS]),
        target="mean rating of the similarity of two sentences",
        unit="points",
        train=train_rows,
        validation=validation_rows,
        test=test_rows,
        notes=" ".join(notes),
    )


@task(
    "stsb-lstm",
    dataset="stsb",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.01,
        "loss": "mse",
        "schedule": "plateau",
        "keep": "best",
        "order": "fixed",
        "partial": True,
        "standardise": False,
    },
    splits={
        "band": {"kind": "band", "high": 2.0},
        "high": {"kind": "band", "low": 3.9999},
        "random": {"kind": "random", "fraction": 0.1},
    },
)
def lstm(shape: Shape) -> nn.Module:
    """Predict similarity with one LSTM of 64 units over both sentences; below 2, or from 4 on, is forgotten."""
    return SiameseLSTM(shape)


@task(
    "stsb-published-lstm",
    dataset="stsb-published",
    suite="paper",
    recipe={
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.01,
        "loss": "mse",
        "schedule": "plateau",
        "keep": "best",
        "order": "fixed",
        "partial": True,
        "standardise": False,
        "average": "batches",
    },
    splits={
        "band": {"kind": "band", "high": 2.0},
        "high": {"kind": "band", "low": 3.9999},
        "random": {"kind": "random", "fraction": 0.1},
    },
)
def published_lstm(shape: Shape) -> nn.Module:
    """Network and recipe of `stsb-lstm` on the published rows, the validation error averaged as published."""
    return lstm(shape)
