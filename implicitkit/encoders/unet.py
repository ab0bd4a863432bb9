"""A U-Net that sees the whole picture, for holes wider than a convolution's neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit.encoders.base import Encoder, for_convolutions


class UNet(Encoder):
    """Convolutions at full, half, quarter, ... size, attention at the coarsest, and back with skip connections.

    After Ronneberger et al. (MICCAI 2015). Residual blocks start as the identity, without normalisation, which would
    remove the picture's brightness and contrast. Zero padding gives positions. With attention the encoder is global
    and cannot encode in tiles; without, its radius is finite.

    Args:
        widths: channels at full size and at each halving; the last is the bottom's.
        blocks: residual blocks at each size, on the way down and again on the way up.
        attention: transformer blocks at the bottom; 0 leaves them out.
        heads: attention heads; they divide the bottom's channels.
        in_channels: picture channels, each normalised by (x - 0.5)/0.5.
        mask_channels: further channels, not normalised.
        out_channels: features per pixel (default: the first of ``widths``).

    Raises:
        ValueError: a number is not positive, ``blocks`` has not one for each width, or the heads do not divide.

    >>> import torch
    >>> encoder = UNet(widths=[8, 16, 32], blocks=[1, 1, 1], heads=2, mask_channels=1)
    >>> features = encoder(torch.rand(1, 4, 30, 45))
    >>> features.map.shape, features.extent
    (torch.Size([1, 8, 32, 48]), (32, 48))
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 2, 2),
        attention: int = 2,
        heads: int = 4,
        in_channels: int = 3,
        mask_channels: int = 0,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        out_channels = widths[0] if out_channels is None and len(widths) else out_channels
        if len(widths) < 2 or len(blocks) != len(widths) or min(*widths, in_channels, out_channels or 0, heads) < 1:
            raise ValueError(
                "unet takes two or more positive widths, as many numbers of blocks, and positive channels and heads; "
                f"received widths={list(widths)}, blocks={list(blocks)}, in_channels={in_channels}, "
                f"out_channels={out_channels}, heads={heads}"
            )
        if min(*blocks, attention, mask_channels) < 0 or (attention and widths[-1] % heads):
            raise ValueError(
                "unet takes blocks, attention and mask_channels of at least 0, and heads that divide the last width; "
                f"received {list(blocks)}, {attention}, {mask_channels} and {heads} heads for {widths[-1]} channels"
            )
        assert out_channels is not None
        self.in_channels, self.mask_channels, self.out_channels = in_channels, mask_channels, out_channels
        self.size_multiple = 2 ** (len(widths) - 1)
        self.head = nn.Conv2d(in_channels + mask_channels, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        for width, coarser, count in zip(widths[:-1], widths[1:], blocks[:-1], strict=True):
            self.down.append(nn.Sequential(*(Block(width) for _ in range(count))))
            self.up.append(nn.Sequential(*(Block(width) for _ in range(count))))
            self.shrink.append(nn.Conv2d(width, coarser, 2, stride=2))
            self.grow.append(nn.ConvTranspose2d(coarser, width, 2, stride=2))
        bottom: list[nn.Module] = [Block(widths[-1]) for _ in range(blocks[-1])]
        bottom += [Attention(widths[-1], heads) for _ in range(attention)]
        self.bottom = nn.Sequential(*bottom)
        self.tail = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        self.radius = None if attention else _radius(blocks)

    def extract(self, x: Tensor) -> Tensor:
        x = self.head(for_convolutions(x))
        finer: list[Tensor] = []
        for down, shrink in zip(self.down, self.shrink, strict=True):
            x = down(x)
            finer.append(x)
            x = shrink(x)
        x = self.bottom(x)
        for up, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            x = up(grow(x) + finer.pop())
        features: Tensor = self.tail(F.relu(x))
        return features


class Block(nn.Module):
    """``x + conv(relu(conv(relu(x))))``; the last convolution starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + residual


class Attention(nn.Module):
    """A transformer block over all cells of a map; its residual branches start at zero."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.project = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        for last in (self.project, self.mlp[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = rearrange(x, "b c h w -> b (h w) c")
        qkv = self.qkv(self.before(tokens))
        q, k, v = rearrange(qkv, "b n (three heads c) -> three b heads n c", three=3, heads=self.heads)
        attended = F.scaled_dot_product_attention(q, k, v)
        tokens = tokens + self.project(rearrange(attended, "b heads n c -> b n (heads c)"))
        tokens = tokens + self.mlp(self.between(tokens))
        map: Tensor = rearrange(tokens, "b (h w) c -> b c h w", h=x.shape[2])
        return map


def _radius(blocks: Sequence[int]) -> int:
    """The radius in pixels: that of each convolution at its size, and of the 2×2 grids."""
    reach = 2  # head and tail
    for level, count in enumerate(blocks):
        ways = 1 if level == len(blocks) - 1 else 2
        reach += 2 * count * ways * 2**level
    return int(reach + 2 ** (len(blocks) - 1))
