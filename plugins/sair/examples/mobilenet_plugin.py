"""An ImageNet classifier as SAIR's semantic encoder: a plugin in one file, without installing anything.

    PYTHONPATH=plugins/sair/examples IMPLICITKIT_PLUGINS=mobilenet_plugin implicitkit list encoders
    PYTHONPATH=plugins/sair/examples IMPLICITKIT_PLUGINS=mobilenet_plugin implicitkit train CONFIG.yaml \
        --set model.conditions.semantic.encoder='{name: mobilenet_v1_025, weights: mobilenetv1_025_imagenet.pth}'

The network is MobileNetV1 at a quarter of its width (Howard et al., 2017, table 1) with LeakyReLU 0.1, as the face
detector RetinaFace uses it; ``implicitkit-sair`` shows it the picture with its holes filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import implicitkit as ik
from implicitkit_sair.semantic.base import SemanticEncoder
from implicitkit_sair.semantic.filling import FILLS, Fill

STAGES = (  # (in, out, stride) of the separable convolutions behind the first convolution
    ((8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)),
    ((64, 128, 2), *((128, 128, 1),) * 5),
    ((128, 256, 2), (256, 256, 1)),
)
CHANNELS = (64, 128, 256)
STRIDES = (8, 16, 32)


class MobileNetV1(SemanticEncoder):
    """The maps of one or several stages, side by side at the finest one's resolution; frozen.

    Args:
        stages: of 1 (64 channels, a cell of 8 pixels), 2 (128, 16) and 3 (256, 32).
        weights: the classifier's checkpoint (its last layer is left out); None gives the network with random weights,
            He's, so that its features are of a size too. A saved model holds the weights itself.
        mask_channels: 1 if the mask comes with the picture; it tells which pixels to replace, see ``fill``.
        fill: what the network sees in a hole: ``"mean"`` of ImageNet, ``"zero"`` black, ``"blur"`` its surroundings.
        largest: pixels; a picture whose longer side has more is seen shrunk to that.

    Raises:
        WeightsError: the file is missing or of another network.
    """

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(
        self,
        stages: Sequence[int] = (1, 2),
        weights: str | None = None,
        mask_channels: int = 0,
        fill: Fill = "mean",
        largest: int = 512,
    ) -> None:
        super().__init__()
        if not stages or any(stage not in (1, 2, 3) for stage in stages) or list(stages) != sorted(set(stages)):
            raise ValueError(f"stages are some of 1, 2, 3, in this order; received {list(stages)}")
        if fill not in FILLS:
            raise ValueError(f"fill is one of {', '.join(FILLS)}; received {fill!r}")
        self.stages, self.mask_channels, self.fill, self.largest = tuple(stages), mask_channels, fill, largest
        self.out_channels = sum(CHANNELS[stage - 1] for stage in stages)
        self.stride, self.size_multiple = STRIDES[stages[0] - 1], STRIDES[stages[-1] - 1]
        first = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.1))
        for number, blocks in enumerate(STAGES[: stages[-1]], start=1):
            layers = [first] if number == 1 else []
            self.add_module(f"stage{number}", nn.Sequential(*layers, *(separable(*block) for block in blocks)))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # PyTorch's own start would let 23 layers fade to 1e-10
                nn.init.kaiming_normal_(part.weight, a=0.1)
        if weights is not None:
            load(self, Path(weights))

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Its weights are in the file that it was saved in."""
        return {key: argument for key, argument in spec.items() if key != "weights"}

    def see(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)``, normalised -> ``(B, out_channels, H/stride, W/stride)``."""
        size, maps = [n // self.stride for n in x.shape[2:]], []
        for number in range(1, self.stages[-1] + 1):
            x = getattr(self, f"stage{number}")(x)
            if number in self.stages:
                maps.append(x if list(x.shape[2:]) == size else F.interpolate(x, size, mode="bilinear"))
        return torch.cat(maps, dim=1)


def separable(channels: int, out: int, stride: int) -> nn.Sequential:
    """A 3x3 convolution of each channel alone, then a 1x1 convolution of all."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(0.1),
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(0.1),
    )


def load(encoder: MobileNetV1, file: Path) -> None:
    """Fill the encoder from the classifier's checkpoint; nothing in it is executed."""
    from implicitkit.weights import fill, read_pickled

    stored = read_pickled(file)
    state = {key.removeprefix("module."): value for key, value in stored.get("state_dict", stored).items()}
    wanted = encoder.state_dict()
    # the classifier, and stages that nobody asked for
    extra = [key for key in state if key.split(".")[0] in ("fc", "stage2", "stage3") and key not in wanted]
    fill(encoder, {key: value for key, value in state.items() if key not in extra}, str(file))


@ik.hookimpl
def register_encoders(register: Any) -> None:
    """The classifier by name."""
    register("mobilenet_v1_025", MobileNetV1, summary="MobileNetV1 x0.25, an ImageNet classifier's dense features")
