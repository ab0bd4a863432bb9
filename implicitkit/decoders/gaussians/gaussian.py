"""A decoder whose cells predict two-dimensional Gaussians, as GSASR draws them (Chen et al., 2025)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from implicitkit.decoders.base import in_float32
from implicitkit.decoders.gaussians.drawing import falloff
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent

SHAPE = 5  # numbers per Gaussian besides its colour: centre, deviations, correlation
MAX_RHO, MIN_SIGMA = 0.99, 0.05


class Gaussian(JointDecoder):
    """Each cell predicts some Gaussians, and a point is the sum of those of the cells around it.

    A Gaussian's centre is at most ``offset_max`` cells from its cell's, and its deviations are at most ``sigma_max``
    cells; it ends ``3 sigma_max`` cells from its centre along either axis, at most 0.011 of its height. A point
    therefore gathers the Gaussians of a window of cells, in one order: no rasteriser is built, the result is the same
    on any device, and tiles equal the whole. (GSASR's Gaussians come from a network with attention over windows:
    :class:`~implicitkit.decoders.gaussians.gsasr.GSASR`.)

    The interpolated input picture is added. The output pixel's size is not used.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels, with ``skip``.
        count: Gaussians per cell.
        hidden: widths of the network from a cell's features to its Gaussians, pointwise; ``[]`` makes it linear.
        offset_max: cells.
        sigma_max: cells.
        skip: add the input picture.

    >>> Gaussian(in_channels=64).window
    2
    """

    uses_cell = False

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        count: int = 4,
        hidden: Sequence[int] = (128,),
        offset_max: float = 0.5,
        sigma_max: float = 0.6,
        skip: bool = True,
    ) -> None:
        super().__init__()
        bounds = offset_max, sigma_max
        if min(in_channels, out_channels, count, *hidden) < 1 or not (min(bounds) > 0 and max(bounds) < math.inf):
            raise ValueError(
                "gaussian takes positive channels, count, widths and bounds; received "
                f"in_channels={in_channels}, out_channels={out_channels}, count={count}, hidden={list(hidden)}, "
                f"offset_max={offset_max}, sigma_max={sigma_max}"
            )
        if sigma_max <= MIN_SIGMA:
            raise ValueError(f"sigma_max is above {MIN_SIGMA}; received {sigma_max}")
        self.in_channels, self.out_channels, self.count, self.skip = in_channels, out_channels, count, skip
        self.offset_max, self.sigma_max = offset_max, sigma_max
        # the centres of a cell r + 1 steps from the nearest one are at least r + 1/2 - offset_max from the point
        self.window = self.reach = max(0, math.ceil(3 * sigma_max + offset_max - 0.5))
        widths = [in_channels, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
        last = nn.Conv2d(widths[-1], count * (SHAPE + out_channels), 1)
        self.network = nn.Sequential(*layers, last)
        with torch.no_grad():  # centres begin spread over the cell
            assert last.bias is not None
            last.bias.unflatten(0, (count, -1))[:, :2] += spread(count) / offset_max * 0.5

    def project(self, map: Tensor) -> Tensor:
        raw: Tensor = self.network(map)
        with in_float32(map.device.type):
            parts = raw.float().unflatten(1, (self.count, -1))
            centre = 2 * self.offset_max * parts[:, :, :2].tanh()  # in half cells
            sigma = 2 * (MIN_SIGMA + (self.sigma_max - MIN_SIGMA) * parts[:, :, 2:4].sigmoid())
            rho = MAX_RHO * parts[:, :, 4:5].tanh()
            return torch.cat([centre, sigma, rho, parts[:, :, 5:]], dim=2).flatten(1, 2)

    def joint(self, latent: Latent, around: Around) -> Tensor:
        with in_float32(around.rows.device.type):
            each = around.rows.float().unflatten(-1, (self.count, -1))  # (B, N, cells, count, 5 + out)
            away = around.offset[..., None, :] - each[..., :2]
            share = falloff(away[..., 0] / each[..., 2], away[..., 1] / each[..., 3], each[..., 4])
            inside = (away.abs() <= 6 * self.sigma_max).all(-1) & around.inside[..., None]
            return torch.einsum("bnkg,bnkgc->bnc", share * inside, each[..., SHAPE:])


def spread(count: int) -> Tensor:
    """``count`` places ``(count, 2)`` spread over ``[-1, 1]^2``: a lattice that any number fills evenly.

    >>> spread(2).tolist()
    [[-0.5, -0.5], [0.5, 0.5]]
    """
    index = torch.arange(count)
    golden = (math.sqrt(5) - 1) / 2
    y = (2 * index + 1) / count - 1
    x = 2 * ((index + 0.5) * (golden if count > 2 else 1 / count)).frac() - 1
    return torch.stack([y, x], dim=-1).float()
