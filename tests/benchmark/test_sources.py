"""Data from public addresses and by hand: every way it can go wrong ends in one message and leaves nothing broken."""

import errno
import hashlib
import io
import json
import os
import ssl
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import gaierror
from typing import Any, Never
from urllib.error import URLError

import pytest

from regunlearn.benchmark import cli, data_page, downloads, fingerprints, registry, sources, unpacking
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.fetch import cache_folder
from regunlearn.benchmark.sources import Download, Source

CONTENT = bytes(range(256)) * 1024  # several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Behaviour:
    """What the server does with the next requests; it notes the ranges that it was asked for."""

    content: bytes = CONTENT
    cuts: list[int] = field(default_factory=list)  # bytes after which a connection is closed, one a request
    ranges: bool = True
    length: bool = True
    tag: str = '"one"'
    code: int = 200
    kind: str = "application/octet-stream"
    location: str = ""
    stall: threading.Event = field(default_factory=threading.Event)  # set: answers at once
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """A server of one file on this machine."""

    url: str
    behaviour: Behaviour

    def item(self, **changes: Any) -> Download:
        given: dict[str, Any] = {"url": self.url, "file": "rows.bin", "sha256": SHA256, "size_mb": 0.26}
        return Download(**given | changes)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    behaviour = Behaviour()
    behaviour.stall.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            serve(self, behaviour)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(downloads, "_PLAIN", frozenset({"127.0.0.1"}))
    monkeypatch.setattr(downloads, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield Server(f"http://127.0.0.1:{running.server_address[1]}/rows.bin", behaviour)
        finally:
            behaviour.stall.set()
            running.shutdown()
            thread.join(timeout=10)


def serve(handler: BaseHTTPRequestHandler, how: Behaviour) -> None:
    asked = handler.headers.get("Range", "")
    how.asked.append(asked)
    start = 0
    if asked and how.ranges and handler.headers.get("If-Range", how.tag) == how.tag:
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
    beyond = bool(start) and start >= len(how.content)
    handler.send_response(302 if how.location else 416 if beyond else how.code if not start else 206)
    if how.location:
        handler.send_header("Location", how.location)
    handler.send_header("ETag", how.tag)
    handler.send_header("Content-Type", how.kind)
    if start:
        place = "*" if beyond else f"{start}-{len(how.content) - 1}"
        handler.send_header("Content-Range", f"bytes {place}/{len(how.content)}")
    body = b"" if beyond or how.location else how.content[start:]
    if how.length:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    cut = how.cuts.pop(0) if how.cuts else len(body)
    handler.wfile.write(body[:cut])
    handler.wfile.flush()
    how.stall.wait(timeout=20)
    handler.close_connection = True


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REGUNLEARN_DATA", raising=False)
    return tmp_path / "cache"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Downloads


def test_whole_file(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = downloads.download(server.item(), tmp_path / "new")
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["rows.bin"]
    out, err = capsys.readouterr()
    assert out == ""
    assert "fetching rows.bin" in err


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_cut_connections_are_resumed(server: Server, tmp_path: Path, sha256: str | None) -> None:
    server.behaviour.cuts = [100_000, 1_000]
    path = downloads.download(server.item(sha256=sha256), tmp_path, quiet=True)
    assert path.read_bytes() == CONTENT
    assert server.behaviour.asked == ["", "bytes=100000-", "bytes=101000-"]


def test_a_later_command_goes_on(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.behaviour.cuts = [100_000]
    with pytest.raises(
        BenchmarkError, match=r"broke off after 100,000 of 262,144 bytes.*100,000 bytes that have"
    ):
        downloads.download(server.item(), tmp_path, quiet=True)
    assert names(tmp_path) == ["rows.bin.part", "rows.bin.part.tag"]
    assert downloads.download(server.item(), tmp_path, quiet=True).read_bytes() == CONTENT
    assert server.behaviour.asked == ["", "bytes=100000-"]
    assert names(tmp_path) == ["rows.bin"]


def test_two_versions_are_never_joined(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    server.behaviour.cuts = [100_000]
    item = server.item(sha256=None)
    with pytest.raises(BenchmarkError):
        downloads.download(item, tmp_path, quiet=True)
    server.behaviour.content, server.behaviour.tag = CONTENT[::-1], '"two"'
    assert downloads.download(item, tmp_path, quiet=True).read_bytes() == CONTENT[::-1]


def test_without_version_or_hash_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.behaviour.cuts, server.behaviour.tag = [100_000], 'W/"weak"'
    assert downloads.download(server.item(sha256=None), tmp_path, quiet=True).read_bytes() == CONTENT
    assert server.behaviour.asked == ["", ""]


def test_a_server_that_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.behaviour.cuts, server.behaviour.ranges = [100_000], False
    assert downloads.download(server.item(), tmp_path, quiet=True).read_bytes() == CONTENT
    assert server.behaviour.asked == ["", "bytes=100000-"]


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_killed_between_the_last_byte_and_the_new_name(server: Server, tmp_path: Path, extra: bytes) -> None:
    (tmp_path / "rows.bin.part").write_bytes(CONTENT + extra)
    assert downloads.download(server.item(), tmp_path, quiet=True).read_bytes() == CONTENT
    assert len(server.behaviour.asked) == (2 if extra else 1)


def test_wrong_sha256_is_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError) as caught:
        downloads.download(server.item(sha256="0" * 64), tmp_path, quiet=True)
    for part in (f"found {SHA256}", "it has been deleted", "save it as", str(tmp_path / "rows.bin")):
        assert part in str(caught.value)
    assert names(tmp_path) == []


def test_unknown_length_and_too_short(server: Server, tmp_path: Path) -> None:
    server.behaviour.length = False
    assert downloads.download(server.item(sha256=None), tmp_path, quiet=True).read_bytes() == CONTENT
    server.behaviour.cuts = [100_000]
    with pytest.raises(BenchmarkError, match=r"expected 0\.26 MB, found 100,000 bytes: it is cut short"):
        downloads.download(server.item(sha256=None, file="other.bin"), tmp_path, quiet=True)
    assert names(tmp_path) == ["rows.bin"]


@pytest.mark.parametrize(
    ("changes", "cause", "requests"),
    [
        ({"code": 404}, "the server says 404 Not Found", 1),
        ({"code": 503}, "the server says 503", downloads.TRIES),
        ({"kind": "text/html; charset=utf-8"}, "a web page in place of the file", 1),
        ({"location": "http://example.org/rows.bin"}, "which is no https address", 1),
        ({"location": "file:///etc/passwd"}, "the server says 302", 1),
        ({"cuts": [0] * downloads.TRIES}, "broke off after 0 of 262,144 bytes", downloads.TRIES),
    ],
)
def test_refusals(server: Server, tmp_path: Path, changes: dict[str, Any], cause: str, requests: int) -> None:
    for name, value in changes.items():
        setattr(server.behaviour, name, value)
    with pytest.raises(BenchmarkError) as caught:
        downloads.download(server.item(), tmp_path, quiet=True)
    assert cause in str(caught.value)
    assert server.url in str(caught.value)
    assert len(server.behaviour.asked) == requests
    assert not (tmp_path / "rows.bin").exists()


def test_stalled_connection(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PATIENCE", 0.3)
    monkeypatch.setattr(downloads, "TRIES", 2)
    server.behaviour.cuts = [1000, 10]
    server.behaviour.stall.clear()
    start = time.monotonic()
    with pytest.raises(
        BenchmarkError, match=r"nothing arrived for 0\.3 s.*the 1,010 bytes that have arrived"
    ):
        downloads.download(server.item(), tmp_path, quiet=True)
    assert time.monotonic() - start < 10
    assert names(tmp_path) == ["rows.bin.part", "rows.bin.part.tag"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (URLError(gaierror(-2, "Name or service not known")), "cannot be resolved (no network?)"),
        (URLError(TimeoutError("timed out")), "nothing arrived for"),
        (URLError(ConnectionRefusedError(111, "Connection refused")), "refuses the connection"),
        (URLError(OSError("Tunnel connection failed: 403 Forbidden")), "the proxy refuses the connection"),
        (URLError(OSError(101, "Network is unreachable")), "the connection failed: Network is unreachable"),
        (URLError(ssl.SSLCertVerificationError(1, "self-signed")), "certificate cannot be verified"),
        (URLError(ssl.SSLError(1, "[SSL] wrong version")), "no secure connection"),
    ],
)
def test_no_connection(
    error: Exception, cause: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def open(self, *_: object, **__: object) -> Never:
            raise error

    monkeypatch.setattr(downloads, "build_opener", lambda *_: Broken())
    with pytest.raises(BenchmarkError) as caught:
        downloads.download(server.item(), tmp_path, quiet=True)
    for part in (cause, server.url, "on any machine", str(tmp_path / "rows.bin")):
        assert part in str(caught.value)


def test_disk_full_while_writing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> Never:
            raise OSError(errno.ENOSPC, "No space left on device")

    plain = Path.open

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        return (
            Full() if path.name.endswith(".part") and mode in ("wb", "ab") else plain(path, mode, **options)
        )

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(BenchmarkError, match=r"cannot write to .*: No space left on device"):
        downloads.download(server.item(), tmp_path, quiet=True)
    assert not (tmp_path / "rows.bin").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://example.org/a"},
        {"url": "file:///etc/passwd"},
        {"url": "https://"},
        {"url": "https://[bad/a"},
        {"file": "../a"},
        {"file": "/a"},
        {"file": "a//b"},
        {"file": "c:a"},
        {"file": "a\\b"},
        {"file": ""},
        {"sha256": "ABC"},
        {"unpack": "*"},
    ],
)
def test_bad_declarations_of_downloads(wrong: dict[str, str]) -> None:
    with pytest.raises(BenchmarkError):
        Download(**{"url": "https://example.org/a", "file": "a", "size_mb": 1.0} | wrong)  # type: ignore[arg-type]


# Archives


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, data in members.items():
            content.writestr(name, data)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as content:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            content.addfile(entry, io.BytesIO(data))
        for name, goal in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, goal
            content.addfile(entry)
    return buffer.getvalue()


MEMBERS = {"./faces/1.jpg": b"one", "faces/sub/2.jpg": b"two", "readme.md": b"read", "faces/": b""}


@pytest.mark.parametrize(("name", "make"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_unpack(name: str, make: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(make({k: v for k, v in MEMBERS.items() if not k.endswith("/")}))
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces/0.jpg").write_bytes(b"mine")
    assert unpacking.unpack(tmp_path / name, tmp_path, "*.jpg|*.txt") == ["faces/1.jpg", "faces/sub/2.jpg"]
    assert (tmp_path / "faces/sub/2.jpg").read_bytes() == b"two"
    assert names(tmp_path / "faces") == ["0.jpg", "1.jpg", "sub"]
    assert names(tmp_path) == [f".{name}.unpacked", name, "faces"]
    assert unpacking.is_done(tmp_path / name, tmp_path)
    (tmp_path / "faces/1.jpg").unlink()
    assert not unpacking.is_done(tmp_path / name, tmp_path)


@pytest.mark.parametrize(
    "member", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "a\\..\\evil.jpg", "c:/evil.jpg"]
)
@pytest.mark.parametrize(("name", "make"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_no_member_leads_out(
    name: str, make: Callable[[dict[str, bytes]], bytes], member: str, tmp_path: Path
) -> None:
    folder = tmp_path / "deep/er"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(make({"good.jpg": b"", member: b"evil"}))
    with pytest.raises(BenchmarkError, match="is no safe path"):
        unpacking.unpack(folder / name, folder, "*.jpg")
    assert names(folder) == [name]
    assert [path for path in tmp_path.rglob("*evil*")] == []


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred({"a.jpg": b""}, links={"b.jpg": "/etc/passwd"}))
    with pytest.raises(BenchmarkError, match=r"'b\.jpg' is no plain file"):
        unpacking.unpack(tmp_path / "a.tar", tmp_path, "*")
    assert names(tmp_path) == ["a.tar"]


@pytest.mark.parametrize(("name", "make"), [("a.zip", zipped), ("a.tar.gz", tarred)])
def test_damaged_or_other_archive(
    name: str, make: Callable[[dict[str, bytes]], bytes], tmp_path: Path
) -> None:
    content = make({"a.txt": os.urandom(5000)})
    for wrong in (content[:3000], b"<html>", b""):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(BenchmarkError, match="is truncated or damaged"):
            unpacking.unpack(tmp_path / name, tmp_path, "*.txt")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"no member that matches '\*\.jpg', only such as a\.txt"):
        unpacking.unpack(tmp_path / name, tmp_path, "*.jpg")
    assert names(tmp_path) == [name]


def test_disk_full_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.zip").write_bytes(zipped({"a.txt": b"1"}))
    monkeypatch.setattr(unpacking, "copyfileobj", full)
    with pytest.raises(BenchmarkError, match=r"cannot unpack .*No space left on device.*the archive is kept"):
        unpacking.unpack(tmp_path / "a.zip", tmp_path, "*")
    assert names(tmp_path) == ["a.zip"]


# Sources


def source(*items: Download, **changes: Any) -> Source:
    given: dict[str, Any] = {
        "name": "tiny",
        "title": "tiny rows",
        "files": ("rows.bin",),
        "url": "https://example.org/tiny",
        "downloads": items,
        "licence": "CC BY 4.0",
        "terms": "Anybody may use it.",
        "how": "" if items else "Ask Ms Tiny (tiny@example.org) for rows.bin.",
    }
    return Source(**given | changes)


def test_get(server: Server, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = source(server.item())
    assert sources.state(tiny) == "missing: public"
    with pytest.raises(UsageError) as caught:
        sources.get(tiny, accept=False)
    for part in ("Anybody may use it.", "regunlearn data get tiny --accept-terms", "0.26 MB from 127.0.0.1"):
        assert part in str(caught.value)
    assert not cache.exists()
    assert sources.get(tiny, accept=True) == cache / "data/tiny" == sources.folder_of(tiny)
    assert sources.state(tiny) == "in the cache"
    assert "terms of tiny (https://example.org/tiny): CC BY 4.0. Anybody" in capsys.readouterr().err
    assert sources.get(tiny, accept=False, quiet=True) == cache / "data/tiny"
    assert len(server.behaviour.asked) == 1
    with pytest.raises(UsageError, match="--again --accept-terms"):
        sources.get(tiny, accept=False, again=True)
    sources.get(tiny, accept=True, quiet=True, again=True)
    assert len(server.behaviour.asked) == 2


def test_archives_are_unpacked_once(server: Server, cache: Path) -> None:
    server.behaviour.content = zipped({"faces/1.jpg": b"one", "faces/2.jpg": b"two", "notes.txt": b""})
    item = server.item(file="faces.zip", sha256=None, size_mb=0, unpack="*.jpg")
    # what is missing beside the archive is on request
    tiny = source(item, files=("faces/", "labels.csv"), how="Ask for labels.csv.")
    with pytest.raises(BenchmarkError, match=r"lacks labels\.csv") as caught:
        sources.get(tiny, accept=True, quiet=True)
    assert "by hand: Ask for labels.csv." in str(caught.value)
    assert "type: regunlearn" not in str(caught.value)
    folder = cache / "data/tiny"
    assert names(folder) == [".faces.zip.unpacked", "faces"]
    with pytest.raises(BenchmarkError, match=r"lacks labels\.csv"):
        sources.get(tiny, accept=False)  # nothing to accept: nothing would be fetched
    (folder / "labels.csv").write_text("1\n")
    assert sources.get(tiny, accept=False) == folder
    assert len(server.behaviour.asked) == 1
    (folder / ".faces.zip.unpacked").rename(folder / ".faces.zip.unpacking")
    with pytest.raises(BenchmarkError, match=r"lacks all of faces\.zip \(unpacking was stopped\)"):
        sources.folder_of(tiny)
    assert sources.get(tiny, accept=True, quiet=True) == folder
    assert names(folder) == [".faces.zip.unpacked", "faces", "labels.csv"]


def test_an_archive_that_was_put_there_by_hand_is_unpacked(server: Server, cache: Path) -> None:
    item = server.item(file="faces.zip", sha256=None, size_mb=0, unpack="*.jpg")
    tiny = source(item, files=("faces/",))
    folder = cache / "data/tiny"
    folder.mkdir(parents=True)
    (folder / "faces.zip").write_bytes(zipped({"faces/1.jpg": b"one"}))
    assert sources.get(tiny, accept=True, quiet=True) == folder
    assert server.behaviour.asked == []


def test_a_damaged_file_in_the_cache(server: Server, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = source(server.item(), files=("rows.bin", "b.csv"), how="Make b.csv.")
    folder = cache / "data/tiny"
    folder.mkdir(parents=True)
    (folder / "rows.bin").write_bytes(b"damaged")
    with pytest.raises(BenchmarkError, match=r"lacks b\.csv"):
        sources.get(tiny, accept=True, quiet=True)
    assert (folder / "rows.bin").read_bytes() == CONTENT
    assert "rows.bin is damaged or another file" in capsys.readouterr().err


def test_one_process_at_a_time(server: Server, cache: Path) -> None:
    tiny = source(server.item())
    with sources._alone(tiny), pytest.raises(BenchmarkError, match="another process is fetching tiny"):
        sources.get(tiny, accept=True, quiet=True)
    assert sources.get(tiny, accept=True, quiet=True) == cache / "data/tiny"


def test_on_request(cache: Path) -> None:
    tiny = source()
    assert sources.state(tiny) == "missing: on request"
    with pytest.raises(BenchmarkError) as caught:
        sources.get(tiny, accept=True)
    for part in (
        "the data of 'tiny' (tiny rows) are not there",
        "expected: rows.bin",
        "from: https://example.org/tiny",
        "terms: CC BY 4.0. Anybody may use it.",
        "Ask Ms Tiny (tiny@example.org) for rows.bin.",
        f"put the files into {cache / 'data/tiny'}",
        "REGUNLEARN_DATA names (not set)",
    ):
        assert part in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_found_in_the_users_folder_before_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = source(files=("a.csv|a.npz", "faces/", "*.txt"))
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path / "own"))
    for folder in (cache / "data/tiny", tmp_path / "own/tiny"):
        (folder / "faces").mkdir(parents=True)
        (folder / "a.npz").touch()
        (folder / "b.txt").touch()
        with pytest.raises(BenchmarkError, match=r"lacks faces/"):  # an empty folder is none
            sources.folder_of(tiny)
        (folder / "faces/1.jpg").touch()
        assert sources.folder_of(tiny) == folder == sources.get(tiny, accept=False, again=True)
        if folder == cache / "data/tiny":
            assert sources.state(tiny) == "in the cache"
            (folder / "a.npz").unlink()  # so that half a folder is in the way
    assert sources.state(tiny) == "in REGUNLEARN_DATA"


def test_half_a_folder_names_the_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = source(files=("a.csv|a.npz", "b.csv", "c.csv"))
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/b.csv").touch()
    with pytest.raises(BenchmarkError) as caught:
        sources.folder_of(tiny)
    assert f"found: {tmp_path / 'tiny'} lacks a.csv or a.npz, c.csv\n" in str(caught.value)
    assert f"REGUNLEARN_DATA names ({tmp_path})" in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"name": "Bad Name"}, {"name": "../a"}, {"files": ()}, {"files": ("../a",)}, {"how": ""}, {"terms": ""}],
)
def test_bad_sources(wrong: dict[str, Any]) -> None:
    with pytest.raises(BenchmarkError):
        source(**wrong)


# Fingerprints


def test_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "LARGE", 3)
    for folder in ("a", "b"):
        (tmp_path / folder / "sub").mkdir(parents=True)
        (tmp_path / folder / "sub/1.jpg").write_bytes(b"12")
        (tmp_path / folder / "rows.csv").write_bytes(b"rows")
    first, second = tmp_path / "a", tmp_path / "b"
    file = first / "rows.csv"
    assert sources.fingerprint(first) == sources.fingerprint([second])
    assert sources.fingerprint([file]) == sources.fingerprint(iter([second / "rows.csv"]))
    before = sources.fingerprint([file, first])
    assert sources.fingerprint([file, first]) == before  # from what was kept
    assert len(list((cache_folder() / "fingerprints").iterdir())) == 2
    file.write_bytes(b"swor")
    os.utime(file, ns=(1, 1))
    assert sources.fingerprint(file) != sources.fingerprint(second / "rows.csv")
    (first / "sub/1.jpg").rename(first / "sub/2.jpg")
    assert sources.fingerprint(first) != sources.fingerprint(second)
    with pytest.raises(BenchmarkError, match="cannot read"):
        sources.fingerprint([tmp_path / "nowhere"])


