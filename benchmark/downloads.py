"""Files from public addresses: resumed where they broke off, checked, and never half there under their final name.

What has arrived is kept as `FILE.part`, with the server's mark of the file's version (`FILE.part.tag`), so that two
versions are never joined. A `Source` (sources.py) says which files these are.
"""

import hashlib
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from socket import gaierror
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from regunlearn.benchmark.errors import BenchmarkError

PATIENCE = 60.0
"""Seconds without an answer or a new byte after which a connection is given up."""

TRIES = 5
"""Connections that may bring less than `STEP` bytes, one after the other, before a download is given up."""

PAUSE = 1.0
"""Seconds before the second try; doubled with every further one."""

STEP = 1 << 20
CHUNK = 1 << 16

RETRIED = (408, 416, 429)
"""Refusals below 500 after which a second try makes sense: timeout, wrong range, too many requests."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_PLAIN = frozenset[str]()
"""Hosts from which plain http is taken: none, except in tests."""

Advance = Callable[[int, int | None], None]
"""(bytes that are there, bytes there will be or None) -> shown to the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A public file.

    Attributes:
        url: its address, https.
        file: what to call it in the folder of its source, a relative path.
        sha256: of the file, 64 hexadecimal digits, or None where the official source states none.
        size_mb: in 10^6 bytes, for the progress bar; without a sha256 a file of less than 0.9 of it is refused. 0 is
            unknown.
        unpack: of an archive (.zip, .tar, .tar.gz), the pattern of the members to take out, e.g. "*.txt" ("*" matches
            "/" too, "a|b" is either); they keep their paths. "" leaves the file as it is.
    """

    url: str
    file: str
    sha256: str | None = None
    size_mb: float = 0.0
    unpack: str = ""

    def __post_init__(self) -> None:
        if not _allowed(self.url):
            raise BenchmarkError(f"download {self.url!r}: expected an https address. Mend the declaration.")
        check_path(self.file)
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise BenchmarkError(
                f"download {self.file}: sha256 {self.sha256!r}: expected 64 hexadecimal digits in lower case."
            )
        if self.unpack and not self.file.endswith(ARCHIVES):
            raise BenchmarkError(
                f"download {self.file}: can unpack {', '.join(ARCHIVES)} only. Rename it, or leave out `unpack`."
            )

    def __str__(self) -> str:
        return f"{self.url} ({self.size_mb:g} MB)" if self.size_mb else self.url


def check_path(path: str) -> str:
    """Return a relative path if it stays inside its folder on every system.

    Raises:
        BenchmarkError: it is absolute, leads upwards, or has a backslash, a drive or an unprintable character.
    """
    parts = path.split("/")
    if "\\" in path or path[1:2] == ":" or not path.isprintable() or {"", ".", ".."} & set(parts):
        raise BenchmarkError(
            f"{path[:200]!r} is no safe path: expected names joined by '/', which do not lead out of the folder."
        )
    return path


def download(item: Download, folder: Path, *, quiet: bool = False) -> Path:
    """Fetch a file into a folder, going on where an earlier try ended; return its path.

    Raises:
        BenchmarkError: it cannot be had: no network, a refusal, a stall, a wrong or short file, or a full disk. What
            has arrived is kept, except of a wrong file.
    """
    target = folder / item.file
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _progress(item, quiet) as advance:
            _insist(item, part, advance)
        if problem := _problem(item, part):
            _drop(part)
            raise _failure(item, target, f"{problem}; it has been deleted")
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.replace(target)
        _tag_of(part).unlink(missing_ok=True)
    except _Broken as error:
        raise _failure(item, target, str(error)) from error
    except OSError as error:
        cause = f"cannot write to {target.parent}: {error.strerror or error}"
        raise _failure(item, target, cause) from error
    return target


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class _Broken(Exception):
    """A connection brought no file. `final`: trying again at once would bring none either."""

    def __init__(self, cause: str, *, final: bool = False) -> None:
        super().__init__(cause)
        self.final = final


def _insist(item: Download, part: Path, advance: Advance) -> None:
    """Connect until the whole file is there, as long as it gets nearer."""
    failures, first = 0, True
    while True:
        before = _size(part)
        try:
            return _receive(item, part, advance)
        except _Broken as error:
            failures = 0 if _size(part) - before >= STEP else failures + 1
            # Without a network the very first connection says so; later on it may come back.
            if failures >= TRIES or (error.final and first):
                raise
        first = False
        time.sleep(PAUSE * 2 ** max(failures - 1, 0))


def _receive(item: Download, part: Path, advance: Advance) -> None:
    """Add to `part` what is missing of it, in one connection."""
    tag = _tag_of(part)
    version = tag.read_text() if tag.is_file() else ""
    have = _size(part) if version or item.sha256 else 0
    headers = {"User-Agent": "regunlearn", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    answer = _open(item, headers, have, part)
    if answer is None:  # nothing is missing
        return
    with answer:
        if answer.headers.get_content_type() == "text/html" and not item.file.endswith((".html", ".htm")):
            raise _Broken("the server answers with a web page in place of the file", final=True)
        if answer.status != 206:  # the whole file: it has changed, or the server knows no ranges
            have = 0
            _drop(part)
            tag.write_text(_version(answer.headers))
        total = _total(answer, have)
        with part.open("ab" if have else "wb") as handle:
            for chunk in _chunks(answer):
                handle.write(chunk)
                have += len(chunk)
                advance(have, total)
    if total is not None and have != total:
        raise _Broken(f"the connection broke off after {have:,} of {total:,} bytes")


def _open(item: Download, headers: dict[str, str], have: int, part: Path) -> HTTPResponse | None:
    """Return the server's answer, or None where it says that the `have` bytes of `part` are all there is."""
    request = Request(item.url, headers=headers)  # noqa: S310 - Download lets https through only
    try:
        answer: HTTPResponse = build_opener(_Redirects).open(request, timeout=PATIENCE)
    except HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range", "") == f"bytes */{have}":
                return None
            if error.code == 416:  # what is here is of another file
                _drop(part)
            cause = f"the server says {error.code} {error.reason}"
            raise _Broken(cause, final=error.code < 500 and error.code not in RETRIED) from error
    except (OSError, HTTPException) as error:
        raise _Broken(_cause(error), final=True) from error
    found = answer.headers.get("Content-Range", "")
    if answer.status == 206 and not re.match(rf"bytes {have}-", found):
        answer.close()
        _drop(part)
        raise _Broken(f"the server sends another range than asked for ({found!r})")
    return answer


