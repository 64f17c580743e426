"""All that is published, from all results: every board, the README's table, the generated pages, the site."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import joblib

from regunlearn.benchmark import data_page, method_page
from regunlearn.benchmark.errors import UsageError
from regunlearn.leaderboard.site_build import build as build_site

SHOWN = "quick"
"""The board whose table stands in the README."""
README = "README.md"
SITE = "site"


def rebuild(root: Path, target: Path | None = None, jobs: int | None = None) -> list[str]:
    """Write everything that `root/results` gives and return the files, from the root, sorted.

    Args:
        root: of the repository.
        target: where to write, the repository itself by default. Another one gets its own README.
        jobs: processes, one a core by default.

    Raises:
        UsageError: `root` holds no results.
        BenchmarkError: records cannot be read or compared.
    """
    target = root if target is None else target
    parts = _parts(root, target)
    if target != root and (root / README).is_file():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / README, target / README)
    done = joblib.Parallel(n_jobs=jobs or os.cpu_count() or 1)(joblib.delayed(_call)(part) for part in parts)
    site = build_site(root, target / "leaderboard" / SITE, boards=target / "leaderboard")
    return sorted([*(path for written in done for path in written), *_named(site, target)])


def differences(root: Path) -> list[str]:
    """Return the files that differ from what the results give, missing and left-over ones included, sorted.

    Raises:
        BenchmarkError: records cannot be read or compared.
    """
    with tempfile.TemporaryDirectory(prefix="regunlearn-boards-") as folder:
        target = Path(folder)
        built = rebuild(root, target)
        wrong = {path for path in built if not _same(root / path, target / path)}
        boards = [
            path for path in (root / "leaderboard").iterdir() if (target / "leaderboard" / path.name).is_dir()
        ]
        there = {
            file.relative_to(root).as_posix()
            for board in boards
            for file in board.rglob("*")
            if file.is_file()
        }
        return sorted(wrong | (there - set(built)))


def _same(here: Path, made: Path) -> bool:
    """Return whether a file is as made. Pictures of pixels may differ with the machine's fonts, their SVG may not."""
    return here.is_file() and (made.suffix == ".png" or here.read_bytes() == made.read_bytes())


# Parts --------------------------------------------------------------------------------------------------------


def _parts(root: Path, target: Path) -> list[Callable[[], Sequence[str]]]:
    """Return what is to be made, the longest work first, so that processes end together."""
    homes = [path for path in sorted((root / "results").glob("*")) if path.is_dir()]
    boards = [path for path in homes if (path / "records").is_dir()]
    experiments = [path for path in homes if any(path.glob("*.jsonl"))]
    if not boards and not experiments:
        raise UsageError(
            f"{root / 'results'}: expected folders of records, found none. Run this in the repository."
        )
    boards.sort(key=lambda path: -sum(file.stat().st_size for file in path.glob("records/*.jsonl")))
    return [
        *(partial(_board, home, target) for home in boards),
        *(partial(_reproduction, home, target) for home in experiments),
        partial(_pages, root, target),
    ]


def _call(part: Callable[[], Sequence[str]]) -> Sequence[str]:
    return part()


def _board(home: Path, target: Path) -> list[str]:
    from regunlearn.leaderboard.build import build

    readme = target / README if home.name == SHOWN and (target / README).is_file() else None
    return _named(build(home, target / "leaderboard" / home.name, readme=readme), target)


def _reproduction(home: Path, target: Path) -> list[str]:
    from regunlearn.leaderboard.reproduction_build import rebuild as reproduce

    return _named(reproduce(home, target / "leaderboard" / home.name), target)


def _pages(root: Path, target: Path) -> list[str]:
    """Write the pages of docs/ that are made from methods, metrics and datasets."""
    from regunlearn.leaderboard import explain

    folder = target / "docs"
    method_page.write(folder / "methods.md")
    data_page.write(folder / "data.md")
    explain.write(folder / "metrics.md", root / "results" / SHOWN)
    return _named([folder / name for name in ("methods.md", "data.md", "metrics.md")], target)


def _named(paths: Sequence[Path], target: Path) -> list[str]:
    return [path.relative_to(target).as_posix() for path in paths]
