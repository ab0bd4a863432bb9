"""SRNO, the super-resolution neural operator (Wei, Zhang; CVPR 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.galerkin.base import Galerkin, GalerkinDecoder, Whole, in_cells

EPS = 1e-5


class HeadNorm(nn.Module):
    """``(t - mean) / (std + 1e-5) * weight + bias`` over each head, with weights of its own; the deviation unbiased."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(heads, width)), nn.Parameter(torch.zeros(heads, width))

    def forward(self, x: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(x.float(), dim=-1, keepdim=True)
        return (x.float() - mean) / (deviation + EPS) * self.weight + self.bias


class SRNO(GalerkinDecoder):
    """All output pixels attend to each other through sums over all of them, twice.

    A point reads ``[offsets to its four cells, their features times their weights, the output pixel's size]``, and a
    linear layer, two Galerkin attentions and a network of one hidden layer follow; the interpolated picture is added.
    The values depend on the whole question, see :class:`~implicitkit.decoders.galerkin.base.GalerkinDecoder`. The
    authors' test renders whole pictures, their training 128^2 random points.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        width: values per point inside (256).
        heads: of the attentions; divides ``width``, with at least 2 each.

    >>> sum(p.numel() for p in SRNO(in_channels=64).parameters())
    794883
    """

    def __init__(self, in_channels: int = 64, out_channels: int = 3, width: int = 256, heads: int = 16) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, heads) < 1 or width % heads or width // heads < 2:
            raise ValueError(
                "srno takes positive channels and a width of heads times at least 2; received "
                f"in_channels={in_channels}, out_channels={out_channels}, width={width}, heads={heads}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.first = nn.Linear((in_channels + 2) * 4 + 2, width)
        self.attentions = nn.ModuleList(
            Galerkin(width, heads, (HeadNorm(heads, width // heads), HeadNorm(heads, width // heads))) for _ in range(2)
        )
        self.hidden, self.last = nn.Linear(width, 256), nn.Linear(256, out_channels)

    def lift(self, latent: Whole, coords: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
        offsets, weighted = self.corners(latent, coords)
        size = in_cells(cell, latent.features.grid, weighted)
        parts = [offsets.expand(len(weighted), -1, -1), weighted, size]
        return self.first(torch.cat(parts, dim=-1)), None

    def lower(self, x: Tensor, rest: None) -> Tensor:
        values: Tensor = self.last(F.gelu(self.hidden(x)))
        return values
