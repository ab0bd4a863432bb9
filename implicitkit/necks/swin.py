"""Shifted-window attention as Thera Pro puts it between encoder and field (Becker et al., arXiv 2311.17643)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from implicitkit.encoders.base import pad_to_multiple
from implicitkit.encoders.swinir import Group, check_groups, radius_of, through_groups
from implicitkit.necks.base import Neck


class Swin(Neck):
    """SwinIR's body on features: residual groups of window attention, a long skip, a last convolution.

    As :class:`implicitkit.encoders.swinir.SwinIR`, with the tangent form of gelu, and padding at the bottom and right
    by reflection (the border itself is not repeated).

    Args:
        in_channels: features per cell.
        channels: width inside.
        depths: blocks per group.
        heads: attention heads per group; each divides ``channels``.
        window: cells a side.
        mlp_ratio: hidden width of the network per cell, in ``channels``.
        out_channels: features per cell that it gives.

    >>> import torch
    >>> Swin(8, channels=12, depths=[2], heads=[2], window=4, out_channels=6)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 6, 5, 7])
    """

    def __init__(
        self,
        in_channels: int = 64,
        channels: int = 180,
        depths: Sequence[int] = (7, 6),
        heads: Sequence[int] = (6, 6),
        window: int = 8,
        mlp_ratio: float = 2.0,
        out_channels: int = 64,
    ) -> None:
        super().__init__()
        hidden = round(channels * mlp_ratio)
        if min(in_channels, channels, out_channels, hidden, *depths, *heads) < 1 or window < 2:
            raise ValueError(
                "thera_pro takes positive widths, depths and heads and window >= 2; received "
                f"in_channels={in_channels}, channels={channels}, depths={list(depths)}, heads={list(heads)}, "
                f"window={window}, mlp_ratio={mlp_ratio}, out_channels={out_channels}"
            )
        check_groups("thera_pro", channels, depths, heads)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.window = self.size_multiple = window
        self.radius = radius_of(depths, window)
        self.first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.norm_in = nn.LayerNorm(channels)
        self.groups = nn.ModuleList(
            Group(channels, n, window, hidden, [0.0] * depth) for n, depth in zip(heads, depths, strict=True)
        )
        self.norm_out = nn.LayerNorm(channels)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, out_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.GELU):
                module.approximate = "tanh"

    def forward(self, map: Tensor) -> Tensor:
        h, w = map.shape[2:]
        return through_groups(self, pad_to_multiple(map, self.window, repeat_border=False))[..., :h, :w]
