"""What images cost beside the model: packed pixels in the engine, and JPEG files through a DataLoader, in one run.

Both against the same steps on one batch that is already there. One thread for everything: published code spreads the
second way over worker processes, which hides its cost where cores are free.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.datasets import faces
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as FilesOfTorch

from regunlearn.benchmark import images, registry, trainers, training
from regunlearn.benchmark.spec import Recipe, Rows, Shape

CPU = torch.device("cpu")
LIMIT = 1.1
ROUNDS, EVERY = 5, 2  # the slow way is measured every second round
IMAGES, STORED, SIDE = 768, (200, 200), 32  # 200x200 as the official files of UTKFace
SHAPE = Shape(((3, SIDE, SIDE),), 1)
CARD = registry.discover("task").get("utkface-small-allcnn")
RECIPE = replace(Recipe(**CARD.facts["recipe"]), epochs=1, schedule="constant", keep="last")  # no validation
STEPS = IMAGES // RECIPE.batch_size


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Unscaled(nn.Module):
    """In place of the network's own scaling, where the DataLoader has scaled the pixels."""

    def forward(self, pixels: Tensor, weight: Tensor) -> Tensor:
        return pixels


class Files(FilesOfTorch[tuple[Tensor, Tensor]]):
    """Images opened, resized, cropped, mirrored and scaled one by one, as the published code does."""

    def __init__(self, paths: list[Path], targets: Tensor) -> None:
        transforms = pytest.importorskip("torchvision.transforms")
        self.paths, self.targets = paths, targets
        self.transform = transforms.Compose(
            [
                transforms.Resize((SIDE, SIDE)),
                transforms.RandomCrop(SIDE, padding=16),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5] * 3, [0.5] * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        with Image.open(self.paths[place]) as image:
            return self.transform(image.convert("RGB")), self.targets[place]


def network() -> nn.Module:
    return training.new_network(registry.load(CARD), SHAPE, RECIPE, 0, CPU)


def stepping(model: nn.Module) -> Callable[[Tensor, Tensor], None]:
    optimiser = training.optimiser_of(RECIPE, model, RECIPE.learning_rate)
    model.train()

    def step(x: Tensor, y: Tensor) -> None:
        optimiser.zero_grad()
        functional.l1_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def model_alone(rows: Rows) -> None:
    step = stepping(network())
    x = rows.inputs[0][: RECIPE.batch_size].contiguous(memory_format=torch.channels_last)
    for _ in range(STEPS):
        step(x, rows.targets[: RECIPE.batch_size])


def packed(rows: Rows) -> None:
    trainers.fit(network(), rows, RECIPE, torch.Generator().manual_seed(1))


def from_files(files: Files) -> None:
    model = network()
    model.scaled = Unscaled()
    step = stepping(model)
    for x, y in DataLoader(files, batch_size=RECIPE.batch_size, shuffle=True):
        step(x.contiguous(memory_format=torch.channels_last), y)


def seconds_of(run: Callable[[], None]) -> float:
    """Return processor seconds, which what else the machine does sways less than seconds on the clock."""
    start = time.process_time()
    run()
    return time.process_time() - start


def test_images_cost_little_beside_the_model(benchmark: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.jpg" for k in range(IMAGES)]
    for path in paths:
        path.write_bytes(faces.jpeg(40, rng, STORED))
    targets = torch.rand(IMAGES, 1, generator=torch.Generator().manual_seed(0)) * 80
    read = [images.File(path.name, path.read_bytes) for path in paths]
    pixels = np.empty(0)

    def pack() -> None:
        nonlocal pixels
        pixels = images.pack("faces", read, SIDE, quiet=True)

    packing = seconds_of(pack)
    rows = Rows((torch.as_tensor(pixels),), targets, torch.arange(IMAGES), IMAGES)
    files = Files(paths, targets)
    ways = {
        "model": partial(model_alone, rows),
        "packed": partial(packed, rows),
        "files": partial(from_files, files),
    }
    seconds = {name: list[float]() for name in ways}

    def turn() -> None:
        count = len(seconds["model"])
        pair = ("model", "packed") if count % 2 else ("packed", "model")
        for name in (*pair, *(["files"] if count % EVERY == 0 else [])):
            seconds[name].append(seconds_of(ways[name]))

    model_alone(rows)  # the first steps are slower
    benchmark.pedantic(turn, rounds=ROUNDS)
    ratio = statistics.median(p / m for p, m in zip(seconds["packed"], seconds["model"], strict=True))
    slow = statistics.median(f / m for f, m in zip(seconds["files"], seconds["model"][::EVERY], strict=True))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    benchmark.extra_info.update(medians, ratio=ratio, files_ratio=slow, packing=packing)
    print(
        f"\nepoch of {IMAGES} images, batch {RECIPE.batch_size}: model alone {medians['model']:.3f} s, packed "
        f"{medians['packed']:.3f} s (ratio {ratio:.3f}), JPEG files through a DataLoader {medians['files']:.3f} s "
        f"(ratio {slow:.3f}); packing once {packing:.3f} s"
    )
    assert ratio <= LIMIT
