"""MetaSR (Hu et al., CVPR 2019), as LIIF's and LTE's authors re-implemented it for continuous coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.coordinates import nearest_index, pixel_centres
from implicitkit.decoders.base import Condition, Decoder, Inputs, in_float32
from implicitkit.decoders.mlp import weight_of
from implicitkit.decoders.neighbours import SHIFT_EPS
from implicitkit.decoders.rows import Rows
from implicitkit.encoders.base import Features


class MetaSR(Decoder):
    """A small network predicts, from the output pixel's position, the weights that read the features there.

    The output pixel's first corner (top left, ``x - cell / 2``) lies in one cell. ``[offset y, offset x, cell y]``,
    the corner's offset from that cell's first corner and the pixel's height, both in cells, go through a network whose
    output is a ``(9 D, out)`` matrix, which multiplies the 3x3 neighbourhood of the cell's features. No ensemble.

    The matrix is never built: the network's last layer and the neighbourhood are both linear, so their product is a
    3x3 convolution, which runs once per cell in :meth:`prepare`. A query multiplies its cell's row by the network's
    last hidden values.

    Args:
        in_channels: features per cell, ``D``.
        out_channels: values per point.
        hidden: widths of the network's hidden layers.

    >>> MetaSR(in_channels=8, hidden=[16]).matrix.out_features
    216
    """

    reach = 2  # one cell to the corner of an output pixel no larger than a cell, another for 3x3

    def __init__(self, in_channels: int = 64, out_channels: int = 3, hidden: Sequence[int] = (256,)) -> None:
        super().__init__()
        if min(in_channels, out_channels, *hidden) < 1:
            raise ValueError(
                f"metasr takes positive widths; received in_channels={in_channels}, out_channels={out_channels}, "
                f"hidden={list(hidden)}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        layers: list[nn.Module] = []
        for before, after in pairwise([3, *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
        self.hidden = nn.Sequential(*layers)
        self.matrix = nn.Linear([3, *hidden][-1], 9 * in_channels * out_channels)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Rows:
        """Rows of ``out * (K + 1)`` values: the factor of each last hidden value per channel, and a constant."""
        per_hidden = torch.cat([weight_of(self.matrix), self.matrix.bias[:, None]], dim=1)
        kernel = per_hidden.reshape(self.in_channels, 3, 3, self.out_channels, -1).permute(3, 4, 0, 1, 2)
        return Rows.of(F.conv2d(features.map, kernel.flatten(0, 1), padding=1), features.origin, features.grid)

    def query(self, latent: Rows, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        assert cell is not None
        corner = coords.float() - cell.float() / 2
        index, inputs = [], []
        for x, n in zip(corner.unbind(-1), latent.grid, strict=True):
            cells = nearest_index((x + SHIFT_EPS).clamp(-1 + SHIFT_EPS, 1 - SHIFT_EPS), n)
            start = pixel_centres(n, device=x.device)[cells] - 1 / n
            index.append(cells)
            inputs.append((x - start) * (n / 2))
        inputs.append((cell[..., 0].float() * (latent.grid[0] / 2)).expand_as(inputs[0]))
        with in_float32(coords.device.type):
            hidden = F.pad(self.hidden(torch.stack(inputs, dim=-1)), (0, 1), value=1.0)  # 1: the constant's factor
        rows = latent.take(self._stored(latent, coords, index))
        factors = hidden.expand(len(latent.rows), -1, -1).reshape(len(rows), -1, 1).to(rows.dtype)
        values = torch.bmm(rows.reshape(len(rows), self.out_channels, -1), factors)
        return values.reshape(len(latent.rows), coords.shape[1], self.out_channels)

    def _stored(self, latent: Rows, coords: Tensor, index: Sequence[Tensor]) -> Tensor:
        """The rows of cells ``index`` in the stored map; reading beyond a tile's halo, ``reach``, is an error."""
        if latent.cells != latent.grid:
            own = [nearest_index(x.float(), n) for x, n in zip(coords.unbind(-1), latent.grid, strict=True)]
            away = max(int((a - b).abs().max()) for a, b in zip(own, index, strict=True) if a.numel())
            if away >= self.reach:
                raise ValueError(
                    f"metasr reads {away} cells away for such large output pixels, farther than tiles overlap; encode "
                    "without tile="
                )
        y, x = ((i - o).clamp(0, s - 1) for i, o, s in zip(index, latent.origin, latent.cells, strict=True))
        return y * latent.cells[1] + x
