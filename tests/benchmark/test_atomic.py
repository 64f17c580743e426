"""Files appear whole or not at all, and what a killed process left is swept away whatever the clock says."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regunlearn.benchmark.atomic import replacing, sweep, write_bytes, write_text
from regunlearn.benchmark.errors import BenchmarkError

WRITES = """
import sys
from pathlib import Path
from regunlearn.benchmark.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writer(path: Path) -> subprocess.Popen[str]:
    """Start a process that has written half of a file and waits."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", WRITES, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_is_being_written_is_not_swept_away(tmp_path: Path) -> None:
    with writer(tmp_path / "a.txt") as process:
        (left,) = tmp_path.iterdir()
        os.utime(left, (0, 0))  # as old as a clock can say
        sweep(tmp_path)
        assert names(tmp_path) == [left.name]
        process.communicate("")
    assert process.returncode == 0
    assert (tmp_path / "a.txt").read_text() == "half"
    assert names(tmp_path) == ["a.txt"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with writer(tmp_path / "a.txt") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (left,) = set(tmp_path.iterdir()) - {tmp_path / "a.txt"}
    os.utime(left, (4e9, 4e9))  # from the future
    (tmp_path / "kept.tmp").write_text("not hidden: somebody's own")
    sweep(tmp_path)
    assert names(tmp_path) == ["a.txt", "kept.tmp"]
    assert (tmp_path / "a.txt").read_text() == "old"


def fail(path: Path, error: OSError) -> None:
    with replacing(path) as temporary:
        temporary.write_text("ne")
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_failed_write_is_explained_and_leaves_the_old_file(number: int, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(BenchmarkError, match="run the same command again") as caught:
        fail(path, OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(caught.value)
    assert names(tmp_path) == ["a.txt"]
    assert path.read_text() == "old"


def test_a_small_limit_on_files_is_explained(tmp_path: Path) -> None:
    """A real write that fails, not a patched one."""
    script = f"""
import resource
from pathlib import Path
from regunlearn.benchmark.atomic import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
write_bytes(Path({str(tmp_path / "b")!r}), bytes(5000))
"""
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=60)
    assert os.strerror(errno.EFBIG) in done.stderr.splitlines()[-1]
    assert names(tmp_path) == []
    write_bytes(tmp_path / "b", bytes(5000))
    assert (tmp_path / "b").stat().st_size == 5000
