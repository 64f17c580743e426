"""The checks of a submission, in their order: each says what is wrong, in words that say what to do.

A submission is what differs between the working tree and the commit at which it left the base branch: one method's
file, its test, its records, and the files that the tool rebuilds from them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from regunlearn.benchmark import registry
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import read_all
from regunlearn.benchmark.registry import Card
from regunlearn.submission import entries, reach, rows
from regunlearn.submission.changes import Change, Kept, before, changes, sorted_out, start_of

REQUIRED = "v1"
"""The protocol that a new method must have records of; of others it may."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is submitted.

    Attributes:
        root: of the repository.
        start: the commit that it starts from.
        found: all changes.
    """

    root: Path
    start: str
    found: Sequence[Change]

    @cached_property
    def sorted(self) -> tuple[list[Kept], list[str]]:
        """The changes that it may make, and what is wrong with the others."""
        return sorted_out(self.root, self.found)

    @property
    def kept(self) -> list[Kept]:
        """The changes that it may make."""
        return self.sorted[0]

    @property
    def method(self) -> str:
        """Name of the method that it is of, "" where it is of none or of several."""
        names = {one.method for one in self.kept if one.method}
        return names.pop() if len(names) == 1 else ""

    @cached_property
    def card(self) -> Card:
        """Card of the method.

        Raises:
            BenchmarkError: there is no such method, or its file cannot be described.
        """
        return card_of(self.root, self.method)

    @property
    def homes(self) -> list[Path]:
        """Folders under results/ that it changes."""
        names = sorted({one.home for one in self.kept if one.home})
        return [self.root / "results" / name for name in names]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Attributes:
        name: as the report and CONTRIBUTING call it.
        what: it checks, in a few words.
        run: what is wrong, empty for nothing.
        needs: names of checks that must have passed before.
    """

    name: str
    what: str
    run: Callable[[Submission], list[str]]
    needs: Sequence[str] = field(default=())


def open_submission(root: Path, base: str) -> Submission:
    """Return what differs from `base`.

    Raises:
        UsageError: there is no such commit.
    """
    start = start_of(root, base)
    return Submission(root=root, start=start, found=changes(root, start))


def card_of(root: Path, method: str) -> Card:
    """Return the card of a method of a repository.

    Raises:
        BenchmarkError: it is not there, or its file cannot be described.
    """
    catalogue = registry.discover("method", root / "methods")
    for file, cause in catalogue.broken.items():
        if file.stem == method:
            raise BenchmarkError(f"methods/{file.name} cannot be read: {cause}")
    if method not in catalogue.cards:
        raise BenchmarkError(
            f"method {method!r} is not there: expected methods/{method}.py, found none. Add its file."
        )
    return catalogue.cards[method]


def run(submission: Submission, chosen: Sequence[Check]) -> Iterator[tuple[Check, list[str] | None]]:
    """Yield each check with what it found, None where one that it needs has failed."""
    failed: set[str] = set()
    for check in chosen:
        if failed & set(check.needs):
            failed.add(check.name)
            yield check, None
            continue
        try:
            found = check.run(submission)
        except BenchmarkError as error:
            found = [str(error)]
        if found:
            failed.add(check.name)
        yield check, found


# The checks ---------------------------------------------------------------------------------------------------


def files(submission: Submission) -> list[str]:
    """Only the files of one method, and those that the tool rebuilds; nothing is taken away."""
    wrong = list(submission.sorted[1])
    if not wrong and not submission.method:
        wrong.append(
            "no method's file or records are changed: expected methods/NAME.py with results/v1/records/NAME.jsonl. "
            "Add them, or ask for a review of another kind of change."
        )
    for one in submission.kept:
        if one.home and not one.method:
            wrong += _machines_kept(submission, one.change.path)
    return wrong


def _machines_kept(submission: Submission, path: str) -> list[str]:
    old = json.loads(before(submission.root, submission.start, path) or "{}")
    try:
        new = json.loads((submission.root / path).read_text(encoding="utf-8"))
        lost = [name for name, facts in old.items() if new.get(name) != facts]
    except (ValueError, AttributeError, RecursionError) as error:
        return [f"{path}: expected the machines of a run, found {error!s:.80}. Restore it."]
    return [f"{path}: {name} is changed or gone. Only add your own machine." for name in lost[:3]]


