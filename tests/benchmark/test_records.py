"""Records come back as they went; whatever is wrong with a file ends in one error that opens with path:line."""

import errno
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regunlearn.benchmark import records
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.records import SCHEMA, Key, Record, Store, check_name, parse, read, read_all


def record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "protocol": "smoke",
        "method": "good",
        "method_hash": "0" * 16,
        "hyperparameters": {"epochs": 0.05, "layers": ["a", "b"]},
        "task": "ridge",
        "task_hash": "1" * 16,
        "split": "random",
        "split_hash": "2" * 16,
        "seed": 0,
        "status": "ok",
        "metrics": {"mae": 0.5, "rnc": -0.25},
        "curves": {"error": {"edges": [0.0, 1.0], "mae": []}},
        "passes": 0.125,
        "machine": "test-1c",
        "versions": {"python": "3.11"},
        "commit": None,
    }
    return Record(**(values | changes))


def line(**changes: Any) -> str:
    """A record's line with some fields replaced by anything at all; `...` drops the field."""
    data = json.loads(record().to_line()) | changes
    return json.dumps({name: value for name, value in data.items() if value is not ...})


names = st.from_regex(r"[a-z0-9]{1,6}([-_.][a-z0-9]{1,6}){0,2}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = (
    st.floats(allow_nan=False, allow_infinity=False).map(lambda v: float(f"{v:.7g}")).filter(math.isfinite)
)
values = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | numbers | texts
hyperparameters = st.dictionaries(texts, values | st.lists(values, max_size=3), max_size=4)
costs = st.none() | numbers.map(abs)
any_record = st.builds(
    record,
    protocol=names,
    method=names,
    hyperparameters=hyperparameters,
    task=names,
    split=names,
    seed=st.integers(0, 2**62),
    status=st.sampled_from(records.STATUSES),
    reason=texts.filter(bool),
    metrics=st.dictionaries(names, numbers, max_size=4),
    curves=st.dictionaries(
        names, st.dictionaries(names, st.lists(numbers, max_size=4), max_size=2), max_size=2
    ),
    passes=costs,
    seconds=costs,
    retrain_seconds=costs,
    peak_bytes=st.none() | st.integers(0, 2**50),
    versions=st.dictionaries(texts, texts, max_size=2),
    commit=st.none() | texts,
)


@given(any_record)
def test_a_line_comes_back(one: Record) -> None:
    assert "\n" not in one.to_line()
    assert parse(one.to_line(), "here:1") == one


