"""The board as static pages: one folder that works from a file or on any host, without a server or the network.

Every number comes from the functions behind the Markdown boards. The same records give the same bytes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import Record, check_name
from regunlearn.benchmark.registry import Catalogue, discover
from regunlearn.leaderboard import (
    site_boards,
    site_charts,
    site_data,
    site_docs,
    site_entries,
    site_files,
    site_metrics,
    site_render,
    site_tasks,
    site_views,
    site_worth,
)
from regunlearn.leaderboard.explain import ANCHORS
from regunlearn.leaderboard.site_data import REPRODUCTION, Folder, Results
from regunlearn.leaderboard.site_views import METRICS, TRACKS, Face
from regunlearn.leaderboard.table_files import FOLDER

DOCS = "docs/index.html"
LARGEST_FIGURE = 4_000_000


def build(
    root: Path, out: Path, *, boards: Path | None = None, catalogue: Catalogue | None = None
) -> list[Path]:
    """Write the site of a repository and return its files, sorted.

    Args:
        root: folder with results/.
        boards: folder of the boards, whose figures are copied; `root`/leaderboard by default.
        out: folder of the site. Pages that an earlier build wrote and that are no part of it any more are deleted.
        catalogue: method cards; those of the package by default.

    Raises:
        BenchmarkError: there are no records, a file cannot be read, or nothing can be written.
    """
    methods = discover("method") if catalogue is None else catalogue
    results = site_data.load(root, methods)
    home = root / "leaderboard" if boards is None else boards
    figures, tables = dict(_figures(home, results)), dict(_tables(home, results))
    files = {**site_render.assets(), **figures, **tables, **dict(site_docs.pictures(root))}
    docs = site_docs.pages(root)
    pages = _pages(results, figures, tables, bool(docs))
    pages |= {path: ("doc.html", {**own, "docs": True, "first": path == DOCS}) for path, own in docs.items()}
    for path, (template, context) in pages.items():
        files[path] = site_render.page(template, path.count("/"), context)
    return site_files.write(out, files)


# Parts --------------------------------------------------------------------------------------------------------

Page = tuple[str, Mapping[str, Any]]


def _figures(boards: Path, results: Results) -> Iterator[tuple[str, bytes]]:
    """Yield the committed SVG figures of every protocol, so that the site's folder alone is whole."""
    for name in [*results.folders, REPRODUCTION]:
        home = boards / name
        for path in sorted(home.glob("figures/*.svg" if name != REPRODUCTION else "*/*.svg")):
            content = path.read_bytes()
            if len(content) > LARGEST_FIGURE:
                raise BenchmarkError(
                    f"{path}: expected a figure of at most {LARGEST_FIGURE:,} bytes, found {len(content):,}. "
                    "Draw it again with fewer points."
                )
            yield f"figures/{name}/{check_name('figure', path.stem)}.svg", content


def _tables(boards: Path, results: Results) -> Iterator[tuple[str, bytes]]:
    """Yield the committed CSV and LaTeX of every protocol's tables, and its tidy CSV, for readers to take along."""
    for name in results.folders:
        paths = [boards / name / "leaderboard.csv", boards / name / "leaderboard.tex"]
        for path in [
            *paths,
            *sorted((boards / name / FOLDER).glob("*.csv")),
            *sorted((boards / name / FOLDER).glob("*.tex")),
        ]:
            if path.is_file():
                yield f"tables/{name}/{check_name('table', path.stem)}{path.suffix}", path.read_bytes()


