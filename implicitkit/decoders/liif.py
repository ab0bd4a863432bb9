"""LIIF, the local implicit image function (Chen, Liu, Wang; CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Inputs, in_float32
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import MLP, is_hooked
from implicitkit.decoders.skip import Skip, SkipDecoder, check_skip, start_at_zero
from implicitkit.encoders.base import Features, for_convolutions

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class LIIF(SkipDecoder):
    """An MLP reads the features around the nearest cells, the offset to each and the output pixel's size.

    The MLP's input is ``[3^d neighbourhood of features, offset (d), cell (d)]`` in the order of
    ``torch.nn.functional.unfold``, so the authors' weights fit as they are. The neighbourhood is never built: the
    feature part of the first layer *is* a 3^d convolution, run once per feature pixel in :meth:`prepare`; a query adds
    the part that is linear in offset and cell.

    Args:
        in_channels: features per cell, ``D``.
        out_channels: values per point.
        hidden: widths of the hidden layers; ``[]`` makes the decoder linear.
        local_ensemble: blend the 2^d nearest cells (else: the nearest one alone).
        feat_unfold: read the 3^d neighbourhood of each cell (else: the cell alone).
        cell_decode: tell the MLP the output pixel's size.
        skip: ``"none"`` as in the paper, or the picture is added: ``"bilinear"``, ``"harmonic"``, ``"biharmonic"``.
        ndim: 1, 2 or 3.

    >>> LIIF(in_channels=8, hidden=[16]).first.in_features  # 9 * 8 features, offset, cell
    76
    """

    exports = True

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        hidden: Sequence[int] = (256, 256, 256, 256),
        local_ensemble: bool = True,
        feat_unfold: bool = True,
        cell_decode: bool = True,
        skip: Skip = "none",
        ndim: int = 2,
    ) -> None:
        super().__init__()
        self.fill = check_skip(skip)
        if min(in_channels, out_channels, *hidden, 1) < 1 or ndim not in CONVOLVE:
            raise ValueError(
                "liif takes positive widths and ndim 1, 2 or 3; received "
                f"{in_channels=}, {out_channels=}, hidden={list(hidden)}, {ndim=}"
            )
        self.in_channels, self.out_channels, self.ndim, self.skip = in_channels, out_channels, ndim, skip
        self.local_ensemble, self.feat_unfold, self.uses_cell = local_ensemble, feat_unfold, cell_decode
        self.reach = max(1, int(local_ensemble) + int(feat_unfold))
        self.read = in_channels * (3**ndim if feat_unfold else 1)  # MLP inputs that are features
        widths = [*hidden, out_channels]
        self.first = nn.Linear(self.read + ndim * (1 + cell_decode), widths[0])
        self.rest = MLP(*MLP.layers(*widths, relu_first=True))
        if self.fill is not None:
            start_at_zero(self.rest[-1] if hidden else self.first)

    @property
    def _unfolded(self) -> int:
        """The width of rows that hold neighbourhoods: another one than that of rows which the first layer has read."""
        return self.read + (self.read == self.first.out_features)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        taps = (3 if self.feat_unfold else 1,) * self.ndim
        if is_hooked(self.first):  # it is called at each point: the neighbourhoods themselves
            weight, bias = torch.eye(self._unfolded, self.read).to(features.map), None
        else:
            weight, bias = self.first.weight[:, : self.read], self.first.bias
        kernel = weight.reshape(-1, self.in_channels, *taps)
        projected = CONVOLVE[self.ndim](for_convolutions(features.map), kernel, bias, padding=taps[0] // 2)
        return self.to_latent(features, projected, self.picture(inputs))

    def local(self, rows: Tensor, offset: Tensor, cell: Tensor | None, point: Tensor | None) -> Tensor:
        geometry = offset if cell is None else torch.cat([offset, cell.expand(offset.shape[0], -1)], dim=-1)
        if rows.shape[-1] == self._unfolded:
            hidden = self.first(torch.cat([rows[:, : self.read], geometry.to(rows.dtype)], dim=-1))
        else:
            with in_float32(rows.device.type):
                weight = self.first.weight[:, self.read :].float().t()
                hidden = torch.addmm(rows.float(), geometry, weight).to(rows.dtype)
        return self.rest(hidden)  # type: ignore[no-any-return]
