"""SwinIR without its upsampling tail (Liang et al., ICCVW 2021), as LTE uses it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, Features


def partition(x: Tensor, window: int) -> Tensor:
    """``(B, H, W, C)`` cut into windows: ``(B * H/w * W/w, w * w, C)``, row by row."""
    return rearrange(x, "b (rows y) (columns x) c -> (b rows columns) (y x) c", y=window, x=window)


def unpartition(windows: Tensor, window: int, h: int, w: int) -> Tensor:
    """The inverse of :func:`partition`: ``(B, H, W, C)``."""
    cut = {"rows": h // window, "columns": w // window, "y": window, "x": window}
    return rearrange(windows, "(b rows columns) (y x) c -> b (rows y) (columns x) c", **cut)


def relative_index(window: int, device: torch.device) -> Tensor:
    """The index of each pixel pair's bias in a ``(2w - 1)^2`` table: ``(w * w, w * w)`` int64."""
    row, column = torch.meshgrid(*(torch.arange(window, device=device),) * 2, indexing="ij")
    rows, columns = (x.reshape(-1, 1) - x.reshape(1, -1) + window - 1 for x in (row, column))
    return rows * (2 * window - 1) + columns


def seam_mask(h: int, w: int, window: int, shift: int, device: torch.device) -> Tensor:
    """The attention mask of shifted windows: ``(windows, w * w, w * w)``, 0 or -inf.

    Shifting is cyclic, so the last windows of each axis hold pixels from opposite borders, which must not attend to
    each other.
    """
    wrapped = [(torch.arange(n, device=device) >= n - shift).to(torch.int64) for n in (h, w)]
    side = partition((2 * wrapped[0][:, None] + wrapped[1])[None, :, :, None], window)[..., 0]
    apart = side[:, :, None] != side[:, None, :]
    return torch.zeros(apart.shape, device=device).masked_fill_(apart, -torch.inf)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learnt bias per pair of relative positions."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, x: Tensor, index: Tensor, mask: Tensor | None) -> Tensor:
        """``x`` ``(M, N, C)`` windows of N pixels; ``index`` ``(N, N)``; ``mask`` ``(M / B, N, N)`` or None."""
        q, k, v = rearrange(self.qkv(x), "m n (three heads c) -> three m heads n c", three=3, heads=self.heads)
        bias = rearrange(self.bias[index], "n k heads -> 1 heads n k")
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(len(x) // len(mask), 1, 1, 1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        result: Tensor = self.out(rearrange(attended, "m heads n c -> m n (heads c)"))
        return result


class Block(nn.Module):
    """Window attention, then a two-layer network per pixel, each on normalised input and added to it (their eq. 6-7).

    ``drop`` is the chance that a picture of the batch skips either addition in training (stochastic depth).
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.window, self.shift, self.drop = window, shift, drop
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        """``x`` ``(B, H, W, C)``; ``mask`` is that of shifted windows."""
        h, w = x.shape[1:3]
        y = self.norm1(x)
        if self.shift:
            y = y.roll((-self.shift, -self.shift), (1, 2))
        y = self.attention(partition(y, self.window), index, mask if self.shift else None)
        y = unpartition(y, self.window, h, w)
        if self.shift:
            y = y.roll((self.shift, self.shift), (1, 2))
        x = x + self._sometimes(y)
        return x + self._sometimes(self.mlp(self.norm2(x)))

    def _sometimes(self, residual: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return residual
        keep = torch.rand(len(residual), 1, 1, 1, device=residual.device) >= self.drop
        return residual * keep / (1 - self.drop)


class Group(nn.Module):
    """A residual Swin transformer block (RSTB): blocks with and without shift in turn, a convolution, the input added.

    Maps ``(B, H, W, C)`` to the same shape.
    """

    def __init__(self, channels: int, heads: int, window: int, hidden: int, drops: Sequence[float]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(channels, heads, window, window // 2 if k % 2 else 0, hidden, drop) for k, drop in enumerate(drops)
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        y = x
        for block in self.blocks:
            y = block(y, index, mask)
        return x + to_last(self.conv(to_first(y)))


class SwinIR(Encoder):
    """Self-attention in windows of 8x8 pixels, shifted in every other block; stride 1.

    Input of any size is padded by mirroring to a multiple of the window. Window borders, and the origins of tiles, lie
    on multiples of the window (half-way between for shifted ones), so the receptive field is finite: see
    :func:`radius_of`.

    Args:
        channels: width (180).
        depths: blocks per group (six of six).
        heads: attention heads per group; each divides ``channels``.
        window: pixels a side (8).
        mlp_ratio: hidden width of the network per pixel, in ``channels`` (2).
        out_channels: features per pixel (64), from a last convolution and a leaky ReLU.
        drop_path: stochastic depth in training, rising from 0 at the first block to this at the last (the authors
            train with 0.1).
        extra_window: pad a side that is a multiple of the window by one more window, as the authors' test script does;
            it changes the result a little, and rules out tiles.
        in_channels: picture channels, each normalised by (x - 0.5)/0.5.
        mask_channels: further channels, not normalised.

    >>> encoder = SwinIR(channels=12, depths=[2], heads=[2], window=4, out_channels=8)
    >>> encoder(torch.rand(1, 3, 10, 12)).map.shape
    torch.Size([1, 8, 12, 12])
    """

    def __init__(
        self,
        channels: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window: int = 8,
        mlp_ratio: float = 2.0,
        out_channels: int = 64,
        drop_path: float = 0.0,
        extra_window: bool = False,
        in_channels: int = 3,
        mask_channels: int = 0,
    ) -> None:
        super().__init__()
        hidden = round(channels * mlp_ratio)
        if min(channels, out_channels, in_channels, hidden, *depths, *heads) < 1 or mask_channels < 0 or window < 2:
            raise ValueError(
                "swinir takes positive channels, depths, heads, mlp_ratio, out_channels and in_channels, "
                f"mask_channels >= 0 and window >= 2; received {channels}, {list(depths)}, {list(heads)}, {mlp_ratio}, "
                f"{out_channels}, {in_channels}, {mask_channels} and {window}"
            )
        check_groups("swinir", channels, depths, heads)
        if not 0 <= drop_path < 1:
            raise ValueError(f"drop_path is a chance from 0 up to 1; received {drop_path}")
        self.in_channels, self.mask_channels, self.out_channels = in_channels, mask_channels, out_channels
        self.window = self.size_multiple = window
        self.extra_window = extra_window
        self.radius = None if extra_window else radius_of(depths, window)
        drops = iter([drop_path * k / max(1, sum(depths) - 1) for k in range(sum(depths))])
        self.first = nn.Conv2d(in_channels + mask_channels, channels, 3, padding=1)
        self.norm_in = nn.LayerNorm(channels)
        self.groups = nn.ModuleList(
            Group(channels, n, window, hidden, list(islice(drops, depth)))
            for n, depth in zip(heads, depths, strict=True)
        )
        self.norm_out = nn.LayerNorm(channels)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.project = nn.Conv2d(channels, out_channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Features:
        """The base class's forward, after the extra window if set."""
        return super().forward(append_window(x, self.window) if self.extra_window else x)

    def extract(self, x: Tensor) -> Tensor:
        return through_groups(self, x)


def check_groups(name: str, channels: int, depths: Sequence[int], heads: Sequence[int]) -> None:
    """Raise :class:`ValueError` unless every group has a number of heads, which divides ``channels``."""
    if not depths or len(depths) != len(heads) or any(channels % n for n in heads):
        raise ValueError(
            f"{name} takes one number of heads per group, each a divisor of channels; received "
            f"depths={list(depths)}, heads={list(heads)}, channels={channels}"
        )


def through_groups(net: Any, x: Tensor) -> Tensor:
    """``(B, C, H, W)``, sides multiples of the window, through the layers of SwinIR, which ``net`` has by its names."""
    index = relative_index(net.window, x.device)
    mask = seam_mask(x.shape[2], x.shape[3], net.window, net.window // 2, x.device)
    shallow: Tensor = net.first(x)
    y: Tensor = net.norm_in(to_last(shallow))
    for group in net.groups:
        y = group(y, index, mask)
    deep: Tensor = net.last(to_first(net.norm_out(y)))
    return F.leaky_relu(net.project(deep + shallow))


def radius_of(depths: Sequence[int], window: int) -> int:
    """How far, in pixels, a changed pixel can change a feature.

    Follow the interval that one changed pixel affects: a 3x3 convolution widens it by a pixel on either side, an
    attention to the borders of its windows. The worst position in a window counts.

    >>> radius_of([2], 8), radius_of([6, 6, 6, 6, 6, 6], 8)
    (15, 151)
    """
    farthest = 0
    for start in range(window):
        low, high = start - 1, start + 1
        for depth in depths:
            for k in range(depth):
                shift = window // 2 if k % 2 else 0
                low = (low - shift) // window * window + shift
                high = (high - shift) // window * window + shift + window - 1
            low, high = low - 1, high + 1
        farthest = max(farthest, start - low + 2, high + 2 - start)  # two more convolutions end the network
    return farthest


def append_window(x: Tensor, window: int) -> Tensor:
    """Pad each side of ``(B, C, H, W)`` that is a multiple of ``window`` by one window of its mirror image."""
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        if n and n % window == 0:
            x = torch.cat([x, x.narrow(axis, n - window, window).flip(axis)], dim=axis)
    return x


def to_last(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` -> ``(B, H, W, C)``."""
    return rearrange(x, "b c h w -> b h w c")


def to_first(x: Tensor) -> Tensor:
    """``(B, H, W, C)`` -> ``(B, C, H, W)``."""
    return rearrange(x, "b h w c -> b c h w")