# Declarations

HELPER = """
from regunlearn.benchmark.sources import Download, Source
BASE = "https://example.org/"
PAGES = {"a": "a.csv"}
PHOTOS = Source(name="photos", title="t", files=("photos/",), url=BASE, licence="l", terms="t", how="Ask.")
ROWS = Source(
    name="rows", title="t", files=tuple(PAGES.values()), url=BASE, licence="l", terms="t",
    downloads=(Download(url=BASE + "a.csv", file="a.csv", size_mb=1.5),),
)
OTHER = Source(name="other", title="t", files=("o",), url=BASE, licence="l", terms="t", how="Ask.")
def read(): return PHOTOS
"""
DATASET = """
import torch_that_is_not_there
from regunlearn.datasets import _photos
from regunlearn.datasets._photos import read
PACK = fetch.Package(name="pack", version="1", sha256="0", file_name="p.whl", licence="MIT", terms="t", size_mb=1)
PARTS = {"rows": _photos.ROWS}

@dataset("faces", modality="vision", source="s", licence="l")
def faces():
    '''Faces.'''
    return read(), prepared()

def prepared():
    return PARTS, PACK

@dataset("plain", modality="table", source="s", licence="l")
def plain():
    '''Plain.'''
"""


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "root/datasets"
    folder.mkdir(parents=True)
    (folder / "_photos.py").write_text(HELPER)
    (folder / "faces.py").write_text(DATASET)
    monkeypatch.setattr(registry, "PACKAGE", folder.parent)
    monkeypatch.setattr(sources, "PACKAGE", folder.parent)
    return folder


