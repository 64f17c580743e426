"""Packing: the usual pixels, errors that name the file, lists that name the line."""

import io
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regunlearn.benchmark import images
from regunlearn.benchmark.errors import BenchmarkError

RNG = np.random.default_rng(0)


def encoded(array: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    coarse = RNG.integers(0, 256, (8, 8, channels), dtype=np.uint8)
    layers = [Image.fromarray(coarse[..., k]).resize((width, height)) for k in range(channels)]
    return np.stack([np.asarray(layer) for layer in layers], axis=-1)


def file(content: bytes, name: str = "a.jpg") -> images.File:
    return images.File(name, lambda: content)


def usual(content: bytes, side: int) -> np.ndarray:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(64, 64), (200, 200), (50, 90), (20, 20), (32, 32)])
def test_pixels_are_the_usual_ones(size: tuple[int, int]) -> None:
    content = encoded(smooth(*size))
    made = images.pack("x", [file(content)], 32, quiet=True)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made[0], usual(content, 32))


def test_pixels_are_those_of_torchvision() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    contents = [encoded(smooth(*size)) for size in ((200, 200), (70, 45))]
    made = images.pack("x", [file(content) for content in contents], 32, quiet=True)
    for pixels, content in zip(made, contents, strict=True):
        resized = transforms.Resize((32, 32))(Image.open(io.BytesIO(content)).convert("RGB"))
        np.testing.assert_array_equal(pixels, np.asarray(resized).transpose(2, 0, 1))


def test_large_jpegs_are_nearly_the_usual_ones() -> None:
    content = encoded(smooth(600, 800))
    difference = images.pack("x", [file(content)], 32, quiet=True)[0].astype(int) - usual(content, 32)
    assert np.abs(difference).mean() < 0.5
    assert np.abs(difference).max() <= 4


def test_grey_transparent_and_png_images_become_rgb() -> None:
    grey = smooth(16, 16)[..., 0]
    contents = [encoded(grey), encoded(grey, "PNG"), encoded(smooth(16, 16, 4), "PNG")]
    made = images.pack("x", [file(content) for content in contents], 8, quiet=True)
    assert made.shape == (3, 3, 8, 8)
    assert (made[1] == made[1][:1]).all()


def test_order_is_that_of_the_files_over_many_pieces() -> None:
    contents = [encoded(np.full((4, 4, 3), k % 256, dtype=np.uint8), "PNG") for k in range(images.PIECE * 5)]
    made = images.pack("x", [file(content) for content in contents], 4, quiet=True)
    np.testing.assert_array_equal(made[:, 0, 0, 0], np.arange(len(contents)) % 256)


def test_no_images_make_an_empty_array() -> None:
    assert images.pack("x", [], 8, quiet=True).shape == (0, 3, 8, 8)


def test_progress_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    images.pack("faces", [file(encoded(smooth(8, 8)))], 8)
    out, err = capsys.readouterr()
    assert not out
    assert "packing faces" in err
    assert "1/1" in err


WHOLE = encoded(smooth(64, 64))


@pytest.mark.parametrize(
    "content", [b"", b"<html>", WHOLE[:300], WHOLE[:-200], encoded(smooth(8, 8), "GIF")], ids=len
)
def test_a_broken_image_is_named(content: bytes) -> None:
    files = [file(WHOLE), file(content, "faces/broken.jpg"), file(WHOLE)] * 100
    with pytest.raises(
        BenchmarkError, match=r"^faces/broken.jpg cannot be decoded: expected a whole JPEG or PNG"
    ):
        images.pack("x", files, 8, quiet=True)


def test_a_file_that_went_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(WHOLE)
    files = images.in_folder(tmp_path, ["a.jpg"], where="list")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(BenchmarkError, match=r"a.jpg cannot be decoded.*FileNotFoundError"):
        images.pack("x", files, 8, quiet=True)


def test_the_first_error_ends_it_and_no_thread_stays() -> None:
    read = list[int]()

    def reading(k: int) -> bytes:
        read.append(k)
        return WHOLE if k else b""

    files = [images.File(str(k), lambda k=k: reading(k)) for k in range(images.PIECE * 400)]
    with pytest.raises(BenchmarkError, match=r"^0 cannot be decoded"):
        images.pack("x", files, 8, quiet=True)
    assert len(read) < len(files) / 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


# Where files are


def test_missing_files_are_counted_and_named(tmp_path: Path) -> None:
    names = [f"{k}.jpg" for k in range(9)]
    (tmp_path / "3.jpg").write_bytes(WHOLE)
    with pytest.raises(
        BenchmarkError,
        match=r"^8 of the 9 images that faces.csv lists are not in .*: 0.jpg, 1.jpg, .*, 5.jpg, \.\.\.",
    ):
        images.in_folder(tmp_path, names, where="faces.csv")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "x/../../a.jpg"])
