"""Tables and figure of a reproduction, from made-up records: verdicts, paired differences, escaping, same bytes."""

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.leaderboard import reproduction_build, reproduction_figure, reproduction_tables, style
from regunlearn.leaderboard import reproduction_numbers as numbers_of
from regunlearn.leaderboard.reproduction_numbers import Numbers, Verdict, prediction, verdict
from regunlearn.reproduction import records
from regunlearn.reproduction.records import MODELS, Record
from regunlearn.reproduction.switches import CORRECTED, PUBLISHED, Switches, title, without

VARIANT = without(["batch_means"])
PLACES = {name: place for place, name in enumerate(MODELS)}
Change = Callable[[Record], Record]


def record(experiment: str, switches: Switches, model: str, seed: int, data: str) -> Record:
    """Errors are 1 + a tenth of the model's place + a hundredth of the seed; on forget rows five times that."""
    images, base = experiment != "stsb-band", 1 + PLACES[model] / 10 + seed / 100
    own = base * (0.5 if switches == CORRECTED else 1.0)
    values = {
        "test_retain_rows": own,
        "test_retain_batches": own + 0.2,
        "disagreement": own if model != "retrained" else 0,
    }
    values |= {"test_forget_rows": 5 * own, "test_forget_batches": 5 * own + 0.2, "w1": own / 7}
    values |= {"constant_retain_rows": own + 0.01, "constant_retain_batches": own + 0.21}
    if model != "constant":
        values |= {f"{name}_{part}": 0.3 for name in ("pearson", "spearman") for part in ("test", "retain")}
    density: dict[str, list[float]] = {}
    if images:
        values |= {"attack_forget": 0.5, "attack_members": 0.6, "attack_others": 0.4 + seed / 100, "ain": 0.1}
        density = {"edges": [0.0, 0.5, 1.0], "counts": [3.0, 1.0], "beyond": [4.0]}
    return Record(
        experiment=experiment,
        protocol=title(switches),
        switches=dataclasses.asdict(switches),
        model=model,
        seed=seed,
        identity="0" * 16,
        values=values,
        density=density,
        seconds=None if model in ("original", "retrained") else 1.0 + seed,
        loss="l1" if images else "mse",
        unit="points",
        task="a-b",
        task_hash="",
        split="band",
        split_hash="",
        data=data,
        machine="machine_x",
        versions={},
        commit=None,
    )


def made(experiment: str = "stsb-band", seeds: int = 3, data: str = "Vectors: some.npz.") -> list[Record]:
    whole = [(switches, model) for switches in (PUBLISHED, CORRECTED) for model in MODELS]
    part = [(VARIANT, model) for model in ("original", "retrained", "fine_tune", "blindspot")]
    return [record(experiment, *one, seed, data) for one in (*whole, *part) for seed in range(seeds)]


def saved(folder: Path, found: Sequence[Record]) -> Path:
    path = folder / f"{found[0].experiment}.jsonl"
    records.write(path, found)
    return path


def load(folder: Path, found: Sequence[Record]) -> Numbers:
    return numbers_of.load(saved(folder, found))


# Verdicts -----------------------------------------------------------------------------------------------------


def test_the_interval_for_one_more_run() -> None:
    low, high = prediction([1.0, 2.0, 3.0])  # s = 1, t = 4.302653, sqrt(4/3) = 1.154701
    assert (low, high) == pytest.approx((2 - 4.968275, 2 + 4.968275), abs=1e-6)
    low, high = prediction([0.0, 1.0, 2.0, 3.0, 4.0])
    assert high - 2 == pytest.approx(2.776445 * math.sqrt(2.5) * math.sqrt(1.2), abs=1e-6)
    assert all(math.isnan(end) for end in prediction([1.0]))


def test_the_interval_covers_another_run_in_95_of_100() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(4000):
        *ours, value = rng.normal(size=6)
        inside += verdict(float(value), ours).word == "inside"
    assert inside / 4000 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 4000))


def test_verdicts_by_side_and_reason() -> None:
    ours = [1.0, 2.0, 3.0]
    assert verdict(2.0, ours) == Verdict("inside", "inside (−2.968 to 6.968)")
    assert verdict(7.0, ours) == Verdict("above", "outside (above 6.968)")
    assert verdict(-3.0, ours) == Verdict("below", "outside (below −2.968)")
    assert verdict(2.0, [2.0, 2.0]).word == "inside"
    assert verdict(2.0, [1.0]) == Verdict(
        "not comparable", "not comparable: needs 2 seeds of ours or more, found 1"
    )
    assert verdict(2.0, ours, "why") == Verdict("not comparable", "not comparable: why")


