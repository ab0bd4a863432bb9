"""The skip connection of LIIF, LTE and their relatives: add the input picture at the query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.local_ensemble import Latent, LocalEnsembleDecoder
from implicitkit.decoders.neighbours import axis_linear, combine
from implicitkit.decoders.rows import Rows
from implicitkit.images.filling import FILLS

SKIPS = ("none", "bilinear", "harmonic", "biharmonic")
Skip = Literal["none", "bilinear", "harmonic", "biharmonic"]
"""Add nothing to a decoder's output, the input picture interpolated linearly, or the same with its holes filled
(:mod:`implicitkit.images.harmonic`), and with a network that starts at zero."""


class SkipDecoder(LocalEnsembleDecoder):
    """A local ensemble that adds the input picture to its values; ``latent.extra`` holds it (:func:`picture_rows`)."""

    skip: Skip = "none"

    @property
    def reads_picture(self) -> bool:
        return self.skip != "none"

    def picture(self, inputs: Inputs) -> Rows | None:
        """What is added, if anything is."""
        return picture_rows(inputs, self.out_channels) if self.reads_picture else None

    def unpack(self, packed: Tensor, inputs: Inputs | None) -> Latent:
        picture = None if inputs is None else picture_rows(inputs, self.out_channels)
        return replace(super().unpack(packed, inputs), extra=picture)

    def finish(self, latent: Latent, per_axis: Sequence[Tensor], blended: Tensor) -> Tensor:
        if latent.extra is None:
            return blended
        return blended + read_linear(latent.extra, latent.extent, per_axis)


def check_skip(skip: str) -> str | None:
    """The :attr:`~implicitkit.decoders.base.Decoder.fill` that ``skip`` asks for.

    Raises:
        ValueError: it is not one of :data:`SKIPS`.
    """
    if skip not in SKIPS:
        raise ValueError(f"skip is one of {', '.join(SKIPS)}; received {skip!r}")
    return skip if skip in FILLS else None


def start_at_zero(layer: nn.Module) -> None:
    """Set a linear layer to zero, so that training starts at the skip connection."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def picture_rows(inputs: Inputs, out_channels: int) -> Rows:
    """The input picture as rows, for a skip connection.

    Raises:
        ValueError: it does not have ``out_channels`` channels.
    """
    channels = inputs.picture.shape[1]
    if channels != out_channels:
        raise ValueError(
            f"the skip adds the picture, which has {channels} channels, to {out_channels} values per point; set "
            f"out_channels={channels} or skip='none'"
        )
    return Rows.of(inputs.picture, inputs.origin, inputs.size)


def read_linear(picture: Rows, extent: Size, per_axis: Sequence[Tensor]) -> Tensor:
    """The picture ``(B, N, C)`` interpolated linearly at queries given per axis in ``extent`` (pixels), borders
    repeated.
    """
    pixels = [axis_linear(x, e, n) for x, e, n in zip(per_axis, extent, picture.grid, strict=True)]
    near = combine(pixels, picture.cells, picture.origin)
    index, weights = near.row.flatten(2), near.weight.flatten(2)
    batch, points = picture.rows.shape[0], index.shape[2]
    total: Tensor | None = None
    for corner, weight in zip(index, weights, strict=True):
        share = picture.take(corner).float().unflatten(0, (batch, points)) * weight[..., None]
        total = share if total is None else total + share
    assert total is not None
    return total
