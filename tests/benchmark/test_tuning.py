"""Tuning: what may be searched, which points are drawn, how they are scored, and what is kept of it."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regunlearn.benchmark import cli, grid, registry, runner, selection, space, tuning
from regunlearn.benchmark.errors import BenchmarkError, UsageError
from regunlearn.benchmark.records import Record
from regunlearn.benchmark.registry import Card
from regunlearn.benchmark.runner import Settings
from regunlearn.benchmark.selection import Tuning
from regunlearn.benchmark.space import Choice, Range, SpaceError

DEFAULTS = {"share": 0.05, "steps": 3, "mode": "a", "fast": True}
SPACE = {
    "share": [0.01, 1.0, "log"],
    "steps": [1, 4, "integer"],
    "mode": ["a", "b", "c"],
    "fast": [True, False],
}
HEAD = '''"""Made up.

paper: none.
"""

from regunlearn.benchmark.registry import method


@method("{name}", paper="none", family="test"{more})
def it(request, *, share: float = 0.05, steps: int = 3, mode: str = "a", fast: bool = True):
    """Return a model."""
    {body}
'''
TRAIN = "return request.fit(request.model, request.retain, epochs=share * request.recipe.epochs)"
SEARCH = ', search={"share": [0.02, 0.3, "log"]}'


def put(folder: Path, name: str = "mine", body: str = TRAIN, more: str = SEARCH) -> Card:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(HEAD.format(name=name, body=body, more=more))
    return registry.discover("method", folder).get(name)


# The space


def test_a_space_is_read_in_order() -> None:
    found = space.parse(SPACE, DEFAULTS)
    assert list(found) == list(SPACE)
    assert found["share"] == Range(0.01, 1.0, "log")
    assert found["mode"] == Choice(("a", "b", "c"))
    assert space.outside(found, DEFAULTS) == []
    assert space.outside(found, DEFAULTS | {"share": 2.0, "mode": "d"}) == ["share", "mode"]


BAD = {
    "not a mapping": (["share"], "expected ranges and choices by name"),
    "unknown name": (
        {"sahre": [0.1, 1.0, "log"]},
        "'sahre': expected names of hyperparameters, which are 'share'",
    ),
    "no list": ({"share": 0.1}, r"expected \[low, high, scale\] or a list of choices, found 0.1"),
    "no scale": ({"share": [0.1, 0.2]}, "with scale 'log', 'linear', 'integer', found"),
    "unknown scale": ({"share": [0.1, 0.2, "logg"]}, "found .*logg"),
    "four parts": ({"share": [0.1, 0.2, 0.3, "log"]}, "with scale"),
    "reversed": ({"share": [0.2, 0.1, "linear"]}, "expected low < high"),
    "equal": ({"share": [0.2, 0.2, "linear"]}, "expected low < high"),
    "log of zero": ({"share": [0.0, 0.1, "log"]}, "expected low > 0 on a log scale"),
    "text bound": ({"share": ["0.1", 0.2, "log"]}, "and numbers"),
    "true as a bound": ({"share": [True, 2.0, "linear"]}, "and numbers"),
    "broken whole number": ({"steps": [1, 2.5, "integer"]}, "and whole numbers"),
    "one choice": ({"mode": ["a"]}, "at least two different choices"),
    "twice the same": ({"mode": ["a", "a"]}, "at least two different choices"),
    "mixed choices": ({"mode": ["a", True]}, "at least two different choices"),
    "no choices": ({"mode": []}, "at least two different choices"),
    "lists as choices": ({"mode": [["a"], ["b"]]}, "at least two different choices"),
    "range for text": ({"mode": [0.1, 0.2, "log"]}, "does not fit the default 'a'"),
    "range for a flag": ({"fast": [0, 1, "integer"]}, "does not fit the default True"),
    "text for a number": ({"share": ["a", "b"]}, "does not fit the default 0.05"),
    "flag for text": ({"mode": [True, False]}, "does not fit the default 'a'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_space_is_refused_with_its_file(case: str, tmp_path: Path) -> None:
    written, message = BAD[case]
    with pytest.raises(SpaceError, match=message):
        space.parse(written, DEFAULTS)
    with pytest.raises(
        BenchmarkError, match=r"mine\.py: RegistryError: line 9: search: .*Mend the decorator"
    ):
        put(tmp_path, more=f", search={written!r}")


def bounds(least: float) -> st.SearchStrategy[tuple[float, float]]:
    number = st.floats(least, 1e6, allow_subnormal=False)
    return st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])


unit = st.floats(0, 1)


@given(bounds(1e-9), unit)
def test_log_range(pair: tuple[float, float], u: float) -> None:
    low, high = pair
    value = Range(low, high, "log").at(u)
    assert low <= value <= high
    assert math.log(value) == pytest.approx(math.log(low) + u * math.log(high / low), abs=1e-5)


@given(bounds(-1e6), unit)
def test_linear_range(pair: tuple[float, float], u: float) -> None:
    low, high = pair
    value = Range(low, high, "linear").at(u)
    assert low <= value <= high
    assert value == pytest.approx(low + u * (high - low), rel=1e-5, abs=1e-5 * (high - low))


@given(st.integers(-50, 50), st.integers(1, 50), unit)
def test_integer_range(low: int, width: int, u: float) -> None:
    value = Range(low, low + width, "integer").at(u)
    assert isinstance(value, int)
    assert low <= value <= low + width


@given(st.integers(2, 9), unit)
def test_choices(count: int, u: float) -> None:
    names = [str(k) for k in range(count)]
    assert Choice(names).at(u) in names


def test_every_whole_number_and_choice_is_as_likely() -> None:
    grid_of_u = (np.arange(1200) + 0.5) / 1200
    for axis, count in ((Range(2, 5, "integer"), 4), (Choice(("a", "b", "c")), 3)):
        _, found = np.unique([str(axis.at(float(u))) for u in grid_of_u], return_counts=True)
        assert found.tolist() == [1200 // count] * count


def test_ends_belong_to_a_range() -> None:
    third = 1 / 3
    assert Range(third, 2.0, "log").at(0.0) == third
    assert Range(0.1, third, "linear").at(1.0) == 0.3333333  # rounded, within the range
    assert Range(1, 4, "integer").at(1.0) == 4


# The points


def test_points_are_the_same_each_time_and_fill_the_space() -> None:
    where = space.parse(SPACE, DEFAULTS)
    drawn = tuning.draw(where, "mine", 20)
    assert drawn == tuning.draw(where, "mine", 20)
    assert drawn[:5] == tuning.draw(where, "mine", 5)
    assert drawn[:1] == tuning.draw(where, "mine", 1)
    assert drawn != tuning.draw(where, "other", 20)
    shares = np.log10([float(point["share"]) for point in drawn])
    counts, _ = np.histogram(shares, bins=4, range=(-2, 0))
    assert counts.min() >= 4
    assert {point["mode"] for point in drawn} == {"a", "b", "c"}
    assert all(json.loads(json.dumps(point)) == point for point in drawn)
    with pytest.raises(UsageError, match="--points 0"):
        tuning.draw(where, "mine", 0)


def test_the_space_is_no_part_of_the_hash(tmp_path: Path) -> None:
    without = put(tmp_path, more="").code_hash
    assert put(tmp_path).code_hash == without
    assert (
        put(tmp_path, more=',\n    search={\n        "share": [0.1, 0.2, "log"],\n    },\n').code_hash
        == without
    )
    assert put(tmp_path, more=SEARCH + ", reference=True").code_hash != without
    assert put(tmp_path, body="return request.model").code_hash != without


# Scores


def record(**changes: Any) -> Record:
    facts: dict[str, Any] = {
        "protocol": "tuning",
        "method": "mine-p00",
        "method_hash": "0",
        "hyperparameters": {},
        "task": "ridge",
        "task_hash": "0",
        "split": "random",
        "split_hash": "0",
        "seed": 0,
        "status": "ok",
        "metrics": {"rnc": 0.75, "mae_test_retain": 1.0},
        "curves": {},
        "passes": 0.1,
        "machine": "m",
        "versions": {},
        "commit": None,
    }
    return Record(**facts | changes)


def test_block_score_by_hand() -> None:
    beyond = record(metrics={"rnc": 1.5, "mae_test_retain": 1.2})
    assert selection.block_score([record(), beyond], 1.1, 0.1) == pytest.approx((0.75 + 0.5) / 2)
    assert selection.block_score([record(), beyond], 1.09, 0.1) == 0  # the mean error is over the limit
    failed = record(status="error", reason="why", metrics={}, passes=None)
    assert selection.block_score([record(), failed, failed], 1.1, 0.1) == pytest.approx(0.25)
    assert selection.block_score([failed], 1.1, 0.1) == 0
    assert selection.block_score([record(), record(passes=0.101)], 1.1, 0.1) == pytest.approx(0.375)
    assert selection.block_score([record(metrics={"rnc": -3.0})], 1.1, 0.1) == 0


# Runs


Tune = Callable[..., Tuning]
BLOCKS = {"ridge": ["random"]}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def tune(models: Path, tmp_path: Path) -> Tune:
    def run(card: Card, **changes: Any) -> Tuning:
        settings = Settings(cache=models, device="cpu", methods=card.file.parent)
        options: dict[str, Any] = {
            "points": 4,
            "blocks": BLOCKS,
            "seeds": (0, 1),
            "reference_seeds": (0, 1, 2),
        }
        return tuning.tune(card, settings, tmp_path / "run", **options | changes)

    return run


def test_a_tuning_and_what_is_written(tune: Tune, tmp_path: Path) -> None:
    card = put(tmp_path / "methods")
    found = tune(card, budget=0.2)
    shares = [point.hyperparameters["share"] for point in found.points]
    assert shares == [
        point["share"] for point in tuning.draw(space.parse(card.fact("search"), DEFAULTS), "mine", 4)
    ]
    for point in found.points:  # from a share of 0.2 on the run costs more than it may
        if point.hyperparameters["share"] > 0.2:
            assert (point.score, point.passes, point.failures) == (0, None, 2)
        else:
            assert 0 < point.score <= 1
            assert point.passes == pytest.approx(point.hyperparameters["share"], abs=2e-3)
    assert {point.failures for point in found.points} == {0, 2}
    assert (found.default.hyperparameters, found.default.failures) == ({"share": 0.05}, 0)
    assert found.cost == pytest.approx(2 * sum(min(share, 0.2) for share in shares), abs=0.02)
    assert found.ranked[0].score == max(point.score for point in found.points)
    assert found.reasons[0].startswith("2 x over_budget: needs more than its budget")
    assert selection.table(found)[-1]["point"] == "default"

    path = tmp_path / "v1/tuned/mine.json"
    selection.write(found, path)
    first, kept = path.read_bytes(), json.loads(path.read_text())
    assert list(kept) == sorted(kept)
    assert kept["hyperparameters"] == found.ranked[0].hyperparameters
    assert (kept["method"], kept["method_hash"], kept["budget"]) == ("mine", card.code_hash, 0.2)
    assert (kept["seeds"], kept["tasks"]) == ([0, 1], BLOCKS)
    assert kept["score"] == pytest.approx(max(point["score"] for point in kept["points"]))
    assert kept["median"] == pytest.approx(np.median([point.score for point in found.points]), rel=1e-6)
    assert set(kept["points"][0]) == {"hyperparameters", "score", "passes", "failures"}
    assert grid.tuned(tmp_path / "v1") == {"mine-tuned": kept["hyperparameters"]}
    selection.write(tune(card, budget=0.2), path)
    assert path.read_bytes() == first


def test_nothing_is_run_twice(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = put(tmp_path / "methods")
    ran, stop = [], 3
    real = runner.run_cell

    def counting(cell: Any, settings: Settings) -> Record:
        if len(ran) == stop:
            raise KeyboardInterrupt
        ran.append(cell.key)
        return real(cell, settings)

    monkeypatch.setattr(runner, "run_cell", counting)
    with pytest.raises(KeyboardInterrupt):
        tune(card, points=2, budget=1.0)
    stop = 100
    found = tune(card, points=2, budget=1.0)
    assert (found.fresh, found.kept) == (3, 3)
    assert len(set(ran)) == len(ran) == 6  # two points and the defaults, two seeds
    more = tune(card, points=3, budget=1.0)
    assert (more.fresh, more.kept) == (2, 6)
    assert more.points[:2] == found.points


def test_of_equal_points_the_cheaper(tune: Tune, tmp_path: Path) -> None:
    found = tune(put(tmp_path / "methods"), points=2, budget=1.0)
    points = [
        replace(point, score=0.5, passes=passes)
        for point, passes in zip(found.points * 2, (0.2, 0.1, None, 0.1), strict=True)
    ]
    assert replace(found, points=points).ranked == [points[1], points[3], points[0], points[2]]


def test_where_there_is_no_null_nothing_is_tuned(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = put(tmp_path / "methods")
    with pytest.raises(UsageError, match="expected at least two"):
        tune(card, reference_seeds=(0,))
    with pytest.raises(UsageError, match=r"--budget 1.5: expected a share"):
        tune(card, budget=1.5)
    monkeypatch.setattr(selection, "_has_gap", lambda block, found: False)
    with pytest.raises(BenchmarkError, match="RNC is not defined on any of ridge/random"):
        tune(card, points=1, budget=1.0)


def test_a_method_without_a_space_is_told_how_to_declare_one(tune: Tune, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r'no search space.*mine\.py: @method\("mine", \.\.\., search={"share"'
    ):
        tune(put(tmp_path / "methods", more=""))
    with pytest.raises(UsageError, match="has no '-' in its name"):
        tune(put(tmp_path / "methods", name="my-own"))


# The command


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], models: Path, tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    """Run the command in this process in an empty folder, on one tiny task in the place of the dev tasks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tuning, "dev_blocks", lambda: BLOCKS)
    monkeypatch.setattr(tuning, "tune", partial(tuning.tune, seeds=(0, 1), reference_seeds=(0, 1, 2)))

    def run(*arguments: str) -> tuple[Any, str, str]:
        options = [
            "--methods",
            str(tmp_path / "methods"),
            "--cache",
            str(models),
            "--jobs",
            "1",
            "--device",
            "cpu",
        ]
        monkeypatch.setattr(sys, "argv", ["regunlearn", "tune", *arguments, *options])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        found = capsys.readouterr()
        return code or 0, found.out, found.err

    return run


