"""Any of timm's backbones as a frozen semantic encoder: its features as they are, nothing added."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from implicitkit import UserError, WeightsError, list_weights
from implicitkit.errors import first_line
from implicitkit_sair.semantic.backbone import (
    FOLDER,
    HUB,
    build,
    known_for,
    load,
    located,
    named_weights,
    own_size,
    saved_arguments,
    weight_file,
)
from implicitkit_sair.semantic.base import SemanticEncoder
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.filling import Fill, check_fill
from implicitkit_sair.semantic.state_dicts import read_state_dict
from implicitkit_sair.semantic.tokens import is_plain, plain_tokens

DEFAULT_BACKBONE = "vit_small_patch14_dinov2"
MULTIPLES = (1, 2, 4, 7, 8)  # of the patch: windows and grids are of 7 or 8 cells, or need a few


class Dense(SemanticEncoder):
    """A backbone of timm, frozen unless a spec says ``trainable: true``: the tokens of a transformer's ``layer``, or
    the map of a ``stage``, without a projection of ours.

    A transformer's tokens are taken after its final norm, as DINOv2's authors take them, whichever the layer is. Its
    position embeddings are resized bicubically, as timm does, but for DINOv2 without registers, as its authors do, not
    antialiased. What is behind the features is removed. A saved model leaves out frozen weights that anybody can get
    (timm's tags, a hub id, a file whose ``sha256`` the spec states) and otherwise holds them.

    Args:
        model: timm's name, with or without a tag, ``hf-hub:Organisation/Name``, or ``local-dir:/folder`` with timm's
            ``config.json`` and ``model.safetensors``.
        pretrained: fetch timm's weights, or, where its hub cannot be reached, those of ``implicitkit weights list``
            for this ``model`` (default: if ``model`` says where they are, as ``hf-hub:`` and ``local-dir:`` do).
            Without any the network is random.
        weights: in place of ``pretrained``, a name of ``implicitkit weights list`` (``dinov2_vits14``), which brings
            its ``model`` along and is fetched if it is not in the cache folder; or a state dict, ``.safetensors`` or
            ``.pth``, in timm's layout or one that timm can translate. Nothing in it is executed.
        sha256: of the weight file (``sha256sum``), checked before it is read. Where the file, or the folder, is not,
            one of its name is looked for in ``weights`` of implicitkit's cache folder.
        layer: which block of a plain transformer, the last one by default; negative numbers count from it.
        stage: the same for a network that has stages, convolutional or not.
        fill: what the network sees in a hole: ``"mean"`` the colour it was trained around, ``"zero"`` black, ``"blur"``
            the hole's surroundings, ``"harmonic"`` or ``"biharmonic"`` what implicitkit solves for. With ``"drop"``,
            patches that are mostly missing take no part in attention, and their features are zero.
        drop_above: the share of a patch above which it is mostly missing.
        view: how many times larger the network sees the picture; None shows it as it is. See
            ``SemanticEncoder``.
        largest: no side of what the network sees has more pixels: attention costs the square of the patches.
        mask_channels: 1 if the mask comes with the picture; it tells which pixels to replace, see ``fill``.
        mean: subtracted from the picture, per channel (default: what the weights were trained with).
        std: what the picture is divided by thereafter (likewise).
        options: further arguments of ``timm.create_model``, e.g. ``{"img_size": 224}``.

    Raises:
        UnknownNameError: timm has no such model.
        WeightsError: the weights are not there, are others than ``sha256`` says, or do not fit.
        UserError: the network has no dense features, no such layer or stage, or none to drop.

    Example:
        >>> import torch
        >>> encoder = Dense("vit_tiny_patch16_224", view=2.0, options={"depth": 2}).eval()  # random weights
        >>> encoder(torch.rand(1, 3, 88, 88)).map.shape  # 11×11 patches of 176 pixels
        torch.Size([1, 192, 11, 11])
    """

    def __init__(
        self,
        model: str = DEFAULT_BACKBONE,
        pretrained: bool | None = None,
        weights: str | None = None,
        sha256: str | None = None,
        layer: int | None = None,
        stage: int | None = None,
        fill: Fill = "mean",
        drop_above: float = 0.5,
        view: float | None = None,
        largest: int = 512,
        mask_channels: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if weights is not None and pretrained:
            raise ValueError(f"weights: {weights} takes the place of pretrained: true; give one of the two")
        if mask_channels not in (0, 1):
            raise ValueError(f"dense takes mask_channels 0 or 1; received {mask_channels}")
        options = dict(options or {})
        name = weights if weights in list_weights() and not Path(weights).exists() else None
        if name is not None:
            model, weights = named_weights(name)
        model = located(model, sha256)
        if pretrained is None:
            pretrained = weights is None and model.startswith((FOLDER, HUB))
        file = weight_file(model, weights, sha256) if pretrained or weights is not None or sha256 else None
        try:
            net = build(model, options, pretrained and file is None)
        except WeightsError as unreachable:
            if (name := known_for(model)) is None:
                raise
            sys.stderr.write(f"{first_line(unreachable)}; {name} of `implicitkit weights` takes their place\n")
            model, weights = named_weights(name)
            file = weight_file(model, weights, None)
            net = build(model, options)
        if file is not None:
            state = read_state_dict(file)
            size = own_size(net, state)
            if size and "img_size" not in options:  # timm would resize the positions, once and for all
                options["img_size"] = size
                net = build(model, options)
            load(net, state, file)
        self.antialias = not _is_dinov2(net)
        self.plain = is_plain(net)
        self.index = _chosen(net, model, layer, stage)
        check_fill(fill, f"{model!r}", drop=self.plain)
        self.net = net
        self._prune()
        multiple = self._measure(model, options)
        if largest < self.patch:
            raise ValueError(f"largest is at least a patch, {self.patch} pixels of {model!r}; received {largest}")
        self.set_view(self.patch, view, drop_above, multiple)
        self.fill, self.largest, self.mask_channels = fill, largest, mask_channels
        trained_with = net.pretrained_cfg
        self.mean = [float(v) for v in (trained_with["mean"] if mean is None else mean)]
        self.std = [float(v) for v in (trained_with["std"] if std is None else std)]
        self.learnt = file is not None or bool(pretrained)
        self._known = name
        self.source = f"{name} of implicitkit weights" if name else _source(model, file, sha256, bool(pretrained))
        self._portable = _portable(net, model, options, self.mean, self.std)

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """It asks for weights only if they are frozen and anybody can get them; all others are in the saved file."""
        if self.source and not self.trainable:
            asked = {key: value for key, value in spec.items() if key not in ("model", "pretrained")}
            return {**asked, "weights": self._known} if self._known else spec
        rest = {key: value for key, value in spec.items() if key not in ("pretrained", "weights", "sha256")}
        return {**rest, **self._portable}

    def see(self, x: Tensor) -> Tensor:
        if not self.plain:
            return self._intermediate(self.net, x)
        tokens = plain_tokens(self.net, x, antialias=self.antialias)
        return tokens.map(tokens.patches)

    def see_kept(self, x: Tensor, kept: Kept) -> Tensor:
        tokens = plain_tokens(self.net, x, kept, self.antialias)
        return tokens.map(tokens.patches)

    def seen_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        if self.native_size is not None:
            return self.native_size
        return super().seen_size(size)

    def _intermediate(self, net: Any, x: Tensor) -> Tensor:
        """The chosen map of a network that is not one of timm's plain two."""
        (map,) = net.forward_intermediates(
            x, indices=[self.index], norm=not _has_stages(net), stop_early=True, intermediates_only=True
        )
        return map  # type: ignore[no-any-return]

    def _prune(self) -> None:
        """Remove what is behind the features, so that it is neither kept, nor saved, nor computed."""
        net: Any = self.net
        if self.plain:
            net.blocks = net.blocks[: self.index + 1]
            net.reset_classifier(0, "")
            net.fc_norm = torch.nn.Identity()
        elif hasattr(net, "prune_intermediate_layers"):
            net.prune_intermediate_layers([self.index], prune_norm=False, prune_head=True)

    def _measure(self, model: str, options: Mapping[str, Any]) -> int:
        """Find ``out_channels``, ``patch`` and ``native_size`` by running the network without values, and return what
        sizes must be multiples of.
        """
        net: Any = self.net
        self.native_size: tuple[int, ...] | None = None
        if self.plain:
            self.out_channels, self.patch = net.embed_dim, int(net.patch_embed.feat_ratio())
            rows, columns = net.patch_embed.feat_ratio(as_scalar=False)
            if rows != columns:
                raise UserError(f"dense takes square patches; those of {model!r} are {rows}×{columns}")
            return self.patch
        with torch.device("meta"):
            trial = build(model, options).eval()
        native = getattr(getattr(net, "patch_embed", None), "img_size", None) or net.pretrained_cfg["input_size"][-2:]
        native = tuple(native)
        try:
            shape = self._on_meta(trial, native)
        except Exception as error:  # an assertion, or whatever a layer raises
            raise UserError(f"timm's {model!r} has no dense features ({first_line(error)})") from None
        reduction = net.feature_info[self.index]["reduction"]
        self.out_channels, self.patch = shape[1], reduction if isinstance(reduction, int) else native[0] // shape[2]
        for multiple in sorted({k * self.patch for k in MULTIPLES} | {native[0]}):
            if all(self._takes(trial, size) for size in ((multiple, 2 * multiple), (3 * multiple, multiple))):
                return multiple
        self.native_size = native
        return self.patch

    @torch.no_grad()
    def _on_meta(self, trial: Any, size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self._intermediate(trial, torch.empty(1, 3, *size, device="meta")).shape)

    def _takes(self, trial: Any, size: tuple[int, int]) -> bool:
        try:
            return self._on_meta(trial, size)[2:] == tuple(n // self.patch for n in size)
        except Exception:  # an assertion, or whatever the layer that does not fit raises
            return False


def _chosen(net: Any, model: str, layer: int | None, stage: int | None) -> int:
    """The number of the layer or stage, counted from the first one.

    Raises:
        UserError: the network has no dense features, has the other of the two, or not so many.
    """
    info = getattr(net, "feature_info", None)
    if not isinstance(info, list) or not info or not hasattr(net, "forward_intermediates"):
        raise UserError(f"timm's {model!r} has no dense features: it tells of no layers or stages")
    what, asked, other = ("stage", stage, layer) if _has_stages(net) else ("layer", layer, stage)
    if other is not None:
        raise UserError(f"timm's {model!r} has {len(info)} {what}s; choose one by {what}: {len(info) - 1}, say")
    index = -1 if asked is None else asked
    if not -len(info) <= index < len(info):
        raise UserError(f"timm's {model!r} has the {what}s 0 to {len(info) - 1}, or -1 for the last; received {index}")
    return index % len(info)


def _has_stages(net: Any) -> bool:
    """Whether resolution changes within the network."""
    return len({str(entry["reduction"]) for entry in net.feature_info}) > 1


def _is_dinov2(net: Any) -> bool:
    """DINOv2 without registers: its authors resize positions without antialiasing; with registers, they antialias."""
    architecture = str(net.pretrained_cfg.get("architecture", ""))
    return "dinov2" in architecture and "reg" not in architecture


def _source(model: str, file: Path | None, sha256: str | None, pretrained: bool) -> str | None:
    """Where anybody can get the weights; None if not anybody can."""
    if file is not None:
        return f"{file.parent.name}/{file.name} (SHA-256 {sha256})" if sha256 else None
    return f"timm's {model}" if pretrained else None


def _portable(net: Any, model: str, options: Mapping[str, Any], mean: list[float], std: list[float]) -> dict[str, Any]:
    """What a file that holds the weights says in place of where they were from."""
    said: dict[str, Any] = {"mean": mean, "std": std, **({"options": dict(options)} if options else {})}
    if ":" in model:
        said["model"] = str(net.pretrained_cfg["architecture"])
        said["options"] = {**saved_arguments(model), **options}
    return said
