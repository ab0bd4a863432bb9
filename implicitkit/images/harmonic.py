"""Fill holes by solving an equation: the baseline of any learnt model.

A *harmonic* fill is a membrane over each hole: ``Δu = 0`` with the known pixels as its border. A *biharmonic* fill is a
thin plate: ``Δ²u = 0``, which continues slopes as well as values. ``Δ`` is the five-point Laplacian of the pixel grid;
the picture's own border is free (mirrored).

Conjugate gradients solve the membrane for a batch, on any device. Their preconditioner is one V-cycle of multigrid
whose coarse cells are 2×2 blocks of finer ones (Galerkin's operator with piecewise constant interpolation), for any
holes. The plate's matrix is badly conditioned: SciPy factorises it, picture by picture, in a tenth of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

DAMPING = 0.8  # of the Jacobi smoother
OVERCORRECTION = 1.8  # piecewise constant corrections have about twice the energy of smooth ones
COARSEST_SIDE = 2  # cells
TOLERANCE = 1e-5  # of the residual, relative to the first
MAX_ITERATIONS = 1000

Linear = Callable[[Tensor], Tensor]


def harmonic_fill(picture: Tensor, mask: Tensor) -> Tensor:
    """The picture with its holes filled by a membrane.

    Args:
        picture: ``(B, C, H, W)``; values in the holes are not read.
        mask: ``(B, 1, H, W)``, above 0.5 where a pixel is missing.

    Returns:
        The same shape and type; known pixels are untouched. A picture without any known pixel becomes 0.5.

    >>> import torch
    >>> ramp = torch.arange(5.0).expand(1, 1, 3, 5)
    >>> hole = torch.zeros(1, 1, 3, 5)
    >>> hole[..., 1:4] = 1
    >>> harmonic_fill(ramp.masked_fill(hole > 0.5, 9.0), hole)[0, 0, 1]
    tensor([0.0000, 1.0000, 2.0000, 3.0000, 4.0000])
    """
    hole = _check(picture, mask)
    if not bool(hole.any()):
        return picture
    unknown = hole.flatten(1).all(1)[:, None, None, None]
    with torch.no_grad(), torch.autocast(picture.device.type, enabled=False):
        known = torch.where(hole, 0.0, picture.float())
        start = _spread(known, ~hole)
        free = hole & ~unknown  # without a known pixel there is nothing to solve
        inside = free.float()
        residual = -laplacian(start) * inside
        correction = _conjugate_gradients(lambda x: laplacian(x) * inside, residual, _Level.finest(inside).solve)
        filled = torch.where(unknown, 0.5, start + correction)
        return torch.where(hole, filled.to(picture.dtype), picture)


def biharmonic_fill(picture: Tensor, mask: Tensor) -> Tensor:
    """The picture with its holes filled by a thin plate, clamped to each channel's known range.

    It equals scikit-image's ``inpaint_biharmonic`` to 1e-6. Arguments and result as in :func:`harmonic_fill`.

    >>> import torch
    >>> bowl = (torch.arange(7.0) - 3).square().expand(1, 1, 7, 7)
    >>> hole = torch.zeros(1, 1, 7, 7)
    >>> hole[..., 2, 2] = 1
    >>> biharmonic_fill(bowl, hole)[0, 0, 2, 2], harmonic_fill(bowl, hole)[0, 0, 2, 2]  # it was 1
    (tensor(1.), tensor(1.5000))
    """
    hole = _check(picture, mask)
    if not bool(hole.any()):
        return picture
    filled = picture.detach().clone()
    for one, missing in zip(filled, hole[:, 0], strict=True):
        if bool(missing.all()):
            one.fill_(0.5)
        elif bool(missing.any()):
            one[:, missing] = _plate(one.cpu().double().numpy(), missing.cpu().numpy()).to(one)
    return filled


def _check(picture: Tensor, mask: Tensor) -> Tensor:
    """The holes, ``(B, 1, H, W)``, True where a pixel is missing."""
    if picture.ndim != 4 or mask.shape != (len(picture), 1, *picture.shape[2:]):
        raise ValueError(
            f"a fill takes pictures (B, C, H, W) and masks (B, 1, H, W); received {tuple(picture.shape)} and "
            f"{tuple(mask.shape)}" + "; volumes take a number, mean or noise" * (picture.ndim == 5)
        )
    hole = mask > 0.5
    if picture.requires_grad and torch.is_grad_enabled() and bool(hole.any()):
        raise ValueError(
            "harmonic and biharmonic fills have no gradient by the picture; pass fill='mean' or a number, or detach it"
        )
    return hole


def _plate(picture: NDArray[np.float64], hole: NDArray[np.bool_]) -> Tensor:
    """The plate's values ``(C, missing)`` in the holes of one picture ``(C, H, W)``: least squares of its Laplacian."""
    from scipy.sparse import diags, eye, kron
    from scipy.sparse.linalg import splu

    rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
    around = tuple(slice(max(0, n[0] - 2), n[-1] + 3) for n in (rows, columns))  # the pixels in the equations
    picture, hole = picture[(slice(None), *around)], hole[around]

    def differences(n: int) -> Any:
        inner = np.full(n, 2.0)
        inner[0] -= 1
        inner[-1] -= 1
        return diags([inner, -np.ones(n - 1), -np.ones(n - 1)], [0, 1, -1])

    height, width = hole.shape
    whole = (kron(differences(height), eye(width)) + kron(eye(height), differences(width))).tocsc()
    missing = hole.ravel()
    of_hole = whole[:, missing]
    known = np.where(missing, 0.0, picture.reshape(len(picture), -1)).T
    factors = splu((of_hole.T @ of_hole).tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    values = factors.solve(-(of_hole.T @ (whole @ known)))
    given = known[~missing]
    return torch.from_numpy(values.clip(given.min(0), given.max(0)).T.copy())


def laplacian(x: Tensor) -> Tensor:
    """The sum of ``x``'s differences to its (up to four) neighbours, ``(..., H, W)``; the border is free."""
    out = torch.zeros_like(x)
    for axis in (-2, -1):
        n = x.shape[axis]
        if n > 1:
            step = x.narrow(axis, 1, n - 1) - x.narrow(axis, 0, n - 1)
            out.narrow(axis, 1, n - 1).add_(step)
            out.narrow(axis, 0, n - 1).sub_(step)
    return out


def _spread(values: Tensor, known: Tensor) -> Tensor:
    """The first guess: the mean of the known pixels in the smallest block that has some."""
    size = values.shape[2:]
    if max(size) == 1:
        return values
    pool = {"kernel_size": 2, "ceil_mode": True, "count_include_pad": False}
    share = F.avg_pool2d(known.to(values.dtype), **pool)  # type: ignore[arg-type]
    mean = F.avg_pool2d(values, **pool) / share.clamp_min(1e-6)  # type: ignore[arg-type]
    coarse = _spread(mean * (share > 0), share > 0)
    return torch.where(known, values, F.interpolate(coarse, size, mode="bilinear"))


def _conjugate_gradients(operator: Linear, residual: Tensor, precondition: Linear) -> Tensor:
    """``x`` with ``operator(x) = residual``, separately for each channel of each picture, ``(B, C, H, W)``.

    A solved system takes no further step, so a picture's result does not depend on the rest of its batch.
    """

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).flatten(2).sum(2)[..., None, None]

    x = torch.zeros_like(residual)
    goal = dot(residual, residual) * TOLERANCE**2 + torch.finfo(residual.dtype).tiny
    preconditioned = precondition(residual)
    direction, slope = preconditioned, dot(residual, preconditioned)
    for _ in range(MAX_ITERATIONS):
        running = dot(residual, residual) > goal
        if not bool(running.any()):
            break
        image = operator(direction)
        step = torch.where(running, slope / dot(direction, image).clamp_min(torch.finfo(x.dtype).tiny), 0)
        x = x + step * direction
        residual = residual - step * image
        preconditioned = precondition(residual)
        before, slope = slope, dot(residual, preconditioned)
        direction = preconditioned + torch.where(running, slope / before, 0) * direction
    return x


