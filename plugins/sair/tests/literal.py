"""Slow, literal versions of what several decoders share, one point and one neighbour at a time, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

import implicitkit as ik


class Patches(ik.Encoder):
    """Each patch of pixels, mapped linearly: the smallest encoder that has a stride, pads, and sees a mask."""

    def __init__(self, channels: int = 6, patch: int = 4, mask_channels: int = 1) -> None:
        super().__init__()
        self.out_channels, self.stride, self.size_multiple = channels, patch, patch
        self.radius, self.mask_channels = patch - 1, mask_channels
        self.embed = torch.nn.Conv2d(3 + mask_channels, channels, patch, stride=patch)

    def extract(self, x: Tensor) -> Tensor:
        return self.embed(x)


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
