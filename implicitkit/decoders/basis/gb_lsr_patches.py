"""The decoder of GB-LSR's autoencoder of patches (arXiv 2606.19617), its "native" form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from implicitkit.decoders.base import in_float32
from implicitkit.decoders.basis.base import BasisDecoder, harmonics, outer


class GBLSRPatches(BasisDecoder):
    """Each cell is a patch of pixels, and decides itself how many harmonics it has.

    As :class:`~implicitkit.decoders.basis.gb_lsr.GBLSR` without an ensemble, on cells of ``patch`` pixels whose first
    and last pixel are at -1 and 1. The bandwidth lies between ``bandwidths``; a cell's order ``p`` between
    ``orders``, and the coefficient of ``b_i(y) b_j(x)`` is damped by ``sigmoid(sharpness (p - max(i, j)))``. At the
    picture's own size it is the authors' autoencoder; between the pixels, and at other sizes, its continuation.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        order: functions per axis.
        patch: pixels a side of a cell, the encoder's stride.
        bandwidths: the least and the greatest bandwidth.
        orders: the least and the greatest order of a cell (None: 1 and ``order``).
        sharpness: of the cut behind a cell's order.

    >>> sum(p.numel() for p in GBLSRPatches(in_channels=16, order=6).parameters())
    1871
    """

    uses_cell, reach = False, 0

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        order: int = 16,
        patch: int = 8,
        bandwidths: Sequence[float] = (0.25, 2.0),
        orders: Sequence[float] | None = None,
        sharpness: float = 4.0,
    ) -> None:
        super().__init__()
        orders = (1.0, float(order)) if orders is None else orders
        ranges = len(bandwidths) == len(orders) == 2 and 0 < bandwidths[0] < bandwidths[1] and orders[0] <= orders[1]
        if min(in_channels, out_channels, order) < 1 or patch < 2 or not ranges:
            raise ValueError(
                "gb_lsr_patches takes positive channels and order, a patch of at least 2 pixels, and ranges from low "
                f"to high; received in_channels={in_channels}, out_channels={out_channels}, order={order}, "
                f"patch={patch}, bandwidths={list(bandwidths)}, orders={list(orders)}"
            )
        self.in_channels, self.out_channels, self.order, self.patch = in_channels, out_channels, order, patch
        self.bandwidths, self.orders, self.sharpness = tuple(bandwidths), tuple(orders), sharpness
        self.project = nn.Conv2d(in_channels, out_channels * order**2, 1)
        self.cut = nn.Conv2d(in_channels, 1, 1)
        self.bandwidth = nn.Parameter(torch.zeros(()))  # before the sigmoid: the geometric middle

    def coefficients(self, map: Tensor) -> Tensor:
        low, high = self.orders
        with in_float32(map.device.type):
            own = low + (high - low) * self.cut(map.to(self.cut.weight.dtype)).float().sigmoid()  # (B, 1, h, w)
            index = torch.arange(self.order, device=map.device)
            highest = torch.maximum(index[:, None], index).flatten()
            share = torch.sigmoid(self.sharpness * (own - highest[:, None, None]))
            raw = self.project(map.to(self.project.weight.dtype)).float().unflatten(1, (self.out_channels, -1))
            coefficients = raw * share[:, None]
            constant = torch.zeros_like(highest, dtype=torch.float32)[:, None, None]
            constant[0] = 1
            moved: Tensor = (2 * coefficients - constant).flatten(1, 2)
        return moved  # from [0, 1] to the model's output space

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        low, high = self.bandwidths
        width = math.pi * low * torch.exp(math.log(high / low) * self.bandwidth.float().sigmoid())
        first_to_last = self.patch / (self.patch - 1)
        along_y, along_x = (harmonics(part * (first_to_last * width), self.order) for part in offset)
        return outer(along_y, along_x)
