"""A basis decoder at one integer magnification: a pointwise convolution of the coefficients, and depth to space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.base import in_float32

if TYPE_CHECKING:
    from implicitkit.decoders.basis.base import BasisDecoder

SIDE = 8  # any: what a default cell is, in cells, does not depend on the picture's size


class Enlarging(nn.Module):
    """Features ``(B, in_channels, H, W)`` -> values ``(B, out_channels, scale * H, scale * W)``.

    Every cell has the same ``scale^2`` offsets, so their table is the weight of a grouped 1x1 convolution. With the
    local ensemble a cell reaches half a cell beyond its border: then it is that of a transposed convolution, divided by
    the sum of the weights of the cells, which is below 1 in the outer half of a border cell only.

    Args:
        decoder: whose functions are tabulated.
        scale: output pixels per cell.

    >>> import implicitkit as ik
    >>> decoder = ik.create_decoder("gb_lsr", in_channels=4, order=3)
    >>> Enlarging(decoder, 2)(torch.rand(1, 4, 5, 6)).shape
    torch.Size([1, 3, 10, 12])
    """

    weight: Tensor
    share: Tensor

    def __init__(self, decoder: BasisDecoder, scale: int) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale is a whole number of at least 1; received {scale}")
        self.decoder, self.scale = decoder, scale
        self.skip, self.outputs = decoder.skip, decoder.out_channels
        ensemble = decoder.local_ensemble
        first, taps = (-(scale // 2), 2 * scale - scale % 2) if ensemble else (0, scale)
        offset = (2 * torch.arange(first, first + taps, dtype=torch.float32) + 1) / scale - 1  # in half cells
        tent = (1 - offset.abs() / 2)[:, None] * (1 - offset.abs() / 2)
        with torch.no_grad():
            cell = None
            if decoder.uses_cell:
                finest = torch.full((1, 1, 2), 2 / (scale * SIDE))
                cell = decoder.default_cell(finest, (SIDE, SIDE)).reshape(1, 1, 2) * SIDE
            parameter = next(decoder.parameters(), offset)
            along = offset.to(parameter.device)
            table = decoder.tabulate((along[:, None], along[None, :]), cell if cell is None else cell.to(along))
            table, tent = table.float(), tent.to(table)
        if ensemble:
            self.register_buffer("weight", (table * tent[..., None]).permute(2, 0, 1)[:, None].contiguous())
            self.register_buffer("share", tent[None, None])
        else:
            self.register_buffer("weight", table.flatten(0, 1)[:, :, None, None].contiguous())

    def forward(self, map: Tensor, picture: Tensor | None = None) -> Tensor:
        """Values of the model's output space; ``picture`` ``(B, C, H, W)`` is the input in that space, for a skip."""
        with in_float32(map.device.type):
            coefficients = self.decoder.coefficients(map).float()
            repeated = self.weight.repeat(self.outputs, 1, 1, 1)
            if self.decoder.local_ensemble:
                s, half, ones = self.scale, self.scale // 2, torch.ones_like(coefficients[:, :1])
                sums = F.conv_transpose2d(coefficients, repeated, stride=s, padding=half, groups=self.outputs)
                values = sums / F.conv_transpose2d(ones, self.share, stride=s, padding=half)
            else:
                deep = F.conv2d(coefficients, repeated, groups=self.outputs)
                values = F.pixel_shuffle(deep, self.scale)
            if self.skip == "none":
                return values
            assert picture is not None
            how_read = {"mode": "nearest"} if self.skip == "nearest" else {"mode": "bilinear", "align_corners": False}
            read: Tensor = F.interpolate(picture, scale_factor=float(self.scale), **how_read)
            return values + self.decoder.shifted(read.movedim(1, -1)).movedim(-1, 1)
