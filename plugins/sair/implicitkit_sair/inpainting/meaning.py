"""Painting with given meaning: another picture's, or that of one embedding, in place of what a model finds itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from implicitkit import Decoder, Encoder, Features, Field, ImplicitModel, UserError
from implicitkit.decoders import Condition, Inputs


class _Everywhere(Decoder):
    """One embedding at every point."""

    output, uses_cell, reach = "embedding", False, 0

    def __init__(self, embedding: Tensor) -> None:
        super().__init__()
        self.in_channels, self.out_channels = 3, len(embedding)
        self.register_buffer("embedding", embedding)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Any:
        return len(features.map)

    def query(self, latent: Any, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        embedding: Tensor = self.embedding  # type: ignore[assignment]
        return embedding.expand(latent, coords.shape[1], -1)


class _Colours(Encoder):
    """The picture itself."""

    out_channels, radius = 3, 0

    def extract(self, x: Tensor) -> Tensor:
        return x


def given_meaning(model: ImplicitModel, meaning: Tensor, image: Tensor, mask: Tensor) -> dict[str, Field]:
    """The fields that :meth:`ImplicitModel.encode` takes as ``conditions``.

    An embedding is brought to the mean length of those that the model finds in ``image``: words and prototypes have a
    direction alone.

    Args:
        model: one that reads one semantic field.
        meaning: a picture ``(3, h, w)``, or an embedding ``(D,)``.
        image: ``(3, H, W)`` or ``(B, 3, H, W)``, what is painted.
        mask: ``(1, H, W)`` or ``(B, 1, H, W)``, its holes.

    Raises:
        UserError: the model reads no semantic field, or one of another width.
    """
    name = semantic_condition(model)
    semantic = model.conditions[name]
    if meaning.ndim != 1:
        other = meaning.to(image)[None] if meaning.ndim == 3 else meaning.to(image)
        other = F.interpolate(other, image.shape[-2:], mode="bilinear", antialias=True)
        other = other.expand(len(image), -1, -1, -1) if image.ndim == 4 else other[0]
        return {name: semantic.encode(other.clamp(0, 1))}
    width = semantic.decoder.out_channels
    if len(meaning) != width:
        raise UserError(f"the meaning given has {len(meaning)} values per point, the model reads {width}")
    own = semantic.encode(image, mask.to(image.dtype) if semantic.takes_mask else None)
    length = own.render([max(1, n // 8) for n in own.size]).movedim(-3, -1).norm(dim=-1).mean()
    constant = ImplicitModel(_Colours(), _Everywhere(F.normalize(meaning.to(length), dim=0) * length))
    return {name: constant.to(length.device).eval().encode(image)}


def semantic_condition(model: ImplicitModel) -> str:
    """The name of the one semantic field that a model reads.

    Raises:
        UserError: it reads none, or several.
    """
    names = [name for name, inner in model.conditions.items() if inner.decoder.output == "embedding"]
    if len(names) != 1:
        raise UserError(
            f"the model reads {'no' if not names else 'more than one'} semantic field, so no meaning can be given to "
            f"it ({model.encoder.title} -> {model.decoder.title})"
        )
    return names[0]


def part_of(meaning: Tensor | None, window: tuple[slice, ...], size: Sequence[int]) -> Tensor | None:
    """A picture's part that lies over ``window`` of a picture of ``size``; an embedding as it is."""
    if meaning is None or meaning.ndim == 1:
        return meaning
    scale = [n / full for n, full in zip(meaning.shape[-2:], size, strict=True)]
    rows, columns = (
        slice(int(span.start * s), max(int(span.start * s) + 1, round(span.stop * s)))
        for span, s in zip(window, scale, strict=True)
    )
    return meaning[..., rows, columns]