def test_discover(declared: Path) -> None:
    found = sources.discover()
    assert list(found) == ["other", "photos", "rows"]
    assert found["rows"].files == ("a.csv",)
    assert found["rows"].downloads == (Download(url="https://example.org/a.csv", file="a.csv", size_mb=1.5),)


def test_what_a_dataset_needs(declared: Path) -> None:
    cards = registry.discover("dataset").cards
    assert [thing.name for thing in sources.needs(cards["faces"])] == ["pack", "photos", "rows"]
    assert sources.needs(cards["plain"]) == []
    assert data_page.states(cards["faces"]) == {
        "pack": "missing: public",
        "photos": "missing: on request",
        "rows": "missing: public",
    }
    row = data_page.with_states([{"name": "faces"}, {"name": "plain"}])
    assert [one["data"] for one in row] == ["missing: on request", "bundled"]


def test_the_page(declared: Path, tmp_path: Path) -> None:
    assert data_page.write(tmp_path / "data.md") == 2
    text = (tmp_path / "data.md").read_text()
    for part in (
        "`faces`",
        "| Faces. |",
        "`regunlearn data get rows --accept-terms` (1.5 MB)",
        "### photos",
        "Ask.",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('A = Source(name=str("a"))', r"line 1: cannot read this Source: \"str\('a'\)\" is no plain value"),
        ('\nA = Source("a")', "line 2: cannot read this Source"),
        ('A = Source(name="a")', "missing 6 required keyword-only arguments|cannot read this Source"),
        ("A = Source(**B)", "cannot read this Source"),
        ("A = B\nB = A\nC = Source(name=A)", "cannot read this Source"),
        (HELPER.replace('"t"', '"u"'), "two sources are called 'photos'"),
    ],
)
def test_bad_declarations_name_the_file(declared: Path, text: str, message: str) -> None:
    (declared / "z.py").write_text(text)
    with pytest.raises(BenchmarkError, match=message) as caught:
        sources.discover()
    assert "z.py" in str(caught.value)