def test_published_numbers_meet_the_published_protocol_by_its_own_average(tmp_path: Path) -> None:
    numbers = load(tmp_path, made())
    assert numbers.series("published", "blindspot", "test_retain") == pytest.approx(
        {0: 1.8, 1: 1.81, 2: 1.82}
    )
    assert numbers.series("corrected", "blindspot", "test_retain") == pytest.approx(
        {0: 0.8, 1: 0.805, 2: 0.81}
    )
    assert numbers.series(title(VARIANT), "blindspot", "test_retain") == pytest.approx(
        {0: 1.6, 1: 1.61, 2: 1.62}
    )
    assert numbers.verdict("blindspot", "test_retain").word == "below"
    assert numbers.verdict("constant", "test_retain").word == "not published"
    assert sum(numbers.tally().values()) == 12


def test_w1_and_ain_are_never_judged_and_utkface_has_nothing_to_compare(tmp_path: Path) -> None:
    numbers = load(tmp_path, made("agedb-band"))
    for metric, tag in (("w1", "D1"), ("ain", "D2")):
        word, text = numbers.verdict("blindspot", metric)
        assert word == "not comparable"
        assert tag in text
    assert numbers.verdict("blindspot", "attack_others").word == "above"
    other = load(tmp_path, made("utkface-band"))
    assert other.metrics == numbers.metrics
    assert other.verdict("blindspot", "test_retain") == Verdict(
        "not comparable", "not comparable: other data"
    )
    assert other.value("blindspot", "test_retain") is None


def test_closure_takes_means_over_seeds_in_the_denominator(tmp_path: Path) -> None:
    numbers = load(tmp_path, made())
    assert (
        numbers.series("published", "original", "rnc") == {}
    )  # original and null do not differ the right way
    far = [
        dataclasses.replace(r, values={**r.values, "disagreement": 9.0 + r.seed})
        if r.model == "original"
        else r
        for r in made()
    ]
    numbers = load(tmp_path, far)
    null = np.mean([1.2, 1.21, 1.22])
    expected = {seed: (9 + seed - (1.6 + seed / 100)) / (10 - null) for seed in range(3)}
    assert numbers.series("published", "blindspot", "rnc") == pytest.approx(expected)
    assert set(numbers.series("published", "original", "rnc").values()) == {0.0}
    assert numbers.dsr("published") == pytest.approx(10 / null)
    assert math.isnan(numbers.dsr(title(VARIANT)))


def test_differences_are_paired(tmp_path: Path) -> None:
    numbers = load(tmp_path, made())
    found = numbers.difference((title(VARIANT), "blindspot"), ("published", "blindspot"), "test_retain")
    assert found == pytest.approx((-0.2, -0.2, -0.2))
    one = numbers.difference(("published", "original"), ("corrected", "original"), "w1")
    gaps = np.array([(1 + seed / 100) / 14 for seed in range(3)])
    half = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / math.sqrt(3)
    assert (one.low, one.high) == pytest.approx((gaps.mean() - half, gaps.mean() + half), rel=1e-4)


# Files --------------------------------------------------------------------------------------------------------


def test_the_page_says_what_the_records_say(tmp_path: Path) -> None:
    reproduction_build.build(saved(tmp_path, made()), tmp_path / "board")
    page = (tmp_path / "board" / "table.md").read_text("utf-8")
    assert page.startswith("# STS-B, LSTM, forget scores below 2\n")
    assert "- Seeds: published 3, corrected 3, published without batch_means 3." in page
    assert "**Other word vectors than published: those were GloVe 840B with 300 dimensions.**" in page
    assert (
        "| Original | MSE, retain test rows | 2.842 | 1.210 ± 0.025 | 0.5050 ± 0.012 | outside (above 1.260) |"
        in page
    )
    assert (
        "| Blindspot | MSE, forget test rows | 6.3943 | 8.250 ± 0.12 | 4.025 ± 0.062 | outside (below 8.002) |"
        in page
    )
    assert "| Best constant | MSE, retain test rows | – | 2.310 ± 0.025 |" in page
    assert "| Retrained, another seed |" in page
    for protocol in ("published", "corrected"):
        assert f"|  | *{protocol} protocol* |" in page
    assert "- `batch_means`: D3" in page
    assert "`lost_rows`" not in page
    assert "| Blindspot | MSE, retain test rows | 1.810 ± 0.025 | 1.610 ± 0.025 | −0.2000 ± " in page
    assert "seconds" not in page.lower().replace("seconds: ", "")
    seconds = (tmp_path / "board" / "seconds.md").read_text("utf-8")
    assert "| Fine-tuned | 1.46 | 2.000 ± 2.5 |" in seconds
    assert "machine_x" in seconds


def test_the_flag_is_gone_with_the_published_vectors(tmp_path: Path) -> None:
    assert load(tmp_path, made(data="Vectors: glove.840B.300d.txt, 300 dimensions.")).flag == ""
    assert load(tmp_path, made("agedb-band")).flag == ""


