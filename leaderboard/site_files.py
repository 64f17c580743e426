"""Which files a site consists of: their paths are checked, written whole, and deleted when a rebuild lacks them.

`files.json` in the site's folder lists them. Only what an earlier one lists is ever deleted: docs or other files that
somebody else puts into the folder stay.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from regunlearn.benchmark.atomic import write_bytes
from regunlearn.benchmark.errors import BenchmarkError

LIST = "files.json"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
DEEPEST = 4


def safe(path: str) -> bool:
    """Return whether a path stays inside the site: a few plain names joined by slashes, none of them hidden."""
    parts = PurePosixPath(path).parts
    return (
        0 < len(parts) <= DEEPEST
        and "/".join(parts) == path
        and all(_PART.fullmatch(part) and len(part) <= 120 for part in parts)
    )


def listed(out: Path) -> list[str]:
    """Return the files that the last build wrote, none where there was none.

    Raises:
        BenchmarkError: the list is broken, or names anything outside the site.
    """
    path = out / LIST
    if not path.is_file():
        return []
    advice = f"Delete {path} (stale pages then stay) and build the site again."
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchmarkError(
            f"{path}: expected a JSON list of files, found {error!s:.100}. {advice}"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) and safe(name) for name in names):
        raise BenchmarkError(f"{path}: expected a list of paths inside the site, found others. {advice}")
    return names


def write(out: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write a site's files, then delete those of the last build that are no part of it; return the paths, sorted.

    Args:
        out: folder of the site.
        files: contents by path within it.

    Raises:
        BenchmarkError: a path leads outside, the old list is broken, or something cannot be written.
    """
    strange = sorted(name for name in files if not safe(name))
    if strange:
        raise BenchmarkError(f"{strange[0]!r:.120} is no path inside the site. Rename what it is made of.")
    stale = [name for name in listed(out) if name not in files and name != LIST]
    names = sorted([*files, LIST])
    content = {**files, LIST: (json.dumps(names, indent=0) + "\n").encode()}
    for name in names:
        if not (out / name).is_file() or (out / name).read_bytes() != content[name]:
            write_bytes(out / name, content[name])
    for name in stale:
        _remove(out, name)
    return [out / name for name in names]


def _remove(out: Path, name: str) -> None:
    """Delete a file of the site and the folders that it leaves empty; one that a link leads out to is left alone."""
    path = out / name
    if not path.parent.resolve().is_relative_to(out.resolve()):
        return
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == out or not folder.is_dir() or any(folder.iterdir()):
            break
        folder.rmdir()
