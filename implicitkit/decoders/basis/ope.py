"""OPE-SR, orthogonal position encoding (Song et al., CVPR 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from implicitkit.decoders.basis.base import BasisDecoder, check_average, harmonics, mean_of_harmonics, outer


class OPE(BasisDecoder):
    """The features are the coefficients of a Fourier series on the cell; there is no network behind them.

    With the offset ``t`` in half cells, ``b(t) = [1, sqrt(2) cos wt, sqrt(2) sin wt, sqrt(2) cos 2wt, ...]`` and ``w
    = pi / 2``, a cell predicts ``sum_ij c_ij b_i(y) b_j(x)`` per channel; the four nearest cells are blended as
    LIIF's. The output pixel's size is not used.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        max_frequency: the number of harmonics per axis, ``m``; a cell has ``(2 m + 1)^2`` coefficients per value.
        adapt: map the features to the coefficients by a 3x3 convolution (the authors' OPE-net-adapt). False: they are
            the coefficients, and ``in_channels`` must be their number, 147 at the defaults. None: False if it is.
        local_ensemble: blend the four nearest cells (else: the nearest one alone).
        average: give the exact mean over the output pixel of the nearest cell's function, in place of its value at the
            pixel's centre; then the output pixel's size matters. Without ``local_ensemble`` only.

    >>> sum(p.numel() for p in OPE(in_channels=147).parameters())
    0
    """

    uses_cell = False

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        max_frequency: int = 3,
        adapt: bool | None = None,
        local_ensemble: bool = True,
        average: bool = False,
    ) -> None:
        super().__init__()
        self.average = self.uses_cell = check_average("ope", average, local_ensemble)
        if min(in_channels, out_channels) < 1 or max_frequency < 0:
            raise ValueError(
                "ope takes positive channels and max_frequency >= 0; received "
                f"in_channels={in_channels}, out_channels={out_channels}, max_frequency={max_frequency}"
            )
        needed = out_channels * (2 * max_frequency + 1) ** 2
        adapt = in_channels != needed if adapt is None else adapt
        if not adapt and in_channels != needed:
            raise ValueError(
                f"without adapt, the features are the coefficients: ope takes in_channels={needed} then; received "
                f"{in_channels}"
            )
        self.in_channels, self.out_channels, self.max_frequency = in_channels, out_channels, max_frequency
        self.local_ensemble, self.reach = local_ensemble, int(local_ensemble) + int(adapt)
        self.adapt = nn.Conv2d(in_channels, needed, 3, padding=1) if adapt else nn.Identity()

    def coefficients(self, map: Tensor) -> Tensor:
        coefficients: Tensor = self.adapt(map)
        return coefficients

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        count = 2 * self.max_frequency + 1
        along = [harmonics(part * (math.pi / 2), count) for part in offset]
        scale = along[0].new_full((count,), math.sqrt(2))
        scale[0] = 1
        return outer(along[0] * scale, along[1] * scale)

    def widths(self, cell: Tensor) -> Tensor:
        along = [mean_of_harmonics(part * (math.pi / 2), 2 * self.max_frequency + 1) for part in cell.unbind(-1)]
        return outer(along[0], along[1])
