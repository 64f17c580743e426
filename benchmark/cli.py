"""The command `regunlearn`. Imports torch only inside the commands that compute."""

import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from regunlearn.benchmark import registry, signals
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError

app = typer.Typer(
    name="regunlearn",
    help="Benchmark suite and leaderboard for unlearning in deep regression models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Fetch and show the data that tasks need.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data_app, name="data")

ALL = "all"
"""In the place of a method's name: every method."""
WIDE = 200
"""Columns of a listing that is not printed on a terminal, which would fold it at 80."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Suite = Annotated[str, typer.Option(help="Named set of tasks: smoke, quick, paper or dev.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be repeated.")]
Splits = Annotated[list[str] | None, typer.Option("--split", help="Only this forget split; may be repeated.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Only this method; may be repeated. all: every method [default: of a suite its core, of a protocol all].",
    ),
]
Seeds = Annotated[
    str | None, typer.Option(help="Comma-separated seeds instead of the protocol's, e.g. 0,1,2.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Folder = Annotated[Path | None, typer.Option("--out", help="Folder of the run [default: runs/SUITE].")]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        help="Ensembles of this protocol (results/NAME) instead of a suite's single models, e.g. v1."
    ),
]
CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Folder of checkpoints [env: REGUNLEARN_CACHE].")
]
MethodFolder = Annotated[Path | None, typer.Option("--methods", help="Take methods from this folder.")]


# Listings


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, splits, metrics or datasets.")],
    family: Annotated[str | None, typer.Option(help="Only methods of this family.")] = None,
    needs: Annotated[
        list[str] | None, typer.Option(help="Only methods that need this, e.g. retain; may be repeated.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Only methods that do not need this; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what there is."""
    from regunlearn.benchmark import method_page

    def methods() -> Listing:
        rows = method_page.rows(family=family, needs=needs or (), without=without or ())
        return rows, dict(registry.discover("method").broken)

    if what != "methods" and (family or needs or without):
        raise UsageError("--family, --needs and --without choose among methods: `regunlearn list methods`.")
    listings = {
        "methods": methods,
        "tasks": _tasks,
        "splits": _splits,
        "metrics": _metrics,
        "datasets": _datasets,
    }
    if what not in listings:
        raise UnknownName("listing", what, listings)
    rows, broken = listings[what]()
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)
    for file, cause in broken.items():
        print(f"regunlearn: {file} cannot be read: {cause}", file=sys.stderr)
    if broken:
        raise typer.Exit(1)


Listing = tuple[list[dict[str, Any]], dict[Path, str]]


def _tasks() -> Listing:
    catalogue = registry.discover("task")
    rows = [
        {
            "name": card.name,
            "dataset": card.fact("dataset"),
            "suite": card.fact("suite"),
            "splits": sorted(card.fact("splits")),
            "recipe": card.fact("recipe"),
            "summary": card.summary,
        }
        for card in catalogue.cards.values()
    ]
    return rows, dict(catalogue.broken)


def _datasets() -> Listing:
    catalogue = registry.discover("dataset")
    rows = [
        {
            "name": card.name,
            **{k: card.fact(k) for k in ("modality", "source", "licence")},
            "summary": card.summary,
        }
        for card in catalogue.cards.values()
    ]
    return rows, dict(catalogue.broken)


def _splits() -> Listing:
    catalogue = registry.discover("task")
    found: dict[str, dict[str, Any]] = {}
    for card in catalogue.cards.values():
        for name, arguments in card.fact("splits").items():
            row = found.setdefault(name, {"name": name, "kind": arguments.get("kind", name), "tasks": {}})
            row["tasks"][card.name] = {key: value for key, value in arguments.items() if key != "kind"}
    return [found[name] for name in sorted(found)], dict(catalogue.broken)


def _metrics() -> Listing:
    from regunlearn.benchmark.glossary import columns, everything

    fields = ("label", "unit", "better", "tab", "formula", "source")
    rows = [
        {
            "name": entry.name,
            "of": of,
            **{field: getattr(entry, field, None) for field in fields},
            "columns": list(columns(entry)),
        }
        for of, entry in everything()
    ]
    return rows, {}


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    hidden = (
        "hyperparameters",
        "search",
        "recipe",
        "formula",
        "columns",
        "reference",
        "sentinel",
        "cheat",
        "track",
    )
    columns = [name for name in (rows[0] if rows else {}) if name not in hidden]
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | dict):
        return ", ".join(value)
    return "" if value is None else str(value)


