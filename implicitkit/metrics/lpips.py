"""Learned perceptual image patch similarity."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from safetensors.torch import load_file
from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.metrics.base import Metric
from implicitkit.weights import is_safetensors
from implicitkit.weights.fetching import fetch
from implicitkit.weights.pickled import read_pickled

Net = Literal["alex", "vgg", "squeeze"]
NETS: tuple[Net, ...] = get_args(Net)
MIN_SIDES = {"alex": 31, "vgg": 16, "squeeze": 17}  # pixels; the last pooling needs one
BACKBONES = {"alex": "AlexNet_Weights", "vgg": "VGG16_Weights", "squeeze": "SqueezeNet1_1_Weights"}
"""Torchvision's enumerations of its ImageNet weights; all are ``IMAGENET1K_V1``."""


class LPIPS(Metric):
    """LPIPS, version 0.1 (Zhang et al., CVPR 2018, equation 1): the distance of two pictures' features, normalised per
    pixel, weighted per channel, averaged over pixels and summed over layers; the mean over a batch.

    The ``lpips`` package computes it in float32 and holds the channels' weights. The features are torchvision's,
    trained on ImageNet, from ``weights``, torch's hub cache, or the sources that ``implicitkit weights`` lists.
    Grey pictures are repeated. It takes no mask, as features depend on the pixels around.

    Args:
        shave: see :class:`~implicitkit.metrics.Metric`.
        net: ``"alex"``, ``"vgg"`` (what inpainting papers report) or ``"squeeze"``.
        weights: a torchvision checkpoint of alexnet, vgg16 or squeezenet1_1, or its ``features.*`` alone.
        device: the device.

    Raises:
        WeightsError: the weights are neither given nor cached and cannot be downloaded, or do not fit.

    >>> from implicitkit import list_metrics
    >>> list_metrics("lpips*")
    ['lpips', 'lpips_alex', 'lpips_squeeze']
    """

    higher_is_better: ClassVar[bool] = False
    takes_mask: ClassVar[bool] = False

    def __init__(
        self, shave: int | Sequence[int] = 0, net: Net = "vgg", weights: str | None = None, device: str = "cpu"
    ) -> None:
        super().__init__(shave)
        if net not in NETS:
            raise ValueError(f"the net of lpips is one of {', '.join(NETS)}; received {net!r}")
        self.net, self.device = net, torch.device(device)
        self.name = "lpips" if net == "vgg" else f"lpips_{net}"
        self._model = frozen_network(net, weights).to(self.device)

    def to(self, device: str | torch.device) -> LPIPS:
        """Move the network to ``device``; returns itself."""
        self.device = torch.device(device)
        self._model = self._model.to(self.device)
        return self

    @torch.no_grad()
    def measure(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> float:
        *_, channels, height, width = target.shape
        side = MIN_SIDES[self.net]
        if channels not in (1, 3) or min(height, width) < side:
            raise ValueError(
                f"{self.name} compares RGB or grey pictures of at least {side}×{side} pixels; received "
                f"{channels} channels of {width}×{height}"
            )
        pictures = [
            p.to(self.device, torch.float32).reshape(-1, channels, height, width).expand(-1, 3, -1, -1)
            for p in (prediction, target)
        ]
        return float(self._model(*pictures, normalize=True).mean())  # normalize: from [0, 1] to [-1, 1]


def lpips_alex(shave: int | Sequence[int] = 0, weights: str | None = None, device: str = "cpu") -> LPIPS:
    """:class:`LPIPS` with AlexNet."""
    return LPIPS(shave, "alex", weights, device)


def lpips_squeeze(shave: int | Sequence[int] = 0, weights: str | None = None, device: str = "cpu") -> LPIPS:
    """:class:`LPIPS` with SqueezeNet."""
    return LPIPS(shave, "squeeze", weights, device)


def frozen_network(net: Net, weights: str | None = None) -> torch.nn.Module:
    """The frozen network of LPIPS: two ``(B, 3, H, W)`` -> ``(B, 1, 1, 1)``, with a gradient; see :class:`LPIPS`."""
    return _build(net, _read(Path(weights)) if weights else _published(net), weights or net)


def _build(net: str, backbone: Mapping[str, Tensor], where: str) -> torch.nn.Module:
    """The package's network, filled with the tensors ``features.*`` of ``backbone``."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package uses a deprecated interface of torchvision
        # on "meta": VGG's unused classifier would be 0.5 GB of random numbers
        with torch.device("meta"):
            model: Any = lpips.LPIPS(net=net, pretrained=False, pnet_rand=True, verbose=False)
    state = {}
    for key, own in model.net.state_dict(prefix="net.").items():
        name = "features." + key.split(".", 2)[2]  # net.slice3.5.weight is features.5.weight
        given = backbone.get(name)
        if given is None or given.shape != own.shape:
            raise WeightsError(
                f"{where}: not the weights of lpips' {net} backbone: {name} should be {tuple(own.shape)}; found "
                f"{'nothing of that name' if given is None else tuple(given.shape)}"
            )
        state[key] = given.float()
    state |= _read(Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth")
    model.load_state_dict(state, strict=False, assign=True)  # the constant scaling of inputs is in neither file
    empty = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if value.is_meta]
    if empty:
        raise WeightsError(f"the installed lpips package has weights that no file fills: {', '.join(empty)}")
    frozen: torch.nn.Module = model.eval().requires_grad_(False)
    return frozen


def _published(net: str) -> dict[str, Tensor]:
    """Torchvision's ImageNet weights, from torch's hub cache, our own, or the known file's sources."""
    import torchvision

    url = getattr(torchvision.models, BACKBONES[net]).IMAGENET1K_V1.url
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        return _read(cached if cached.is_file() else fetch(f"lpips_{net}"))
    except WeightsError as error:
        raise WeightsError(
            f"lpips with {net} needs {cached.name}, which is not in {cached.parent}: {error}; or pass weights= "
            "(--lpips-weights on the command line)"
        ) from None


def _read(file: Path) -> dict[str, Tensor]:
    """A state dict, read without executing code."""
    state = load_file(file) if file.is_file() and is_safetensors(file) else read_pickled(file)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{file} is not a state dict; received {type(state).__name__}")
    return dict(state)