def test_the_command(command: Callable[..., tuple[Any, str, str]], tmp_path: Path) -> None:
    put(tmp_path / "methods")
    (tmp_path / "results/v1").mkdir(parents=True)
    (tmp_path / "results/v1/protocol.toml").write_text('name = "v1"\n')
    code, out, err = command("mine", "--points", "2", "--budget", "0.5")
    assert (code, "Traceback" in err) == (0, False)
    for text in ("default", "median", "cost of the search", "written to results/v1/tuned/mine.json"):
        assert text in out
    kept = json.loads((tmp_path / "results/v1/tuned/mine.json").read_text())
    assert (kept["seeds"], kept["reference_seeds"]) == ([0, 1], [0, 1, 2])
    assert (tmp_path / "runs/tune/mine/budget-0.5/records/mine-p01.jsonl").is_file()


@pytest.mark.parametrize(
    ("body", "reason"),
    [("raise ValueError('on purpose')", "on purpose"), ("return request.model", "fail the utility gate")],
)
def test_nothing_good_is_exit_code_1(
    body: str, reason: str, command: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    put(tmp_path / "methods", body=body)
    target = tmp_path / "mine.json"
    code, _, err = command("mine", "--points", "1", "--out", str(target))
    assert code == 1
    assert "none of 1 points scores above 0" in err
    assert reason in err
    assert not target.exists()


def test_bad_usage_is_exit_code_2(command: Callable[..., tuple[Any, str, str]], tmp_path: Path) -> None:
    put(tmp_path / "methods")
    put(tmp_path / "methods", name="bare", more="")
    for arguments, message in (
        (("mime", "--out", "x.json"), "unknown method 'mime'. Did you mean 'mine'?"),
        (("mine",), "unknown protocol 'v1'"),
        (("mine", "--out", "x.json", "--budget", "0"), "--budget 0"),
        (("mine", "--out", "x.json", "--points", "0"), "--points 0"),
        (("bare", "--out", "x.json"), "has no search space"),
    ):
        code, _, err = command(*arguments)
        assert code == 2, err
        assert message in err


def test_the_dev_suite_is_what_is_tuned_on() -> None:
    assert (tuning.POINTS, tuning.BUDGET) == (20, 0.10)
    assert tuning.SEEDS == (1000, 1001, 1002)
    assert list(tuning.REFERENCE_SEEDS) == [*range(1000, 1008)]
    blocks = tuning.dev_blocks()
    assert sorted(blocks) == ["california-dev-mlp", "mnist-rotation-dev-allcnn", "sentiment-dev-lstm"]
    assert all(sorted(splits) == ["band", "random"] for splits in blocks.values())


TUNABLE = ("amnesiac", "bad_teacher", "blindspot", "fine_tune", "gaussian_finetune", "truncated_retrain")


@pytest.mark.parametrize("name", TUNABLE)
def test_the_methods_declare_spaces(name: str) -> None:
    card = registry.discover("method").get(name)
    found = space.parse(card.fact("search"), card.hyperparameters)
    assert set(found) == set(card.hyperparameters)
    assert space.outside(found, card.hyperparameters) == []
