"""Word vectors from a file of any size: found, identified, and read only as far as some words need them.

Two forms: GloVe's text (J. Pennington, R. Socher, C. Manning, EMNLP 2014), a word and its numbers on each line with
single spaces between; and an `.npz` with `words` and `vectors`. Some words of GloVe 840B contain spaces themselves
(". . .", "at name@domain.com"): a line is therefore split from its right end. Code that splits at the first space
takes such a line for one of the word "at" and loses the vector of that word.
"""

import hashlib
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regunlearn.benchmark.errors import BenchmarkError

PREFERRED = "glove.840B.300d.txt"
"""What the paper used."""

SMALL = 256 * 2**20
EDGE = 2**20
"""Bytes: larger files than `SMALL` are identified by their size and by `EDGE` at each end."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of some words.

    Attributes:
        rows: by word, the row of its vector.
        values: shape (words, dimension), float32.
        origin: name of the file.
    """

    rows: dict[str, int]
    values: NDArray[np.float32]
    origin: str

    @property
    def dimension(self) -> int:
        """Numbers of one vector."""
        return int(self.values.shape[1])


def choose(folder: Path) -> Path:
    """Return the file of vectors to use: GloVe 840B, or else any text file, or else any `.npz`.

    Of several of a kind, the first in alphabetic order.

    Raises:
        BenchmarkError: the folder has none.
    """
    for pattern in (PREFERRED, "*.txt", "*.npz"):
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[0]
    raise BenchmarkError(
        f"{folder}: expected {PREFERRED}, another .txt or an .npz of word vectors, found none."
    )


def identity(path: Path) -> str:
    """Return a hash that tells files of vectors apart.

    Of the whole content, or, above `SMALL`, of size, first and last part: every start of a run asks for it, and
    reading 5 GB takes longer than many a run. The released files differ in size and in their first line.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size};".encode())
    with path.open("rb") as handle:
        if size <= SMALL:
            digest.update(handle.read())
        else:
            digest.update(handle.read(EDGE))
            handle.seek(-EDGE, 2)
            digest.update(handle.read())
    return digest.hexdigest()


def read(path: Path, words: Collection[str]) -> Vectors:
    """Return the vectors of those of `words` that the file has.

    Raises:
        BenchmarkError: the file cannot be read, or is in neither form.
    """
    try:
        return _read_npz(path, words) if path.suffix == ".npz" else _read_text(path, words)
    except OSError as error:
        raise BenchmarkError(
            f"cannot read {path}: {error.strerror or error}. Check its permissions."
        ) from error


def embed(sentences: Sequence[Sequence[str]], vectors: Vectors, length: int) -> NDArray[np.float32]:
    """Return the vectors of each sentence's first words, shape (n, length, dimension), padded on the left with zeros.

    A word without a vector is the mean of the sentence's known words, those after `length` included, or zero if none
    is known.
    """
    made = np.zeros((len(sentences), length, vectors.dimension), dtype=np.float32)
    for row, sentence in zip(made, sentences, strict=True):
        codes = np.array([vectors.rows.get(word, -1) for word in sentence], dtype=np.int64)
        known, read = codes[codes >= 0], codes[:length]
        if len(known):
            row[length - len(read) :] = vectors.values[read]
            row[length - len(read) :][read < 0] = vectors.values[known].mean(axis=0, dtype=np.float64)
    return made


def _read_text(path: Path, words: Collection[str]) -> Vectors:
    """Stream the lines; only those that start with a needed word are split. Of a word met twice the first counts."""
    wanted = {word.encode() for word in words}
    found = dict[bytes, list[bytes]]()
    dimension = 0
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                dimension = line.count(b" ")
                if dimension == 1:  # "400000 300", as word2vec writes it
                    dimension = int(line.split()[1]) if line.split()[1].isdigit() else 0
                    continue
            if line[: line.find(b" ")] not in wanted:
                continue
            word, *numbers = line.rstrip().rsplit(b" ", dimension)
            if len(numbers) != dimension:
                raise _damaged(
                    path, f"line {number} has {len(numbers)} numbers and the first has {dimension}"
                )
            if word in wanted:
                wanted.discard(word)
                found[word] = numbers
                if not wanted:
                    break
    if dimension < 2:
        raise _damaged(path, "its first line has no vector")
    try:
        values = np.array(list(found.values()) or np.zeros((0, dimension)), dtype=np.float32)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return _vectors(path, [word.decode() for word in found], values)


def _read_npz(path: Path, words: Collection[str]) -> Vectors:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as content:
            known, values = content["words"], content["vectors"]
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if known.ndim != 1 or values.ndim != 2 or len(known) != len(values) or known.dtype.kind != "U":
        raise _damaged(path, f"words {known.dtype} {known.shape}, vectors {values.dtype} {values.shape}")
    wanted = set(words)
    kept = {str(word): row for row, word in reversed([*enumerate(known)]) if word in wanted}
    return _vectors(path, [*kept], values[[*kept.values()]].astype(np.float32))


def _vectors(path: Path, words: Sequence[str], values: NDArray[np.float32]) -> Vectors:
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise _damaged(path, f"the vector of {words[int(bad.argmax())]!r} is not finite")
    return Vectors({word: row for row, word in enumerate(words)}, values, path.name)


def _damaged(path: Path, found: str) -> BenchmarkError:
    return BenchmarkError(
        f"{path}: expected word vectors, either a text with a word and its numbers on each line or an npz of `words`, "
        f"shape (n,), text, and `vectors`, shape (n, dimension); found: {found}. Remove the file or fetch it again."
    )