@dataclass(frozen=True)
class _Level:
    """The membrane's equations on one grid: each cell's own factor, and the weights of its edges.

    ``diagonal`` is ``(B, 1, H, W)``, ``down`` ``(B, 1, H - 1, W)`` and ``right`` ``(B, 1, H, W - 1)``. Cells outside of
    holes have no edges, and ``inverse`` 0.
    """

    diagonal: Tensor
    down: Tensor
    right: Tensor
    inverse: Tensor
    coarser: _Level | None

    @classmethod
    def finest(cls, inside: Tensor) -> _Level:
        """The equations of the pixels where ``inside`` ``(B, 1, H, W)`` is 1, not 0."""
        neighbours = torch.full_like(inside, 4)
        for axis in (-2, -1):  # a pixel on the border has fewer
            neighbours.narrow(axis, 0, 1).sub_(1)
            neighbours.narrow(axis, -1, 1).sub_(1)
        down = inside[..., 1:, :] * inside[..., :-1, :]
        right = inside[..., 1:] * inside[..., :-1]
        return cls.of(neighbours * inside, down, right)

    @classmethod
    def of(cls, diagonal: Tensor, down: Tensor, right: Tensor) -> _Level:
        """This level and all coarser ones."""
        inverse = torch.where(diagonal > 1e-6, 1 / diagonal.clamp_min(1e-6), 0)
        if max(diagonal.shape[2:]) <= COARSEST_SIDE:
            return cls(diagonal, down, right, inverse, None)
        height, width = (n + n % 2 for n in diagonal.shape[2:])
        below = F.pad(down, (0, width - down.shape[3], 0, height - down.shape[2]))  # the edge under each cell
        beside = F.pad(right, (0, width - right.shape[3], 0, height - right.shape[2]))
        within = below[..., 0::2, 0::2] + below[..., 0::2, 1::2] + beside[..., 0::2, 0::2] + beside[..., 1::2, 0::2]
        across = below[..., 1::2, 0::2] + below[..., 1::2, 1::2], beside[..., 0::2, 1::2] + beside[..., 1::2, 1::2]
        coarser = cls.of(_blocks(_even(diagonal)) - 2 * within, across[0][..., :-1, :], across[1][..., :-1])
        return cls(diagonal, down, right, inverse, coarser)

    def apply(self, x: Tensor) -> Tensor:
        """The operator times ``x`` ``(B, C, H, W)``."""
        out = self.diagonal * x
        out[..., 1:, :].sub_(self.down * x[..., :-1, :])
        out[..., :-1, :].sub_(self.down * x[..., 1:, :])
        out[..., 1:].sub_(self.right * x[..., :-1])
        out[..., :-1].sub_(self.right * x[..., 1:])
        return out

    def solve(self, residual: Tensor) -> Tensor:
        """Approximately the operator's inverse times ``residual``: one V-cycle, itself symmetric and positive."""
        x = DAMPING * self.inverse * residual
        if self.coarser is None:
            for _ in range(4):
                x = x + DAMPING * self.inverse * (residual - self.apply(x))
            return x
        correction = self.coarser.solve(_blocks(_even(residual - self.apply(x))))
        fine = correction.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., : x.shape[2], : x.shape[3]]
        x = x + OVERCORRECTION * fine * (self.inverse > 0)
        return x + DAMPING * self.inverse * (residual - self.apply(x))


def _even(x: Tensor) -> Tensor:
    return F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))


def _blocks(x: Tensor) -> Tensor:
    """The sums of 2×2 blocks."""
    return F.avg_pool2d(x, 2) * 4