def test_a_file_that_is_no_python_is_left_to_the_registry(declared: Path) -> None:
    (declared / "z.py").write_text("def (")
    assert "rows" in sources.discover()
    assert registry.discover("dataset").broken


# The repository's own


def test_every_declaration_here_can_be_read_and_has_a_user() -> None:
    cards = registry.discover("dataset").cards.values()
    used = {thing.name for card in cards for thing in sources.needs(card)}
    assert set(sources.discover()) <= used


def test_the_committed_page_is_up_to_date() -> None:
    advice = "run `regunlearn data list --write docs/data.md`"
    assert (ROOT / "docs/data.md").read_text(encoding="utf-8") == data_page.page(), advice


# The command


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["regunlearn", "data", *arguments])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code or 0, found.out, found.err

    return run


@pytest.fixture
def served(declared: Path, server: Server) -> Server:
    """The declarations above with their public file on this machine."""
    text = HELPER.replace('url=BASE + "a.csv"', f'url="{server.url}"').replace("size_mb=1.5", "size_mb=0.26")
    (declared / "_photos.py").write_text(text)
    return server


def test_command_get(served: Server, command: Command, cache: Path) -> None:
    code, _, err = command("get", "rows")
    assert code == 2
    assert "type: regunlearn data get rows --accept-terms" in err
    assert served.behaviour.asked == []
    code, out, _ = command("get", "rows", "--accept-terms")
    assert (code, out) == (0, f"rows: {cache / 'data/rows'}; l\n")
    assert (cache / "data/rows/a.csv").read_bytes() == CONTENT
    assert command("get", "rows")[0] == 0