@settings(max_examples=30, deadline=None)
@given(some=st.lists(any_record, min_size=1, max_size=4))
def test_a_folder_comes_back(some: list[Record], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    store = Store(folder)
    for one in some:
        store.add(one)
    expected = {one.key: one for one in some}
    assert read_all(folder) == [expected[key] for key in sorted(expected)]
    assert {key: Store(folder).get(key) for key in expected} == expected


def test_a_sum_beyond_the_range_of_float_is_no_reason() -> None:
    one = record(curves={"error": {"edges": [1.7e308, 1.7e308], "mae": []}})
    assert parse(one.to_line(), "here:1") == one


def test_numbers_keep_seven_digits_and_integers_all() -> None:
    one = record(metrics={"mae": 1 / 3}, peak_bytes=123_456_789_012, hyperparameters={"steps": 123_456_789})
    again = parse(one.to_line(), "here:1")
    assert again.metrics["mae"] == 0.3333333
    assert again.peak_bytes == 123_456_789_012
    assert again.hyperparameters["steps"] == 123_456_789
    assert parse(again.to_line(), "here:1") == again


def test_hyperparameters_are_kept_as_they_are() -> None:
    """They are compared with the method's to see whether a record is current, so no digit may be lost."""
    one = record(hyperparameters={"rate": 0.123456789})
    assert parse(one.to_line(), "here:1").identity == one.identity


IDENTITY = {
    "protocol": "other",
    "method": "other",
    "method_hash": "x",
    "hyperparameters": {},
    "task": "other",
    "task_hash": "x",
    "split": "other",
    "split_hash": "x",
    "seed": 1,
}
OUTCOME = {
    "metrics": {},
    "passes": 1.0,
    "seconds": 3.0,
    "machine": "other",
    "versions": {},
    "commit": "abc",
    "status": "error",
    "reason": "x",
}


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_is_all_that_the_outcome_depends_on(name: str) -> None:
    assert record(**{name: IDENTITY[name]}).identity != record().identity


def test_identity_is_not_the_outcome() -> None:
    for name, value in OUTCOME.items():
        reason = {"reason": "x"} if name == "status" else {}
        assert record(**{name: value}, **reason).identity == record().identity
    assert (
        record(hyperparameters={"a": 1, "b": 2}).identity == record(hyperparameters={"b": 2, "a": 1}).identity
    )


def test_key() -> None:
    assert record(seed=3).key == Key("ridge", "random", "good", 3)


# Broken lines

DEEP = "[" * 100_000 + "]" * 100_000
BROKEN: dict[str, tuple[str, str]] = {
    "empty": ("", "one JSON object"),
    "cut off": (line()[:100], "one JSON object"),
    "not JSON": ("<html>", "one JSON object"),
    "deep": (DEEP, "one JSON object"),
    "deep inside": (line(hyperparameters=...)[:-1] + f', "hyperparameters": {DEEP}}}', "one JSON object"),
    "array": ("[1, 2]", "expected a JSON object, found list"),
    "null": ("null", "expected a JSON object, found NoneType"),
    "no schema": (line(schema=...), f"expected schema {SCHEMA}, found None. Run the cell again"),
    "older schema": (line(schema=SCHEMA - 1), f"found {SCHEMA - 1}. Run the cell again"),
    "newer schema": (line(schema=SCHEMA + 1), f"found {SCHEMA + 1}. Update regunlearn"),
    "text schema": (line(schema="1"), "expected schema"),
    "NaN": (line().replace("-0.25", "NaN"), "metric rnc is nan, expected a finite number"),
    "Infinity": (line().replace("-0.25", "-Infinity"), "metric rnc is -inf, expected a finite number"),
    "too large": (line().replace("-0.25", "1e999"), "metric rnc is inf, expected a finite number"),
    "too large whole number": (line().replace("-0.25", "1" * 400), "metric rnc"),
    "too many digits": (line().replace("-0.25", "1" * 5000), ""),
    "NaN in a curve": (line(curves={"a": {"b": [0.0, math.nan]}}), "curve a.b is nan"),
    "boolean in a curve": (line(curves={"a": {"b": [0.0, True]}}), "curve a.b is True"),
    "text in a curve": (line(curves={"a": {"b": [0.0, "1"]}}), "curve a.b is '1'"),
    "infinities that cancel": (
        line().replace("[0.0, 1.0]", "[Infinity, -Infinity]"),
        "curve error.edges is inf",
    ),
    "large whole numbers that cancel": (
        line().replace("[0.0, 1.0]", f"[{'1' * 400}, -{'1' * 400}]"),
        "curve error.edges is 111",
    ),
    "NaN in a hyperparameter": (line(hyperparameters={"rate": math.nan}), "rate"),
    "NaN cost": (line(passes=math.nan), "passes is nan"),
    "negative cost": (line(seconds=-1), "seconds is -1"),
    "text cost": (line(peak_bytes="many"), "peak_bytes is 'many'"),
    "boolean metric": (line(metrics={"mae": True}), "metric mae is True"),
    "null metric": (line(metrics={"mae": None}), "metric mae is None"),
    "missing field": (line(seed=...), "missing ['seed']"),
    "unknown field": (line(extra=1), "unknown ['extra']"),
    "negative seed": (line(seed=-1), "seed -1"),
    "fractional seed": (line(seed=1.5), "seed 1.5"),
    "boolean seed": (line(seed=True), "seed True"),
    "unknown status": (line(status="fine"), "status 'fine' is not one of ok"),
    "number status": (line(status=1), "status 1 is not one of"),
    "failure without a reason": (line(status="error"), "needs a reason"),
    "reason that is no text": (line(status="error", reason=["x"]), "reason"),
    "commit that is no text": (line(commit=5), "commit"),
    "metrics that are no object": (line(metrics=[1]), "metrics is list, expected an object"),
    "hyperparameters that are no object": (line(hyperparameters="x"), "hyperparameters is str"),
    "curves of numbers": (line(curves={"a": 1}), "curve 'a' is not an object of lists"),
    "curves of text": (line(curves={"a": {"b": "x"}}), "curve 'a' is not an object of lists"),
    "hash that is no text": (line(task_hash=1), "task_hash is 1, expected text"),
    "traversal": (line(method="../x"), "method '../x' is not a valid name"),
    "markup": (line(task="<script>alert(1)</script>"), "is not a valid name"),
    "markup in a metric": (line(metrics={"<b>": 1}), "metric '<b>' is not a valid name"),
    "long name": (line(split="a" * 1_000_000), "is not a valid name"),
    "long unknown field": (line(**{"b" * 1_000_000: 1}), "unknown ['" + "b" * 40 + "']"),
    "list as name": (line(protocol=["smoke"]), "is not a valid name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_lines(case: str) -> None:
    text, message = BROKEN[case]
    with pytest.raises(BenchmarkError) as caught:
        parse(text, "records/good.jsonl:7")
    said = str(caught.value)
    assert said.startswith("records/good.jsonl:7: ")
    assert message in said
    assert len(said) < 600


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "A",
        "a b",
        "a\n",
        "-a",
        "a-",
        "a..b",
        "ü",
        "a\x00",
        "<script>",
        "a" * 81,
        5,
    ],
)
def test_names_that_are_refused(name: object) -> None:
    with pytest.raises(BenchmarkError, match="is not a valid name"):
        check_name("method", name)


@pytest.mark.parametrize("name", ["a", "0", "fine_tune", "mnist-rotation", "a.b-c_d", "a" * 80])
def test_names_that_are_taken(name: str) -> None:
    assert check_name("method", name) == name


# Files


def test_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "good.jsonl"
    path.write_text(f"{line()}\n{line(seed=1)}\n{line(seed=-2)}\n")
    with pytest.raises(BenchmarkError, match=r"good\.jsonl:3: seed -2"):
        read(path)


def test_a_cell_twice(tmp_path: Path) -> None:
    path = tmp_path / "good.jsonl"
    path.write_text(f"{line()}\n{line(seed=1)}\n{line(metrics={})}\n")
    with pytest.raises(BenchmarkError, match=r"good\.jsonl:3: the same cell as line 1"):
        read(path)


def test_wrong_file(tmp_path: Path) -> None:
    path = tmp_path / "better.jsonl"
    path.write_text(f"{line()}\n")
    with pytest.raises(BenchmarkError, match=r"better\.jsonl:1: expected records of 'better', found 'good'"):
        read(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", line().encode()[:-2] + b"\xe9\x80"])
def test_not_utf8(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "good.jsonl"
    path.write_bytes(content)
    with pytest.raises(BenchmarkError, match=r"good\.jsonl: cannot be read as UTF-8"):
        read(path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\r"])
def test_only_line_feeds_end_a_line(separator: str, tmp_path: Path) -> None:
    one = record(status="error", reason=f"first{separator}second")
    Store(tmp_path).add(one)
    assert read_all(tmp_path) == [one]


def test_no_records(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="found none"):
        read_all(tmp_path / "nowhere")


# Store


def test_store_keeps_files_sorted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed, task in ((2, "b"), (0, "b"), (10, "a"), (9, "a")):
        store.add(record(seed=seed, task=task))
    store.add(record(method="other"))
    store.add(record(seed=0, task="b", metrics={}))
    lines = (tmp_path / "records/good.jsonl").read_text().splitlines()
    keys = [(r["task"], r["seed"]) for r in map(json.loads, lines)]
    assert keys == [("a", 9), ("a", 10), ("b", 0), ("b", 2)]
    assert sorted(p.name for p in (tmp_path / "records").iterdir()) == ["good.jsonl", "other.jsonl"]
    replaced = Store(tmp_path).get(Key("b", "random", "good", 0))
    assert replaced is not None
    assert replaced.metrics == {}


def test_store_does_not_depend_on_the_order(tmp_path: Path) -> None:
    some = [record(seed=seed, split=split) for seed in (0, 1, 2) for split in ("band", "random")]
    for name, order in (("a", some), ("b", some[::-1])):
        store = Store(tmp_path / name)
        for one in order:
            store.add(one)
    a, b = ((tmp_path / name / "records/good.jsonl").read_bytes() for name in "ab")
    assert a == b


def test_store_refuses_a_broken_folder(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records/good.jsonl").write_text(line()[:50])
    with pytest.raises(BenchmarkError, match=r"good\.jsonl:1: "):
        Store(tmp_path)


def full_disk_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.write_text

    def write_half(self: Path, text: str, **options: Any) -> int:
        plain(self, text[: len(text) // 2], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write_half)


def full_disk_while_renaming(monkeypatch: pytest.MonkeyPatch) -> None:
    def replace_not(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", replace_not)


def killed_while_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: Path, text: str, **options: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupt)


@pytest.mark.parametrize("break_", [full_disk_while_writing, full_disk_while_renaming, killed_while_writing])
def test_a_failed_write_leaves_the_old_file(
    break_: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.add(record())
    before = (tmp_path / "records/good.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        break_(patch)
        with pytest.raises((BenchmarkError, KeyboardInterrupt)) as caught:
            store.add(record(seed=1))
    if isinstance(caught.value, BenchmarkError):
        assert "No space left on device" in str(caught.value)
        assert "finished work is kept" in str(caught.value)
    assert (tmp_path / "records/good.jsonl").read_bytes() == before
    assert [p.name for p in (tmp_path / "records").iterdir()] == ["good.jsonl"]


def test_text_that_utf8_cannot_hold(tmp_path: Path) -> None:
    """JSON can hold a lone surrogate, as in a file name that is not UTF-8; a store that has read one can be written."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records/good.jsonl").write_text(line(status="error", reason="cannot open \udcff") + "\n")
    store = Store(tmp_path)
    store.add(record(seed=1))
    assert [one.reason for one in read_all(tmp_path)] == ["cannot open \udcff", None]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file")
    with pytest.raises(BenchmarkError, match="cannot make the folder"):
        Store(tmp_path).add(record())


def test_records_are_frozen() -> None:
    one: Any = record()
    with pytest.raises(AttributeError):
        one.seed = 5
    assert replace(one, seed=5).seed == 5


# The fast reader

UNUSUAL = {
    "a large whole number among the hyperparameters": line(
        hyperparameters={"a": [2**70], "b": {"c": -(2**64)}}
    ),
    "a large whole number among the versions": line(versions={"python": 10**30}),
    "a large seed": line(seed=2**64),
    "a larger seed": line(seed=10**400),
    "a seed that is no whole number": line(seed=1e20),
    "a metric beyond floats": line(metrics={"mae": 10**400}),
    "metrics beyond floats that cancel": line(metrics={"mae": 10**400, "rnc": -(10**400)}),
    "a metric of many digits": line().replace("-0.25", "1e400"),
    "NaN": line(metrics={"mae": math.nan}),
    "infinity in a curve": line(curves={"error": {"edges": [math.inf]}}),
    "infinity in a hyperparameter": line(hyperparameters={"a": -math.inf}),
    "half a character": line(status="error", reason="\ud800"),
    "a field twice": line().replace('"seed": 0', '"seed": 0, "seed": 3'),
    "a metric twice": line().replace('"rnc": -0.25', '"rnc": -0.25, "rnc": 2.0'),
    "a mark of the byte order": "\ufeff" + line(),
    "spaces": f" \t{line()}\r",
    "other spaces": f"\x0c{line()}",
    "a control character": line(machine="a").replace('"a"', '"\x01"'),
    "nested": line(hyperparameters={"a": json.loads("[" * 400 + "]" * 400)}),
    "nested deeper": line().replace('"layers": ["a", "b"]', f'"layers": {"[" * 1010}{"]" * 1010}'),
    "nested without end": line().replace('"layers": ["a", "b"]', f'"layers": {"[" * 100_000}'),
    "a list": f"[{line()}]",
    "two": line() + line(),
    "nothing": "",
    "a comma too many": line().replace("}}", "},}"),
    "minus zero": line(metrics={"mae": -0.0}).replace("-0.0", "-0"),
    "truth for a number": line(metrics={"mae": True}),
}


def outcome(text: str) -> str:
    try:
        return repr(parse(text, "there:1"))
    except BenchmarkError as error:
        return str(error)


@pytest.mark.parametrize("what", UNUSUAL)
def test_the_fast_reader_takes_and_refuses_the_same(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("orjson")
    fast = outcome(UNUSUAL[what])
    monkeypatch.setattr(records, "_fast_reader", lambda: None)
    assert fast == outcome(UNUSUAL[what])


@given(any_record)
@settings(max_examples=50)
def test_the_fast_reader_reads_the_same(one: Record) -> None:
    fast = pytest.importorskip("orjson").loads
    assert repr(fast(one.to_line())) == repr(json.loads(one.to_line()))
