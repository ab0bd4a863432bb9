"""Coordinates: pixel centres, boxes and cells on the extent ``[-1, 1]^d``.

A picture of size ``(S_1, ..., S_d)`` covers ``[-1, 1]^d`` at any aspect. Pixel ``i`` of ``n`` has its centre at
``-1 + (2i + 1)/n``; axes are in the array's order: ``(y, x)`` for a picture, ``(z, y, x)`` for a volume. All of this is
float32: in bfloat16 a coordinate of a 1024-pixel axis falls into the wrong pixel.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from implicitkit.devices import constants

Size = tuple[int, ...]
Box = tuple[float, ...]
"""A window of the extent, ``(lo_1, ..., lo_d, hi_1, ..., hi_d)``: ``(y0, x0, y1, x1)`` for a picture."""


Ties = Literal["even", "away"]
"""Where a point half way between two pixels goes: to the even index, or away from index 0."""


def pixel_centres(n: int, lo: float = -1.0, hi: float = 1.0, *, device: torch.device | str | None = None) -> Tensor:
    """The centres ``(n,)`` of ``n`` equal pixels that cover ``[lo, hi]``, rounded to float32.

    >>> pixel_centres(4)
    tensor([-0.7500, -0.2500,  0.2500,  0.7500])
    """
    exact = device if torch.device(device or "cpu").type == "cuda" else None  # not every kind of device has float64
    steps = torch.arange(1, 2 * n, 2, dtype=torch.float64, device=exact)
    return (lo + (hi - lo) * steps / (2 * n)).to(torch.float32).to(device)


def whole(ndim: int) -> Box:
    """The box of the whole extent: ``(-1, ..., 1, ...)``."""
    return (-1.0,) * ndim + (1.0,) * ndim


def check_size(size: Sequence[int] | int, ndim: int) -> Size:
    """``size`` as a tuple of ``ndim`` positive integers; raises ``ValueError`` otherwise."""
    try:
        values = tuple(operator.index(v) for v in (size if isinstance(size, Iterable) else (size,)))
    except TypeError:
        values = ()
    if len(values) != ndim or min(values) < 1:
        raise ValueError(f"a size is {ndim} positive whole number(s), one per axis; received {size!r}")
    return values


def check_box(box: Sequence[float] | None, ndim: int) -> Box:
    """``box`` as ``2 * ndim`` finite floats with ``lo < hi`` on every axis (``None``: the whole extent)."""
    if box is None:
        return whole(ndim)
    if any(isinstance(v, Tensor) and v.requires_grad for v in (box, *box)):
        raise ValueError("a box is plain numbers, without gradients; ask the field at coords to differentiate by them")
    values = tuple(float(v) for v in box)
    lows, highs = values[:ndim], values[ndim:]
    if len(values) != 2 * ndim or not all(map(math.isfinite, values)):
        raise ValueError(f"a box is {2 * ndim} finite numbers, all lower ends first; received {box!r}")
    if any(lo >= hi for lo, hi in zip(lows, highs, strict=True)):
        raise ValueError(f"a box must have a positive extent on every axis; received {box!r}")
    return values


def check_tensor(value: object, what: str = "coords") -> Tensor:
    """``value``, if it is a tensor of numbers; raises ``ValueError`` otherwise."""
    if isinstance(value, Tensor) and not value.is_complex() and value.dtype != torch.bool:
        return value
    received = f"a {value.dtype} tensor" if isinstance(value, Tensor) else type(value).__name__
    raise ValueError(f"{what} are a tensor of numbers (torch.as_tensor makes one); received {received}")


def scaled_size(size: Size, scale: float | None, box: Sequence[float] | None = None) -> Size:
    """A picture's ``size``, or that of a box in it, times ``scale``, rounded, at least one pixel each way.

    >>> scaled_size((10, 20), 2.5), scaled_size((10, 20), 2, (-1, -1, 0, 0))
    ((25, 50), (10, 20))
    """
    if not isinstance(scale, (int, float)) or not 0 < scale < math.inf:
        raise ValueError(f"scale is a positive number; received {scale!r}")
    ends = check_box(box, len(size))
    shares = [(hi - lo) / 2 for lo, hi in zip(ends[: len(size)], ends[len(size) :], strict=True)]
    return tuple(max(1, round(n * scale * share)) for n, share in zip(size, shares, strict=True))


def check_points(coords: Tensor, batch: int, ndim: int, *, device: torch.device | str | None = None) -> Tensor:
    """``coords``, ``(N, d)`` or ``(B or 1, N, d)``, as ``(B, N, d)`` float32; raises ``ValueError`` for others."""
    check_tensor(coords)
    if coords.ndim not in (2, 3) or coords.shape[-1] != ndim or (coords.ndim == 3 and len(coords) not in (1, batch)):
        raise ValueError(f"coords are (N, {ndim}) or ({batch}, N, {ndim}); received shape {tuple(coords.shape)}")
    return coords.to(device, torch.float32).expand(batch, *coords.shape[-2:])


def check_cell(
    cell: Tensor | float | Sequence[float],
    batch: int,
    points: int,
    ndim: int,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """``cell``, a number, ``(d,)``, ``(N or 1, d)`` or ``(B or 1, N or 1, d)``, as ``(B or 1, N or 1, d)`` float32;
    raises ``ValueError`` for others.
    """
    if not isinstance(cell, Tensor) and isinstance(cell, Sequence) and any(isinstance(side, Tensor) for side in cell):
        cell = torch.stack([torch.as_tensor(side) for side in cell])  # as_tensor alone drops gradients
    value = torch.as_tensor(cell, dtype=torch.float32, device=device)
    if value.ndim < 2:
        if value.ndim == 1 and len(value) != ndim:
            raise ValueError(f"a cell has {ndim} sides; received {tuple(value.shape)}")
        return value.expand(ndim).reshape(1, 1, ndim)
    value = value[None] if value.ndim == 2 else value
    fits = value.ndim == 3 and value.shape[0] in (1, batch) and value.shape[1] in (1, points) and value.shape[2] == ndim
    if not fits:
        raise ValueError(
            f"cell is a number, ({ndim},), ({points}, {ndim}) or ({batch}, {points}, {ndim}); received "
            f"shape {tuple(value.shape)}"
        )
    return value


def axes(
    size: Sequence[int], box: Sequence[float] | None = None, *, device: torch.device | str | None = None
) -> tuple[Tensor, ...]:
    """The pixel centres of a grid of ``size`` over ``box``, per axis: ``d`` tensors ``(S_k,)``."""
    ndim = len(size)
    ends = check_box(box, ndim)
    return tuple(pixel_centres(n, ends[k], ends[ndim + k], device=device) for k, n in enumerate(size))


def open_mesh(per_axis: Sequence[Tensor]) -> list[Tensor]:
    """Per-axis coordinates ``(S_k,)`` as float32 tensors ``(1, 1, .., S_k, .., 1)`` that broadcast to the grid."""
    d = len(per_axis)
    return [x.float().reshape(1, *(-1 if k == i else 1 for i in range(d))) for k, x in enumerate(per_axis)]


def mesh(per_axis: Sequence[Tensor]) -> Tensor:
    """Per-axis coordinates ``(S_k,)`` as one list of points ``(prod S, d)``, the last axis running fastest."""
    return torch.stack(torch.meshgrid(*per_axis, indexing="ij"), dim=-1).reshape(-1, len(per_axis))


def grid(
    size: Sequence[int], box: Sequence[float] | None = None, *, device: torch.device | str | None = None
) -> Tensor:
    """The pixel centres of a grid of ``size`` over ``box`` as points ``(prod S, d)``.

    >>> grid((1, 2))
    tensor([[ 0.0000, -0.5000],
            [ 0.0000,  0.5000]])
    """
    return mesh(axes(size, box, device=device))


def cell_size(
    size: Sequence[int], box: Sequence[float] | None = None, *, device: torch.device | str | None = None
) -> Tensor:
    """The size of one output pixel, ``(d,)`` float32: ``2/n`` per axis, or the box's extent over ``n``."""
    ndim = len(size)
    ends = check_box(box, ndim)
    return constants([(ends[ndim + k] - ends[k]) / n for k, n in enumerate(size)], torch.float32, device)


