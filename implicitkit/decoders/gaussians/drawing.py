"""Draw given two-dimensional Gaussians: each pixel gathers those within reach, in their order, on any device.

Rasterisers scatter each Gaussian over the pixels that it covers, with atomic additions in a kernel of their own. A
gather needs none: a block of pixels reads the Gaussians whose centres are in the block or within reach of it. So
the sum of a pixel has one order, and does not depend on blocks beyond rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 64  # pixels a side
PAIRS = 1 << 20  # of a point and a Gaussian, at a time
STEP = 1.2  # GSASR's: its deviations are in steps of so many pixels of the input
DMAX = 0.1  # GSASR's cut, as a share of half the picture


@dataclass(frozen=True)
class Gaussians:
    """``N`` Gaussians on a canvas, in its pixels; pixel ``i`` has its centre at ``i``.

    ``sum_n colour_n exp(-(u^2 - 2 rho_n u v + v^2) / (2 (1 - rho_n^2)))`` with ``v = (y - y_n) / sigma_y`` and ``u = (x
    - x_n) / sigma_x``.

    >>> one = Gaussians(torch.tensor([[[2.0, 3.0]]]), torch.ones(1, 1, 2), torch.zeros(1, 1), torch.ones(1, 1, 3))
    >>> float(one.draw((5, 7))[0, 0, 2, 3])
    1.0
    """

    centre: Tensor
    """``(B, N, 2)``: y, x."""
    sigma: Tensor
    """``(B, N, 2)``: deviations along y and x, above 0."""
    rho: Tensor
    """``(B, N)``: the correlation of both, between -1 and 1."""
    colour: Tensor
    """``(B, N, C)``."""

    @classmethod
    def of_gsasr(cls, raw: Tensor, size: Sequence[int], scale: float) -> Gaussians:
        """Those of GSASR's network (Chen et al., 2025).

        Args:
            raw: ``(B, N, 9)``: deviations along y and x, correlation, opacity, red, green, blue, and the centre's x and
                y in the canvas, from 0 to 1; all but the centre before their sigmoids.
            size: ``(H, W)`` of the canvas: the padded input's times ``scale``, rounded down.
            scale: the magnification.
        """
        sigma = (0.99999 * raw[..., :2].sigmoid() + 1e-6) * (scale / STEP)
        place = raw.new_tensor([size[0], size[1]])
        centre = raw[..., [8, 7]] * place - 0.5
        colour = raw[..., 3:4].sigmoid() * raw[..., 4:7].sigmoid()
        return cls(centre, sigma, 0.999999 * raw[..., 2].tanh(), colour)

    def draw(self, size: Sequence[int], reach: Sequence[float] | None = None, block: int = BLOCK) -> Tensor:
        """The canvas ``(B, C, H, W)``.

        Args:
            size: ``(H, W)``.
            reach: how far from its centre a Gaussian is seen, in pixels along y and x; None: everywhere.
            block: pixels a side to draw at a time; the result does not depend on it beyond rounding.
        """
        batch, _, channels = self.colour.shape
        canvas = self.colour.new_zeros(batch, channels, *size)
        for top in range(0, size[0], block):
            for left in range(0, size[1], block):
                window = slice(top, min(top + block, size[0])), slice(left, min(left + block, size[1]))
                for b in range(batch):
                    canvas[(b, slice(None), *window)] = self._block(b, window, reach)
        return canvas

    def at(self, points: Tensor, reach: Tensor | None = None) -> Tensor:
        """Values ``(B, N, C)`` at points.

        Args:
            points: ``(B or 1, N, 2)``, y and x, in the units of the centres, which may be any.
            reach: ``(B, 2)``, how far from its centre a Gaussian is seen along y and x; None: everywhere. With it, the
                points of a square gather the Gaussians near it; what they get does not depend on that beyond rounding.

        >>> one = Gaussians(torch.tensor([[[2.0, 3.0]]]), torch.ones(1, 1, 2), torch.zeros(1, 1), torch.ones(1, 1, 1))
        >>> one.at(torch.tensor([[[2.0, 3.0], [2.0, 5.0]]]), torch.tensor([[1.0, 1.0]]))[0, :, 0].tolist()
        [1.0, 0.0]
        """
        points = points.expand(len(self.centre), -1, -1)
        values = [self._at(b, points[b], None if reach is None else reach[b]) for b in range(len(points))]
        return torch.stack(values)

    def gsasr_reach(self, size: Sequence[int], dmax: float = DMAX) -> tuple[float, float]:
        """GSASR's hard cut on a canvas of ``size``, in pixels."""
        return dmax * (size[0] - 1) / 2, dmax * (size[1] - 1) / 2

    def _at(self, b: int, points: Tensor, reach: Tensor | None) -> Tensor:
        everyone = slice(None)
        if reach is None or points.shape[0] * self.centre.shape[1] <= PAIRS:
            return self._gather(b, everyone, points, reach)
        lowest, step = points.detach().amin(0), 2 * reach
        row, column = ((points.detach() - lowest) / step).long().unbind(-1)
        squares, of = torch.unique(row * (int(column.max()) + 1) + column, return_inverse=True)
        members = torch.argsort(of, stable=True).split(torch.bincount(of, minlength=len(squares)).tolist())
        values = []
        for member in members:
            some, centre = points[member], self.centre[b]
            low, high = some.detach().amin(0) - reach, some.detach().amax(0) + reach
            near = ((centre >= low) & (centre <= high)).all(-1).nonzero()[:, 0]
            values.append(self._gather(b, near, some, reach))
        back = torch.empty_like(of)
        back[torch.cat(members)] = torch.arange(len(of), device=of.device)
        return torch.cat(values)[back]

    def _gather(self, b: int, chosen: slice | Tensor, points: Tensor, reach: Tensor | None) -> Tensor:
        """``(N, C)`` of the chosen Gaussians at points ``(N, 2)``; without a graph some points at a time."""
        centre, sigma, rho, colour = (x[b][chosen] for x in (self.centre, self.sigma, self.rho, self.colour))
        step = points.shape[0] if torch.is_grad_enabled() else max(1, PAIRS // max(1, centre.shape[0]))
        parts = []
        for some in points.split(max(1, step)):
            away = some[:, None] - centre
            v, u = (away / sigma).unbind(-1)
            value = falloff(v, u, rho)
            if reach is not None:
                value = value * (away.abs() <= reach).all(-1)
            parts.append(value @ colour)
        return torch.cat(parts)

    def _block(self, b: int, window: tuple[slice, slice], reach: Sequence[float] | None) -> Tensor:
        axes = [
            torch.arange(span.start, span.stop, device=self.centre.device, dtype=self.centre.dtype) for span in window
        ]
        chosen = torch.arange(self.centre.shape[1], device=self.centre.device)
        if reach is not None:
            near = torch.ones_like(chosen, dtype=torch.bool)
            for k, (span, far) in enumerate(zip(window, reach, strict=True)):
                place = self.centre[b, :, k]
                near &= (place >= span.start - far) & (place <= span.stop - 1 + far)
            chosen = chosen[near]
        centre, sigma, rho = self.centre[b, chosen], self.sigma[b, chosen], self.rho[b, chosen]
        y, x = axes[0][:, None] - centre[:, 0], axes[1][:, None] - centre[:, 1]  # (h, n), (w, n)
        value = falloff(y[:, None] / sigma[:, 0], x[None] / sigma[:, 1], rho)
        if reach is not None:
            value = value * ((y.abs() <= reach[0])[:, None] & (x.abs() <= reach[1])[None])
        drawn: Tensor = (value @ self.colour[b, chosen]).movedim(-1, 0)
        return drawn


def falloff(v: Tensor, u: Tensor, rho: Tensor) -> Tensor:
    """``exp(-(u^2 - 2 rho u v + v^2) / (2 (1 - rho^2)))`` at ``v`` and ``u`` deviations along y and x.

    >>> float(falloff(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(0.5)))
    1.0
    """
    return torch.exp(-(u * u - 2 * rho * u * v + v * v) / (2 * (1 - rho * rho)))
