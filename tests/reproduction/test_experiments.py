"""The run: all units, once; resumed where it was; made again where something changed; told where data are missing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from regunlearn.benchmark import cli
from regunlearn.benchmark.errors import BenchmarkError, UnknownName, UsageError
from regunlearn.benchmark.runner import Settings
from regunlearn.reproduction import experiments, procedure, records, runs
from regunlearn.reproduction.experiments import Unit, members
from regunlearn.reproduction.runs import AbsentDataError
from regunlearn.reproduction.switches import CORRECTED, PUBLISHED, relevant

pytestmark = pytest.mark.usefixtures("tiny")

BOTH = (PUBLISHED, CORRECTED)


@dataclass
class Told:
    """Progress as a list."""

    lines: list[str]

    def start(self, what: str, total: int) -> None:
        self.lines.append(f"{what}: {total}")

    def step(self, what: str) -> None:
        self.lines.append(what)


def test_names_of_the_command_and_the_experiments_behind_them() -> None:
    assert members("stsb-band") == ["stsb-band"]
    assert members("utkface-band", full=True) == ["utkface-band-full"]
    assert members("figure-density") == ["agedb-band", "utkface-band"]
    assert members("all", full=True) == ["stsb-band", "agedb-band", "utkface-band-full"]
    with pytest.raises(UnknownName, match="Did you mean 'stsb-band'"):
        members("stsb-bond")
    with pytest.raises(UsageError, match="--full is for UTKFace"):
        members("stsb-band", full=True)


def test_a_run_makes_every_unit_once_and_the_same_bytes_again(
    settings: Settings, tmp_path: Path, models_folder: Path
) -> None:
    told = Told([])
    outcome = runs.run("stsb-band", settings, tmp_path, seeds=2, only=BOTH, progress=told)
    assert (outcome.done, outcome.kept, outcome.troubles) == (4, 0, [])
    assert told.lines.count("stsb-band: protocols x seeds") == 4
    path = tmp_path / "stsb-band.jsonl"
    assert outcome.files == [path]
    first = records.read(path)
    assert {record.seed for record in first} == {0, 1}
    again = runs.run("stsb-band", settings, tmp_path, seeds=2, only=BOTH)
    assert (again.done, again.kept) == (0, 4)

    lines = path.read_text().splitlines(keepends=True)  # killed in between: one unit is there in part
    path.write_text("".join(lines[:-1]))
    resumed = runs.run("stsb-band", settings, tmp_path, seeds=2, only=BOTH)
    assert (resumed.done, resumed.kept) == (1, 3)
    equal = [replace(record, seconds=None, commit=None) for record in first]
    assert [replace(record, seconds=None, commit=None) for record in records.read(path)] == equal


def test_fewer_seeds_lose_nothing_and_changed_budgets_make_all_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run("stsb-band", settings, tmp_path, seeds=2, only=[CORRECTED])
    assert runs.run("stsb-band", settings, tmp_path, seeds=1, only=[CORRECTED]).done == 0
    path = tmp_path / "stsb-band.jsonl"
    assert {record.seed for record in records.read(path)} == {0, 1}
    entry = experiments.EXPERIMENTS["stsb-band"]
    shorter = replace(entry, budgets=replace(entry.budgets, student=1))
    monkeypatch.setitem(experiments.EXPERIMENTS, "stsb-band", shorter)  # type: ignore[arg-type]
    outcome = runs.run("stsb-band", settings, tmp_path, seeds=1, only=[CORRECTED])
    assert (outcome.done, outcome.kept) == (1, 0)
    assert {record.seed for record in records.read(path)} == {
        0
    }  # the stale seed is gone with the old budgets


def test_every_switch_of_an_experiment_is_run(settings: Settings, tmp_path: Path) -> None:
    outcome = runs.run("stsb-band", settings, tmp_path, seeds=1)
    assert outcome.troubles == []
    found = records.read(tmp_path / "stsb-band.jsonl")
    assert [*dict.fromkeys(record.protocol for record in found)] == [
        "published",
        "corrected",
        *(f"published without {name}" for name in sorted(relevant("stsb-band"))),
    ]
    assert outcome.done == 5
    assert runs.run("utkface-band", settings, tmp_path, seeds=1).done == 2  # no published numbers to explain


def test_a_unit_that_fails_is_told_and_the_others_go_on(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = procedure.make

    def make(setting: procedure.Setting) -> dict[str, procedure.Made]:
        if setting.seed == 0:
            raise BenchmarkError("weights hold numbers that are not finite")
        return real(setting)

    monkeypatch.setattr(procedure, "make", make)
    outcome = runs.run("stsb-band", settings, tmp_path, seeds=2, only=[CORRECTED])
    assert outcome.done == 1
    assert outcome.troubles == [
        "stsb-band, corrected, seed 0 failed. weights hold numbers that are not finite"
    ]


def test_absent_data_are_one_message(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(AbsentDataError, match=r"agedb-band left out\. no images for agedb-allcnn"):
        runs.run("agedb-band", settings, tmp_path)
    total = runs.run_all(["agedb-band"], settings, tmp_path)
    assert (total.files, len(total.absent), total.troubles) == ([], 1, [])


def test_the_identity_depends_on_rows_switches_and_code(settings: Settings) -> None:
    one, other = (experiments.identity(Unit("stsb-band", switches, 0), settings) for switches in BOTH)
    assert one != other
    assert one == experiments.identity(Unit("stsb-band", PUBLISHED, 7), settings)


# The command --------------------------------------------------------------------------------------------------

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], models_folder: Path, tmp_path: Path
) -> Command:
    """Run the command here, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        own = ["reproduce", *arguments, "--cache", str(models_folder), "--jobs", "1", "--device", "cpu"]
        monkeypatch.setattr("sys.argv", ["regunlearn", *own])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out, found.err

    return run


