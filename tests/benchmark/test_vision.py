"""Image networks: published sizes, torchvision's outputs, pixels in, weights from a local file."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from regunlearn.benchmark import tasks, vision
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Shape

FACES = Shape(((3, 32, 32),), 1)
Build = Callable[[Shape], nn.Module]
NETWORKS: dict[str, tuple[Build, int, int]] = {
    "allcnn": (vision.PublishedAllCNN, 1_618_273, 8),
    "resnet18": (vision.ResNet18, 11_177_025, 9),
    "mobilenetv3": (vision.MobileNetV3, 2_972_913, 17),
}
narrow = partial(vision.PublishedAllCNN, widths=(4, 8))


def pixels(n: int = 5, side: int = 32) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=draw)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_layers_and_outputs(name: str) -> None:
    build, parameters, layers = NETWORKS[name]
    model = build(FACES).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(set(model.layers)) == layers
    taken = dict[str, Tensor]()
    for layer in model.layers:
        module = model.get_submodule(layer)
        module.register_forward_hook(lambda _, __, output, layer=layer: taken.update({layer: output}))
    x = pixels()
    predictions = model(x)
    assert predictions.shape == (5, 1)
    assert list(taken) == list(model.layers)
    assert all(activation.ndim == 4 and len(activation) == 5 for activation in taken.values())
    assert isinstance(model.head, nn.Linear)
    assert list(model.named_modules())[-1][0] == "head"
    torch.testing.assert_close(model(x.float()), predictions)
    assert build(Shape(((3, 32, 32),), 2))(x).shape == (5, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_are_what_the_rest_is_computed_from(name: str) -> None:
    """No layer after a tapped one may write into its output: the loss on activations would be of other values."""
    model = NETWORKS[name][0](FACES)
    before = list[Tensor]()
    taken = list[Tensor]()
    for layer in model.layers:
        model.get_submodule(layer).register_forward_hook(
            lambda _, __, output: (before.append(output.detach().clone()), taken.append(output), None)[-1]
        )
    model(pixels()).sum().backward()
    for then, now in zip(before, taken, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0)


def test_allcnn_is_the_published_one() -> None:
    model = vision.PublishedAllCNN(FACES)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [96, 96, 192, 192, 192, 192, 192, 192]
    assert [c.stride[0] for c in convolutions] == [1, 1, 2, 1, 1, 2, 1, 1]
    assert [c.kernel_size[0] for c in convolutions] == [3] * 7 + [1]
    assert [c.padding[0] for c in convolutions] == [1] * 7 + [0]
    assert all(c.bias is None for c in convolutions)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 8
    assert not any(isinstance(module, nn.Dropout) for module in model.modules())
    maps = model.blocks(torch.zeros(2, 3, 32, 32))
    assert maps.shape == (2, 192, 8, 8)
    torch.testing.assert_close(
        model.head(nn.AvgPool2d(8)(maps).flatten(1)), model.head(maps.mean(dim=(2, 3)))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_go_from_minus_one_to_one(dtype: torch.dtype) -> None:
    model = narrow(FACES).to(dtype)
    seen = list[Tensor]()
    model.blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)[:, None, None, None].expand(3, 3, 32, 32).contiguous()
    model(x)
    assert seen[0].dtype == dtype
    torch.testing.assert_close(seen[0][:, 0, 0, 0], torch.tensor([-1, -0.6, 1], dtype=dtype))
    assert x[1].eq(51).all()


def copied(trunk: nn.Module, source: nn.Module) -> nn.Module:
    given, own = source.state_dict(), trunk.state_dict()
    assert [v.shape for v in given.values()] == [v.shape for v in own.values()]
    trunk.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return trunk


@pytest.mark.parametrize("training", [True, False])
def test_outputs_are_those_of_torchvision(training: bool) -> None:
    models = pytest.importorskip("torchvision.models")
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    resnet, mobile = models.resnet18(), models.mobilenet_v3_large()
    resnet.fc = nn.Identity()
    mobile.classifier = nn.Identity()
    for theirs, build in ((resnet, vision.ResNet18), (mobile, vision.MobileNetV3)):
        ours = copied(build(FACES).trunk, theirs)
        torch.testing.assert_close(ours.train(training)(x), theirs.train(training)(x))
        torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()))


def test_weights_start_as_those_of_torchvision() -> None:
    models = pytest.importorskip("torchvision.models")
    for theirs, build in (
        (models.resnet18(), vision.ResNet18),
        (models.mobilenet_v3_large(), vision.MobileNetV3),
    ):
        ours = build(FACES).trunk
        for (name, own), given in zip(ours.named_parameters(), theirs.parameters(), strict=False):
            if given.numel() > 5000:
                assert own.std().item() == pytest.approx(given.std().item(), rel=0.1), name
            elif not given.std() > 0:
                torch.testing.assert_close(own, given)


def test_dropout_before_the_head() -> None:
    assert vision.MobileNetV3(FACES).dropout.p == 0.5
    assert not any(isinstance(module, nn.Dropout) for module in vision.ResNet18(FACES).modules())


def test_importing_the_module_imports_no_timm() -> None:
    code = "import sys, regunlearn.benchmark.vision; sys.exit('timm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Weights from a file


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write made weights of the whole ResNet-18 of timm into REGUNLEARN_DATA; return the file."""
    timm = pytest.importorskip("timm")
    monkeypatch.setenv("REGUNLEARN_DATA", str(tmp_path))
    path = tmp_path / "weights" / "resnet18.safetensors"
    path.parent.mkdir()
    save_file(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    return path


def test_weights_are_loaded_but_those_of_the_head(weights: Path) -> None:
    one, other = (vision.ResNet18(FACES, weights=name) for name in ("resnet18.safetensors", weights))
    for (name, ours), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert name.startswith("head.") != torch.equal(ours, theirs), name
    assert one.start == other.start != "scratch"
    assert f"start={one.start}" in repr(one)
    assert "start=scratch" in repr(vision.ResNet18(FACES))


def test_weights_of_mobilenet_leave_its_classifier_out(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    path = tmp_path / "m.safetensors"
    given = timm.create_model("mobilenetv3_large_100", pretrained=False)
    save_file(given.state_dict(), path)
    made = vision.MobileNetV3(FACES, weights=path)
    torch.testing.assert_close(made.trunk.blocks.state_dict(), given.blocks.state_dict())


def test_weights_that_are_not_there(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BenchmarkError, match=r"there are no weights at .*weights/x.safetensors.*none is downloaded"
    ):
        vision.ResNet18(FACES, weights="x.safetensors")
    monkeypatch.delenv("REGUNLEARN_DATA")
    with pytest.raises(BenchmarkError, match="expected an absolute path, or the environment variable"):
        vision.ResNet18(FACES, weights="resnet18.safetensors")


def test_weights_that_do_not_fit(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    tensors = {f"x.{name}": values for name, values in narrow(FACES).state_dict().items()}
    tensors["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    save_file(tensors, other)
    with pytest.raises(
        BenchmarkError,
        match=r"the weights do not fit ResNet: \d+ missing, such as bn1.bias; \d+ left over, such as x.blocks.*; "
        r"conv1.weight has shape \(64, 3, 3, 3\), expected \(64, 3, 7, 7\)",
    ):
        vision.ResNet18(FACES, weights=other)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    torch.save(narrow(FACES).state_dict(), path)
    with pytest.raises(BenchmarkError, match="is no safetensors file"):
        vision.ResNet18(FACES, weights=path)


def test_networks_are_of_the_project() -> None:
    """Only then are their classes part of the identity of what they were trained to."""
    own = {
        type(module).__name__
        for module in narrow(FACES).modules()
        if type(module).__module__.startswith(tasks.PACKAGES)
    }
    assert own == {"PublishedAllCNN", "Scaled"}
