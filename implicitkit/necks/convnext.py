"""ConvNeXt blocks as Thera Plus puts them between encoder and field (Becker et al., arXiv 2311.17643)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit.necks.base import Neck

EPS = 1e-6  # of flax's layer normalisation


class Block(nn.Module):
    """``x + P(gelu(P'(LN(depthwise 3x3 (x)))))``, with the tangent form of gelu, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(rearrange(self.depthwise(x), "b c h w -> b h w c"))
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh"))
        residual: Tensor = rearrange(y, "b h w c -> b c h w")
        return x + residual


class Projection(nn.Module):
    """``P(LN(x))``, to another width."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(before, eps=EPS)
        self.linear = nn.Linear(before, after)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(self.norm(rearrange(x, "b c h w -> b h w c")))
        return rearrange(y, "b h w c -> b c h w")


class ConvNeXt(Neck):
    """Depthwise convolutions and pointwise layers at the map's own size, in stages of growing width.

    Args:
        in_channels: features per cell.
        blocks: ``[width, number]`` of each stage; Plus has 6 of 64, 7 of 96 and 3 of 128. A change of width is a
            normalisation and a pointwise layer.

    >>> import torch
    >>> ConvNeXt(8, [[8, 2], [12, 1]])(torch.rand(1, 8, 5, 4)).shape
    torch.Size([1, 12, 5, 4])
    """

    def __init__(self, in_channels: int = 64, blocks: Sequence[Sequence[int]] = ((64, 6), (96, 7), (128, 3))) -> None:
        super().__init__()
        if in_channels < 1 or not blocks or any(len(stage) != 2 or min(stage) < 1 for stage in blocks):
            raise ValueError(
                "thera_plus takes positive in_channels and blocks, a positive [width, number] per stage; received "
                f"in_channels={in_channels}, blocks={[list(stage) for stage in blocks]}"
            )
        self.in_channels, self.out_channels = in_channels, blocks[-1][0]
        layers: list[nn.Module] = []
        channels = in_channels
        for width, number in blocks:
            if width != channels:
                layers.append(Projection(channels, width))
            layers += [Block(width) for _ in range(number)]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.radius = sum(number for _, number in blocks)

    def forward(self, map: Tensor) -> Tensor:
        refined: Tensor = self.layers(map)
        return refined
