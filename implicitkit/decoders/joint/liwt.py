"""LIWT, the local implicit wavelet transformer (Duan et al., BMVC 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Inputs, check_scale_max
from implicitkit.decoders.joint.attention import Places, attend, zero_outside
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import MLP
from implicitkit.decoders.readout import read_nearest
from implicitkit.decoders.rows import Rows
from implicitkit.encoders.base import Features


class WaveBlock(nn.Module):
    """High and low frequencies, refined each for itself, and their mixture added to both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.plain = nn.Conv2d(channels, channels, 3, padding=1)
        self.pooled = nn.Conv2d(channels, channels, 1)
        self.low = nn.Conv2d(2 * channels, channels, 1)
        self.join = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, high: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """Both ``(B, D, *cells)``, and so are the results."""
        pooled = F.relu(self.pooled(F.max_pool2d(low, 3, stride=1, padding=1)))
        refined = F.relu(low + self.low(torch.cat([F.relu(self.plain(low)), pooled], dim=1)))
        joined = self.join(torch.cat([self.high(high), refined], dim=1))
        return high + joined, low + joined


class WaveBranch(nn.Module):
    """Four blocks on the four bands of features ``(B, D, h, w)``, at half the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high = nn.Conv2d(3 * channels, channels, 3, padding=1)
        self.low = nn.Conv2d(channels, channels, 3, padding=1)
        self.blocks = nn.ModuleList(WaveBlock(channels) for _ in range(4))
        self.join = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, map: Tensor) -> Tensor:
        """``(B, D, h, w)`` -> ``(B, D, h // 2, w // 2)``, at least one cell each way."""
        low_band, *high_bands = haar(map)
        first = high = self.high(torch.cat(high_bands, dim=1))
        low = self.low(low_band)
        for block in self.blocks:
            high, low = block(high, low)
        joined: Tensor = self.join(torch.cat([high, low], dim=1)) + first
        return joined


@dataclass(frozen=True)
class Waves(Latent):
    """A picture as LIWT reads it: keys, contents and what is projected with them; and the queries of the cells."""

    queries: Rows | None = None


class LIWT(JointDecoder):
    """A point attends to the nine cells around it, its query from a branch that refines Haar wavelets of the features.

    The query is that of the nearest cell of the wavelet branch, brought back to full resolution by bicubic
    interpolation. That branch and the features, weighed channel by channel by a gate that sees the mean of the picture,
    are joined to the contents. Cells beyond the picture are zero, and stay in the softmax. An MLP reads all nine
    weighted contents and the output pixel's size; the interpolated picture is added.

    The mean over all cells makes it see the whole picture: it refuses tiles. The width of queries, keys and contents is
    four times the features', as the authors' code needs.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        heads: of the attention; divides ``4 in_channels``.
        hidden: widths of the MLP's hidden layers.
        waves: sines and cosines of an offset, a multiple of 4.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.

    >>> LIWT(in_channels=16, heads=4, hidden=[32]).mlp[0].in_features  # nine cells of 64, and the size
    578
    """

    window, reach = 1, None

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        heads: int = 8,
        hidden: Sequence[int] = (256, 256, 256, 256),
        waves: int = 64,
        scale_max: float | None = 4.0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, heads, waves, *hidden) < 1 or 4 * in_channels % heads or waves % 4:
            raise ValueError(
                "liwt takes positive numbers, heads that divide 4 * in_channels and waves that 4 divides; received "
                f"in_channels={in_channels}, out_channels={out_channels}, heads={heads}, waves={waves}, "
                f"hidden={list(hidden)}"
            )
        width = 4 * in_channels
        self.in_channels, self.out_channels, self.scale_max = in_channels, out_channels, check_scale_max(scale_max)
        self.width = width
        self.branch = WaveBranch(in_channels)
        self.query_of, self.key_of, self.content_of = (nn.Conv2d(in_channels, width, 1) for _ in range(3))
        self.gate = nn.Sequential(
            nn.Linear(2 * in_channels, in_channels), nn.ReLU(), nn.Linear(in_channels, 2 * in_channels), nn.Sigmoid()
        )
        self.fuse = nn.Conv2d(2 * in_channels, in_channels, 1)
        self.places = Places(heads, waves)
        self.mix = nn.Linear(width + in_channels, width)
        self.mlp = MLP(*MLP.layers(9 * width + 2, *hidden, out_channels))

    def fused(self, map: Tensor, upsampled: Tensor) -> Tensor:
        """The features ``(B, D, h, w)`` joined with the wavelet branch at their resolution."""
        both = torch.cat([upsampled, map], dim=1)
        gate = self.gate(both.mean((2, 3)))[:, :, None, None]
        joined: Tensor = self.fuse(both * (1 + gate))
        return joined

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Waves:
        map = features.map
        upsampled = F.interpolate(self.branch(map), tuple(map.shape[2:]), mode="bicubic", align_corners=False)
        read = torch.cat([self.key_of(map), self.content_of(map), self.fused(map, upsampled)], dim=1)
        latent = super().prepare(Features(read, features.extent, features.origin, features.grid), inputs, conditions)
        queries = Rows.of(self.query_of(upsampled), features.origin, features.grid)
        return Waves(latent.features, latent.extent, latent.extra, queries)

    def project(self, map: Tensor) -> Tensor:
        return map

    def joint(self, latent: Latent, around: Around) -> Tensor:
        assert isinstance(latent, Waves) and latent.queries is not None and around.cell is not None
        query = read_nearest(latent.queries, latent.queries.grid, around.coords.unbind(-1))
        key, content, fused = zero_outside(around).split([self.width, self.width, self.in_channels], dim=-1)
        content = content + self.mix(torch.cat([content, fused], dim=-1))
        attended = attend(query, key, content, self.places(around.offset))
        size = around.cell.expand(*attended.shape[:2], -1)
        values: Tensor = self.mlp(torch.cat([attended, size], dim=-1).to(self.mix.weight.dtype))
        return values


def haar(map: Tensor) -> tuple[Tensor, ...]:
    """The Haar bands LL, LH, HL and HH of a map ``(B, D, h, w)``, ``(B, D, h // 2, w // 2)`` each.

    An odd last row or column is dropped, as by the authors; a single one is repeated, as nothing would be left.

    >>> [float(band.sum()) for band in haar(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))]
    [5.0, 1.0, 2.0, 0.0]
    """
    for axis in (2, 3):
        if map.shape[axis] == 1:
            map = map.repeat_interleave(2, dim=axis)
    h, w = (n // 2 * 2 for n in map.shape[2:])
    top, bottom = map[:, :, 0:h:2, :w], map[:, :, 1:h:2, :w]
    a, b, c, d = top[..., 0::2], top[..., 1::2], bottom[..., 0::2], bottom[..., 1::2]
    return (a + b + c + d) / 2, (b - a + d - c) / 2, (c + d - a - b) / 2, (a - b - c + d) / 2
