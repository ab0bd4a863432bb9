"""CLIP's image tower as a semantic encoder: text-aligned features of every patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import Features
from implicitkit_sair.dense import MODES, Mode, dense_resnet, dense_vit, unused
from implicitkit_sair.filling import FILLS, Fill
from implicitkit_sair.semantic_encoder import SemanticEncoder, SemanticFeatures
from implicitkit_sair.towers import DEFAULT, HUB, Recipe, as_list, image_tower, recipe


class CLIP(SemanticEncoder):
    """The image tower of any of open_clip's ViTs and ResNets, its last layer changed as in
    :mod:`implicitkit_sair.dense`, so that each patch's feature can be compared with the embedding of a word.

    It is frozen unless a spec says ``trainable: true``, and normalises the picture as its weights are used to. Any
    picture size is taken: the position embeddings of a ViT are interpolated bicubically. Attention is global, and so is
    the encoder. A saved model leaves out frozen weights that anybody can get (a tag, a hub id) and holds all others.

    Args:
        model: open_clip's name of the architecture, or the mapping that one of its configuration files holds
            (``embed_dim``, ``vision_cfg``, ``text_cfg``).
        pretrained: one of open_clip's tags for that model (``openai``, ``laion2b_s34b_b88k``),
            ``hf-hub:Organisation/Name`` (which brings its architecture along), or a file: a state dict as ``.pt`` or
            ``.safetensors``, or OpenAI's own archive. None leaves it random.
        mode: ``"vanilla"``, ``"maskclip"``, ``"sclip"``, ``"clearclip"`` or ``"naclip"``; a ResNet has only
            ``"maskclip"``.
        fill: what the network sees in a hole: ``"mean"`` the colour it was trained around, ``"zero"`` black, ``"blur"``
            the hole's surroundings.
        quick_gelu: the activation ``x σ(1.702 x)`` of OpenAI's networks. None takes what the weights are known for; a
            file that does not tell needs it.
        mask_channels: 1 if the mask comes with the picture; it tells which pixels to replace, see ``fill``.
        largest: a picture whose longer side has more pixels is seen shrunk to that, and its features are stretched
            back: attention costs the square of the number of patches, and CLIP was trained on pictures of 224.
        mean: subtracted from the picture, per channel (default: what the weights were trained with).
        std: what the picture is divided by thereafter (likewise).

    Raises:
        UnknownNameError: open_clip has no such model.
        WeightsError: the weights cannot be had or read, do not fit, or need ``quick_gelu``.
        UserError: the model's image tower is not open_clip's own.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = DEFAULT,
        pretrained: str | None = None,
        mode: Mode = "maskclip",
        fill: Fill = "mean",
        quick_gelu: bool | None = None,
        mask_channels: int = 0,
        largest: int = 512,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES or fill not in FILLS:
            raise ValueError(
                f"the mode of clip is one of {', '.join(MODES)}, its fill one of {', '.join(FILLS)}; received {mode!r} "
                f"and {fill!r}"
            )
        self.recipe: Recipe = recipe(model, pretrained, quick_gelu)
        net: Any = image_tower(self.recipe)
        self.net, self.is_resnet = net, hasattr(net, "attnpool")
        if self.is_resnet and mode != "maskclip":
            raise ValueError(f"{self.recipe.name} is a ResNet, whose mode can only be maskclip; received {mode!r}")
        patch: tuple[int, ...] = (32, 32) if self.is_resnet else net.patch_size
        if patch[0] != patch[1] or mask_channels not in (0, 1) or largest < patch[0]:
            raise ValueError(
                "clip takes square patches, mask_channels 0 or 1 and largest >= the patch; received patches of "
                f"{patch[0]}×{patch[1]}, {mask_channels} and {largest}"
            )
        self.out_channels, self.stride, self.size_multiple = self.recipe.config["embed_dim"], patch[0], patch[0]
        self.mode, self.fill, self.largest, self.mask_channels = mode, fill, largest, mask_channels
        native = net.image_size
        self.native: tuple[int, int] = (native, native) if isinstance(native, int) else tuple(native)
        self.mean = list(self.recipe.mean if mean is None else mean)
        self.std = list(self.recipe.std if std is None else std)
        self.source = pretrained if self.recipe.public else None
        for parameter in unused(net, mode):  # also where all others learn
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
        return dense_resnet(self.net, x) if self.is_resnet else dense_vit(self.net, x, self.mode)

    def forward(self, x: Tensor) -> Features:
        features = super().forward(x)
        return SemanticFeatures(features.map, features.extent, whole=lambda: self._pooled(x))

    def _pooled(self, x: Tensor) -> Tensor:
        """The picture's embedding as CLIP itself makes it, ``(B, out_channels)``, of the picture at its native size."""
        with nullcontext() if self.trainable else torch.no_grad():
            seen = F.interpolate(self._without_holes(self.normalise(x)), self.native, mode="bilinear", antialias=True)
            pooled: Tensor = self.net(seen)
        return pooled
