"""AgeDB, IMDB-WIKI and UTKFace from made files in their official layouts, up to a trained network."""

import os
import shutil
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.datasets import faces

from regunlearn.benchmark import fetch, images, registry, splits, tasks, trainers, training, vision
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Dataset
from regunlearn.datasets import agedb, imdbwiki, utkface

FACES = {"agedb": faces.write_agedb, "imdbwiki": faces.write_imdbwiki}
TASKS = {
    "agedb": ("agedb-allcnn", "agedb-resnet18", "agedb-mobilenetv3"),
    "imdbwiki": ("imdbwiki-resnet18",),
    "utkface": ("utkface-allcnn", "utkface-resnet18"),
    "utkface-small": ("utkface-small-allcnn",),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder as REGUNLEARN_DATA, beside an empty cache."""
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("REGUNLEARN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(utkface, "SIZES", {"utkface": (40, 8, 12), "utkface-small": (20, 6, 8)})
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def load(name: str) -> Dataset:
    return registry.load(registry.discover("dataset").get(name))()


def same(one: Dataset, other: Dataset) -> bool:
    pairs = [(one.inputs["pixels"], other.inputs["pixels"]), (one.targets, other.targets)]
    pairs += [(one.train, other.train), (one.validation, other.validation), (one.test, other.test)]
    return all(np.array_equal(left, right) for left, right in pairs)


# Published lists


@pytest.mark.parametrize("name", FACES)
def test_rows_are_those_of_the_list(name: str, root: Path) -> None:
    folder = FACES[name](root)
    made = load(name)
    listed = [line.split(",") for line in next(folder.glob("*.csv")).read_text().splitlines()[1:]]
    assert made.inputs["pixels"].shape == (64, 3, 32, 32)
    assert made.inputs["pixels"].dtype == np.uint8
    assert (made.target, made.unit) == ("age", "years")
    assert made.targets[:, 0].tolist() == [float(age) for age, _, _ in listed]
    for rows, split in ((made.train, "train"), (made.validation, "val"), (made.test, "test")):
        assert rows.tolist() == [k for k, (_, _, word) in enumerate(listed) if word == split]
    files = images.in_folder(folder, [path for _, path, _ in listed], where="list")
    np.testing.assert_array_equal(made.inputs["pixels"], images.pack("x", files, 32, quiet=True))
    assert "0 of 64 images equal another" in made.notes


@pytest.mark.parametrize("name", FACES)
def test_prepared_once_and_again_after_a_change(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FACES[name](root)
    first, pack = load(name), images.pack
    monkeypatch.setattr(images, "pack", None)
    again = load(name)
    assert same(first, again)
    assert again.inputs["pixels"].dtype == np.uint8
    assert again.notes == first.notes
    monkeypatch.setattr(images, "pack", pack)
    path = sorted(folder.rglob("*.jpg"))[0]
    path.write_bytes(faces.jpeg(99, np.random.default_rng(9), (30, 30)))
    assert not same(first, load(name))


def test_agedb_persons(root: Path) -> None:
    folder = faces.write_agedb(root)
    made = load("agedb")
    assert made.groups["identity"][:6].tolist() == [*faces.PERSONS, faces.PERSONS[0]]
    assert made.groups["identity"].dtype.kind == "U"
    assert "5 of 5 persons with test images have training ones" in made.notes
    path = folder / "AgeDB" / "other.jpg"
    path.write_bytes(faces.jpeg(20, np.random.default_rng(1)))
    with (folder / agedb.LIST).open("a") as handle:
        handle.write("20,AgeDB/other.jpg,train\n")
    made = load("agedb")
    assert not made.groups
    assert "person" not in made.notes


def test_images_that_are_repeated_are_counted(root: Path) -> None:
    folder = faces.write_agedb(root)
    one, other = sorted((folder / "AgeDB").iterdir())[:2]
    shutil.copy(one, other)
    assert "1 of 64 images equal another" in load("agedb").notes


def test_a_missing_image_is_named(root: Path) -> None:
    folder = faces.write_agedb(root)
    path = sorted((folder / "AgeDB").iterdir())[7]
    path.unlink()
    with pytest.raises(
        BenchmarkError, match=rf"1 of the 64 images that agedb.csv lists .*: AgeDB/{path.name}\."
    ):
        load("agedb")


def test_a_broken_image_is_named_and_nothing_is_kept(root: Path) -> None:
    folder = faces.write_agedb(root)
    path = sorted((folder / "AgeDB").iterdir())[7]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BenchmarkError, match=rf"{path.name} cannot be decoded"):
        tasks.load("agedb-allcnn", torch.device("cpu"))
    assert not list((fetch.cache_folder() / "datasets").glob("*"))
    path.write_bytes(whole)
    assert len(load("agedb").targets) == 64


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "age,path,split",
            "age,file,split",
            r"agedb.csv:1: expected a header with the columns age, path, split",
        ),
        (",train", ",training", r"agedb.csv:\d+: expected the split train, val or test, found 'training'"),
        ("\n", "\nx", r"agedb.csv:2: expected an age in years, found 'x\d+'"),
        ("AgeDB/", "../AgeDB/", r"agedb.csv names '../AgeDB/.*': expected paths below"),
    ],
)
def test_a_wrong_list_is_named(root: Path, old: str, new: str, message: str) -> None:
    path = faces.write_agedb(root) / agedb.LIST
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BenchmarkError, match=message):
        load("agedb")


@pytest.mark.parametrize(
    ("name", "who"), [("agedb", "iBUG"), ("imdbwiki", "imdb_crop.tar"), ("utkface", "UTKFace.tar.gz")]
)
def test_without_data_it_says_what_to_fetch_from_whom(root: Path, name: str, who: str) -> None:
    with pytest.raises(BenchmarkError, match=who) as caught:
        load(name)
    assert "research only" in str(caught.value)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize(
    "source", [agedb.SOURCE, imdbwiki.SOURCE, utkface.SOURCE], ids=lambda source: source.name
)
def test_terms_are_those_of_the_card(source: object) -> None:
    card = registry.discover("dataset").get(source.name)
    assert "research only" in card.facts["licence"]
    assert card.facts["modality"] == "vision"


# UTKFace


def test_zip_and_folder_are_the_same_dataset(root: Path) -> None:
    files = faces.utkface_files()
    archive = faces.write_utkface_zip(root, files)
    zipped = {name: load(name) for name in ("utkface", "utkface-small")}
    archive.unlink()
    shutil.rmtree(root / "utkface")
    faces.write_utkface(root, files)
    for name, made in zipped.items():
        assert same(made, load(name))
        assert made.notes.startswith("0 groups of identical images")
    assert [len(part) for part in (made.train, made.validation, made.test)] == [20, 6, 8]


def test_rows_are_a_fixed_draw_with_the_ages_of_the_names(root: Path) -> None:
    files = faces.utkface_files()
    faces.write_utkface(root, files)
    made = load("utkface")
    names = sorted(files)
    packed = images.pack("x", [images.File(n, partial(files.get, n)) for n in names], 32, quiet=True)
    place = {pixels.tobytes(): name for pixels, name in zip(packed, names, strict=True)}
    for pixels, age in zip(made.inputs["pixels"], made.targets[:, 0], strict=True):
        assert float(place[pixels.tobytes()].partition("_")[0]) == age
    assert len(made.targets) == 60
    assert "60 of these drawn" in made.notes


def test_contradictory_images_are_dropped_and_of_others_one_is_kept(root: Path) -> None:
    files = faces.utkface_files(n=60)
    first, second, third = list(files)[:3]
    age = first.partition("_")[0]
    copies = {
        f"{age}_0_0_1.jpg.chip.jpg": files[first],  # three files of one image and age
        f"{age}_0_0_2.jpg.chip.jpg": files[first],
        "91_0_0_3.jpg.chip.jpg": files[second],  # two ages
        "92_0_0_4.jpg.chip.jpg": files[third],  # three files, two ages
        f"{third.partition('_')[0]}_0_0_5.jpg.chip.jpg": files[third],
    }
    names = sorted(files | copies)
    pixels = images.pack(
        "x", [images.File(n, partial((files | copies).get, n)) for n in names], 32, quiet=True
    )
    ages = np.array([float(name.partition("_")[0]) for name in names])
    kept, text = utkface.consistent(pixels, ages)
    left = {names[row] for row in kept}
    assert len(kept) == 58
    assert not left & {second, third, "91_0_0_3.jpg.chip.jpg", "92_0_0_4.jpg.chip.jpg"}
    assert len(left & {first, f"{age}_0_0_1.jpg.chip.jpg", f"{age}_0_0_2.jpg.chip.jpg"}) == 1
    assert text.startswith(
        "3 groups of identical images, 2 of them with contradictory ages and dropped whole;"
    )
    assert text.endswith("58 of 65 are left.")

    faces.write_utkface(root, files | copies)
    utkface.SIZES["utkface"] = (40, 8, 10)
    from_folder = load("utkface")
    assert text in from_folder.notes
    shutil.rmtree(root / "utkface")
    faces.write_utkface_zip(root, {name: (files | copies)[name] for name in left})
    assert same(from_folder, load("utkface"))


def test_errors_of_official_files(root: Path) -> None:
    folder = faces.write_utkface(root, faces.utkface_files())
    (folder / "notes.txt").write_text("no image")
    assert len(load("utkface").targets) == 60
    for name in ("old_0_0_1.jpg", "17.jpg", "_0_1.jpg"):
        (folder / name).write_bytes(b"")
        with pytest.raises(
            BenchmarkError, match=rf"UTKFace/{name}, before the first underscore: expected an age"
        ):
            load("utkface")
        (folder / name).unlink()
    (folder / "50_0_0_1.jpg").write_bytes(b"")
    with pytest.raises(BenchmarkError, match=r"50_0_0_1.jpg cannot be decoded"):
        load("utkface")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "notes.txt").write_text("no image")
    with pytest.raises(BenchmarkError, match="has no images"):
        load("utkface")


def test_too_few_files(root: Path) -> None:
    faces.write_utkface(root, faces.utkface_files(n=30))
    with pytest.raises(BenchmarkError, match="expected at least 60 rows after cleaning, found 30"):
        load("utkface")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            "id,years,source_file\n0,5,a\n",
            r"labels.csv:1: expected a header with the columns id, age, source_file",
        ),
        ("id,age,source_file\n0,5,a\n0,6,b\n", r"labels.csv:3: expected another number as id"),
        ("id,age,source_file\n../0,5,a\n", r"labels.csv:2: expected another number as id"),
        ("id,age,source_file\n0,old,a\n", r"labels.csv:2: expected an age in years, found 'old'"),
        (
            "id,age,source_file\n7,5,a\n8,5,b\n",
            r"2 of the 2 images that labels.csv lists are not in .*: 00007.jpg",
        ),
    ],
)
def test_errors_of_the_archive(root: Path, labels: str, message: str) -> None:
    path = root / "utkface" / utkface.ARCHIVE
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("00000.jpg", faces.jpeg(5, np.random.default_rng(0)))
        archive.writestr("labels.csv", labels)
    with pytest.raises(BenchmarkError, match=message):
        load("utkface")


# Tasks


@pytest.mark.parametrize("name", TASKS)
def test_tasks(name: str, root: Path) -> None:
    if name.startswith("utkface"):
        faces.write_utkface(root, faces.utkface_files())
    else:
        FACES[name](root)
    for task in TASKS[name]:
        made = tasks.load(task, torch.device("cpu"))
        assert made.card.facts["suite"] == "paper"
        assert made.dataset.name == name
        assert made.rows.inputs[0].dtype == torch.uint8
        assert made.rows.targets.max() > 10  # years
        model = made.new_network(0)
        assert training.predict(model, made.rows.inputs)[0].shape == (len(made.train), 1)
        assert set(model.layers) <= {layer for layer, _ in model.named_modules()}
        for split, (low, high) in {"band": (0, 30), "old": (60, 200)}.items():
            forget = made.make_split(split, lambda: np.zeros(0)).forget
            ages = made.dataset.targets[made.train, 0]
            assert forget.tolist() == made.train[(ages >= low) & (ages <= high)].tolist()
        assert len(made.make_split("random", lambda: np.zeros(0)).forget) == round(0.1 * len(made.train))


def test_a_narrow_network_learns_ages(root: Path) -> None:
    faces.write_agedb(root, n=160)
    task = tasks.load("agedb-allcnn", torch.device("cpu"))
    recipe = replace(task.recipe, batch_size=16)
    build = partial(vision.PublishedAllCNN, widths=(8, 16))
    validation = task.rows_of(task.dataset.validation)
    model = training.new_network(build, task.dataset.shape, recipe, 0, task.device)
    before = trainers.validation_error(model, validation, recipe)
    draw = torch.Generator().manual_seed(0)
    trained = trainers.fit(model, task.rows, recipe, draw, validation=validation, epochs=15)
    assert trainers.validation_error(trained, validation, recipe) < 0.8 * before


needs_data = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (os.environ.get("REGUNLEARN_TEST_DATA") and os.environ.get("REGUNLEARN_DATA")),
        reason="REGUNLEARN_TEST_DATA and REGUNLEARN_DATA are not set",
    ),
]


@pytest.mark.parametrize("name", [pytest.param(n, marks=needs_data) for n in ("utkface", "utkface-small")])
def test_real_faces(name: str) -> None:
    made = load(name)
    assert (len(made.train), len(made.validation), len(made.test)) == utkface.SIZES[name]
    assert len(fetch.distinct(made.inputs["pixels"])) == len(made.targets)
    assert "23112 of" in made.notes
    for task in TASKS[name]:
        for split, arguments in registry.discover("task").get(task).facts["splits"].items():
            forget = splits.make(split, arguments, made, lambda: np.zeros(0), task=task).forget
            assert 0.05 < len(forget) / len(made.train) < 0.6


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("REGUNLEARN_DATA"), reason="REGUNLEARN_DATA is not set")
def test_real_list_of_agedb() -> None:
    path = Path(os.environ["REGUNLEARN_DATA"]) / "agedb" / agedb.LIST
    if not path.is_file():
        pytest.skip("REGUNLEARN_DATA has no agedb/agedb.csv")
    listing = images.read_list(path.read_bytes(), where=agedb.LIST)
    sizes = [len(rows) for rows in (listing.train, listing.validation, listing.test)]
    assert sizes == [12208, 2140, 2140]
    names = agedb.persons(listing.paths)
    assert names is not None
    assert len(np.unique(names)) == 567
    train = listing.ages[listing.train]
    assert np.count_nonzero(train <= 30) == 2457
    assert train.mean() == pytest.approx(44.96, abs=0.005)
