"""Attention of a point over the cells of a window, with places as sines and cosines (CLIT's and LIWT's)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from implicitkit.decoders.base import in_float32
from implicitkit.decoders.joint.base import Around
from implicitkit.decoders.neighbours import axis_linear, combine
from implicitkit.decoders.rows import Rows

OCTAVES = 10


class Places(nn.Module):
    """Offsets -> a logit per head: a linear map of ``[sin(y b), sin(x b), cos(y b), cos(x b)]``.

    ``b = 2^t - 1`` for ``t`` from 0 to 10, ``waves / 4`` values of it. Computed in float32 at any precision, as offsets
    are multiplied by up to 1023.

    >>> Places(heads=2, waves=16)(torch.zeros(5, 9, 2)).shape
    torch.Size([5, 9, 2])
    """

    def __init__(self, heads: int, waves: int) -> None:
        super().__init__()
        self.waves = waves
        self.project = nn.Linear(waves, heads)
        self.project.bias.requires_grad_(False)  # one for all cells of a softmax changes nothing; files have it

    def forward(self, offset: Tensor) -> Tensor:
        """``(..., 2)`` in half cells -> ``(..., heads)``."""
        with in_float32(offset.device.type):
            frequencies = 2 ** torch.linspace(0, OCTAVES, self.waves // 4, device=offset.device) - 1
            angle = (offset[..., None] * frequencies).flatten(-2)
            bias: Tensor | None = self.project.bias
            waves = torch.cat([angle.sin(), angle.cos()], dim=-1) @ self.project.weight.float().t()
            return waves if bias is None else waves + bias.float()


def attend(query: Tensor, key: Tensor, value: Tensor, places: Tensor) -> Tensor:
    """The values of all cells, each times its share of a softmax over the window, per head.

    Args:
        query: ``(B, N, C)``.
        key: ``(B, N, k, C)``.
        value: ``(B, N, k, D)``.
        places: ``(B or 1, N, k, heads)``, added to the logits.

    Returns:
        ``(B, N, k * D)``, all of the first cell first.

    >>> attend(torch.ones(1, 5, 4), torch.ones(1, 5, 9, 4), torch.ones(1, 5, 9, 6), torch.zeros(1, 5, 9, 2)).shape
    torch.Size([1, 5, 54])
    """
    heads = places.shape[-1]
    with in_float32(query.device.type):
        query, key, value = (x.float().unflatten(-1, (heads, -1)) for x in (query, key, value))
        logits = (query[:, :, None] * key).sum(-1) / math.sqrt(query.shape[-1]) + places
        return (logits.softmax(dim=2)[..., None] * value).flatten(2)


def zero_outside(around: Around) -> Tensor:
    """The rows around queries, zeros in place of cells outside the picture: they stay in the softmax."""
    return around.rows * around.inside[..., None].to(around.rows.dtype)


def read_with_zeros(source: Rows, per_axis: list[Tensor]) -> Tensor:
    """The map ``(B, N, K)`` interpolated linearly at queries given per axis (they broadcast), zero outside."""
    axes = [axis_linear(x, n, n, repeat=False) for x, n in zip(per_axis, source.grid, strict=True)]
    near = combine(axes, source.cells, source.origin)
    return torch.stack(
        [
            source.take(index).float().unflatten(0, (len(source.rows), -1)) * weight[..., None]
            for index, weight in zip(near.row.flatten(2), near.weight.flatten(2), strict=True)
        ]
    ).sum(0)
