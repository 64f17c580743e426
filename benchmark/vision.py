"""The paper's image networks: AllCNN at its published size, ResNet-18, MobileNetV3-Large.

Each takes RGB pixels in 0..255, shape (n, 3, height, width), as uint8 or float, and brings them to -1..1 itself: rows
then lie on the device as bytes. `layers` are the activations that the published code compares between models.

ResNet-18 and MobileNetV3-Large come from timm and are trained from scratch. The published code takes them from
torchvision; the tests copy torchvision's weights into these and get the same outputs. Where timm's defaults differ,
torchvision's are set: no residual branch starts at zero; MobileNetV3 has batch-norm with eps 1e-3 and momentum 0.01
and Kaiming initialisation without regard to groups. Its 1x1 convolution to 1,280 channels is left out, as published.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from regunlearn.benchmark import fetch
from regunlearn.benchmark.errors import BenchmarkError
from regunlearn.benchmark.spec import Shape


class Scaled(nn.Module):
    """Pixels in 0..255 to -1..1, in a network's number format."""

    def forward(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """Return pixels of the shape given, with the dtype of `weight`."""
        return pixels.to(weight.dtype) / 127.5 - 1


class PublishedAllCNN(nn.Module):
    """All-convolutional network of Tarun et al. (after Springenberg et al., arXiv:1412.6806).

    Convolutions without bias of `narrow, narrow, wide / 2, wide, wide, wide / 2, wide` channels (3x3, `/ 2` with stride
    2) and one 1x1 of `wide`, each with batch-norm and ReLU; the mean over positions; a linear head. The published
    network pools 8x8 maps, so that it takes 32x32 pixels only; the mean takes any size from 4x4. With widths (96, 192)
    and one output it has 1,618,273 parameters. `networks.AllCNN` has its third convolution narrow.
    """

    def __init__(self, shape: Shape, *, widths: Sequence[int] = (96, 192)) -> None:
        super().__init__()
        ((channels, _, _),) = shape.inputs
        narrow, wide = widths
        sizes = [channels, narrow, narrow, *[wide] * 6]
        strides, kernels = (1, 1, 2, 1, 1, 2, 1, 1), (3,) * 7 + (1,)
        blocks = []
        for (before, after), stride, kernel in zip(pairwise(sizes), strides, kernels, strict=True):
            convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU()))
        self.scaled = Scaled()
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(wide, shape.outputs)
        self.layers = tuple(f"blocks.{k}" for k in range(len(blocks)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for pixels of shape (n, channels, height, width)."""
        features = self.blocks(self.scaled(pixels, self.head.weight))
        return self.head(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class ResNet18(nn.Module):
    """ResNet-18 (He et al., arXiv:1512.03385) with a linear head; 11,177,025 parameters at one output.

    `layers`: the stem's ReLU, before its pooling, and the eight blocks.

    Args:
        shape: of the data.
        weights: of the trunk to start from, see `load_weights`; None starts from scratch.
    """

    def __init__(self, shape: Shape, *, weights: str | Path | None = None) -> None:
        super().__init__()
        import timm

        ((channels, _, _),) = shape.inputs
        self.scaled = Scaled()
        self.trunk = timm.create_model(
            "resnet18", pretrained=False, num_classes=0, in_chans=channels, zero_init_last=False
        )
        self.head = nn.Linear(512, shape.outputs)
        self.layers = ("trunk.act1", *(f"trunk.layer{k}.{j}" for k in range(1, 5) for j in range(2)))
        self.start = load_weights(self.trunk, weights, head=("fc.",))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for pixels of shape (n, channels, height, width)."""
        return self.head(self.trunk(self.scaled(pixels, self.head.weight)))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Name the weights that training starts from: they are part of a trained model's identity."""
        return f"start={self.start}"


class MobileNetV3(nn.Module):
    """MobileNetV3-Large (Howard et al., arXiv:1905.02244) with dropout and a linear head; 2,972,913 parameters.

    `layers`: the stem, the fifteen blocks and the last convolution before the pooling.

    Args:
        shape: of the data.
        weights: of the trunk to start from, see `load_weights`; None starts from scratch.
    """

    def __init__(self, shape: Shape, *, weights: str | Path | None = None) -> None:
        super().__init__()
        import timm

        ((channels, _, _),) = shape.inputs
        self.scaled = Scaled()
        trunk: Any = timm.create_model(
            "mobilenetv3_large_100",
            pretrained=False,
            num_classes=0,
            in_chans=channels,
            bn_eps=1e-3,
            bn_momentum=0.01,
        )
        trunk.conv_head, trunk.act2 = nn.Identity(), nn.Identity()
        for module in trunk.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        self.trunk = trunk
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(960, shape.outputs)
        blocks = [f"trunk.blocks.{k}.{j}" for k, stage in enumerate(trunk.blocks) for j in range(len(stage))]
        self.layers = ("trunk.bn1", *blocks)
        self.start = load_weights(trunk, weights, head=("conv_head.", "classifier."))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return predictions, shape (n, outputs), for pixels of shape (n, channels, height, width)."""
        features = self.trunk(self.scaled(pixels, self.head.weight))
        return self.head(self.dropout(features))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Name the weights that training starts from: they are part of a trained model's identity."""
        return f"start={self.start}"


def load_weights(trunk: nn.Module, weights: str | Path | None, *, head: tuple[str, ...]) -> str:
    """Load a trunk's weights from a safetensors file of timm's model, such as its `model.safetensors`.

    Nothing is downloaded and nothing is unpickled.

    Args:
        trunk: timm's model without its classifier.
        weights: a path; a relative one is looked for in the folder `weights` of REGUNLEARN_DATA. None loads nothing.
        head: what the names of tensors begin with that belong to the classifier: these are passed over.

    Returns:
        "scratch", or the first 16 digits of the file's sha256.

    Raises:
        BenchmarkError: no such file, not safetensors, or tensors missing, left over or of another shape.
    """
    if weights is None:
        return "scratch"
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = _weights_file(Path(weights).expanduser())
    content = path.read_bytes()
    try:
        found = load(content)
    except SafetensorError as error:
        raise BenchmarkError(
            f"{path} is no safetensors file: {error}. Convert the weights, or get them anew."
        ) from error
    found = {name: values for name, values in found.items() if not name.startswith(head)}
    wrong = _differences(trunk.state_dict(), found)
    if wrong:
        raise BenchmarkError(
            f"{path}: the weights do not fit {type(trunk).__name__}: {'; '.join(wrong)}. "
            "Take those of the model of the same name in timm."
        )
    trunk.load_state_dict(found)
    return hashlib.sha256(content).hexdigest()[:16]


def _weights_file(path: Path) -> Path:
    root = fetch.data_folder()
    if not path.is_absolute():
        if root is None:
            raise BenchmarkError(
                f"weights {str(path)!r}: expected an absolute path, or the environment variable REGUNLEARN_DATA with a "
                "folder that has them in `weights`."
            )
        path = root / "weights" / path
    if not path.is_file():
        raise BenchmarkError(
            f"there are no weights at {path}. Put the safetensors file there; none is downloaded."
        )
    return path


def _differences(expected: dict[str, Any], found: dict[str, Tensor]) -> list[str]:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    shapes = [
        f"{name} has shape {tuple(found[name].shape)}, expected {tuple(values.shape)}"
        for name, values in expected.items()
        if name in found and found[name].shape != values.shape
    ]
    wrong = [
        f"{len(names)} {what}, such as {names[0]}"
        for names, what in ((missing, "missing"), (extra, "left over"))
        if names
    ]
    return wrong + shapes[:3]
