"""CLIP's image tower as a semantic encoder: text-aligned features of every patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Features
from implicitkit_sair.semantic.base import SemanticEncoder, SemanticFeatures
from implicitkit_sair.semantic.clip.modes import MODES, Mode, dense_resnet, dense_vit, pooled_vit, unused
from implicitkit_sair.semantic.clip.timm_towers import dense_timm, is_timms, patch_of, pooled_timm, unused_timm
from implicitkit_sair.semantic.clip.towers import (
    DEFAULT_TOWER,
    HUB,
    Recipe,
    as_list,
    image_tower,
    recipe,
    takes_any_size,
)
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.filling import Fill, check_fill
from implicitkit_sair.semantic.tokens import is_plain


class CLIP(SemanticEncoder):
    """The image tower of any of open_clip's models, its last layer changed as in ``modes``, or, if
    it is one of timm's, as in ``timm_towers``, so that each patch's feature can be compared with
    the embedding of a word.

    It is frozen unless a spec says ``trainable: true``, and normalises the picture as its weights are used to. Any
    picture size is taken: the position embeddings of a ViT are interpolated bicubically. Attention is global, and so is
    the encoder. A saved model leaves out frozen weights that anybody can get (a tag, a hub id) and holds all others.

    Args:
        model: open_clip's name of the architecture, or the mapping that one of its configuration files holds
            (``embed_dim``, ``vision_cfg``, ``text_cfg``).
        pretrained: one of open_clip's tags for that model (``openai``, ``laion2b_s34b_b88k``),
            ``hf-hub:Organisation/Name`` (which brings its architecture along), or a file: a state dict as ``.pt`` or
            ``.safetensors``. None leaves it random.
        mode: ``"vanilla"``, ``"maskclip"``, ``"sclip"``, ``"clearclip"`` or ``"naclip"``; a ResNet and
            timm's towers have only ``"maskclip"``.
        fill: what the network sees in a hole: ``"mean"`` the colour it was trained around, ``"zero"`` black, ``"blur"``
            the hole's surroundings, ``"harmonic"`` or ``"biharmonic"`` what implicitkit solves for. With ``"drop"``, of
            a transformer, patches that are mostly missing take no part in attention, and their features are zero.
        quick_gelu: the activation ``x σ(1.702 x)`` of OpenAI's networks. None takes what the weights are known for; a
            file that does not tell needs it.
        mask_channels: 1 if the mask comes with the picture; it tells which pixels to replace, see ``fill``.
        largest: a picture whose longer side has more pixels is seen shrunk to that, and its features are stretched
            back: attention costs the square of the number of patches, and CLIP was trained on pictures of 224.
        view: how many times larger the network sees the picture; None shows it as it is. See
            ``SemanticEncoder``.
        drop_above: the share of a patch above which it is mostly missing.
        mean: subtracted from the picture, per channel (default: what the weights were trained with).
        std: what the picture is divided by thereafter (likewise).

    Raises:
        UnknownNameError: open_clip has no such model.
        WeightsError: the weights cannot be had or read, do not fit, or need ``quick_gelu``.
        UserError: no patch of the model's image tower is aligned with text, or it has none to drop.

    Example:
        >>> import torch
        >>> tiny = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 32}
        >>> encoder = CLIP({"embed_dim": 12, "vision_cfg": tiny}, view=2.0).eval()  # random weights
        >>> encoder(torch.rand(1, 3, 20, 30)).map.shape  # 5×8 patches of 40×64 pixels
        torch.Size([1, 12, 5, 8])
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = DEFAULT_TOWER,
        pretrained: str | None = None,
        mode: Mode = "maskclip",
        fill: Fill = "mean",
        quick_gelu: bool | None = None,
        mask_channels: int = 0,
        largest: int = 512,
        view: float | None = None,
        drop_above: float = 0.5,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"the mode of clip is one of {', '.join(MODES)}; received {mode!r}")
        self.recipe: Recipe = recipe(model, pretrained, quick_gelu)
        net: Any = image_tower(self.recipe)
        self.net, self.is_resnet, self.is_timm = net, hasattr(net, "attnpool"), is_timms(net)
        drops = is_plain(net.trunk) if self.is_timm else not self.is_resnet
        check_fill(fill, f"the image tower of {self.recipe.name}", drop=drops)
        if mode != "maskclip" and (self.is_resnet or self.is_timm):
            what = "a ResNet" if self.is_resnet else "one of timm's"
            raise ValueError(
                f"the image tower of {self.recipe.name} is {what}, whose mode can only be maskclip; received {mode!r}"
            )
        patch: tuple[int, ...] = patch_of(net) if self.is_timm else (32, 32) if self.is_resnet else net.patch_size
        if patch[0] != patch[1] or mask_channels not in (0, 1) or largest < patch[0]:
            raise ValueError(
                "clip takes square patches, mask_channels 0 or 1 and largest >= the patch; received patches of "
                f"{patch[0]}×{patch[1]}, {mask_channels} and {largest}"
            )
        self.out_channels = self.recipe.config["embed_dim"]
        self.set_view(patch[0], view, drop_above)
        self.mode, self.fill, self.largest, self.mask_channels = mode, fill, largest, mask_channels
        native = net.image_size
        self.native: tuple[int, int] = (native, native) if isinstance(native, int) else tuple(native)
        self.mean = list(self.recipe.mean if mean is None else mean)
        self.std = list(self.recipe.std if std is None else std)
        self.source = pretrained if self.recipe.public else None
        self.learnt = self.recipe.file is not None
        self.fixed = self.is_timm and not is_plain(net.trunk) and not takes_any_size(self.recipe)
        for parameter in unused_timm(net) if self.is_timm else unused(net, mode):  # also where all others learn
            parameter.requires_grad_(False)

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """It asks for weights only if they are frozen and anybody can get them; all others are in the saved file."""
        if self.recipe.file is None or (self.source and not self.trainable):
            return spec
        kept = {key: value for key, value in spec.items() if key != "pretrained"}
        kept |= {"quick_gelu": self.recipe.quick_gelu, "mean": as_list(self.mean), "std": as_list(self.std)}
        if self.source and self.source.startswith(HUB):
            kept["model"] = self.recipe.config
        return kept

    def see(self, x: Tensor) -> Tensor:
        if self.is_timm:
            return dense_timm(self.net, x)
        return dense_resnet(self.net, x) if self.is_resnet else dense_vit(self.net, x, self.mode)

    def see_kept(self, x: Tensor, kept: Kept) -> Tensor:
        return dense_timm(self.net, x, kept) if self.is_timm else dense_vit(self.net, x, self.mode, kept)

    def seen_size(self, size: tuple[int, ...]) -> tuple[int, ...]:
        return self.native if self.fixed else super().seen_size(size)

    def forward(self, x: Tensor) -> Features:
        features = super().forward(x)
        return SemanticFeatures(features.map, features.extent, whole=lambda: self._pooled(x))

    def _pooled(self, x: Tensor) -> Tensor:
        """The picture's embedding as CLIP itself makes it, ``(B, out_channels)``, of the picture at its native size."""
        with nullcontext() if self.trainable else torch.no_grad():
            x = self.normalise(x)
            resized = F.interpolate(self._without_holes(x), self.native, mode="bilinear", antialias=True)
            kept = self.kept(x[:, self.in_channels :], resized) if self.fill == "drop" and self.mask_channels else None
            if self.is_timm:
                return pooled_timm(self.net, resized, kept)
            pooled: Tensor = self.net(resized) if kept is None else pooled_vit(self.net, resized, kept)
        return pooled
