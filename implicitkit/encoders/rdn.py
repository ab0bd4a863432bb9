"""RDN without its upsampling tail (Zhang et al., CVPR 2018), as LIIF and LTE use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, checked_normalisation, for_convolutions

CONFIGS = {"A": (20, 6, 32), "B": (16, 8, 64)}  # the authors': dense blocks, convolutions per block, growth


class DenseBlock(nn.Module):
    """A residual dense block (their fig. 3): each convolution reads all maps before it; a 1x1 convolution fuses them.

    Maps ``(B, channels, H, W)`` to the same shape.
    """

    def __init__(self, channels: int, convs: int, growth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(channels + k * growth, growth, 3, padding=1) for k in range(convs))
        self.fuse = nn.Conv2d(channels + convs * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = x
        for layer in self.layers:
            maps = torch.cat([maps, layer(maps).relu_()], dim=1)
        fused: Tensor = self.fuse(maps)
        return fused + x


class RDN(Encoder):
    """Residual dense blocks at the picture's own resolution, all their outputs fused; stride 1.

    Args:
        config: ``"A"`` (20 blocks of 6 convolutions, growth 32) or ``"B"`` (16 of 8, growth 64), the published sizes.
        depth: number of dense blocks (default: the configuration's).
        convs: 3x3 convolutions per block (likewise).
        growth: channels that each of them adds (likewise).
        channels: features per pixel (64).
        in_channels: picture channels, each normalised by (x - mean)/std.
        mask_channels: further channels, not normalised.
        mean: subtracted from the picture's channels in [0, 1], a number or one per channel (0.5).
        std: they are divided by it (0.5).

    >>> RDN(depth=1, convs=2, growth=4, channels=8).radius
    5
    """

    def __init__(
        self,
        config: Literal["A", "B"] = "B",
        depth: int | None = None,
        convs: int | None = None,
        growth: int | None = None,
        channels: int = 64,
        in_channels: int = 3,
        mask_channels: int = 0,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
    ) -> None:
        super().__init__()
        self.mean, self.std = checked_normalisation("rdn", mean, std, in_channels)
        if config not in CONFIGS:
            raise ValueError(f"rdn's config is 'A' or 'B'; received {config!r}")
        published = CONFIGS[config]
        depth, convs, growth = (
            default if given is None else given
            for given, default in zip((depth, convs, growth), published, strict=True)
        )
        if min(depth, convs, growth, channels, in_channels) < 1 or mask_channels < 0:
            raise ValueError(
                "rdn takes depth, convs, growth, channels and in_channels >= 1 and mask_channels >= 0; received "
                f"{depth}, {convs}, {growth}, {channels}, {in_channels} and {mask_channels}"
            )
        self.in_channels, self.mask_channels = in_channels, mask_channels
        self.out_channels = channels
        self.radius = 3 + depth * convs  # one pixel per 3x3 convolution: two shallow ones, the blocks', the last
        self.shallow = nn.ModuleList(
            [
                nn.Conv2d(in_channels + mask_channels, channels, 3, padding=1),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        )
        self.blocks = nn.ModuleList(DenseBlock(channels, convs, growth) for _ in range(depth))
        self.fuse = nn.Sequential(nn.Conv2d(depth * channels, channels, 1), nn.Conv2d(channels, channels, 3, padding=1))

    def extract(self, x: Tensor) -> Tensor:
        first: Tensor = self.shallow[0](for_convolutions(x))
        x = self.shallow[1](first)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        fused: Tensor = self.fuse(torch.cat(outputs, dim=1))
        return fused + first