def test_command_get_of_what_is_on_request(served: Server, command: Command) -> None:
    code, _, err = command("get", "photos", "--accept-terms")
    assert code == 1
    assert "put the files into" in err


def test_command_get_of_a_dataset_gets_its_sources(served: Server, command: Command, cache: Path) -> None:
    assert command("get", "faces")[0] == 2
    code, out, err = command("get", "faces", "--accept-terms")
    assert code == 1  # the dataset itself cannot be imported here
    assert "rows: " in out
    assert "'faces' cannot be imported" in err
    assert (cache / "data/rows/a.csv").is_file()


def test_command_get_of_something_unknown(served: Server, command: Command) -> None:
    code, _, err = command("get", "photoz")
    assert code == 2
    assert "unknown dataset 'photoz'. Did you mean 'photos'? Known: faces, other, photos, plain, rows." in err


def test_command_list(declared: Path, command: Command, tmp_path: Path) -> None:
    code, out, _ = command("list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["faces"]["data"] == "missing: on request"
    assert rows["faces"]["needs"]["rows"] == "missing: public"
    code, out, _ = command("list")
    assert "missing: on request" in out
    assert command("list", "--write", "page.md")[1] == "2 datasets written to page.md\n"
    (declared / "broken.py").write_text("def (")
    (tmp_path / "page.md").unlink()
    code, _, err = command("list", "--write", "page.md")
    assert code == 1
    assert "broken.py cannot be read" in err
    assert not (tmp_path / "page.md").exists()
