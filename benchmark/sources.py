"""Data that no Python package ships: where they are found, what to fetch from whom, and fetching what is public.

A dataset's file declares a `Source` at module level and reads its files from `folder_of(SOURCE)`. Where the data were
put by hand or by `regunlearn data get` makes no difference: a folder of the source's name, in the folder that
REGUNLEARN_DATA names or in the cache.
"""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from regunlearn.benchmark import declarations, unpacking
from regunlearn.benchmark.downloads import Download as Download
from regunlearn.benchmark.downloads import check_path, download, sha256_of
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.fetch import Package, cache_folder, data_folder
from regunlearn.benchmark.fingerprints import fingerprint as fingerprint
from regunlearn.benchmark.records import check_name
from regunlearn.benchmark.registry import FOLDERS, PACKAGE, Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Data of one origin.

    Attributes:
        name: of its folder, and for `regunlearn data get`.
        title: what it is, for people.
        files: what its folder must have, as paths in it: "a|b" is either, a trailing "/" a folder that is not empty,
            and "*.txt" any such file.
        url: address of the official page.
        downloads: the public files; () if there are none.
        licence: short, for tables; `terms`: who may use it and how, one sentence.
        how: what to do by hand, or what to ask of whom for what is handed out on request.
    """

    name: str
    title: str
    files: tuple[str, ...]
    url: str
    downloads: tuple[Download, ...] = ()
    licence: str
    terms: str
    how: str = ""

    def __post_init__(self) -> None:
        check_name("source", self.name)
        if not self.files or not all((self.title, self.url, self.licence, self.terms)):
            raise BenchmarkError(f"source {self.name}: expected files, title, url, licence and terms.")
        if not self.downloads and not self.how:
            raise BenchmarkError(f"source {self.name}: expected downloads, or in `how` what to do by hand.")
        for file in self.files:
            for option in file.split("|"):
                check_path(option.removesuffix("/"))


# Finding


def folder_of(source: Source) -> Path:
    """Return the folder that has all files of a source, the user's own before the cache's.

    Raises:
        BenchmarkError: there is none: what to fetch, from whom, under which terms, and where to put it.
    """
    folder = find(source)
    if folder is None:
        raise BenchmarkError(_advice(source))
    return folder


def find(source: Source) -> Path | None:
    """Return the folder that has all files of a source, or None."""
    return next((folder for folder in _places(source) if not _missing(source, folder)), None)


def state(source: Source) -> str:
    """Return where a source is: "in REGUNLEARN_DATA", "in the cache", "missing: public" or "missing: on request"."""
    folder = find(source)
    if folder is not None:
        return "in the cache" if folder == _cached(source) else "in REGUNLEARN_DATA"
    public = can_download(source, _missing(source, _cached(source)))
    return "missing: public" if public else "missing: on request"


def _cached(source: Source) -> Path:
    return cache_folder() / "data" / source.name


def _places(source: Source) -> list[Path]:
    own = data_folder()
    return [*([own / source.name] if own else []), _cached(source)]


def _missing(source: Source, folder: Path) -> list[str]:
    """Return the entries of `source.files` that a folder has not."""
    half_done = [
        f"all of {item.file} (unpacking was stopped)"
        for item in source.downloads
        if item.unpack and unpacking.is_half_done(folder / item.file)
    ]
    return half_done + [
        file for file in source.files if not any(_has(folder, one) for one in file.split("|"))
    ]


def _has(folder: Path, file: str) -> bool:
    with suppress(OSError):  # a folder that cannot be read has nothing
        if file.endswith("/"):
            return (folder / file).is_dir() and any((folder / file).iterdir())
        if set(file) & set("*?["):
            return any(path.is_file() for path in folder.glob(file))
        return (folder / file).is_file()
    return False


def can_download(source: Source, files: Iterable[str]) -> bool:
    """Whether downloads give these entries of `source.files`; what an archive holds is not declared, so it may."""
    given = {item.file for item in source.downloads}
    unpacked = any(item.unpack for item in source.downloads)
    return bool(given) and (unpacked or all(given & set(file.split("|")) for file in files))


def _advice(source: Source) -> str:
    """Say what is missing and how to get it, in one message of several lines."""
    found = [
        f"found: {folder} lacks {_words(_missing(source, folder))}"
        for folder in _places(source)
        if folder.is_dir()
    ]
    own = "the folder that REGUNLEARN_DATA names" + (f" ({data_folder()})" if data_folder() else " (not set)")
    command = f"type: regunlearn data get {source.name} --accept-terms ({_size(source)}from {_hosts(source)})"
    waiting = any(not _is_here(item, _cached(source)) for item in source.downloads)
    lines = [
        f"expected: {_words(source.files)}",
        *found,
        f"from: {source.url}",
        f"terms: {_terms(source)}",
        *([command] if waiting else []),
        *([f"by hand: {source.how}"] if source.how else []),
        f"where: put the files into {_cached(source)}, or into a folder {source.name} inside {own}",
    ]
    return f"the data of {source.name!r} ({source.title}) are not there.\n  " + "\n  ".join(lines)


def _words(files: Iterable[str]) -> str:
    return ", ".join(file.replace("|", " or ") for file in files)


def _terms(source: Source) -> str:
    return f"{source.licence}. {source.terms}"


def _size(source: Source) -> str:
    total = sum(item.size_mb for item in source.downloads)
    return f"{total:g} MB " if total else ""


def _hosts(source: Source) -> str:
    return ", ".join(dict.fromkeys(item.url.split("/")[2] for item in source.downloads))


# Fetching


def get(source: Source, *, accept: bool, quiet: bool = False, again: bool = False) -> Path:
    """Return the folder of a source, after downloading into the cache what is public and not there.

    Args:
        source: what to get.
        accept: the user accepts its terms.
        quiet: show neither terms nor progress.
        again: download what the cache has too. The user's own folder is left alone, and used if it has all files.

    Raises:
        UsageError: the terms are not accepted; they are shown.
        BenchmarkError: a download fails, or something is handed out on request only.
    """
    if not _is_due(source, again):
        return folder_of(source)
    if not accept:
        ask([source], [source.name], again=again)
    if not quiet:
        _say(f"terms of {source.name} ({source.url}): {_terms(source)}")
    with _alone(source) as folder:
        for item in source.downloads:
            _bring(source, item, folder, quiet, again)
    return folder_of(source)


def ask(wanted: Iterable[Source], names: Iterable[str], *, again: bool = False) -> None:
    """Show the terms of what would be downloaded, before anything is.

    Args:
        wanted: the sources that are needed.
        names: what was asked for, for the command to type.
        again: as of `get`.

    Raises:
        UsageError: something would be downloaded.
    """
    due = [source for source in wanted if _is_due(source, again)]
    if due:
        texts = [
            f"{source.name} ({source.title}; {source.url}), {_size(source)}from {_hosts(source)}: {_terms(source)}"
            for source in due
        ]
        options = " --again --accept-terms" if again else " --accept-terms"
        raise UsageError(
            "there are terms to accept before anything is fetched.\n  "
            + "\n  ".join(texts)
            + f"\nIf you accept them, type: regunlearn data get {' '.join(names)}{options}"
        )


def _is_due(source: Source, again: bool) -> bool:
    """Whether `get` would download something."""
    folder, cached = find(source), _cached(source)
    if folder is None:
        return any(not _is_here(item, cached) for item in source.downloads)
    return again and bool(source.downloads) and folder == cached


def _bring(source: Source, item: Download, folder: Path, quiet: bool, again: bool) -> None:
    if not again and _is_here(item, folder):
        return
    target = folder / item.file
    if again or not _is_sound(item, target):
        download(item, folder, quiet=quiet)
    if item.unpack:
        if not quiet:
            _say(f"unpacking {target}")
        unpacking.unpack(target, folder, item.unpack)
        if not any(item.file in file.split("|") for file in source.files):
            target.unlink()


def _is_here(item: Download, folder: Path) -> bool:
    """Whether a download is there and unpacked."""
    return (
        unpacking.is_done(folder / item.file, folder) if item.unpack else _is_sound(item, folder / item.file)
    )


def _is_sound(item: Download, path: Path) -> bool:
    """Whether a file is there and, as far as it is known, the right one; says so if it is another one."""
    if not path.is_file():
        return False
    if item.sha256 is None or (found := sha256_of(path)) == item.sha256:
        return True
    _say(f"{path} is damaged or another file (sha256 {found[:12]}…, expected {item.sha256[:12]}…).")
    return False


def _say(text: str) -> None:
    print(f"regunlearn: {text}", file=sys.stderr)


@contextmanager
def _alone(source: Source) -> Iterator[Path]:
    """Make the source's folder in the cache and keep other processes from fetching into it meanwhile."""
    folder = _cached(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchmarkError(
            f"cannot make the folder {folder}: {error.strerror}. Choose another (REGUNLEARN_CACHE)."
        ) from error
    if os.name != "posix":  # no lock on folders there
        yield folder
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BenchmarkError(
                    f"another process is fetching {source.name} into {folder}. Wait for it, and type it again."
                ) from error
        yield folder
    finally:
        os.close(handle)


# Declarations


def discover(folder: Path | None = None) -> dict[str, Source]:
    """Return by name the sources that the files of datasets/ declare at module level. Imports none of them.

    Raises:
        BenchmarkError: a declaration cannot be read, or two sources have one name; the files are named. A file that is
            no Python at all is passed over: the listing of datasets reports it.
    """
    found: dict[str, tuple[Source, Path]] = {}
    for file in sorted((folder or PACKAGE / FOLDERS["dataset"]).glob("*.py")):
        with suppress(SyntaxError, ValueError, OSError):
            for objects in declarations.declared(file, _kinds()).values():
                for source in objects:
                    if not isinstance(source, Source):
                        continue
                    other = found.setdefault(source.name, (source, file))
                    if other[0] != source:
                        raise BenchmarkError(
                            f"two sources are called {source.name!r}, in {other[1]} and {file}. Rename one."
                        )
    return {name: found[name][0] for name in sorted(found)}


def needs(card: Card) -> list[Source | Package]:
    """Return the sources and packages that the function of a dataset uses, directly or not, by name."""
    found: dict[str, Source | Package] = {}
    for file, name in declarations.reached(card.file, card.function):
        for thing in declarations.declared(file, _kinds()).get(name, ()):
            if isinstance(thing, Source | Package):
                found[thing.name] = thing
    return [found[name] for name in sorted(found)]


def wanted(name: str, known: Mapping[str, Source], card: Card | None) -> list[Source]:
    """Return what to get for a name: the source that is called so, and what is public of the dataset that is.

    What is handed out on request only is asked for by the dataset itself, once it is loaded.
    """
    used = [thing for thing in needs(card) if isinstance(thing, Source) and thing.downloads] if card else []
    return list(dict.fromkeys([*([known[name]] if name in known else []), *used]))


def _kinds() -> dict[str, type]:
    return {"Source": Source, "Download": Download, "Package": Package}