def test_files_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BenchmarkError, match="expected paths below"):
        images.in_folder(tmp_path, [name], where="faces.csv")


def archive(path: Path, contents: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name, content in contents.items():
            made.writestr(name, content)
    return path


def test_zip_and_folder_give_the_same_pixels(tmp_path: Path) -> None:
    contents = {f"{k}.jpg": encoded(smooth(40, 40)) for k in range(150)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    path = archive(tmp_path / "faces.zip", contents)
    with images.in_zip(path, list(contents), where="list") as files:
        packed = images.pack("x", files, 8, quiet=True)
    single = images.pack("x", images.in_folder(tmp_path, list(contents), where="list"), 8, quiet=True)
    np.testing.assert_array_equal(packed, single)


def test_zip_errors(tmp_path: Path) -> None:
    path = archive(tmp_path / "faces.zip", {"a.jpg": WHOLE, "b.jpg": WHOLE})
    with (
        pytest.raises(
            BenchmarkError, match=r"1 of the 2 images that list lists are not in .*faces.zip: c.jpg"
        ),
        images.in_zip(path, ["a.jpg", "c.jpg"], where="list"),
    ):
        pass
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    with (
        images.in_zip(path, ["b.jpg", "a.jpg"], where="list") as files,
        pytest.raises(BenchmarkError, match=r"faces.zip: a.jpg cannot be decoded.*BadZipFile"),
    ):
        images.pack("x", files, 8, quiet=True)
    path.write_bytes(b"no archive")
    with pytest.raises(BenchmarkError, match="truncated or damaged"), images.in_zip(path, [], where="list"):
        pass


# Equal images


def test_first_equals() -> None:
    pixels = RNG.integers(0, 256, (6, 3, 4, 4), dtype=np.uint8)
    pixels[4], pixels[5], pixels[3] = pixels[1], pixels[1], pixels[0]
    assert images.first_equals(pixels).tolist() == [0, 1, 2, 0, 1, 1]
    assert images.repeated(pixels) == "3 of 6 images equal another at this size; all are kept, as published."


# Lists

LIST = "age,path,split\n31,A/a.jpg,train\n5.5,A/b.jpg,val\n60,A/c.jpg,test\n7,A/d.jpg,train\n"


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        LIST.replace("\n", "\r\n"),
        "\ufeff" + LIST,
        ",".join(["split", "path", "x", "age"]) + '\ntrain,A/a.jpg,"1,2",31\nval,A/b.jpg,,5.5\n'
        "test,A/c.jpg,,60\ntrain,A/d.jpg,,7\n",
    ],
)
def test_read_list(text: str) -> None:
    made = images.read_list(text.encode(), where="faces.csv")
    assert made.paths == ["A/a.jpg", "A/b.jpg", "A/c.jpg", "A/d.jpg"]
    assert made.ages.tolist() == [31, 5.5, 60, 7]
    assert [rows.tolist() for rows in (made.train, made.validation, made.test)] == [[0, 3], [1], [2]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("age,path,split", "years,path,split", r"^faces.csv:1: expected a header with .*without age"),
        (LIST, "", r"^faces.csv:1: expected a header .*found ''"),
        ("5.5", "old", r"^faces.csv:3: expected an age in years, found 'old'"),
        ("5.5", "", r"^faces.csv:3: expected an age in years, found ''"),
        ("5.5", "nan", r"^faces.csv:3: expected an age"),
        ("5.5", "-1", r"^faces.csv:3: expected an age"),
        ("5.5", "1e9", r"^faces.csv:3: expected an age"),
        (",val", ",dev", r"^faces.csv:3: expected the split train, val or test, found 'dev'"),
        (",val", "", r"^faces.csv:3: expected 3 fields, found 2: '5.5,A/b.jpg'"),
        ("A/b.jpg", "A/a.jpg", r"^faces.csv:3: expected each image once, but A/a.jpg is also in faces.csv:2"),
        ("A/b.jpg", '"A/b.jpg', r"^faces.csv is no CSV file in UTF-8"),
    ],
)
def test_read_list_names_the_line(old: str, new: str, message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        images.read_list(LIST.replace(old, new).encode(), where="faces.csv")


def test_read_list_of_another_encoding() -> None:
    with pytest.raises(BenchmarkError, match="is no CSV file in UTF-8"):
        images.read_list(LIST.replace("a.jpg", "é.jpg").encode("latin-1"), where="faces.csv")


def test_identity_is_the_code_without_prose() -> None:
    assert "def pack(" in images.identity()
    assert str(images.__doc__) not in images.identity()
    assert images.identity() == images.identity()