def test_the_attention_term_is_judged_by_its_interval(tmp_path: Path) -> None:
    page = reproduction_build.page(load(tmp_path, made()))
    assert (
        "published protocol, published attention: 8 of 8; published protocol, corrected attention: 8 of 8"
        in page
    )
    same = [
        dataclasses.replace(
            r, values=record(r.experiment, Switches(**r.switches), "blindspot_0", r.seed, "").values
        )
        if r.model.startswith("blindspot")
        else r
        for r in made()
    ]
    page = reproduction_build.page(load(tmp_path, same))
    assert "published protocol, published attention: 0 of 8" in page
    assert "no: the same" in page


def test_rounding_is_no_difference() -> None:
    tiny = numbers_of.interval_of([1e-6, 2e-6, 3e-6])
    assert tiny.low < 0 or reproduction_tables.changed(tiny, 1.0) == "no: the same"
    assert reproduction_tables.changed(numbers_of.interval_of([1.0, 1.1, 1.2]), 1.0) == "yes"
    assert reproduction_tables.changed(numbers_of.interval_of([-1.0, 1.1]), 1.0) == "no"
    assert reproduction_tables.changed(numbers_of.interval_of([1.0]), 1.0) == "–"


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    found = made("utkface-band")
    contents = []
    for turn, order in enumerate((found, found[::-1])):
        path = saved(tmp_path / str(turn), order)
        out = tmp_path / str(turn) / "board"
        files = [*reproduction_build.build(path, out), *reproduction_figure.build([path], out)]
        contents.append({file.name: file.read_bytes() for file in files})
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        "table.md",
        "table.csv",
        "table.tex",
        "seconds.md",
        "density.pdf",
        "density.png",
        "density.svg",
    }


def test_what_the_data_are_called_stays_text(tmp_path: Path) -> None:
    data = "<script>alert(1)</script> | [x](http://a.b) **b** \x1b[31m @someone"
    found = [dataclasses.replace(one, data=data) for one in made()]
    page = reproduction_build.page(load(tmp_path, found))
    line = next(line for line in page.splitlines() if "Rows, published" in line)
    assert not any(mark in line for mark in ("<script", "](", "**b", "\x1b", "@some", " | "))


def test_csv_and_latex(tmp_path: Path) -> None:
    numbers = load(tmp_path, made())
    rows = list(csv.DictReader(io.StringIO(reproduction_build.csv(numbers))))
    (one,) = (
        row
        for row in rows
        if (row["protocol"], row["model"], row["metric"]) == ("published", "original", "test_retain")
    )
    assert (one["seeds"], one["published"]) == ("3", "2.842")
    assert one["verdict"] == "outside (above 1.260)"
    assert float(one["prediction_high"]) == pytest.approx(prediction([1.2, 1.21, 1.22])[1], rel=1e-6)
    tex = reproduction_build.tex(numbers)
    assert tex.count(r"\begin{tabular}") == tex.count(r"\bottomrule") == 3
    assert r"$\pm$" in tex
    assert "β" not in tex


def test_one_seed_gives_no_interval_and_no_nan(tmp_path: Path) -> None:
    page = reproduction_build.page(load(tmp_path, made(seeds=1)))
    assert "needs 2 seeds of ours or more, found 1" in page
    assert "nan" not in page.lower().replace("retain and", "")
    rows: list[dict[str, Any]] = reproduction_build.as_json(saved(tmp_path, made(seeds=1)))
    assert rows[0]["ours_published"] == {"mean": pytest.approx(1.2), "low": None, "high": None}


def test_the_summary_is_the_main_table(tmp_path: Path) -> None:
    text = reproduction_build.summary(saved(tmp_path, made()))
    assert text.startswith("stsb-band\n")
    assert "6.3943" in text
    with pytest.raises(
        BenchmarkError, match=r"no records\. Make some with `regunlearn reproduce agedb-band`"
    ):
        reproduction_build.summary(tmp_path / "agedb-band.jsonl")


# Figure -------------------------------------------------------------------------------------------------------


def test_a_density_counts_what_lies_beyond(tmp_path: Path) -> None:
    found = reproduction_figure.density(load(tmp_path, made("utkface-band")), "published", "blindspot")
    assert found is not None
    edges, values = found
    assert values.tolist() == pytest.approx([3 / 8 / 0.5, 1 / 8 / 0.5])
    assert (values * np.diff(edges)).sum() == pytest.approx(0.5)  # half of the rows are shown


def test_the_figure_has_a_row_of_panels_a_dataset(tmp_path: Path) -> None:
    boards = [load(tmp_path, made(name)) for name in ("agedb-band", "utkface-band")]
    with style.styled():
        figure = reproduction_figure.draw(boards)
        FigureCanvasAgg(figure).draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "AgeDB, published protocol",
        "AgeDB, corrected protocol",
        "UTKFace, small task, published protocol",
        "UTKFace, small task, corrected protocol",
    ]


def test_no_density_no_figure(tmp_path: Path) -> None:
    assert (
        reproduction_figure.build([saved(tmp_path, made()), tmp_path / "none.jsonl"], tmp_path / "board")
        == []
    )
    assert not (tmp_path / "board").exists()