@app.command()
def docs(
    what: Annotated[str, typer.Argument(help="methods.")],
    write: Annotated[Path | None, typer.Option(help="Write the page to this file instead.")] = None,
) -> None:
    """Print the cards of all methods: what each is, needs and costs, and how it differs from its paper."""
    from regunlearn.benchmark import method_page

    if what != "methods":
        raise UnknownName("page", what, ["methods"])
    _report([f"{file} cannot be read: {cause}" for file, cause in registry.discover("method").broken.items()])
    if write is None:
        print(method_page.page())
    else:
        print(f"{method_page.write(write)} methods written to {write}")


# Data


@data_app.command("get")
def data_get(
    names: Annotated[
        list[str] | None, typer.Argument(help="Datasets or sources; all datasets of the quick suite if none.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Fetch even what is there.")] = False,
    accept: Annotated[
        bool, typer.Option("--accept-terms", help="Accept the terms of the sources named.")
    ] = False,
) -> None:
    """Fetch datasets, check them, and keep them in the cache; of a source that has terms, once they are accepted."""
    from regunlearn.benchmark import fetch, sources

    catalogue, known = registry.discover("dataset"), sources.discover()
    quick = {
        c.fact("dataset") for c in registry.discover("task").cards.values() if c.fact("suite") == "quick"
    }
    chosen = list(dict.fromkeys(names or sorted(quick)))
    for name in chosen:  # before anything is fetched
        if name not in known:
            try:
                catalogue.get(name)
            except UnknownName:
                raise UnknownName("dataset", name, [*catalogue.cards, *known]) from None
    needs = {name: sources.wanted(name, known, catalogue.cards.get(name)) for name in chosen}
    if not accept:
        sources.ask(dict.fromkeys(source for one in needs.values() for source in one), chosen, again=again)
    failures = []
    for name in chosen:
        try:
            for source in needs[name]:
                folder = sources.get(source, accept=accept, again=again)
                print(f"{source.name}: {folder}; {source.licence}")
            card = catalogue.cards.get(name)
            if card is None:
                continue
            if again:
                fetch.discard(name)
            dataset = registry.load(card)()
        except UsageError:
            raise
        except BenchmarkError as error:
            failures.append(f"{name}: {error}")
            continue
        parts = {part: len(getattr(dataset, part)) for part in ("train", "validation", "test")}
        print(
            f"{name}: {', '.join(f'{n:,} {part}' for part, n in parts.items())} rows; {card.fact('licence')}"
        )
    _report(failures)


@data_app.command("list")
def data_list(
    as_json: Json = False,
    write: Annotated[
        Path | None, typer.Option(help="Write the page of all datasets and sources to this file.")
    ] = None,
) -> None:
    """Show the datasets, and whether their data are there."""
    from regunlearn.benchmark import data_page

    rows, broken = _datasets()
    problems = [f"{file} cannot be read: {cause}" for file, cause in broken.items()]
    if write is not None:
        _report(problems)  # a page without them would be wrong
        print(f"{data_page.write(write)} datasets written to {write}")
        return
    rows = data_page.with_states(rows)
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _print_table(rows)
    _report(problems)


# Runs


