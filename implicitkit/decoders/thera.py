"""Thera, a neural heat field for every cell (Becker et al., arXiv 2311.17643, 2023, revised 2025)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from implicitkit.decoders.base import Condition, Decoder, Inputs, in_float32
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.neighbours import axis_neighbours, combine
from implicitkit.decoders.readout import read_nearest
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import picture_rows, read_linear
from implicitkit.encoders.base import Features

READ = {"nearest": read_nearest, "bilinear": read_linear}


class Thera(Decoder):
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
    is the colour of the nearest input pixel. There is no ensemble: a point reads the nearest cell alone.

    Differences from the paper: ``t`` is a number per axis, ``exp(-kappa * sum_k w_k^2 t_k)``, so that output pixels
    need not be square (equal where they are); the "Plus" and "Pro" refinements, ConvNeXt and SwinIR blocks before the
    1x1 convolution, are left to the encoder; and the average over four rotated inputs is left to the caller. The
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

    >>> sum(p.numel() for p in Thera(in_channels=64, components=32).parameters())
    8385
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        components: int = 32,
        max_frequency: float = 16.0,
        skip: Literal["nearest", "bilinear", "none"] = "nearest",
    ) -> None:
        super().__init__()
        if skip not in (*READ, "none"):
            raise ValueError(f"skip is 'nearest', 'bilinear' or 'none'; received {skip!r}")
        if min(in_channels, out_channels, components) < 1 or not max_frequency > 0:
            raise ValueError(
                "thera takes positive channels, components and max_frequency; received "
                f"in_channels={in_channels}, out_channels={out_channels}, components={components}, "
                f"max_frequency={max_frequency}"
            )
        self.in_channels, self.out_channels, self.skip = in_channels, out_channels, skip
        self.components = components
        radius = math.pi * max_frequency * torch.rand(components).sqrt()
        angle = 2 * math.pi * torch.rand(components)
        self.frequencies = nn.Parameter(torch.stack([radius * angle.sin(), radius * angle.cos()], dim=-1))
        self.diffusivity = nn.Parameter(torch.tensor(math.sqrt(math.log(4)) / (2 * math.pi**2)))  # appendix A.2
        self.hyper = nn.Conv2d(in_channels, components * (1 + out_channels), 1)

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Latent:
        picture = None if self.skip == "none" else picture_rows(inputs, self.out_channels)
        rows = Rows.of(self.hyper(features.map), features.origin, features.grid)
        return Latent(rows, features.extent, picture)

    def query(self, latent: Latent, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        source, per_axis = latent.features, coords.float().unbind(-1)
        cells = [axis_neighbours(x, n, ensemble=False) for x, n in zip(per_axis, source.grid, strict=True)]
        near = combine(cells, source.cells, source.origin)
        index, offset = near.row[0], near.offset[0] / 2  # from half a cell to cells
        parameters = source.take(index).unflatten(0, (-1, index.shape[1]))
        if cell is not None:
            cell = cell.float() * torch.tensor(source.grid, dtype=torch.float32, device=cell.device) / 2
        values = self.heat(parameters, offset, cell)
        if latent.extra is not None:
            values = values + READ[self.skip](latent.extra, latent.extent, per_axis)
        return values

    def heat(self, parameters: Tensor, offset: Tensor, cell: Tensor | None) -> Tensor:
        """The local fields ``Phi - b2``, in float32 at any precision.

        Args:
            parameters: ``(B, N, components * (1 + out_channels))``, the phases and then each channel's amplitudes.
            offset: ``(B or 1, N, 2)`` the query minus the cell's centre, in cells.
            cell: ``(B or 1, N or 1, 2)`` the output pixel's size in cells; None does not damp.

        Returns:
            ``(B, N, out_channels)``.
        """
        with in_float32(parameters.device.type):
            phases, amplitudes = parameters.float().tensor_split([self.components], dim=-1)
            frequencies = self.frequencies.float()
            waves = torch.sin(offset @ frequencies.t() + phases)
            if cell is not None:
                waves = waves * torch.exp(-self.diffusivity.float() * (cell.square() @ frequencies.square().t()))
            amplitudes = amplitudes.unflatten(-1, (self.out_channels, self.components))
            return torch.matmul(amplitudes, waves[..., None])[..., 0]