def nearest_index(x: Tensor, n: int, *, ties: Ties = "even") -> Tensor:
    """The index of the pixel whose centre is nearest to ``x``: int64, clamped to ``[0, n - 1]``.

    Ties round half to even, as in ``torch.nn.functional.grid_sample``, or half away from zero, as in
    ``jax.scipy.ndimage.map_coordinates``.

    >>> nearest_index(torch.tensor([-1.0, 0.1, 1.0]), 4)
    tensor([0, 2, 3])
    >>> nearest_index(torch.tensor([-0.5, 0.0, 0.5]), 4, ties="away")
    tensor([1, 2, 3])
    """
    if ties == "even":
        return torch.round(((x + 1) * n - 1) / 2).to(torch.int64).clamp(0, n - 1)
    place = x / 2 * n + (n - 1) / 2  # in their order of operations, on [-0.5, 0.5]
    below = place.floor()
    return (below + (place - below >= 0.5)).to(torch.int64).clamp(0, n - 1)


def mirrored(positions: Tensor, n: int) -> Tensor:
    """Any int64 ``positions`` mirrored into ``[0, n)``, repeatedly; the end pixels repeat.

    >>> mirrored(torch.arange(-4, 7), 3).tolist()
    [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]
    """
    wrapped = positions % (2 * n)
    return torch.minimum(wrapped, 2 * n - 1 - wrapped)
