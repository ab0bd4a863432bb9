"""HIIF, hierarchical encoding of positions (Jiang et al., CVPR 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from implicitkit.coordinates import nearest_index
from implicitkit.decoders.galerkin.base import Galerkin, GalerkinDecoder, Whole, in_cells
from implicitkit.decoders.neighbours import SHIFT_EPS

LEVELS = 6
ROUNDING = 5e-7  # of a coordinate
HIDDEN = 256  # whatever the width, as in the authors' code


class HIIF(GalerkinDecoder):
    """The place in a cell is told bit by bit, from coarse to fine, to a chain of small networks.

    A point reads the features of its four cells times their weights, and the output pixel's size. Level ``j`` of six
    gets the ``j``-th binary digit of the place along each axis too; behind the first, two Galerkin attentions see all
    points. The interpolated picture is added. The values depend on the whole question, see
    :class:`~implicitkit.decoders.galerkin.base.GalerkinDecoder`.

    Digits of places on the edge of a bin, which all pixels are at magnifications of 2 and 4, are decided by rounding.
    It is that of the authors' code, for pixels of a whole grid as for points of such a grid. Their evaluation in bands
    of rows also changes the values; a render here is that of the whole picture.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        width: values per point inside (256).
        heads: of the attentions; divides ``width``.

    >>> sum(p.numel() for p in HIIF(in_channels=64).parameters())
    1735071
    """

    def __init__(self, in_channels: int = 64, out_channels: int = 3, width: int = 256, heads: int = 16) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, heads) < 1 or width % heads:
            raise ValueError(
                "hiif takes positive channels and a width that heads divides; received "
                f"in_channels={in_channels}, out_channels={out_channels}, width={width}, heads={heads}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.features = nn.Conv2d(in_channels, width, 3, padding=1)
        reads = [4 * width + 4, *[width + 2] * (LEVELS - 1)]
        gives = [*[width] * (LEVELS - 1), out_channels]
        self.levels = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(a), nn.Linear(a, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, b))
            for a, b in zip(reads, gives, strict=True)
        )
        self.attentions = nn.ModuleList(
            Galerkin(width, heads, (nn.LayerNorm(width // heads), nn.LayerNorm(width // heads))) for _ in range(2)
        )

    def features_of(self, map: Tensor) -> Tensor:
        features: Tensor = self.features(map)
        return features

    def lift(self, latent: Whole, coords: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor]:
        coords = as_rounded(coords.float(), cell)
        _, weighted = self.corners(latent, coords)
        place = place_in_cell(coords, latent.features.grid).expand(len(weighted), -1, -1)
        parts = [weighted, in_cells(cell, latent.features.grid, weighted), digit(place, 0)]
        return self.levels[0](torch.cat(parts, dim=-1)), place

    def lower(self, x: Tensor, rest: Tensor) -> Tensor:
        for j in range(1, LEVELS):
            x = self.levels[j](torch.cat([x, digit(rest, j).to(x.dtype)], dim=-1))
        return x


def place_in_cell(coords: Tensor, grid: tuple[int, ...]) -> Tensor:
    """How far points ``(B, N, 2)`` are beyond the centre of the upper left cell, in cells, from 0 to 1."""
    places = []
    for x, n in zip(coords.float().unbind(-1), grid, strict=True):
        index = nearest_index((x - 1 / n + SHIFT_EPS).clamp(-1 + SHIFT_EPS, 1 - SHIFT_EPS), n)
        place = (x - rounded_centre(index, n)) * (n / 2)
        places.append(torch.where(place <= 0, 1 / n - place, place))
    return torch.stack(places, dim=-1)


def rounded_centre(index: Tensor, n: int) -> Tensor:
    """The centre of pixel ``index`` of ``n``, with the rounding errors of the authors' order of operations."""
    return (-1 + 1 / n) + (2 / n) * index.float()


def as_rounded(coords: Tensor, cell: Tensor | None) -> Tensor:
    """Points ``(B, N, 2)``, those that are centres of a grid of pixels of the size ``cell`` as the authors round them.

    At magnifications such as 2 and 4 the digits of all pixels are on the edge of a bin, and are decided by this.
    """
    if cell is None:
        return coords
    count = (2 / cell.double()).round().clamp_min(1)
    index = ((coords.detach().double() + 1) * count - 1).div(2).round()
    theirs = (-1 + 1 / count).float() + (2 / count).float() * index.float()
    change = theirs - coords.detach()
    is_centre = (change.abs() <= ROUNDING) & ((2 / count - cell).abs() <= ROUNDING) & (index >= 0) & (index < count)
    return coords + torch.where(is_centre, change, 0.0)  # exact, and the gradient by coords stays


def digit(place: Tensor, j: int) -> Tensor:
    """The ``j``-th binary digit behind the point, of places from 0 to 1, as float32.

    >>> digit(torch.tensor([0.25, 0.8]), 1).tolist()
    [1.0, 1.0]
    """
    return (place - 1e-9).clamp(0, 1).mul(2 ** (j + 1)).floor() % 2
