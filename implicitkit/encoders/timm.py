"""Any of timm's feature backbones, its maps fused to one resolution."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.encoders.base import Encoder
from implicitkit.errors import UnknownNameError, UserError, WeightsError, first_line, nearest, quiet

if TYPE_CHECKING:
    pass

ANY_SIZE_OPTIONS: tuple[dict[str, bool], ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""The option for pictures of any size in timm's families."""
STRIDE_MULTIPLES = (1, 2, 4, 7, 8)  # window and grid sizes, in cells of the coarsest map


class Timm(Encoder):
    """A backbone of timm, convolutional or a transformer, hierarchical or plain; its name follows ``timm:``.

    Each chosen map goes through a 1x1 convolution to ``out_channels`` and is interpolated bilinearly to the resolution
    of the finest one; their sum equals a 1x1 convolution of their concatenation. The stride is 4 pixels for a ConvNeXt
    or a Swin, 2 for a ResNet, 16 for a ViT.

    It takes pictures of any size. A trial on the meta device finds ``size_multiple``. For a network of one size
    (``native_size``) the picture is resized to it, and its maps are resized back. The receptive field is not known in
    general, so the encoder is global and cannot encode in tiles.

    Args:
        model: timm's name, with or without a tag (``convnext_atto``, ``convnext_atto.d2_in1k``),
            ``hf-hub:Organisation/Name`` or ``local-dir:/folder``, exactly as timm takes it.
        in_channels: picture channels; pretrained weights are adapted as timm does (repeated, or summed for one).
        mask_channels: further channels, not normalised. With pretrained weights, their weights start at zero.
        out_channels: features per cell.
        out_indices: which maps to use, as timm numbers them, e.g. ``[0, 1]`` or ``[-1]`` (default: timm's choice).
        pretrained: download timm's weights; loading a saved model does not.
        mean: subtracted from the picture, per channel (default: as the weights were trained).
        std: divides the difference (likewise).
        options: further arguments of ``timm.create_model``, e.g. ``{"drop_path_rate": 0.1}``.

    Raises:
        UnknownNameError: timm has no such model; the message lists near names.
        WeightsError: the weights cannot be downloaded, or do not take mask channels.
        UserError: timm cannot build a feature backbone of the model with these arguments.

    >>> import implicitkit as ik
    >>> ik.list_encoders("timm*")  # "timm:convnext*" lists timm's own names
    ['timm:']
    """

    def __init__(
        self,
        model: str,
        in_channels: int = 3,
        mask_channels: int = 0,
        out_channels: int = 64,
        out_indices: Sequence[int] | None = None,
        pretrained: bool = False,
        mean: Sequence[float] | float | None = None,
        std: Sequence[float] | float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels) < 1 or mask_channels < 0:
            raise ValueError(
                "timm takes in_channels and out_channels >= 1, mask_channels >= 0; received "
                f"{in_channels}, {out_channels} and {mask_channels}"
            )
        _check_name(model)
        self.in_channels, self.mask_channels, self.out_channels = in_channels, mask_channels, out_channels
        arguments = dict(options or {})
        if out_indices is not None:
            arguments["out_indices"] = tuple(out_indices)

        channels = in_channels + mask_channels
        if pretrained and mask_channels:
            self.net = _build(model, channels, arguments)
            _widen(self.net, _build(model, in_channels, arguments, pretrained=True), in_channels, model)
        else:
            self.net = _build(model, channels, arguments, pretrained=pretrained)
        widths, strides = self.net.feature_info.channels(), self.net.feature_info.reduction()
        self.project = nn.ModuleList(nn.Conv2d(width, out_channels, 1, bias=k == 0) for k, width in enumerate(widths))
        self.stride = min(strides)

        trained_with = self.net.pretrained_cfg
        self.mean = _per_channel(trained_with["mean"], in_channels) if mean is None else mean
        self.std = _per_channel(trained_with["std"], in_channels) if std is None else std
        native = tuple(trained_with["input_size"][-2:])
        with torch.device("meta"):
            trial = _build(model, channels, arguments).eval()
        multiple = _size_multiple(trial, channels, self.stride, max(strides), native[0])
        self.native_size = native if multiple is None else None
        self.size_multiple = multiple or self.stride
        if self.native_size and not _takes(trial, channels, native):
            raise UserError(
                f"timm's {model!r} gives no feature maps of pictures of its own {native[1]}×{native[0]} pixels"
            )

        self._portable: dict[str, Any] = {}
        if ":" in model:  # loading a saved file must not need the hub or the folder
            self._portable = {
                "name": f"timm:{trained_with['architecture']}",
                "mean": _as_list(self.mean),
                "std": _as_list(self.std),
                "options": {**_saved_arguments(model), **(options or {})},
            }

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Without ``pretrained``: a saved file holds the weights."""
        return {**{key: argument for key, argument in spec.items() if key != "pretrained"}, **self._portable}

    def extract(self, x: Tensor) -> Tensor:
        cells = [n // self.stride for n in x.shape[2:]]
        if self.native_size:
            x = F.interpolate(x, self.native_size, mode="bilinear", antialias=True)
        fused: Tensor | None = None
        channels_last = getattr(self.net, "output_fmt", None) == "NHWC"
        for map, project in zip(self.net(x), self.project, strict=True):
            map = project(map.movedim(-1, 1) if channels_last else map)
            if list(map.shape[2:]) != cells:
                map = F.interpolate(map, cells, mode="bilinear")
            fused = map if fused is None else fused + map
        assert fused is not None
        return fused


def names() -> list[str]:
    """The names of timm's models, without tags."""
    import timm

    return timm.list_models()