def method_file(submission: Submission) -> list[str]:
    """A card that can be read under the file's own name, a header with its source, and no reaching outside."""
    card = submission.card
    found = reach.problems(card.file)
    if card.file.stem != card.name:
        found.append(f"methods/{card.file.name} registers {card.name!r}. Name the file after the method.")
    for word in ("reference", "sentinel", "cheat", "core"):
        if card.fact(word, "") and not _was(submission, card, word):
            found.append(
                f"methods/{card.file.name}: {word}= is for maintainers. Remove it from the decorator."
            )
    text = card.file.read_text(encoding="utf-8")
    for line in ("paper:", "Differs from the paper in:"):
        if line not in text:
            found.append(
                f"methods/{card.file.name}: the header has no line {line!r}. Add it, as in methods/_template.py."
            )
    return found


def _was(submission: Submission, card: Card, word: str) -> bool:
    old = before(submission.root, submission.start, f"methods/{card.file.name}")
    return old is not None and f"{word}=" in old


def records(submission: Submission) -> list[str]:
    """Records that can be read, of the file that is there, whole, and of the same models as everybody's."""
    card = submission.card
    homes = {path.name: path for path in [submission.root / "results" / REQUIRED, *submission.homes]}
    return [problem for home in homes.values() for problem in entries.problems(home, card)]


def conformance(submission: Submission) -> list[str]:
    """The conformance suite and the method's own test."""
    own = submission.root / "tests" / "methods" / f"test_{submission.method}.py"
    if not own.is_file():
        return [f"tests/methods/{own.name}: expected a test with a known answer, found none. Add it."]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:benchmark", "--no-header", str(own)]
    suite = ["tests/methods/test_contract.py", "-k", submission.method]
    for arguments in (command, [*command[:-1], *suite]):
        done = subprocess.run(
            arguments, cwd=submission.root, capture_output=True, text=True, check=False, env={**os.environ}
        )
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            what = " ".join(arguments[arguments.index("--no-header") + 1 :]).replace(
                f"{submission.root}/", ""
            )
            return [f"{what}: {'; '.join(said)[:400] or done.stdout.strip()[-300:]}. Run it to see why."]
    return []


def rerun(submission: Submission) -> list[str]:
    """The cheapest cell of every entry, run again from the shipped reference models."""
    from regunlearn.benchmark import grid
    from regunlearn.submission.rerun import cheapest
    from regunlearn.submission.rerun import rerun as again

    found = []
    home = submission.root / "results" / REQUIRED
    own = entries.own_records(home, submission.method)
    for entry in sorted({record.method for record in own}):
        record = cheapest([one for one in own if one.method == entry], grid.load(home))
        found += again(record, home, jobs=os.cpu_count() or 1).problems
    return found


def boards(submission: Submission) -> list[str]:
    """Every table, figure and page equals what the tool makes of the records."""
    from regunlearn.leaderboard.everything import differences

    stale = differences(submission.root)
    return [
        f"{path}: not what the records give. Run `regunlearn leaderboard` and commit." for path in stale[:10]
    ]


CHECKS = (
    Check(name="files", what="only this method's files are changed", run=files),
    Check(name="method", what="the method's file is sound", run=method_file, needs=("files",)),
    Check(name="records", what="its records are whole and of this file", run=records, needs=("files",)),
    Check(name="conformance", what="it keeps the contract", run=conformance, needs=("files", "method")),
    Check(
        name="boards", what="tables, figures and pages are rebuilt", run=boards, needs=("files", "records")
    ),
    Check(
        name="rerun", what="its cheapest cell gives the same again", run=rerun, needs=("method", "records")
    ),
)


def changed_rows(submission: Submission) -> str:
    """Return the rows of the boards that the submission changes as Markdown.

    Raises:
        BenchmarkError: records cannot be compared.
    """
    parts = []
    for home in submission.homes:
        old = rows.places(rows.earlier(submission.root, submission.start, home, submission.method), home)
        new = rows.places(read_all(home), home)
        parts.append(f"Protocol {home.name}:\n\n{rows.report(old, new, submission.method)}")
    return "\n\n".join(parts) or "No records are changed."