def test_the_command_prints_and_writes_the_table(command: Command, tmp_path: Path) -> None:
    code, out, err = command("stsb-band", "--seeds", "2", "--without", "lost_rows")
    assert code == 0, err
    assert "Published" in out
    assert "6 units run, 0 kept; 4 files written to leaderboard/reproduction" in out
    assert (tmp_path / "results/reproduction/stsb-band.jsonl").is_file()
    folder = tmp_path / "leaderboard/reproduction/stsb-band"
    names = ("table.md", "table.csv", "table.tex")
    assert {file.name for file in folder.iterdir()} == {*names, "seconds.md"}
    before = {name: (folder / name).read_bytes() for name in names}
    code, out, _ = command("stsb-band", "--seeds", "2", "--without", "lost_rows", "--json")
    assert code == 0
    rows = json.loads(out)
    assert {
        "experiment",
        "model",
        "metric",
        "published",
        "ours_published",
        "ours_corrected",
        "verdict",
    } == set(rows[0])
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_all_leaves_out_what_is_not_there_and_says_so(command: Command, tmp_path: Path) -> None:
    code, out, err = command("figure-density", "--seeds", "1")
    assert code == 0, err
    assert "agedb-band left out. no images for agedb-allcnn: ask its authors." in err
    folder = tmp_path / "leaderboard/reproduction/figure-density"
    assert {file.name for file in folder.iterdir()} == {"density.pdf", "density.png", "density.svg"}
    assert "not comparable: other data" in out


def test_exit_codes(command: Command) -> None:
    assert command("agedb-band")[0] == 1
    for wrong in (
        ["nothing"],
        ["stsb-band", "--without", "x"],
        ["stsb-band", "--full"],
        ["stsb-band", "--seeds", "0"],
    ):
        code, _, err = command(*wrong)
        assert code == 2, err
    code, _, err = command("stsb-band", "--without", "worn_models")
    assert code == 2
    assert "does nothing in stsb-band" in err
