"""Slow, literal versions of what several decoders share, one point and one neighbour at a time, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik
from implicitkit.coordinates import grid


def unfold(features: Tensor) -> Tensor:
    """3x3 neighbourhoods ``(B, 9 D, H, W)``, zero padding, channel-major."""
    return F.unfold(features, 3, padding=1).unflatten(-1, features.shape[2:])


def ensemble(point: Tensor, size: tuple[int, ...]) -> list[tuple[tuple[int, ...], list[float], float]]:
    """The four cells near a point ``(2,)``: ``(index, offset in cells, weight)``, the weight the opposite area's."""
    found, areas = [], []
    for side in itertools.product((-1, 1), repeat=2):
        index, offset = [], []
        for x, n, s in zip(point.tolist(), size, side, strict=True):
            shifted = min(max(x + s / n + 1e-6, -1 + 1e-6), 1 - 1e-6)
            index.append(min(max(round(((shifted + 1) * n - 1) / 2), 0), n - 1))
            offset.append((x - (-1 + (2 * index[-1] + 1) / n)) * n)
        found.append((tuple(index), offset))
        areas.append(abs(offset[0] * offset[1]) + 1e-9)
    return [(i, o, a / sum(areas)) for (i, o), a in zip(found, areas[::-1], strict=True)]


def blend(
    coords: Tensor, size: tuple[int, ...], predict: Callable[[int, int, tuple[int, ...], Tensor], Tensor]
) -> Tensor:
    """``(B, N, out)``: ``predict(picture, point number, cell index, offset)`` blended over the four cells."""
    rows = []
    for b, points in enumerate(coords):
        for i, point in enumerate(points):
            near = ensemble(point.double(), size)
            rows.append(sum(w * predict(b, i, index, torch.tensor(o).double()) for index, o, w in near))
    return torch.stack(rows).unflatten(0, coords.shape[:2])


def bilinear(map: Tensor, coords: Tensor) -> Tensor:
    """``map`` ``(B, C, H, W)`` interpolated at ``coords`` ``(B, N, 2)``, in its own extent: ``(B, N, C)``."""
    found = F.grid_sample(map.double(), coords.double().flip(-1)[:, None], padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2)


def into_extent(coords: Tensor, size: tuple[int, ...], multiple: int) -> Tensor:
    """Coordinates of a picture of ``size`` as those of it padded, at bottom and right, to a multiple."""
    padded = torch.tensor([-(-n // multiple) * multiple for n in size])
    return (coords.double() + 1) / 2 * torch.tensor(size) / padded * 2 - 1


def at_cells(field: ik.Field, cells: tuple[int, int], extent: tuple[int, int]) -> Tensor:
    """The field ``(B, C, *cells)`` at the centre of every cell of a padded extent, asked for point by point."""
    points = (grid(cells).double() + 1) * torch.tensor(extent) / torch.tensor(field.size) - 1
    return field.predict(points.float()).values.double().transpose(1, 2).unflatten(-1, cells)


def similarities(field: ik.Field, classes: Tensor, cells: tuple[int, int], extent: tuple[int, int]) -> Tensor:
    """Dot products with the field at the centre of every cell."""
    return torch.einsum("bchw,pc->bphw", at_cells(field, cells, extent), classes.double())