def _pages(
    results: Results, figures: Mapping[str, bytes], tables: Mapping[str, bytes], docs: bool
) -> dict[str, Page]:
    """Return template and content of every page, by its path."""
    face = site_views.face(results, results.main)
    tasks = discover("task")
    task_names = site_tasks.names(results, tasks)
    shared = {
        "main": results.main.name,
        "docs": docs,
        "entry_names": set(results.entries),
        "task_names": set(task_names),
    }
    records = _anchoring(results)
    pages: dict[str, Page] = {
        "index.html": ("index.html", _index(results, face)),
        "compare.html": ("compare.html", {"data": site_charts.side_by_side(results, face)}),
        "pareto.html": ("pareto.html", {"data": site_charts.scatter(results.main, face)}),
        "worth-it.html": ("worth-it.html", site_worth.context(results)),
        "methods.html": ("methods.html", {"families": _families(results)}),
        "tasks.html": ("tasks.html", {"rows": site_tasks.listing(results, tasks)}),
        "metrics.html": ("metrics.html", {"kinds": site_metrics.listing()}),
        "boards.html": ("boards.html", _boards(results)),
    }
    for entry in results.entries:
        name = check_name("method", entry)
        pages[f"methods/{name}.html"] = ("method.html", site_entries.context(results, entry))
    for task in task_names:
        pages[f"tasks/{check_name('task', task)}.html"] = (
            "task.html",
            site_tasks.context(results, task, tasks),
        )
    for metric in site_metrics.names():
        pages[f"metrics/{check_name('metric', metric)}.html"] = (
            "metric.html",
            site_metrics.context(metric, records),
        )
    for folder in results.folders.values():
        downloads = sorted(path for path in tables if path.startswith(f"tables/{folder.name}/"))
        own = {
            **site_boards.context(folder, results.methods),
            "figures": _drawn(folder, figures),
            "downloads": downloads,
        }
        pages[f"boards/{folder.name}.html"] = ("board.html", own)
    for name, numbers in results.reproductions.items():
        pages[f"boards/reproduction-{name}.html"] = ("experiment.html", site_boards.experiment(numbers))
    return {path: (template, {**shared, **context}) for path, (template, context) in pages.items()}


def _index(results: Results, face: Face) -> dict[str, Any]:
    whole = face.views[0]
    families = sorted({entry.family for entry in face.entries if not entry.anchor})
    needs = sorted({need for entry in face.entries for need in entry.needs})
    data = {
        "columns": len(face.columns),
        "parts": {f"{task}|{split}": at for (task, split), at in face.parts.items()},
        "views": [view.plain() for view in face.views],
        "entries": {
            entry.name: {
                "track": entry.track,
                "family": entry.family,
                "needs": list(entry.needs),
                "verified": entry.verified,
                "anchor": entry.anchor,
            }
            for entry in face.entries
        },
    }
    return {
        "face": face,
        "whole": whole,
        "level": whole.levels[-1],
        "columns": [(name, METRICS.get(name)) for name in face.columns],
        "families": families,
        "needs": needs,
        "tracks": {key: text for key, text in TRACKS.items() if any(e.track == key for e in face.entries)},
        "data": data,
        "protocols": [name for name in results.folders if name != results.main.name],
    }


def _families(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the entries with a page by family, each with the first line of its method's file."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in results.entries:
        card = results.card(entry)
        family = str(card.fact("family")) if card else "unregistered"
        found.setdefault(family, []).append({"name": entry, "summary": card.summary if card else ""})
    return sorted(found.items())


def _boards(results: Results) -> dict[str, Any]:
    rows = [
        {"name": folder.name, "entries": len(folder.entries), "records": len(folder.records)}
        for folder in results.folders.values()
    ]
    experiments = [
        {"name": name, "title": numbers.published.title if numbers.published else name}
        for name, numbers in results.reproductions.items()
    ]
    texts = [path for path in site_render.assets() if path.endswith("LICENSE.txt")]
    licences = [(path.split("/")[-2], path) for path in texts]
    return {"rows": rows, "experiments": experiments, "licences": licences}


def _anchoring(results: Results) -> list[Record]:
    """Return the records that null values are read from: the main board's, and those of other kinds of models.

    A second protocol of ensembles may have the same blocks with other entries: it is left out, not averaged in.
    """
    folders = [one for one in results.folders.values() if one is results.main or one.outcome is None]
    return [record for folder in folders for record in folder.records if record.method in ANCHORS]


def _drawn(folder: Folder, figures: Mapping[str, bytes]) -> list[dict[str, str]]:
    """Return path and caption of each figure of a protocol."""
    captions = site_boards.captions(folder)
    own = [path for path in figures if path.startswith(f"figures/{folder.name}/")]
    names = {path.rpartition("/")[2].removesuffix(".svg"): path for path in own}
    ordered = [name for name in captions if name in names] + [name for name in names if name not in captions]
    return [{"name": name, "path": names[name], "caption": captions.get(name, name)} for name in ordered]
