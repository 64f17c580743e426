"""Rotated digits: the parser, the rotation and the preparation, on small made files."""

import gzip

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.datasets import mnist_rotation


def images(n: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size=(n, 28, 28), dtype=np.uint8)


def csv(pictures: NDArray[np.uint8], digits: NDArray[np.int64]) -> str:
    lines = [[*picture.ravel().tolist(), digit] for picture, digit in zip(pictures, digits, strict=True)]
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


def test_parse() -> None:
    pictures, digits = images(3), np.array([7, 0, 9])
    found, labels = mnist_rotation.parse(gzip.compress(csv(pictures, digits).encode()))
    np.testing.assert_array_equal(found, pictures)
    assert labels.tolist() == [7, 0, 9]


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        gzip.compress(b"1,2,3\n"),
        gzip.compress(b""),
        gzip.compress(csv(images(2), np.array([1, 2])).replace(",", ";").encode()),
        gzip.compress(csv(images(2), np.array([1, 10])).encode()),
        gzip.compress(("256," + csv(images(1), np.array([1])).partition(",")[2]).encode()),
        gzip.compress(csv(images(2), np.array([1, 2])).encode())[:-200],
    ],
    ids=["text", "short lines", "empty", "separator", "digit", "grey value", "cut"],
)
def test_parse_names_what_is_wrong(content: bytes) -> None:
    with pytest.raises(BenchmarkError, match=r"mnist_5k.csv.gz: expected gzipped lines of 784 grey values"):
        mnist_rotation.parse(content)


def test_rotated_is_what_scipy_does_one_by_one() -> None:
    pictures, degrees = images(5).astype(np.float32), np.array([-60.0, -12.5, 0, 33, 90])
    expected = [
        ndimage.rotate(picture, angle, reshape=False, order=1)
        for picture, angle in zip(pictures, degrees, strict=True)
    ]
    np.testing.assert_allclose(mnist_rotation.rotated(pictures, degrees), expected, atol=1e-2)


def test_positive_angles_turn_counter_clockwise() -> None:
    picture = np.zeros((1, 28, 28), dtype=np.float32)
    picture[0, :14, 14] = 1  # a hand at twelve o'clock
    turned = mnist_rotation.rotated(picture, np.array([45.0]))[0]
    assert turned[:14, :14].sum() > 10 * turned[:14, 15:].sum()


def test_duplicates_are_dropped_and_angles_cover_the_range() -> None:
    pictures = images(80)
    made = mnist_rotation._prepare(np.concatenate([pictures, pictures[:5]]), np.arange(85) % 10, (40, 20, 20))
    assert made.notes.startswith("5 duplicate images dropped")
    assert (len(made.train), len(made.validation), len(made.test)) == (40, 20, 20)
    assert made.inputs["images"].shape == (80, 1, 14, 14)
    assert abs(made.inputs["images"][made.train].mean()) < 1e-5
    assert -60 <= made.targets.min() < -40 < 40 < made.targets.max() <= 60
    assert set(made.groups["digit"]) == set("0123456789")


def test_the_images_for_tuning_are_others() -> None:
    pictures, digits, sizes = images(80), np.arange(80), (30, 10, 10)
    scored, dev = (
        mnist_rotation._prepare(pictures, digits, sizes, (20, 5, 5), dev=dev) for dev in (False, True)
    )
    assert (len(dev.train), len(dev.validation), len(dev.test)) == (20, 5, 5)
    assert not set(scored.groups["digit"]) & set(dev.groups["digit"])
