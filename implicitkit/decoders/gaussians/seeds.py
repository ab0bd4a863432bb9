"""GSASR's attention: seeds, a lattice of them per window of cells, read the cells and one another (Chen et al., 2025).

Everything works on windows ``(B * rows * columns, seeds, C)``, as :func:`implicitkit.encoders.swinir.partition` cuts
them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from implicitkit.encoders.swinir import partition, relative_index, unpartition


class WindowAttention(nn.Module):
    """Multi-head attention of the seeds of a window to its tokens, with a learnt bias per pair of places.

    Args:
        channels: width.
        heads: attention heads; they divide ``channels``.
        index: ``(seeds, tokens)``, the row of ``bias`` for each pair.
        rows: of ``bias``.
        stored: keep ``index`` among the weights.

    >>> WindowAttention(8, 2, torch.zeros(4, 9, dtype=torch.long), 1)(torch.rand(3, 4, 8), torch.rand(3, 9, 8)).shape
    torch.Size([3, 4, 8])
    """

    index: Tensor

    def __init__(self, channels: int, heads: int, index: Tensor, rows: int, stored: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.bias = nn.Parameter(torch.empty(rows, heads))
        self.register_buffer("index", index.clone(), persistent=stored)  # a file holds no shared tensors
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, seeds: Tensor, tokens: Tensor) -> Tensor:
        """``(M, seeds, C)`` and ``(M, tokens, C)`` -> ``(M, seeds, C)``."""
        given = (self.query(seeds), self.key(tokens), self.value(tokens))
        q, k, v = (rearrange(x, "m n (heads c) -> m heads n c", heads=self.heads) for x in given)
        bias = rearrange(self.bias[self.index], "n k heads -> 1 heads n k")
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        result: Tensor = self.out(rearrange(attended, "m heads n c -> m n (heads c)"))
        return result


class SeedLayer(nn.Module):
    """What seeds are told of the magnification, attention, and a network per seed; each is added to them.

    The authors' layer attends from the seeds to the magnification's code, which is one vector for all: whatever the
    queries and keys, the answer is its value. So only that is kept here.

    Args:
        channels: width.
        attention: to the cells, or among the seeds.
        shift: how far the lattice of windows is moved for the attention, in cells or seeds.
    """

    def __init__(self, channels: int, attention: WindowAttention, shift: int) -> None:
        super().__init__()
        self.told = nn.Sequential(nn.Linear(channels, channels), nn.Linear(channels, channels))
        self.norm_told, self.norm, self.norm_mlp = (nn.LayerNorm(channels) for _ in range(3))
        self.mlp_told, self.mlp = (
            nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels)) for _ in range(2)
        )
        self.attention, self.shift = attention, shift

    def tell(self, seeds: Tensor, scale: Tensor) -> Tensor:
        """``scale`` is its code, ``(M, 1, C)``."""
        seeds = seeds + self.told(scale)
        return torch.add(seeds, self.mlp_told(self.norm_told(seeds)))

    def finish(self, seeds: Tensor, attended: Tensor) -> Tensor:
        seeds = seeds + attended
        return torch.add(seeds, self.mlp(self.norm_mlp(seeds)))


class CrossLayer(SeedLayer):
    """A layer whose seeds read the cells of a window; in every other layer the cells are moved by half a window."""

    def forward(self, seeds: Tensor, places: Tensor, map: Tensor, scale: Tensor, window: int) -> Tensor:
        """``seeds`` ``(M, seeds, C)``, ``places`` ``(seeds, C)``, ``map`` ``(B, H, W, C)``, ``scale`` ``(M, 1, C)``."""
        seeds = self.tell(seeds, scale)
        cells = partition(map.roll((-self.shift, -self.shift), (1, 2)) if self.shift else map, window)
        return self.finish(seeds, self.attention(self.norm(seeds) + places, cells))


class AmongLayer(SeedLayer):
    """A layer whose seeds read one another; in every other layer over windows of seeds moved by half of one."""

    def forward(self, seeds: Tensor, size: tuple[int, int], scale: Tensor, side: int) -> Tensor:
        """``size`` is that of the whole lattice of seeds, ``side`` a window's."""
        seeds = self.tell(seeds, scale)
        x = self.norm(seeds)
        if self.shift:
            x = partition(unpartition(x, side, *size).roll((-self.shift, -self.shift), (1, 2)), side)
        x = self.attention(x, x)
        if self.shift:
            x = partition(unpartition(x, side, *size).roll((self.shift, self.shift), (1, 2)), side)
        return self.finish(seeds, x)


class SeedBlock(nn.Module):
    """Layers on normalised seeds and a network per seed, added to the block's input.

    Args:
        channels: width.
        layers: what is run between.
    """

    def __init__(self, channels: int, layers: list[SeedLayer]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.layers = nn.ModuleList(layers)
        self.mlp = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))

    def forward(self, seeds: Tensor, *others: object) -> Tensor:
        """``others`` go to each layer."""
        x = self.norm(seeds)
        for layer in self.layers:
            x = layer(x, *others)
        result: Tensor = seeds + self.mlp(x)
        return result


def cross_block(channels: int, heads: int, layers: int, seeds: int, window: int) -> SeedBlock:
    """A block whose ``seeds`` a side read ``window`` cells a side."""
    index, rows = lattices(seeds, window)
    attention = (WindowAttention(channels, heads, index, rows, stored=True) for _ in range(layers))
    return SeedBlock(channels, [CrossLayer(channels, a, k % 2 * (window // 2)) for k, a in enumerate(attention)])


def among_block(channels: int, heads: int, layers: int, seeds: int) -> SeedBlock:
    """A block whose ``seeds`` a side read one another."""
    index = relative_index(seeds, torch.empty(0).device)
    attention = (WindowAttention(channels, heads, index, (2 * seeds - 1) ** 2) for _ in range(layers))
    return SeedBlock(channels, [AmongLayer(channels, a, k % 2 * (seeds // 2)) for k, a in enumerate(attention)])


def lattices(seeds: int, window: int) -> tuple[Tensor, int]:
    """The row of a table for each pair of a seed and a cell, ``(seeds^2, window^2)``, and how many rows there are.

    Both lattices fill the same window, so pairs at the same distance share a row. (The authors number the distances by
    the order of a Python set, which is theirs alone: their files hold the numbers, and ours do.)

    >>> index, rows = lattices(2, 2)
    >>> index.tolist(), rows
    ([[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]], 9)
    """
    apart = [[(2 * s + 1) * window - (2 * c + 1) * seeds for c in range(window)] for s in range(seeds)]
    place = {distance: k for k, distance in enumerate(sorted({d for row in apart for d in row}))}
    number = torch.tensor([[place[distance] for distance in row] for row in apart])  # on any device, meta too
    side = max(len(place), 2 * max(seeds, window) - 1)
    index = number[:, None, :, None] * side + number[None, :, None, :]
    return index.reshape(seeds**2, window**2), side**2
