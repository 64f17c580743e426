"""Whole runs on the smoke tasks: what is recorded, what a bad method cannot do, and what is not done twice."""

import json
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regunlearn.benchmark import engine, metrics, runner, tasks
from regunlearn.benchmark.cache import Cache
from regunlearn.benchmark.engine import Outcome
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.grid import Cell, Protocol, load, narrow, of_suite
from regunlearn.benchmark.records import Key, Record, Store, read_all
from regunlearn.benchmark.references import References
from regunlearn.benchmark.registry import PACKAGE
from regunlearn.benchmark.runner import Settings
from regunlearn.datasets.ridge import closed_form

CPU = torch.device("cpu")
HEAD = '''"""Made up.

paper: none.
"""

import random
import sys
import time

import numpy as np
import torch
from torch import nn

from regunlearn.benchmark.registry import method


@method("{name}", paper="none", family="test"{more})
def it(request, *, epochs: float = 1.0):
    """Return a model."""
'''
METHODS = {
    "good": "return request.fit(request.model, request.retain, epochs=epochs)",
    "raises": "raise ValueError('on  purpose\\nover two lines')",
    "import_fails": "return request.model\n\nimport nowhere_to_be_found",
    "not_finite": "request.model.head.bias.data.fill_(float('nan'))\n    return request.model",
    "explodes": "return request.fit(request.model, request.retain, epochs=epochs, learning_rate=1e30)",
    "huge": "request.model.head.weight.data.fill_(3e38)\n    return request.model",
    "other_architecture": "return nn.Linear(3, 1)",
    "no_model": "return 5",
    "over_budget": "while True:\n        request.fit(request.model, request.retain)",
    "slow": "while True:\n        time.sleep(0.05)\n        request.model(request.forget.inputs[0][:1])",
    "slow_at_the_end": "time.sleep(1.5)\n    return request.model",
    "out_of_memory": "raise torch.OutOfMemoryError('no more')",
    "changes_the_process": "random.seed(1), np.random.seed(1), torch.manual_seed(1)\n    "
    "torch.set_default_dtype(torch.float64), torch.set_grad_enabled(False)\n    return request.model",
    "changes_the_rows": "request.forget.targets.neg_(), request.retain.inputs[0].zero_()\n    return request.model",
    "draws": "return request.fit(request.model, request.retain, epochs=0.1 + 0.2 * random.random())",
    "exits": "sys.exit(0)",
    "surrogate": "raise OSError('cannot open \\udcff')",
    "exact": "return request.model",
}
STATUSES = {
    "good": ("ok", None),
    "raises": ("error", "ValueError: on purpose over two lines"),
    "import_fails": ("error", "cannot be imported"),
    "not_finite": ("diverged", "head.bias holds numbers that are not finite"),
    "explodes": ("diverged", "not finite"),
    "huge": ("diverged", "predictions are not finite"),
    "other_architecture": ("error", "returned another architecture"),
    "no_model": ("error", "returned int, expected an nn.Module"),
    "over_budget": ("over_budget", "more than its budget of 12000 gradient passes"),
    "slow": ("timeout", "time limit"),
    "out_of_memory": ("out_of_memory", "no more"),
    "changes_the_process": ("ok", None),
    "changes_the_rows": ("ok", None),
    "draws": ("ok", None),
}
MLP = "diabetes-mlp"


def put(folder: Path, names: Iterable[str], **bodies: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, body in ({name: METHODS[name] for name in names} | bodies).items():
        (folder / f"{name}.py").write_text(HEAD.format(name=name, more="") + f"    {body}\n")
    return folder


def protocol(**changes: Any) -> Protocol:
    values: dict[str, Any] = {
        "name": "test",
        "splits": {MLP: ["band"]},
        "seeds": [0],
        "reference_seeds": (0, 1),
        "time_limit": 60.0,
    }
    return Protocol(**(values | changes))


def lines(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "records").glob("*.jsonl"))}


