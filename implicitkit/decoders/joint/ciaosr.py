"""CiaoSR, continuous implicit attention in attention (Cao et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.coordinates import nearest_index, pixel_centres
from implicitkit.decoders.base import in_float32
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import MLP
from implicitkit.decoders.neighbours import SHIFT_EPS, AxisNeighbours
from implicitkit.decoders.readout import read_nearest

SHARPNESS = 10.0  # of the softmax over patches
SMALLEST_NORM = 1e-4


class NonLocal(nn.Module):
    """Cross-scale attention: each 3x3 patch is made of the 6x6 patches that look like it at half the resolution.

    >>> NonLocal(8)(torch.rand(2, 8, 5, 7)).shape
    torch.Size([2, 8, 5, 7])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = max(1, channels // 2)
        self.wanted, self.offered, self.content = (
            nn.Sequential(nn.Conv2d(channels, out, 1), nn.PReLU()) for out in (half, half, channels)
        )
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, map: Tensor) -> Tensor:
        """``(B, D, h, w)`` -> the same shape; memory grows with the square of the number of cells."""
        h, w = map.shape[2:]
        for axis in (2, 3):  # to even sizes, by mirroring
            n = map.shape[axis]
            if n % 2:
                map = torch.cat([map, map.narrow(axis, max(0, n - 2), 1)], dim=axis)
        wanted = F.unfold(self.wanted(map), 3, padding=1)  # (B, 9 D / 2, cells)
        offered = F.unfold(self.offered(F.avg_pool2d(map, 2)), 3, padding=1)  # (B, 9 D / 2, patches)
        content = F.unfold(self.content(map), 6, padding=2, stride=2)  # (B, 36 D, patches)
        with in_float32(map.device.type):
            wanted, offered = wanted.float(), offered.float()
            offered = offered / offered.norm(dim=1, keepdim=True).clamp_min(SMALLEST_NORM)
            shares = (SHARPNESS * offered.transpose(1, 2) @ wanted).softmax(dim=1)
            made = F.fold(content.float() @ shares, (2 * map.shape[2], 2 * map.shape[3]), 6, padding=2, stride=2)
        refined: Tensor = self.down(made.to(self.down.weight.dtype)) / 6
        return refined[:, :, :h, :w]


class CiaoSR(JointDecoder):
    """A point attends to its four nearest cells; keys and values are scaled by MLPs that know offset and pixel size.

    The query is the 3x3 features of the nearest cell, keys are those of the four, values are the same and, unless
    ``non_local`` is false, a map of cross-scale attention over the whole picture. Each key and value is multiplied,
    entry by entry, by an MLP of itself, the offset and the output pixel's size. The softmax over the four makes one
    vector, an MLP maps it to a residual, and the interpolated picture is added. There are no area weights.

    The four cells are found half an output pixel's less than half a cell away, ``(1 - cell) / (n - 1)``, as in the
    authors' code, for each point by its own cell (they take the first point's).

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        hidden: widths of the hidden layers of all three MLPs.
        non_local: read the whole picture too; then it refuses tiles.

    >>> sum(p.numel() for p in CiaoSR(in_channels=64).parameters())
    1428614
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: Sequence[int] = (256, 256, 256, 256),
        non_local: bool = True,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, *hidden) < 1:
            raise ValueError(
                f"ciaosr takes positive widths; received in_channels={in_channels}, out_channels={out_channels}, "
                f"hidden={list(hidden)}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.non_local = NonLocal(in_channels) if non_local else None
        self.reach = None if non_local else 2
        self.unfolded = 9 * in_channels
        key, value = self.unfolded, self.unfolded + (in_channels if non_local else 0)
        self.of_key = MLP(*MLP.layers(key + 4, *hidden, key))
        self.of_value = MLP(*MLP.layers(value + 4, *hidden, value))
        self.of_query = MLP(*MLP.layers(value, *hidden, out_channels))

    def project(self, map: Tensor) -> Tensor:
        unfolded = F.unfold(map, 3, padding=1).unflatten(2, map.shape[2:])
        return unfolded if self.non_local is None else torch.cat([unfolded, self.non_local(map).to(map.dtype)], dim=1)

    def near(self, x: Tensor, n: int, cell: Tensor | None) -> AxisNeighbours:
        assert cell is not None
        shift, limit = (1 - cell) / max(1, n - 1), 1 - SHIFT_EPS
        index = torch.stack([nearest_index((x + side * shift + SHIFT_EPS).clamp(-limit, limit), n) for side in (-1, 1)])
        offset = (x - pixel_centres(n, device=x.device)[index]) * n
        return AxisNeighbours(index, offset, torch.full_like(offset, 0.5))

    def joint(self, latent: Latent, around: Around) -> Tensor:
        assert around.cell is not None
        value = around.rows
        key = value[..., : self.unfolded]
        nearest = read_nearest(latent.features, latent.features.grid, around.coords.unbind(-1))[..., : self.unfolded]
        size = around.cell[:, :, None].expand(around.offset.shape)
        geometry = torch.cat([around.offset, size], dim=-1).to(value.dtype).expand(*value.shape[:3], -1)
        key = key * self.of_key(torch.cat([key, geometry], dim=-1))
        value = value * self.of_value(torch.cat([value, geometry], dim=-1))
        with in_float32(value.device.type):
            logits = (key.float() * nearest.float()[:, :, None]).sum(-1, keepdim=True)
            attended = (logits.softmax(dim=2) * value.float()).sum(2)
        values: Tensor = self.of_query(attended.to(around.rows.dtype))
        return 2 * values  # the authors' pictures span 1, the model's output space 2
