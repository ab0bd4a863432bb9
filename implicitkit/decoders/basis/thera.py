"""Thera, a neural heat field for every cell (Becker et al., arXiv 2311.17643, 2023, revised 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import in_float32
from implicitkit.decoders.basis.base import BasisDecoder, PictureSkip, check_skip_of_basis, turned_waves
from implicitkit.devices import constants


class Thera(BasisDecoder):
    """Each cell is a small sum of waves, and a larger output pixel damps each wave exactly as a blur would.

    With ``x`` the offset from the nearest cell's centre and ``t`` the squared size of the output pixel, both in cells,
    the cell's field is (eq. 1 and 2)

        ``Phi(x, t) = W2 [sin(W1 x + b1) * exp(-|w|^2 kappa t)] + b2``

    where ``w`` is a wave's row of ``W1``. It solves the heat equation ``dPhi/dt = kappa * laplacian(Phi)``, so
    ``Phi(., t)`` is ``Phi(., 0)`` under a Gaussian of variance ``2 kappa t`` per axis: details finer than the output
    pixel are blurred away, at any size. ``t = 1`` is a pixel the size of the cell, ``t = 1/s^2`` that of magnification
    ``s`` (eq. 4), and a cell of 0 gives the bare field, e.g. for the paper's total-variation prior on its gradient.

    The frequencies ``W1`` and the diffusivity ``kappa`` are shared by all cells and learned. A 1x1 convolution (the
    hypernetwork of the paper's "Air" variant) maps a cell's features to its phases ``b1`` and amplitudes ``W2``; ``b2``
    is the colour of the nearest input pixel. There is no ensemble: a point reads the nearest cell alone, and on a
    border the one further down or right, as in the authors' code.

    Differences from the paper: ``t`` is a number per axis, ``exp(-kappa * sum_k w_k^2 t_k)``, so that output pixels
    need not be square (equal where they are), theirs is that of the heights; the "Plus" and "Pro" refinements are the
    necks ``thera_plus`` and ``thera_pro``; and the average over four rotated inputs is left to the caller. The
    parameters number 8,385 at 64 features and 32 waves; the paper's 8,256 are the same without the convolution's bias
    and ``kappa``. Pictures only (2-D), as in the paper, whose ``kappa`` is derived for two dimensions.

    Args:
        in_channels: features per cell.
        out_channels: values per point.
        components: the number of waves (32; 512 in the paper's larger variants).
        max_frequency: the greatest initial ``|w|``, in multiples of pi per cell; frequencies are drawn uniformly from
            the disc of that radius, so that ``p(|w|)`` grows with ``|w|`` (appendix A.5).
        skip: what ``b2`` is: the ``"nearest"`` input pixel (as in the paper), ``"bilinear"`` interpolation of the
            input, or ``"none"``.
        shift: added to each channel with the skip, in the model's output space; the authors' networks, which add the
            mean of pictures to a residual, need ``2 * mean``, ``[0.8976, 0.8742, 0.808]``.
        average: give the exact mean over the output pixel, on top of the damping, in place of the value at its centre.
        square_cells: let ``render``'s default cell be that of the heights along both axes, as in the authors' code. It
            differs only where the magnification does.

    >>> sum(p.numel() for p in Thera(in_channels=64, components=32).parameters())
    8385
    """

    ties = "away"

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        components: int = 32,
        max_frequency: float = 16.0,
        skip: PictureSkip = "nearest",
        shift: Sequence[float] | None = None,
        square_cells: bool = False,
        average: bool = False,
    ) -> None:
        super().__init__()
        check_skip_of_basis(skip)
        if shift is not None and (skip == "none" or len(shift) != out_channels):
            raise ValueError(
                f"shift is one number per channel, added with a skip; received {list(shift)} with skip={skip!r} and "
                f"out_channels={out_channels}"
            )
        if min(in_channels, out_channels, components) < 1 or not max_frequency > 0:
            raise ValueError(
                "thera takes positive channels, components and max_frequency; received "
                f"in_channels={in_channels}, out_channels={out_channels}, components={components}, "
                f"max_frequency={max_frequency}"
            )
        self.in_channels, self.out_channels, self.skip = in_channels, out_channels, skip
        self.shift = None if shift is None else [float(value) for value in shift]
        self.components, self.square_cells, self.average = components, square_cells, average
        radius = math.pi * max_frequency * torch.rand(components).sqrt()
        angle = 2 * math.pi * torch.rand(components)
        self.frequencies = nn.Parameter(torch.stack([radius * angle.sin(), radius * angle.cos()], dim=-1))
        self.diffusivity = nn.Parameter(torch.tensor(math.sqrt(math.log(4)) / (2 * math.pi**2)))  # appendix A.2
        self.hyper = nn.Conv2d(in_channels, components * (1 + out_channels), 1)
        if skip != "none":
            with torch.no_grad():  # start near the picture: the phases are any, the amplitudes small
                for parameter in self.hyper.parameters():
                    parameter[components:] /= components

    def stored(self, map: Tensor) -> Tensor:
        phases_and_amplitudes: Tensor = self.hyper(map)
        return phases_and_amplitudes

    def opened(self, rows: Tensor) -> Tensor:
        return turned_waves(rows, self.components)

    def coefficients(self, map: Tensor) -> Tensor:
        parameters = self.stored(map).movedim(1, -1)
        with in_float32(map.device.type):
            return self.opened(parameters.float()).movedim(-1, 1)

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        y, x = (part[..., None] / 2 for part in offset)  # from half a cell to cells
        along_y, along_x = self.frequencies.float().unbind(1)
        angle = along_y * y + along_x * x
        waves = torch.cat([angle.sin(), angle.cos()], dim=-1)
        damping = self.damping(cell)
        return waves if damping is None else waves * torch.cat([damping, damping], dim=-1)

    def damping(self, cell: Tensor | None) -> Tensor | None:
        """What is left of each wave, ``(*shape, components)``, in an output pixel of ``cell`` ``(*shape, 2)``, in half
        cells; None: all of it.
        """
        if cell is None:
            return None
        squares = self.frequencies.float().square()
        return torch.exp(-self.diffusivity.float() * ((cell / 2).square() @ squares.t()))

    def widths(self, cell: Tensor) -> Tensor:
        angles = (cell / 2)[..., None, :] * self.frequencies.float()  # that each wave runs through in a pixel
        factor = torch.sinc(angles / (2 * math.pi)).prod(-1)
        return torch.cat([factor, factor], dim=-1)

    def default_cell(self, cell: Tensor, extent: Size) -> Tensor:
        if not self.square_cells:
            return cell
        in_pixels = cell[..., :1] * extent[0]
        return torch.cat([in_pixels / extent[0], in_pixels / extent[1]], dim=-1)

    def shifted(self, picture: Tensor) -> Tensor:
        return picture if self.shift is None else picture + constants(self.shift, torch.float32, picture.device)