def keys(records: Iterable[Record]) -> set[Key]:
    return {record.key for record in records}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of reference models that the tests share."""
    return tmp_path_factory.mktemp("models")


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, models: Path) -> Run:
    """Run all methods of `tmp_path/methods`, or those named, into `tmp_path/out`."""

    def start(
        rules: Protocol | None = None, *, methods: Path | None = None, out: str = "out", **options: Any
    ) -> Outcome:
        rules, methods = rules or protocol(), methods or tmp_path / "methods"
        names = options.pop("names", None) or [path.stem for path in sorted(methods.glob("[a-z]*.py"))]
        settings = Settings(
            cache=options.pop("cache", models),
            methods=methods,
            timed=options.pop("timed", False),
            timed_seeds=options.pop("timed_seeds", None),
        )
        return engine.run(rules.cells(names), settings, tmp_path / out, **options)

    return start


# What is recorded


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, models: Path) -> dict[str, Record]:
    """One run of good and bad methods together."""
    folder = tmp_path_factory.mktemp("everything")
    settings = Settings(cache=models, methods=put(folder / "methods", STATUSES))
    engine.run(protocol().cells(["good"]), settings, folder / "first")  # late imports may draw random numbers
    before = global_state()
    outcome = engine.run(protocol(time_limit=1.5).cells(STATUSES), settings, folder / "out")
    records = read_all(folder / "out")
    assert keys(outcome.done) == keys(records)
    assert keys(outcome.failed) == {record.key for record in records if record.status != "ok"}
    assert global_state() == before
    return {record.method: record for record in records}


def global_state() -> tuple[Any, ...]:
    legacy: Any = np.random.get_state()  # noqa: NPY002
    streams = random.getstate(), legacy[1].tolist(), torch.get_rng_state().tolist()
    return (*streams, torch.get_default_dtype(), torch.is_grad_enabled())


@pytest.mark.parametrize("name", STATUSES)
def test_status_and_reason(name: str, everything: dict[str, Record]) -> None:
    record, (status, reason) = everything[name], STATUSES[name]
    assert record.status == status, record.reason
    assert reason is None or reason in (record.reason or "")
    assert bool(record.metrics) == bool(record.curves) == (status == "ok")
    assert record.seconds is record.retrain_seconds is record.peak_bytes is None


def test_a_good_record(everything: dict[str, Record]) -> None:
    record = everything["good"]
    assert (record.protocol, *record.key) == ("test", MLP, "band", "good", 0)
    assert record.hyperparameters == {"epochs": 1.0}
    assert record.passes == pytest.approx(1 / 60)
    assert set(record.metrics) <= set(metrics.METRICS)
    assert {"mae_test_retain", "rnc", "dsr", "probe_recovery", "utility_ratio"} <= set(record.metrics)
    assert set(record.curves) == {"error_by_target", "relative_difference"}
    assert sum(record.curves["relative_difference"]["counts"]) == 88
    assert {"python", "torch", "numpy", "regunlearn"} <= set(record.versions)


def test_what_one_method_does_is_hidden_from_the_next(
    run: Run, tmp_path: Path, everything: dict[str, Record]
) -> None:
    """Alone, `draws` gives the record that it gave after others had changed the process and their rows."""
    put(tmp_path / "methods", ["draws"])
    alone = run(protocol(time_limit=1.5)).done[0]
    assert alone.metrics == pytest.approx(everything["draws"].metrics, rel=1e-6)
    untouched, changed = everything["changes_the_process"], everything["changes_the_rows"]
    assert untouched.metrics["rnc"] == changed.metrics["rnc"] == 0.0


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("exits", "error", "SystemExit"),
        ("surrogate", "error", "cannot open"),
        ("slow_at_the_end", "timeout", "time limit"),
    ],
)
def test_what_else_must_not_stop_the_others(
    name: str, status: str, reason: str, run: Run, tmp_path: Path
) -> None:
    put(tmp_path / "methods", [name, "exact"])
    run(protocol(time_limit=1.0), names=[name, "exact"])
    found = {record.method: record for record in read_all(tmp_path / "out")}
    assert found["exact"].status == "ok"
    assert found[name].status == status
    assert reason in (found[name].reason or "")


def test_threads_are_the_same_for_every_method(run: Run, tmp_path: Path) -> None:
    bodies = {
        "a": "torch.set_num_threads(2)\n    return request.model",
        "b": "raise OSError(torch.get_num_threads())",
    }
    put(tmp_path / "methods", [], **bodies)
    assert run().failed[0].reason == "OSError: 1"


def test_a_method_sees_no_test_rows(run: Run, tmp_path: Path) -> None:
    body = "raise OSError([len(request.retain), len(request.forget), len(request.validation), request.share])"
    put(tmp_path / "methods", [], looks=body)
    assert (
        run(protocol(share=0.5, splits={MLP: ["random"]})).failed[0].reason == "OSError: [270, 30, 42, 0.5]"
    )


def test_a_cheat_is_given_the_retrained_model(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["exact"])
    (tmp_path / "methods/cheat.py").write_text(
        HEAD.format(name="cheat", more=', cheat="retrained"').replace("(request, *", "(request, retrained, *")
        + "    return retrained\n"
    )
    values = {record.method: record.metrics for record in run().done}
    assert values["cheat"]["utility_ratio"] == 1.0
    assert values["cheat"]["gap_train_forget"] == 0.0
    assert values["cheat"]["rnc"] > 1.0
    assert values["exact"]["rnc"] == 0.0


# Numbers that are known


@pytest.fixture(scope="module")
def ridge(tmp_path_factory: pytest.TempPathFactory, models: Path) -> dict[tuple[str, str], Record]:
    folder = tmp_path_factory.mktemp("ridge")
    rules = protocol(splits={"ridge": ["random", "band"]}, reference_seeds=(0, 1))
    outcome = engine.run(rules.cells(["original", "retrain"]), Settings(cache=models), folder)
    return {(record.method, record.split): record for record in outcome.done}


@pytest.mark.parametrize("split", ["random", "band"])
def test_ridge_retrain_is_the_closed_form(
    split: str, ridge: dict[tuple[str, str], Record], models: Path
) -> None:
    there = References(tasks.load("ridge", CPU), Cache(models))
    task, cut = there.task, there.make_split(split)
    retain = task.training_rows(np.setdiff1d(task.train, cut.forget))
    weight, bias = closed_form(retain.inputs[0].numpy(), retain.targets.numpy(), task.recipe.weight_decay)
    state = there.state(0, cut.unseen)
    np.testing.assert_allclose(state["head.weight"].numpy(), weight, atol=1e-6)
    np.testing.assert_allclose(state["head.bias"].numpy(), bias, atol=1e-6)
    record = ridge["retrain", split]
    for part, rows in (("test_retain", cut.test_retain), ("train_forget", cut.forget)):
        inputs = task.dataset.inputs["features"][rows].astype(np.float64)
        predicted = (inputs @ weight.T + bias) * task.scale + task.shift
        mae = np.abs(predicted - task.dataset.targets[rows]).mean()
        assert record.metrics[f"mae_{part}"] == pytest.approx(mae, rel=1e-6)
    assert "rnc" not in record.metrics or 0.9 <= record.metrics["rnc"] <= 1.1
    assert record.metrics["utility_ratio"] == pytest.approx(1, rel=1e-6)
    assert record.passes == 1.0


@pytest.mark.parametrize("split", ["random", "band"])
def test_original_has_closure_zero_and_full_recovery(
    split: str, ridge: dict[tuple[str, str], Record]
) -> None:
    record = ridge["original", split]
    assert record.metrics.get("rnc", 0.0) == 0.0
    assert record.metrics.get("probe_recovery", 1.0) == 1.0
    assert record.passes == 0.0


def test_original_on_the_network_task(run: Run, tmp_path: Path) -> None:
    outcome = run(protocol(seeds=[0, 1]), methods=PACKAGE / "methods", names=["original"])
    assert [record.metrics["rnc"] for record in outcome.done] == [0.0, 0.0]


# What is done once


def test_a_second_run_keeps_everything(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["good", "raises"])
    rules = protocol(seeds=[0, 1])
    assert len(run(rules).done) == 4
    before = lines(tmp_path / "out")
    again = run(rules)
    assert (again.done, again.kept) == ([], 4)
    assert lines(tmp_path / "out") == before
    assert len(run(rules, again=True).done) == 4
    assert lines(tmp_path / "out") == before


def test_a_changed_method_is_run_again_alone(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["good", "exact"])
    first = {record.method: record for record in run().done}
    put(tmp_path / "methods", ["good"], exact="request.model.head.bias.data += 1\n    return request.model")
    second = run()
    assert [record.method for record in second.done] == ["exact"]
    assert second.kept == 1
    assert second.done[0].method_hash != first["exact"].method_hash
    assert second.done[0].metrics["rnc"] != 0.0


def test_a_default_with_many_digits_is_not_run_again(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["exact"])
    path = tmp_path / "methods/exact.py"
    path.write_text(path.read_text().replace("= 1.0", "= 0.123456789123"))
    assert len(run().done) == 1
    assert run().kept == 1


def test_a_deleted_record_is_made_again(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["good"])
    rules = protocol(seeds=[0, 1, 2])
    run(rules)
    before = lines(tmp_path / "out")
    path = tmp_path / "out/records/good.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::2]))
    again = run(rules)
    assert [record.seed for record in again.done] == [1]
    assert again.kept == 2
    assert lines(tmp_path / "out") == before


def test_missing(run: Run, tmp_path: Path, models: Path) -> None:
    methods = put(tmp_path / "methods", ["good", "raises"])
    cells = protocol(seeds=[0, 1]).cells(["good", "raises"])
    settings = Settings(cache=models, methods=methods)
    assert engine.missing(cells, settings, tmp_path / "out") == cells
    run(protocol(seeds=[0]))
    left = engine.missing(cells, settings, tmp_path / "out")
    assert [(cell.method, cell.seed) for cell in left] == [("good", 1), ("raises", 1)]


def test_what_was_finished_before_an_interruption_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "methods", ["good"])
    rules, plain = protocol(seeds=[0, 1, 2, 3]), Store.add
    with monkeypatch.context() as patch:

        def add(self: Store, record: Record) -> None:
            if record.seed == 2:
                raise BenchmarkError("disk full")
            plain(self, record)

        patch.setattr(Store, "add", add)
        with pytest.raises(BenchmarkError, match="disk full"):
            run(rules)
    assert [record.seed for record in read_all(tmp_path / "out")] == [0, 1]
    outcome = run(rules)
    assert ([record.seed for record in outcome.done], outcome.kept) == ([2, 3], 2)


def test_a_narrow_run_gives_the_records_of_the_full_grid(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["good", "draws"])
    full = protocol(seeds=[0, 1, 2], splits={MLP: ["random", "band"]})
    run(full, out="full")
    for seed in (2, 0, 1):
        run(replace(full, seeds=[seed]), out="narrow", names=["good"])
    run(full, out="narrow", names=["draws"])
    assert lines(tmp_path / "narrow") == lines(tmp_path / "full")
    assert load(tmp_path / "narrow") == load(tmp_path / "full")


def test_two_processes_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    """References included: both sides begin with an empty cache."""
    put(tmp_path / "methods", ["good", "raises", "draws"])
    rules = protocol(splits={"ridge": ["random"], MLP: ["band"]})
    for jobs in (1, 2):
        run(rules, out=f"out{jobs}", jobs=jobs, cache=tmp_path / f"cache{jobs}")
    assert lines(tmp_path / "out1") == lines(tmp_path / "out2")
    assert len(lines(tmp_path / "out1")) == 3


def test_a_broken_checkpoint_is_made_anew(run: Run, tmp_path: Path, models: Path) -> None:
    put(tmp_path / "methods", ["good"])
    cache = tmp_path / "cache"
    shutil.copytree(models, cache)
    run(cache=cache)
    before = lines(tmp_path / "out")
    broken = [path for path in cache.rglob("*.safetensors") if path.stat().st_size > 100]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-5])
    run(cache=cache, again=True, out="out")
    assert lines(tmp_path / "out") == before


# Costs


def test_a_timed_run_fills_the_costs_and_changes_no_score(run: Run, tmp_path: Path) -> None:
    methods = PACKAGE / "methods"
    plain = run(methods=methods, names=["original", "retrain"])
    timed = run(methods=methods, names=["original", "retrain"], timed=True)
    assert len(timed.done) == 2, "a record without seconds is not enough for a timed run"
    original, retrain = timed.done
    for record in timed.done:
        assert record.seconds is not None
        assert record.retrain_seconds is not None
        assert record.retrain_seconds > 0
        assert record.peak_bytes is None or 0 <= record.peak_bytes < 2**30
    assert [record.metrics for record in timed.done] == [record.metrics for record in plain.done]
    assert retrain.seconds is not None
    assert retrain.retrain_seconds is not None
    assert original.seconds is not None
    assert 0.5 < retrain.seconds / retrain.retrain_seconds < 2.0
    assert original.seconds < 0.1 * retrain.seconds
    assert run(methods=methods, names=["original", "retrain"], timed=True).kept == 2
    assert run(methods=methods, names=["original", "retrain"]).kept == 2


def test_of_some_seeds_the_others_are_not_timed_and_score_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "methods", ["good", "raises"], retrains="return request.new_model()")
    rules = protocol(seeds=[0, 1])
    pieces: list[str] = []
    measure = runner.time_retrain
    monkeypatch.setattr(runner, "time_retrain", lambda *parts: pieces.append("") or measure(*parts))
    plain = run(rules)
    assert not pieces
    timed = run(rules, timed=True, timed_seeds=1, out="timed")
    assert len(pieces) == 4, "before and after a call; none again before the next, but after one that failed"
    assert keys(timed.done) == keys(plain.done)
    costs = {record.key: record.seconds for record in timed.done if record.status == "ok"}
    assert {key.seed for key, seconds in costs.items() if seconds is not None} == {0}
    assert {key.seed for key, seconds in costs.items() if seconds is None} == {1}
    found = {record.key: (record.status, record.metrics) for record in timed.done}
    assert found == {record.key: (record.status, record.metrics) for record in plain.done}
    assert run(rules, timed=True, timed_seeds=1, out="timed").kept == len(plain.done)
    assert {record.key.seed for record in run(rules, timed=True, out="timed").done} == {1}


def test_a_timed_failure_has_no_costs(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["raises", "over_budget"])
    for record in run(timed=True).done:
        assert record.status != "ok"
        assert record.seconds is record.retrain_seconds is record.peak_bytes is None
    assert run(timed=True).kept == 2


# Folders


@pytest.mark.parametrize(
    "changes", [{"name": "other"}, {"share": 0.5}, {"time_limit": 5.0}, {"reference_seeds": (0, 1, 2)}]
)
def test_a_folder_keeps_its_rules(changes: dict[str, Any], run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["exact"])
    run()
    before = (tmp_path / "out/protocol.toml").read_bytes()
    with pytest.raises(UsageError, match=r"protocol\.toml: holds records made with") as caught:
        run(protocol(**changes))
    assert next(iter(changes)) in str(caught.value)
    assert (tmp_path / "out/protocol.toml").read_bytes() == before


def test_a_folder_may_grow(run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["exact"])
    run()
    run(protocol(seeds=[3], splits={MLP: ["random"], "ridge": ["random"]}))
    found = load(tmp_path / "out")
    assert found.seeds == [0, 3]
    assert found.splits == {MLP: ["band", "random"], "ridge": ["random"]}
    machines = json.loads((tmp_path / "out/machines.json").read_text())
    assert {record.machine for record in read_all(tmp_path / "out")} == set(machines)


BAD_FOLDERS = {
    "protocol.toml": ["x = [", "name = 5\nseeds = [0]\n[splits]\n", 'name = "test"\nseeds = [0]\n', "\x00"],
    "machines.json": ["{", "[]"],
    "records/exact.jsonl": ["{", "[]\n"],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, text) for name, some in BAD_FOLDERS.items() for text in some]
)
def test_a_broken_folder_is_refused_and_left_alone(name: str, content: str, run: Run, tmp_path: Path) -> None:
    put(tmp_path / "methods", ["exact"])
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(BenchmarkError, match=path.name):
        run()
    assert path.read_text() == content


@pytest.mark.parametrize("splits", ["3", '"x"', "[1]", "{ridge = 3}", '{ridge = ["../x"]}'])
def test_a_protocol_whose_splits_are_none(splits: str, tmp_path: Path) -> None:
    (tmp_path / "protocol.toml").write_text(f'name = "test"\nseeds = [0]\nsplits = {splits}\n')
    with pytest.raises(BenchmarkError):
        load(tmp_path)


@pytest.mark.parametrize("seeds", [[], [-1], [True], [0.5], [0, 0], ["0"]])
def test_seeds_that_are_refused(seeds: list[Any]) -> None:
    with pytest.raises(UsageError):
        protocol(seeds=seeds)
    with pytest.raises(UsageError):
        protocol(reference_seeds=seeds)


def test_cells_are_sorted_and_distinct() -> None:
    smoke = of_suite("smoke")
    cells = smoke.cells(["b", "a"])
    assert [cell.key for cell in cells] == sorted(cell.key for cell in cells)
    assert {cell.split for cell in cells} == {"random", "band"}
    assert {cell.seed for cell in cells} == {0, 1, 2}
    twice = narrow(smoke, tasks=["ridge", "ridge"], splits=["band", "band"], seeds=[4])
    assert [cell.key for cell in twice.cells(["a"])] == [Key("ridge", "band", "a", 4)]


def test_a_task_without_data_is_left_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "methods", ["exact"])
    plain = tasks.load

    def fail(name: str, device: torch.device) -> Any:
        if name == MLP:
            raise BenchmarkError("no network")
        return plain(name, device)

    monkeypatch.setattr(tasks, "load", fail)
    runner.open_task.cache_clear()
    outcome = run(protocol(splits={MLP: ["random"], "ridge": ["random"]}))
    assert outcome.troubles == [f"task {MLP} left out. no network"]
    assert [record.task for record in outcome.done] == ["ridge"]
    runner.open_task.cache_clear()


def test_a_task_whose_reference_diverges_is_left_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "methods", ["exact"])
    plain = tasks.load

    def explode(name: str, device: torch.device) -> tasks.Task:
        task = plain(name, device)
        wild = replace(task.recipe, learning_rate=1e30)
        return replace(task, recipe=wild) if name == MLP else task

    monkeypatch.setattr(tasks, "load", explode)
    runner.open_task.cache_clear()
    outcome = run(protocol(splits={MLP: ["random"], "ridge": ["random"]}))
    runner.open_task.cache_clear()
    assert [record.task for record in outcome.done] == ["ridge"]
    assert len(outcome.troubles) == 1
    assert "diverged" in outcome.troubles[0]


def test_progress_is_told(run: Run, tmp_path: Path) -> None:
    class Told:
        def __init__(self) -> None:
            self.totals: dict[str, int] = {}
            self.steps: dict[str, int] = {}

        def start(self, what: str, total: int) -> None:
            self.totals[what], self.steps[what] = total, 0

        def step(self, what: str) -> None:
            self.steps[what] += 1

    put(tmp_path / "methods", ["good", "raises"])
    told = Told()
    run(cache=tmp_path / "cache", progress=told)
    assert told.totals == {"loading data": 1, "training reference models": 4, "running methods": 2}
    assert told.steps == told.totals


def test_the_cell_is_all_that_seeds_a_method() -> None:
    """Neither the order of the cells nor the protocol's other seeds can change what a method draws."""
    cell = Cell(protocol=protocol(), task=MLP, split="random", method="good", seed=0)
    others = [replace(cell, protocol=protocol(seeds=[0, 5])), cell]
    assert len({runner._seed(one) for one in others}) == 1
    different = [
        replace(cell, **change)
        for change in ({"seed": 1}, {"split": "band"}, {"method": "b"}, {"task": "ridge"})
    ]
    assert len({runner._seed(one) for one in [cell, *different]}) == 5
