"""From a finished run to a pull request: the records into their folder, the boards rebuilt, the rows shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regunlearn.benchmark import grid
from regunlearn.benchmark.atomic import write_text
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.records import read, read_all
from regunlearn.submission import checks, entries, reach, rows
from regunlearn.submission.changes import git

MACHINES = "machines.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a submission came to.

    Attributes:
        written: files, from the repository's root.
        changed: rows before and after, as Markdown.
    """

    written: Sequence[str]
    changed: str


def submit(method: str, protocol: str, source: Path | None, root: Path) -> Outcome:
    """Check a method's file and records, bring the records into `results/PROTOCOL`, and rebuild the boards.

    Args:
        method: its name.
        protocol: of the records.
        source: folder of the run, `results/PROTOCOL` itself by default.
        root: of the repository.

    Raises:
        UsageError: there is no such protocol in the repository.
        BenchmarkError: something is wrong with file or records; nothing is written then.
    """
    home = root / "results" / protocol
    if not (home / "protocol.toml").is_file():
        known = sorted(path.parent.name for path in (root / "results").glob("*/protocol.toml"))
        raise UsageError(
            f"--protocol {protocol}: expected one of {', '.join(known)}, found none of this name in results/."
        )
    card = checks.card_of(root, method)
    found = reach.problems(card.file)
    if found:
        raise BenchmarkError("\n".join(found))
    old = rows.places(rows.earlier(root, git(root, "rev-parse", "HEAD").strip(), home, method), home)
    kept = _state(home, method)
    written = (
        [] if source is None or source.resolve() == home.resolve() else _bring(source, home, method, protocol)
    )
    found = entries.problems(home, card)
    if found:
        _restore(home, method, kept)
        raise BenchmarkError("\n".join([*found[:10], f"{len(found)} problems; nothing is written."]))
    from regunlearn.leaderboard.everything import rebuild

    written += rebuild(root)
    return Outcome(
        written=sorted(set(written)), changed=rows.report(old, rows.places(read_all(home), home), method)
    )


def _bring(source: Path, home: Path, method: str, protocol: str) -> list[str]:
    """Copy a method's records and the machines they were made on, and return the files."""
    paths = [
        path for path in sorted((source / "records").glob("*.jsonl")) if path.stem.partition("-")[0] == method
    ]
    if not paths:
        raise BenchmarkError(
            f"{source}: expected records/{method}.jsonl, found none. Run `regunlearn run --protocol {protocol} "
            f"--method {method} --out {source}`."
        )
    ran = grid.load(source).name
    if ran != protocol:
        raise BenchmarkError(
            f"{source}: records of protocol {ran!r}, expected {protocol!r}. Name another --from."
        )
    written = []
    for path in paths:
        read(path)
        write_text(home / "records" / path.name, path.read_text(encoding="utf-8"))
        written.append(f"results/{protocol}/records/{path.name}")
    known, new = (json.loads((folder / MACHINES).read_text(encoding="utf-8")) for folder in (home, source))
    if merged := {name: facts for name, facts in new.items() if name not in known}:
        write_text(home / MACHINES, json.dumps({**known, **merged}, indent=2, sort_keys=True) + "\n")
        written.append(f"results/{protocol}/{MACHINES}")
    return written


def _state(home: Path, method: str) -> dict[Path, str]:
    own = [path for path in (home / "records").glob("*.jsonl") if path.stem.partition("-")[0] == method]
    return {path: path.read_text(encoding="utf-8") for path in [*own, home / MACHINES] if path.is_file()}


def _restore(home: Path, method: str, kept: dict[Path, str]) -> None:
    """Put back the records that were there."""
    for path in (home / "records").glob("*.jsonl"):
        if path.stem.partition("-")[0] == method and path not in kept:
            path.unlink()
    for path, text in kept.items():
        if path.read_text(encoding="utf-8") != text:
            write_text(path, text)
