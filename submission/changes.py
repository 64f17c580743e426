"""Which files a submission changes, against the commit that it starts from, and which of them it may."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regunlearn.benchmark.errors import BenchmarkError, UsageError

RECORDS_LARGEST = 1_000_000
GENERATED_LARGEST = 20_000_000
GENERATED = re.compile(
    r"leaderboard/[a-z0-9_]+/.+\.(?:md|csv|tex|png|svg|pdf|html|json|js|css)|docs/(?:methods|index)\.md|README\.md"
)
"""Files that the tool writes: they may change, and must equal what the tool writes from the records."""
FREE = re.compile(r"CHANGELOG\.md")
_NAME = r"[a-z][a-z0-9_]*"
OWN = (
    (re.compile(rf"methods/(?P<name>{_NAME})\.py"), 100_000),
    (re.compile(rf"tests/methods/test_(?P<name>{_NAME})\.py"), 100_000),
    (
        re.compile(rf"results/(?P<home>{_NAME})/records/(?P<name>{_NAME})(?:-[a-z0-9_.]+)?\.jsonl"),
        RECORDS_LARGEST,
    ),
    (re.compile(rf"results/(?P<home>{_NAME})/tuned/(?P<name>{_NAME})\.json"), 100_000),
)
"""Files that belong to one method, with the most bytes of each."""
MACHINES = re.compile(rf"results/(?P<home>{_NAME})/machines\.json")


@dataclass(frozen=True, slots=True)
class Change:
    """One changed file.

    Attributes:
        path: from the repository's root, with forward slashes.
        status: A (added), M (modified), D (deleted), or T (its kind changed).
    """

    path: str
    status: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A change that a submission may make.

    Attributes:
        change: the file.
        method: whose it is, "" for generated files.
        home: the protocol's folder under results/ that it is in, "" for none.
    """

    change: Change
    method: str = ""
    home: str = ""


def git(root: Path, *arguments: str) -> str:
    """Return what a git command prints.

    Raises:
        BenchmarkError: it fails; the message holds git's own.
    """
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[:200]
        raise BenchmarkError(
            f"git {' '.join(arguments[:2])}: {said}. Run the command inside a clone of the repository."
        )
    return done.stdout.decode("utf-8", errors="surrogateescape")


def start_of(root: Path, base: str) -> str:
    """Return the commit at which the submission left `base`.

    Raises:
        UsageError: there is no such commit, or no common one.
    """
    if base.startswith("-") or not base:
        raise UsageError(f"--against {base!r}: expected a branch or commit, for example origin/main.")
    try:
        git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
        return git(root, "merge-base", base, "HEAD").strip()
    except BenchmarkError as error:
        raise UsageError(
            f"--against {base}: expected a branch or commit with a common ancestor, found none here. "
            "Fetch it with its history (`git fetch origin main`)."
        ) from error


def changes(root: Path, start: str) -> list[Change]:
    """Return the files that differ between a commit and the working tree, files not yet added included, sorted."""
    fields = git(root, "diff", "--name-status", "--no-renames", "-z", start).split("\0")
    pairs = zip(fields[0:-1:2], fields[1::2], strict=False)
    found = {path: status[0] for status, path in pairs}
    for path in git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0"):
        if path:
            found[path] = "A"
    return [Change(path, status) for path, status in sorted(found.items())]


def before(root: Path, start: str, path: str) -> str | None:
    """Return the text of a file as of a commit, None where it was not there."""
    done = subprocess.run(
        ["git", "-C", str(root), "show", f"{start}:{path}"], capture_output=True, check=False
    )
    return None if done.returncode else done.stdout.decode("utf-8", errors="replace")


def sorted_out(root: Path, found: Sequence[Change]) -> tuple[list[Kept], list[str]]:
    """Return the changes that a submission may make, and what is wrong with the others.

    Args:
        root: of the repository.
        found: all changes.
    """
    kept, wrong = [], []
    for change in found:
        own = _owner(change)
        said = _problem(root, change, own)
        if said:
            wrong.append(said)
        elif own is not None:
            kept.append(own)
    names = sorted({one.method for one in kept if one.method})
    if len(names) > 1:
        wrong.append(
            f"the submission has files of {len(names)} methods ({', '.join(names)}), expected one. "
            "Make a pull request for each."
        )
    return kept, wrong


def _owner(change: Change) -> Kept | None:
    for pattern, _ in OWN:
        if match := pattern.fullmatch(change.path):
            return Kept(change, match["name"], match.groupdict().get("home", ""))
    if match := MACHINES.fullmatch(change.path):
        return Kept(change, "", match["home"])
    return Kept(change) if GENERATED.fullmatch(change.path) or FREE.fullmatch(change.path) else None


def _problem(root: Path, change: Change, own: Kept | None) -> str:
    """Return why a change is refused, "" if it is not. A file is not opened here, whatever its size."""
    plain = change.path.isascii() and change.path.isprintable()
    path = change.path if plain else change.path.encode("unicode_escape", "surrogateescape").decode()
    path = path.replace("<", "‹").replace(">", "›")[:120]
    if own is None:
        return (
            f"{path}: not a file of a submission. Expected methods/NAME.py, tests/methods/test_NAME.py, "
            "results/PROTOCOL/records/NAME.jsonl and what `regunlearn leaderboard` rebuilds. Revert it, or make "
            "another pull request for it."
        )
    if change.status == "D":
        generated = not own.method and not own.home
        return "" if generated else f"{path}: deleted. A submission takes nothing away: restore it."
    file = root / change.path
    if file.is_symlink() or not file.is_file() or root.resolve() not in file.resolve().parents:
        return f"{path}: not a plain file inside the repository. Replace the link by the file."
    most = next((size for pattern, size in OWN if pattern.fullmatch(change.path)), GENERATED_LARGEST)
    size = file.stat().st_size
    if size > most:
        return f"{path}: {size:,} bytes, expected at most {most:,}. Make it again with the tool."
    if own.method and own.change.path.startswith("methods/") and own.method.startswith("_"):
        return f"{path}: private helpers are shared by many methods. Make another pull request for it."
    return ""