class _Redirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if not _allowed(newurl):
            fp.close()
            raise URLError(f"the server leads on to {newurl[:200]}, which is no https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read1(CHUNK)
        except (OSError, HTTPException) as error:
            raise _Broken(_cause(error)) from error
        if not chunk:
            return
        yield chunk


def _allowed(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _PLAIN))


def _version(headers: HTTPMessage) -> str:
    """Return what If-Range takes: a strong ETag, or the time of the last change, or nothing."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _total(answer: HTTPResponse, have: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return have + int(length) if length.isdecimal() else None


def _cause(error: Exception) -> str:
    """Say in words what kept a connection from working."""
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, TimeoutError):
        return f"nothing arrived for {PATIENCE:g} s"
    if isinstance(inner, gaierror):
        return "the server's name cannot be resolved (no network?)"
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the server's certificate cannot be verified (SSL_CERT_FILE names others): {inner}"
    if isinstance(inner, ssl.SSLError):
        return f"no secure connection ({inner})"
    if isinstance(inner, ConnectionRefusedError):
        return "the server, or the proxy before it, refuses the connection"
    if isinstance(inner, OSError) and str(inner).startswith("Tunnel connection failed"):
        return f"the proxy refuses the connection ({inner})"
    if isinstance(inner, OSError) and inner.strerror:
        return f"the connection failed: {inner.strerror}"
    return f"the connection failed: {inner or type(inner).__name__}"


def _problem(item: Download, part: Path) -> str:
    """Say what is wrong with a file that has arrived, or nothing."""
    size = _size(part)
    if item.sha256 is not None:
        found = sha256_of(part)
        if found != item.sha256:
            return f"expected sha256 {item.sha256}, found {found} ({size:,} bytes): it is damaged or another file"
    elif size < max(1, 0.9 * item.size_mb * 1e6):
        return f"expected {item.size_mb:g} MB, found {size:,} bytes: it is cut short or another file"
    return ""


def _failure(item: Download, target: Path, cause: str) -> BenchmarkError:
    kept = _size(target.with_name(f"{target.name}.part"))
    again = f"; the {kept:,} bytes that have arrived are kept, and it goes on from there" if kept else ""
    mark = f" (sha256 {item.sha256})" if item.sha256 else ""
    return BenchmarkError(
        f"cannot fetch {item}: {cause}. Run the same command again{again}. Or get the file{mark} on any machine, "
        f"save it as {target}, and run the same command."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _tag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_of(part).unlink(missing_ok=True)


@contextmanager
def _progress(item: Download, quiet: bool) -> Iterator[Advance]:
    """Show on standard error how much has arrived."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        row = progress.add_task(f"fetching {item.file}", total=item.size_mb * 1e6 or None)

        def advance(have: int, total: int | None) -> None:
            progress.update(row, completed=have, total=total)  # None: as it was

        yield advance