@app.command()
def run(
    suite: Suite = "quick",
    task: Tasks = None,
    split: Splits = None,
    method: Methods = None,
    seeds: Seeds = None,
    out: Folder = None,
    protocol: ProtocolName = None,
    device: Device = "auto",
    jobs: Annotated[int | None, typer.Option(help="Processes [default: one a core].")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads of one cell.")] = 1,
    timed: Annotated[
        bool, typer.Option("--timed", help="One cell at a time, with a retrain timed beside it.")
    ] = False,
    timed_seeds: Annotated[
        int | None,
        typer.Option(
            help="With --timed: time the first N seeds of each task and split, not all; others run in parallel.",
            metavar="N",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run cells that have a record too.")] = False,
    epochs: Annotated[
        int | None,
        typer.Option(help="A trial: train everything so many epochs only; kept apart, never a result."),
    ] = None,
    cache: CacheFolder = None,
    methods: MethodFolder = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show why cells failed.")] = False,
) -> None:
    """Run methods on tasks and forget splits; finished cells are kept, a killed run goes on where it was."""
    cells, folder = _cells(suite, task, split, method, seeds, out, methods, protocol)
    if threads < 1 or (jobs is not None and jobs < 1):
        raise UsageError("--jobs and --threads must be at least 1.")
    if epochs is not None:
        if epochs < 1 or protocol is not None:
            raise UsageError(
                "--epochs must be at least 1, and does not go with --protocol: it is for trials."
            )
        cells, folder = _trial(cells), out or folder.with_name(f"{folder.name}-trial")
    if timed_seeds is not None and (timed_seeds < 1 or not timed or protocol is not None):
        raise UsageError(
            "--timed-seeds must be at least 1, and goes with --timed and a suite: a protocol says what it times."
        )
    _log(verbose)
    from regunlearn.benchmark import engine
    from regunlearn.benchmark.display import Bars

    settings = _settings(cache, device, threads, timed, methods, _home(protocol))
    settings = replace(settings, epochs=epochs, timed_seeds=timed_seeds)
    _warn_of_memory(cells, methods)
    with Bars() as bars:
        workers = jobs or max(1, (os.cpu_count() or 1) // threads)
        outcome = engine.run(cells, settings, folder, jobs=workers, again=again, progress=bars)
    print(
        f"{len(outcome.done)} cells run, {outcome.kept} kept, {len(outcome.failed)} failed: {folder}/records"
    )
    broken = [f"{file}: {cause}" for file, cause in registry.discover("method", methods).broken.items()]
    failures = [f"{'/'.join(map(str, r.key))}: {r.status}: {r.reason}" for r in outcome.failed]
    _report([*outcome.troubles, *([] if method else broken), *failures])


@app.command()
def tune(
    method: Annotated[str, typer.Argument(help="Name of the method.")],
    points: Annotated[int, typer.Option(help="Points of its search space to measure.")] = 20,
    budget: Annotated[
        float, typer.Option(help="Most gradient passes of a run, as a share of a retrain's.")
    ] = 0.1,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Only on this dev task; may be repeated [default: all of them]."),
    ] = None,
    protocol: Annotated[str, typer.Option(help="The choice is for this protocol.")] = "v1",
    out: Annotated[
        Path | None, typer.Option(help="File to write [default: results/PROTOCOL/tuned/METHOD.json].")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes [default: one a core].")] = None,
    device: Device = "auto",
    cache: CacheFolder = None,
    methods: MethodFolder = None,
) -> None:
    """Choose a method's hyperparameters on the dev tasks, whose rows no scored task has; a killed tuning goes on."""
    card = registry.discover("method", methods).get(method)
    if jobs is not None and jobs < 1:
        raise UsageError("--jobs must be at least 1.")
    rules = Path("results") / protocol / "protocol.toml"
    if out is None and not rules.is_file():
        raise UnknownName(
            "protocol", protocol, [p.parent.name for p in Path("results").glob("*/protocol.toml")]
        )
    _log(False)
    from regunlearn.benchmark import grid, selection, tuning
    from regunlearn.benchmark.display import Bars

    blocks = grid.narrow(grid.of_suite("dev"), tasks=task, splits=(), seeds=()).splits if task else None
    for name in set(blocks or ()) - set(tuning.dev_blocks()):
        raise UnknownName("dev task", name, tuning.dev_blocks())

    settings = _settings(cache, device, 1, False, methods)
    where = f"budget-{budget:g}" if blocks is None else f"budget-{budget:g}-on-{'-'.join(sorted(blocks))}"
    folder = Path("runs") / "tune" / card.name / where
    with Bars() as bars:
        workers = jobs or os.cpu_count() or 1
        found = tuning.tune(
            card, settings, folder, points=points, budget=budget, blocks=blocks, jobs=workers, progress=bars
        )
    _print_table(selection.table(found))
    print("\n".join(selection.notes(found)))
    target = out or rules.with_name("tuned") / f"{card.name}.json"
    selection.write(found, target)
    print(f"written to {target}")


@app.command()
def missing(
    suite: Suite = "quick",
    task: Tasks = None,
    split: Splits = None,
    method: Methods = None,
    seeds: Seeds = None,
    out: Folder = None,
    protocol: ProtocolName = None,
    device: Device = "auto",
    cache: CacheFolder = None,
    as_json: Json = False,
) -> None:
    """Show the cells that have no record, or one of another version of method, task or split. Exit code 1 if any."""
    cells, folder = _cells(suite, task, split, method, seeds, out, None, protocol)
    from regunlearn.benchmark import engine

    absent = [
        cell.key._asdict()
        for cell in engine.missing(cells, _settings(cache, device, 1, False, None, _home(protocol)), folder)
    ]
    if as_json:
        print(json.dumps(absent, indent=2))
    else:
        for key in absent:
            print("/".join(map(str, key.values())))
        print(f"{len(absent)} of {len(cells)} cells missing in {folder}")
    if absent:
        raise typer.Exit(1)


@app.command()
def check(
    results: Annotated[Path, typer.Option(help="Folder of a run.")] = Path("results/quick"),
    gates: Annotated[
        bool, typer.Option("--gates", help="Measure the admission gates instead; trains ensembles.")
    ] = False,
    suite: Suite = "quick",
    task: Tasks = None,
    split: Splits = None,
    protocol: Annotated[str, typer.Option(help="With --gates: the ensembles of this protocol.")] = "v1",
    size: Annotated[
        int | None,
        typer.Option(help="With --gates: models of each kind, trained here, of the tasks of --suite."),
    ] = None,
    retrained: Annotated[
        int | None, typer.Option(help="With --size: so many retrained models instead.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --gates and --protocol: keep them in its gates.json.")
    ] = False,
    device: Device = "auto",
    jobs: Annotated[int | None, typer.Option(help="With --gates: processes [default: one a core].")] = None,
    cache: CacheFolder = None,
    as_json: Json = False,
    against: Annotated[
        str | None,
        typer.Option(help="Check a submission instead: what differs here from this branch or commit."),
    ] = None,
    rerun: Annotated[
        bool, typer.Option(help="With --against: run the cheapest cell of each entry again.")
    ] = True,
) -> None:
    """Check the records of a run: schema, names, protocol, and that each was made by the method file that is here.

    With --against BASE: whether a submission can be merged (only its own files, conformance, whole records, boards
    rebuilt, one cell run again), and which rows it changes.

    With --gates: whether each task and forget split can be scored at all (something to forget, a model that is worth
    something, no conflict between use and closeness), measured on ensembles of original and retrained models.
    """
    from regunlearn.benchmark import grid

    if against is not None:
        return _check_submission(against, rerun, as_json)
    if gates:
        if size is None:
            whole, home = grid.of_name(protocol)
            chosen = grid.narrow(whole, tasks=task or (), splits=split or ())
        else:
            chosen = grid.narrow(grid.of_suite(suite), tasks=task or (), splits=split or ())
            chosen, home = grid.of_ensembles(chosen, size, retrained), None
        workers = jobs or os.cpu_count() or 1
        return _check_gates(chosen, home, write, device, workers, cache, as_json)
    from regunlearn.benchmark.records import read_all

    records, rules = read_all(results), grid.load(results)
    catalogue = registry.discover("method")
    found: dict[tuple[str, str], list[Any]] = {}
    for record in records:
        card, problem = catalogue.cards.get(record.method.partition("-")[0]), None
        if record.protocol != rules.name:
            problem = f"of protocol {record.protocol!r}, expected {rules.name!r}. Remove them."
        elif record.split not in rules.splits.get(record.task, ()) or record.seed not in rules.seeds:
            problem = "not in the grid of protocol.toml. Remove them."
        elif card is None:
            problem = "of a method that is not there. Add its file or remove them."
        elif record.method_hash != card.code_hash:
            problem = f"made by another version of {card.file.name}. Run `regunlearn run` again."
        if problem:
            found.setdefault((record.method, problem), []).append(record.key)
    problems = [
        f"{results}/records/{method}.jsonl: {len(keys)} records {problem} First: {'/'.join(map(str, keys[0]))}."
        for (method, problem), keys in found.items()
    ]
    print(
        f"{len(records)} records of {len({record.method for record in records})} methods, {len(problems)} problems"
    )
    _report(problems)


@app.command("verify-references")
def verify_references(
    protocol: Annotated[str, typer.Option(help="Protocol that ships reference models.")] = "v1",
    task: Tasks = None,
    split: Splits = None,
    models: Annotated[int, typer.Option(help="Models of each kind, task and split to train again.")] = 1,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train some of the shipped reference models again and compare their predictions. Exit code 1 if one differs."""
    from dataclasses import asdict

    from regunlearn.benchmark import grid

    rules, folder = grid.of_name(protocol)
    chosen = grid.narrow(rules, tasks=task or (), splits=split or ())
    if models < 1 or any(models > min(chosen.ensembles[name]) for name in chosen.splits):
        raise UsageError(f"--models {models}: expected at least 1, and no more than the ensembles have.")
    from regunlearn.benchmark import verification

    settings = _settings(None, device, 1, False, None, folder)
    found = list(verification.verify(chosen.designs(), settings, models))
    if as_json:
        print(json.dumps([{**asdict(one), "passed": one.passed} for one in found], indent=2))
    else:
        words = [
            {**asdict(one), "drift": f"{one.drift:.3g}", "passed": "yes" if one.passed else "no"}
            for one in found
        ]
        _print_table(words)
        print(f"{sum(one.identical for one in found)} of {len(found)} models identical")
    if not all(one.passed for one in found):
        raise typer.Exit(1)


@app.command()
def leaderboard(
    results: Annotated[
        Path | None, typer.Option(help="Folder of a run [default: all that is published, and the pages].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write [default: leaderboard/PROTOCOL].")] = None,
    readme: Annotated[
        Path | None, typer.Option(help="Also put the table between the markers of this file.")
    ] = None,
    figure: Annotated[str | None, typer.Option(help="Make this figure alone.")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Show the methods of this other run too, in the same cells.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the table.")] = False,
) -> None:
    """Turn records into tables, figures and pages. The same records give the same bytes."""
    import atexit
    import gc
    import importlib

    atexit.register(gc.freeze)  # the system takes back what a large board leaves: no need to look through it

    if results is None:
        if readme is not None or figure is not None or beside is not None:
            raise UsageError("--readme, --figure and --beside go with --results: they are of one board.")
        everything = importlib.import_module("regunlearn.leaderboard.everything")
        files = everything.rebuild(Path(), out)
        print(f"{len(files)} files written{'' if out is None else f' to {out}'}")
        return
    target = out or Path("leaderboard") / results.resolve().name
    experiments = sorted(
        results.glob("*.jsonl")
    )  # of `reproduce`; the records of a run lie in a folder of their own
    if experiments and (readme is not None or figure is not None or beside is not None):
        raise UsageError(
            f"--readme, --figure, --beside: {results} holds experiments of `regunlearn reproduce`."
        )
    begun = None
    if figure is None and not experiments:  # other processes read what is large while this one imports
        begun = importlib.import_module("regunlearn.leaderboard.sheets").Reading(results, beside)
    module = "reproduction_build" if experiments else "build"
    build = importlib.import_module(f"regunlearn.leaderboard.{module}")
    if figure is not None:
        print("\n".join(map(str, build.build_figure(results, target, figure))))
        return
    if experiments:
        written = build.rebuild(results, target)
        if not quiet:
            print("\n".join(map(build.summary, experiments)))
    else:
        show = None if quiet else print
        written = build.build(results, target, readme, beside=beside, show=show, reading=begun)
    print(f"{len(written)} files written to {target}")


# Submissions


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by underscores.")],
    family: Annotated[str, typer.Option(help="Family of the method.")] = "first order",
    paper: Annotated[
        str, typer.Option(help="arXiv number, DOI, venue, or 'unpublished'.")
    ] = "arXiv:0000.00000",
) -> None:
    """Write methods/NAME.py, which works as it is, and the stub of its test."""
    import importlib

    authoring = importlib.import_module("regunlearn.submission.authoring")
    for path in authoring.new_method(name, Path(), family=family, paper=paper):
        print(f"written: {path}")
    print(
        f"Edit methods/{name}.py, then: regunlearn run --suite quick --task california-mlp --method {name}\n"
        "and: regunlearn leaderboard --results runs/quick --beside results/quick --out runs/quick/leaderboard"
    )


@app.command()
def submit(
    method: Annotated[str, typer.Option(help="Name of the method.")],
    protocol: Annotated[str, typer.Option(help="Protocol of the records.")] = "v1",
    source: Annotated[
        Path | None, typer.Option("--from", help="Folder of the run [default: results/PROTOCOL itself].")
    ] = None,
) -> None:
    """Check a method's file and records, put the records in their place, rebuild the boards, show the changed rows."""
    import importlib

    outcome = importlib.import_module("regunlearn.submission.submit").submit(method, protocol, source, Path())
    print(outcome.changed)
    print(
        f"\n{len(outcome.written)} files are up to date. A pull request holds methods/{method}.py, "
        f"tests/methods/test_{method}.py, results/{protocol}/records/{method}*.jsonl, "
        f"results/{protocol}/machines.json if it changed, and what was rebuilt: `git add -A`, commit, then\n"
        "regunlearn check --against origin/main"
    )


@app.command()
def verify(
    method: Annotated[list[str], typer.Option(help="Entry to run again; may be repeated; 'all' for all.")],
    protocol: ProtocolName = "v1",
    write: Annotated[
        bool, typer.Option("--write", help="Keep what held in the protocol's verified.json.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="Processes [default: one a core].")] = None,
) -> None:
    """Run the cheapest cell of an entry again from the shipped models and compare with its record; for maintainers."""
    import importlib

    from regunlearn.benchmark import grid
    from regunlearn.benchmark.records import read_all

    rules, home = grid.of_name(protocol or "v1")
    again = importlib.import_module("regunlearn.submission.rerun")
    records = [record for record in read_all(home) if record.task in rules.splits]
    known = sorted({record.method for record in records})
    chosen = known if ALL in method else method
    for name in chosen:
        if name not in known:
            raise UnknownName("entry", name, known)
    problems: list[str] = []
    held: list[Any] = []
    try:
        for name in chosen:
            own = [record for record in records if record.method == name]
            finding = again.rerun(again.cheapest(own, rules), home, jobs=jobs or os.cpu_count() or 1)
            gap = max(finding.differences.values(), default=0.0)
            said = finding.problems
            print(f"{name}: {'differs' if said else f'holds, largest difference {gap:.2g}'}", flush=True)
            problems += said
            held += [] if said else [finding]
    finally:  # at the end: a changed file in between would be noted as code that was not committed
        for finding in held if write else ():
            again.note(finding, home)
    _report(problems)


@app.command()
def explain(
    metric: Annotated[str | None, typer.Argument(help="Name of a metric.")] = None,
    results: Annotated[
        Path, typer.Option(help="Folder of a run, for the measured anchors; v1 and stress beside it too.")
    ] = Path("results/quick"),
    write: Annotated[Path | None, typer.Option(help="Write the page of all metrics to this file.")] = None,
) -> None:
    """Say what a metric means: formula, direction, null, what doing nothing gets, source, how it can be fooled."""
    import importlib

    from regunlearn.benchmark.glossary import everything

    words = importlib.import_module("regunlearn.leaderboard.explain")
    if write is not None:
        words.write(write, results)
        print(f"{len(list(everything()))} metrics written to {write}")
    elif metric is None:
        known = ", ".join(dict.fromkeys(entry.name for _, entry in everything()))
        raise UsageError(f"name a metric, or --write FILE for all. Known: {known}.")
    else:
        print(words.explain(metric, words.gather(results)))


@app.command()
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="stsb-band, agedb-band, utkface-band, figure-density, or all that data is there for."
        ),
    ],
    seeds: Annotated[int, typer.Option(help="Seeds 0, 1, ... of each protocol.")] = 5,
    jobs: Annotated[int | None, typer.Option(help="Processes [default: one a core; 1 on CUDA].")] = None,
    device: Device = "auto",
    cache: CacheFolder = None,
    out: Annotated[Path, typer.Option(help="Folder of the records.")] = Path("results/reproduction"),
    board: Annotated[Path, typer.Option(help="Folder of tables and figure.")] = Path(
        "leaderboard/reproduction"
    ),
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Quirk of the published protocol to switch off; may be repeated [default: each alone]."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="UTKFace with the whole network.")] = False,
    as_json: Json = False,
) -> None:
    """Run the paper's experiments as published and corrected, and compare with its numbers; a killed run goes on."""
    import importlib

    experiments = importlib.import_module("regunlearn.reproduction.experiments")
    chosen = experiments.members(name, full=full)
    if seeds < 1 or (jobs is not None and jobs < 1):
        raise UsageError("--seeds and --jobs must be at least 1.")
    _log(False)
    from regunlearn.benchmark.display import Bars
    from regunlearn.benchmark.tasks import resolve_device

    settings = _settings(cache, device, 1, False, None)
    workers = jobs or (1 if resolve_device(device).type == "cuda" else os.cpu_count() or 1)
    with Bars() as bars:
        outcome = importlib.import_module("regunlearn.reproduction.runs").run_all(
            chosen,
            settings,
            out,
            seeds=seeds,
            jobs=workers,
            off=without or (),
            density=name == experiments.DENSITY,
            progress=bars,
        )
    tables = importlib.import_module("regunlearn.leaderboard.reproduction_build")
    figure = importlib.import_module("regunlearn.leaderboard.reproduction_figure")
    written = [file for path in outcome.files for file in tables.build(path, board / path.stem)]
    if name in (experiments.DENSITY, experiments.ALL):
        written += figure.build(outcome.files, board / experiments.DENSITY)
    if as_json:
        print(json.dumps([row for path in outcome.files for row in tables.as_json(path)], indent=2))
    else:
        for path in outcome.files:
            print(tables.summary(path))
        print(f"{outcome.done} units run, {outcome.kept} kept; {len(written)} files written to {board}")
    for message in outcome.absent:
        print(f"regunlearn: {message}", file=sys.stderr)
    _report(outcome.troubles)
    if not outcome.files or (outcome.absent and len(chosen) == 1):
        raise typer.Exit(1)


def _check_submission(base: str, rerun: bool, as_json: bool) -> None:
    """Run the checks of a submission in their order, then show the rows that it changes; exit code 1 if one fails."""
    import importlib

    checks = importlib.import_module("regunlearn.submission.checks")
    submission = checks.open_submission(Path(), base)
    chosen = [check for check in checks.CHECKS if rerun or check.name != "rerun"]
    report, failed = [], False
    for check, found in checks.run(submission, chosen):
        failed = failed or found is None or bool(found)
        state = "not run: an earlier check failed" if found is None else "refused" if found else "passed"
        report.append({"check": check.name, "state": state, "problems": found or []})
        if not as_json:
            print(f"{check.name}: {check.what}: {state}", flush=True)
            for problem in (found or ())[:12]:
                print(f"  {problem}")
            if found and len(found) > 12:
                print(f"  and {len(found) - 12} more (--json shows all)")
    if as_json:
        print(json.dumps(report, indent=2))
    elif not failed:
        print(f"\n{checks.changed_rows(submission)}")
    if failed:
        raise typer.Exit(1)


def _check_gates(
    protocol: Any,
    folder: Path | None,
    write: bool,
    device: str,
    jobs: int,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Measure the admission gates on ensembles, print them, and end with exit code 1 if one fails."""
    _log(False)
    from regunlearn.benchmark import engine, gates, runner
    from regunlearn.benchmark.display import Bars

    settings = _settings(cache, device, 1, False, None, folder)
    designs = protocol.designs()
    with Bars() as bars:
        engine.prepare(designs, settings, jobs=jobs, progress=bars)
    rows = [
        row
        for design in designs
        for row in gates.table(design, gates.gates(runner.open_scored(design, settings)))
    ]
    if folder is not None and write:
        gates.save(rows, folder)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        shown = [{k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
        _print_table([{**row, "passed": "yes" if row["passed"] else "no"} for row in shown])
    if not all(row["passed"] for row in rows):
        raise typer.Exit(1)


def _cells(
    suite: str,
    task: list[str] | None,
    split: list[str] | None,
    method: list[str] | None,
    seeds: str | None,
    out: Path | None,
    methods: Path | None,
    protocol: str | None,
) -> tuple[list[Any], Path]:
    from regunlearn.benchmark import grid

    if methods is not None and not methods.is_dir():
        raise UsageError(f"--methods {methods} is not a folder.")
    try:
        numbers = [int(part) for part in seeds.split(",")] if seeds else []
    except ValueError as error:
        raise UsageError(f"--seeds {seeds!r}: expected whole numbers with commas, e.g. 0,1,2.") from error
    whole, default = (
        (grid.of_suite(suite), suite) if protocol is None else (grid.of_name(protocol)[0], protocol)
    )
    rules = grid.narrow(whole, tasks=task or (), splits=split or (), seeds=numbers)
    catalogue = registry.discover("method", methods)
    known = [*catalogue.cards, *rules.configurations]
    chosen = list(dict.fromkeys(method)) if method else known
    if ALL in chosen:
        chosen = known
    elif not method and protocol is None and methods is None:
        chosen = [name for name, card in catalogue.cards.items() if card.fact("core", False)]
    for name in chosen:
        if name not in known:
            raise UnknownName("method", name, known)
    if not chosen:
        raise UsageError(f"no method found in {methods}.")
    cells = rules.cells(chosen)
    if whole.ensembles:  # the folder is one of the whole protocol, whichever part of it is run
        for cell in cells:
            if cell.split not in whole.splits.get(cell.task, ()):
                of_task = f"split of task {cell.task} in protocol {whole.name}"
                raise UnknownName(of_task, cell.split, whole.splits.get(cell.task, ()))
        cells = [replace(cell, protocol=whole) for cell in cells]
    return cells, out or Path("runs") / Path(default).name


def _warn_of_memory(cells: list[Any], methods: Path | None) -> None:
    """Say before a run which of its methods take much more memory than training does."""
    cards = registry.discover("method", methods).cards
    known = sorted({cell.entry for cell in cells} & set(cards))
    hungry = [name for name in known if "memory" in cards[name].fact("needs", ())]
    if hungry:
        print(f"regunlearn: {', '.join(hungry)}: {registry.NEEDS['memory']}", file=sys.stderr)


def _trial(cells: list[Any]) -> list[Any]:
    """Return the cells under the name of a trial, so that their records are taken for nothing else.

    Without relearning: a model that has hardly learned has nothing to learn again.
    """
    rules = {cell.protocol.name: cell.protocol for cell in cells}
    trials = {name: replace(one, name=f"{name}-trial", relearn=False) for name, one in rules.items()}
    return [replace(cell, protocol=trials[cell.protocol.name]) for cell in cells]


def _home(protocol: str | None) -> Path | None:
    """Return the folder that ships the reference models of a protocol: its own, or that of the one it names."""
    from regunlearn.benchmark import grid

    if protocol is None:
        return None
    rules, folder = grid.of_name(protocol)
    return folder.parent / rules.references if rules.references else folder


def _settings(
    cache: Path | None,
    device: str,
    threads: int,
    timed: bool,
    methods: Path | None,
    references: Path | None = None,
) -> Any:
    from regunlearn.benchmark.fetch import cache_folder
    from regunlearn.benchmark.runner import Settings

    return Settings(
        cache=cache or cache_folder() / "models",
        device=device,
        threads=threads,
        timed=timed,
        methods=methods,
        references=references,
    )


def _log(verbose: bool) -> None:
    from rich.console import Console
    from rich.logging import RichHandler

    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("regunlearn").setLevel(logging.DEBUG if verbose else logging.INFO)


def _report(problems: list[str]) -> None:
    """Print problems on standard error and end with exit code 1 if there are any."""
    for problem in problems:
        print(f"regunlearn: {problem}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def main() -> None:
    """Run the command; an expected failure is one message and an exit code, never a traceback."""
    try:
        with signals.listening():
            app()
    except BenchmarkError as error:
        print(f"regunlearn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except (SystemExit, KeyboardInterrupt) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # 130: what typer makes of an interrupt
            raise
        print(f"regunlearn: stopped. {signals.GOES_ON}", file=sys.stderr)
        sys.exit(signals.exit_code())


if __name__ == "__main__":
    main()
