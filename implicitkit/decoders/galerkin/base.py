"""Galerkin attention over all points of a question (Cao, NeurIPS 2021), and the decoders that use it.

Its weights are sums over the points, so a value depends on the whole question: all output pixels of a render, also of
those outside a block; or all points of a call. They are summed once per question, in passes over blocks, so that blocks
and threads give one answer. Tiles would not see all points: these decoders see the whole picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Condition, Decoder, Inputs, Question, in_float32
from implicitkit.decoders.neighbours import axis_neighbours, combine
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import picture_rows, read_linear
from implicitkit.devices import constants
from implicitkit.encoders.base import Features


class Galerkin(nn.Module):
    """``G(x) = P2(gelu(P1(q S + x))) + x`` with ``S = sum k v^T / N`` per head, ``k`` and ``v`` normalised.

    Args:
        width: values per point.
        heads: attention heads; divides ``width``. Each holds its query, key and value side by side.
        norm: normalises ``(B, N, heads, width / heads)``, keys and values each with one of its own.
    """

    def __init__(self, width: int, heads: int, norms: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_key, self.norm_value = norms
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def sums(self, x: Tensor) -> Tensor:
        """``sum k v^T`` ``(B, heads, d, d)`` over the points ``(B, N, width)``, in float32."""
        _, key, value = self._split(x)
        key, value = self.norm_key(key), self.norm_value(value)
        with in_float32(x.device.type):
            return torch.einsum("bnhi,bnhj->bhij", key.float(), value.float())

    def forward(self, x: Tensor, mean: Tensor) -> Tensor:
        """``x`` ``(B, N, width)``, and :meth:`sums` over the number of points."""
        query, _, _ = self._split(x)
        attended = torch.einsum("bnhi,bhij->bnhj", query, mean.to(query.dtype)).flatten(2)
        result: Tensor = self.second(F.gelu(self.first(attended + x))) + x
        return result

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        parts: tuple[Tensor, ...] = self.qkv(x).unflatten(-1, (self.heads, -1)).chunk(3, dim=-1)
        return parts


@dataclass(frozen=True)
class Whole:
    """A whole picture as these decoders read it, and the means of a question once it has begun."""

    features: Rows
    extent: Size
    picture: Rows | None
    means: tuple[Tensor, ...] = ()


class GalerkinDecoder(Decoder):
    """Lifts each point to ``width`` values, applies attentions over all points, and maps each point to its value.

    A subclass writes :meth:`features_of`, :meth:`lift` and :meth:`lower` and sets ``attentions``. The points of a
    question are all pixels of a render, whatever its blocks, or all points of a call: a list of other points gives
    other values, so train and ask with many; a single point is refused. The interpolated input picture is added.
    """

    reach = None
    attentions: nn.ModuleList

    def features_of(self, map: Tensor) -> Tensor:
        """The map ``(B, D, H, W)`` that points read, of the encoder's."""
        return map

    def lift(self, latent: Whole, coords: Tensor, cell: Tensor | None) -> tuple[Tensor, Any]:
        """Points ``(B or 1, N, 2)`` -> ``(B, N, width)``, and whatever :meth:`lower` needs besides."""
        raise NotImplementedError(f"{type(self).__name__} does not implement lift()")

    def lower(self, x: Tensor, rest: Any) -> Tensor:
        """``(B, N, width)`` -> ``(B, N, out_channels)``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement lower()")

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Whole:
        rows = Rows.of(self.features_of(features.map), features.origin, features.grid)
        return Whole(rows, features.extent, picture_rows(inputs, self.out_channels))

    def begin(self, latent: Whole, question: Question) -> Whole:
        if question.axes is None and question.count == 1:
            raise ValueError(
                f"{self.title} sums over all points of a question, so one point has no value of its own; render a "
                "picture, or ask for all points at once"
            )
        means: tuple[Tensor, ...] = ()
        for attention in self.attentions:
            assert isinstance(attention, Galerkin)
            total: Tensor | float = 0.0
            for coords, cell in question.blocks():
                x, _ = self.lift(latent, coords, cell)
                for earlier, mean in zip(self.attentions, means, strict=False):
                    x = earlier(x, mean)
                sums: Tensor = attention.sums(x)
                total = total + sums
            if isinstance(total, Tensor):
                means = (*means, total / question.count)
        return replace(latent, means=means)

    def query(self, latent: Whole, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        coords = coords.float()
        if coords.shape[1] == 0:
            return coords.new_zeros(len(latent.features.rows), 0, self.out_channels)
        if len(latent.means) != len(self.attentions):
            raise ValueError(f"{self.title} answers questions, whose points it sums over: call begin() before query()")
        x, rest = self.lift(latent, coords, cell)
        for attention, mean in zip(self.attentions, latent.means, strict=True):
            x = attention(x, mean)
        values = self.lower(x, rest).float()
        return (
            values if latent.picture is None else values + read_linear(latent.picture, latent.extent, coords.unbind(-1))
        )

    def corners(self, latent: Whole, coords: Tensor) -> tuple[Tensor, Tensor]:
        """The offsets ``(B or 1, N, 8)`` from the four nearest cells in half cells, and their weighted features ``(B,
        N, 4 D)``.
        """
        source = latent.features
        near = combine(
            [axis_neighbours(x, n) for x, n in zip(coords.float().unbind(-1), source.grid, strict=True)],
            source.cells,
            source.origin,
        )
        weighted = [
            source.take(index).unflatten(0, (len(source.rows), -1)) * weight[..., None].to(source.rows.dtype)
            for index, weight in zip(near.row, near.weight, strict=True)
        ]
        return torch.cat(near.offset.unbind(0), dim=-1), torch.cat(weighted, dim=-1)


def in_cells(cell: Tensor | None, grid: Size, like: Tensor) -> Tensor:
    """The output pixel's size in half cells for each point of ``like`` ``(B, N, D)``: ``(B, N, 2)``."""
    assert cell is not None
    cell = cell.float() * constants(grid, torch.float32, cell.device)
    return cell.expand(*like.shape[:2], -1)