def _check_name(model: str) -> None:
    """Raise ``UnknownNameError`` if timm has no such model."""
    import timm

    if ":" in model:  # a folder or a hub id, for timm to look up
        return
    architecture, _, tag = model.partition(".")
    known = timm.list_models(architecture, include_tags=True) if tag and timm.is_model(architecture) else names()
    if model in known or (not tag and timm.is_model(model)):
        return
    near = nearest(model, known, count=3)
    if "/" in model:
        near = [f"hf-hub:{model}"]
    hint = f"; did you mean {' or '.join(repr('timm:' + n) for n in near)}?" if near else ""
    raise UnknownNameError(f"timm has no model {model!r}{hint} (ik.list_encoders('timm:*') lists them)")


def _build(model: str, channels: int, arguments: Mapping[str, Any], pretrained: bool = False) -> Any:
    """timm's feature network, for any picture size if its family has an option for that."""
    import timm

    for any_size in ANY_SIZE_OPTIONS:
        settings = {**any_size, **arguments}
        try:
            with quiet("timm", "huggingface_hub"):
                return timm.create_model(
                    model, pretrained=pretrained, features_only=True, in_chans=channels, **settings
                )
        except TypeError as error:
            if not any(f"'{option}'" in str(error) for option in any_size):
                raise UserError(f"timm cannot build {model!r}: {first_line(error)}") from None
        except Exception as error:  # timm and the hub's client raise many kinds
            if pretrained:
                raise WeightsError(
                    f"cannot get the pretrained weights of timm's {model!r}: {first_line(error)}"
                ) from None
            raise UserError(f"timm cannot build {model!r} as a feature backbone: {first_line(error)}") from None
    raise AssertionError("the last setting has no option")


def _widen(net: nn.Module, trained: nn.Module, in_channels: int, model: str) -> None:
    """Copy weights into a network of more input channels; the weights of the further ones are zero.

    timm would repeat the picture's weights over all channels and scale them down.
    """
    own = net.state_dict()
    for key, value in trained.state_dict().items():
        if value.shape == own[key].shape:
            own[key].copy_(value)
        elif value.ndim > 1 and value.shape[1] == in_channels and value.shape[0] == own[key].shape[0]:
            own[key].zero_()[:, :in_channels].copy_(value)
        else:
            raise WeightsError(
                f"the pretrained weights of timm's {model!r} do not take mask channels: {key} has shape "
                f"{tuple(value.shape)}; use pretrained=False or mask_channels=0"
            )


def _size_multiple(trial: nn.Module, channels: int, stride: int, coarsest: int, native: int) -> int | None:
    """The smallest size whose multiples the network takes; None if there is none."""
    for multiple in sorted({k * coarsest for k in STRIDE_MULTIPLES} | {native}):
        sizes = (multiple, 2 * multiple), (3 * multiple, multiple)
        if multiple % stride == 0 and all(_takes(trial, channels, size) for size in sizes):
            return multiple
    return None


@torch.no_grad()
def _takes(trial: nn.Module, channels: int, size: tuple[int, ...]) -> bool:
    """Whether a network on the meta device takes pictures of this size."""
    try:
        trial(torch.empty(1, channels, *size, device="meta"))
    except Exception:  # layers raise many kinds
        return False
    return True


def _saved_arguments(model: str) -> dict[str, Any]:
    """The arguments that a hub or folder model was saved with."""
    from timm.models import load_model_config_from_hf

    source, _, where = model.partition(":")
    if source == "local-dir":
        config = json.loads((Path(where) / "config.json").read_text(encoding="utf-8"))
        return dict(config.get("model_args") or {})
    return dict(load_model_config_from_hf(where)[2] or {})


def _per_channel(values: Sequence[float], channels: int) -> Sequence[float] | float:
    """timm's mean or deviation, averaged if the picture has another number of channels."""
    return list(values) if len(values) == channels else sum(values) / len(values)


def _as_list(values: Sequence[float] | float) -> list[float] | float:
    return float(values) if isinstance(values, (int, float)) else [float(v) for v in values]
