"""Query a decoder on a picture's latents: map coordinates into the padded extent, and values back to [0, 1]."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from implicitkit import kernels
from implicitkit.coordinates import Size
from implicitkit.decoders.base import Decoder, Question
from implicitkit.decoders.ending import Ending
from implicitkit.devices import constants, free_memory
from implicitkit.field.latents import MAX_CACHED_TILES, Latents
from implicitkit.field.tiles import Tiling, Window, assembled, in_blocks
from implicitkit.kernels.pool import MAX_WORKERS

CPU_BLOCK, GPU_BLOCK = 1 << 13, 1 << 18  # queries per block on the plain path; on a CPU per thread
CPU_KERNEL_BLOCK, GPU_KERNEL_BLOCK = 1 << 16, 1 << 24  # the same for kernels: at most some tenths of a second
CPU_BASIS_BLOCK, GPU_BASIS_BLOCK = 1 << 20, 1 << 24  # the same for grids of basis decoders and LMF: at most 0.2 s
QUERY_BYTES = 1 << 16  # per query, more than any built-in decoder takes
KERNEL_QUERY_BYTES = 1 << 10  # the same of a GPU's kernels, which hold the result alone


class Asked:
    """A question to a picture, and the latents with which the decoder began it (:meth:`Decoder.begin`), made when first
    needed and kept unless there is a graph.
    """

    def __init__(self, decoder: Decoder, latents: Latents, question: Question, *, keep: bool) -> None:
        self._decoder, self._latents, self.question, self._keep = decoder, latents, question, keep
        self._begun: OrderedDict[Any, Any] = OrderedDict()
        self._plain = not _begins(decoder)

    def whole(self) -> Any:
        """The begun latent of the whole picture."""
        if self._plain:
            return self._latents.whole
        if None not in self._begun:
            self._begun[None] = self._decoder.begin(self._latents.whole, self.question)
        return self._begun[None]

    def tile(self, tiling: Tiling, tile: Size, picture: int | None = None) -> Any:
        """The begun latent of one tile; see :meth:`Latents.tile`."""
        latent = self._latents.tile(tiling, tile, picture)
        if self._plain:
            return latent
        key = (tiling.tile, tile, picture)
        if key in self._begun:
            return self._begun[key]
        begun = self._decoder.begin(latent, self.question if picture is None else _of_picture(self.question, picture))
        if self._keep:
            self._begun[key] = begun
            while len(self._begun) > MAX_CACHED_TILES:
                self._begun.popitem(last=False)
        return begun


class Sampler:
    """The values of a decoder on a picture's latents, tile by tile and block by block.

    Pictures are mapped from the output space ``(picture - mean) / std`` back to [0, 1]; embeddings are not. With
    ``grad`` the graph is kept, and all points are evaluated in one block.
    """

    def __init__(
        self, decoder: Decoder, latents: Latents, image: Tensor, *, mean: float, std: float, grad: bool
    ) -> None:
        self._decoder, self._latents, self._image = decoder, latents, image
        self._mean, self._std, self._grad = mean, std, grad
        self._size: Size = tuple(image.shape[2:])

    def ask(self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool, options: Mapping[str, Any]) -> Asked:
        """A question on the grid of ``per_axis``; ``default``: the cell was not given explicitly."""
        inside, own = self._to_extent(per_axis, cell, default)
        return self._asked(Question(own, axes=tuple(inside), options=options), cell)

    def ask_at(self, coords: Tensor, cell: Tensor | None, options: Mapping[str, Any]) -> Asked:
        """A question at points ``(B, N, d)``."""
        per_axis, own = self._to_extent(coords.unbind(-1), cell, default=False)
        return self._asked(Question(own, points=torch.stack(per_axis, dim=-1), options=options), cell)

    def on_grid(
        self,
        asked: Asked,
        window: Window,
        conditions: Mapping[str, Tensor],
        *,
        clamp: bool = False,
        out: Tensor | None = None,
    ) -> Tensor:
        """Values ``(B, out, *S)`` on a window of the question's grid.

        ``clamp``: limit pictures to [0, 1]. ``out``: where they may be written; what is returned may be another tensor.
        """
        cell, per_axis = asked.question.cell, asked.question.axes
        assert per_axis is not None
        inside = [axis[span] for axis, span in zip(per_axis, window, strict=True)]
        ending = self._ending(clamp)
        if self._latents.tiling is None:
            return kernels.query_grid(self._decoder, asked.whole(), inside, cell, conditions, ending, out)

        def evaluate(tiling: Tiling) -> Tensor:
            def tiles() -> Iterator[tuple[Window, Tensor]]:
                for run in product(*(tiling.runs(axis, k) for k, axis in enumerate(inside))):
                    window = tuple(span for _, span in run)
                    part = [axis[span] for axis, span in zip(inside, window, strict=True)]
                    latent = asked.tile(tiling, tuple(tile for tile, _ in run))
                    own = {name: value[(slice(None), slice(None), *window)] for name, value in conditions.items()}
                    place = None if out is None else out[(slice(None), slice(None), *window)]
                    yield window, kernels.query_grid(self._decoder, latent, part, cell, own, ending, place)

            return assembled(tiles(), [len(axis) for axis in inside], out)

        return self._latents.on_tiles(evaluate)

    def at_points(self, asked: Asked, conditions: Mapping[str, Tensor]) -> Tensor:
        """Values ``(B, N, out)`` at all points of the question."""
        cell, points = asked.question.cell, asked.question.points
        assert points is not None
        if self._latents.tiling is None:
            return self._in_blocks(asked.whole(), points, cell, conditions)

        def evaluate(tiling: Tiling) -> Tensor:
            owners = torch.stack([tiling.owners(axis, k) for k, axis in enumerate(points.unbind(-1))], dim=-1)
            values = points.new_empty((*points.shape[:2], self._decoder.out_channels))
            for b in range(len(points)):  # the points of a tile differ between the pictures of a batch
                cells = cell if cell is None or len(cell) == 1 else cell[b : b + 1]
                for tile in torch.unique(owners[b], dim=0).tolist():
                    at = (owners[b] == torch.tensor(tile, device=owners.device)).all(-1).nonzero()[:, 0]
                    own_cell, own = _part(cells, {name: value[b : b + 1] for name, value in conditions.items()}, at)
                    latent = asked.tile(tiling, tuple(tile), b)
                    values[b, at] = self._in_blocks(latent, points[b : b + 1, at], own_cell, own)[0]
            return values

        return self._latents.on_tiles(evaluate)

    def spans(self, per_axis: Sequence[Tensor]) -> list[list[slice]]:
        """The grid cut along tiles, axis by axis."""
        tiling = self._latents.tiling
        if tiling is None:
            return [[slice(0, len(axis))] for axis in per_axis]
        inside, _ = self._to_extent(per_axis, None, default=False)
        return [[span for _, span in tiling.runs(axis, k)] for k, axis in enumerate(inside)]

    def block(self, cell: Tensor | None, *, grid: bool = False) -> int:
        """Queries of this ``cell`` ``(B or 1, N or 1, d)``, of a grid or points, to evaluate at a time."""
        device = self._image.device
        if grid and kernels.renders_at_once(self._decoder, self._image, cell):
            limit = GPU_BASIS_BLOCK if device.type == "cuda" else CPU_BASIS_BLOCK * torch.get_num_threads()
            return max(1, limit // len(self._image))
        large = kernels.runs_in_large_blocks(self._decoder, self._image, cell)
        if device.type == "cpu":
            threads = torch.get_num_threads()
            limit = CPU_KERNEL_BLOCK * threads // len(self._image) if large else CPU_BLOCK * min(threads, MAX_WORKERS)
        else:
            limit = GPU_KERNEL_BLOCK // len(self._image) if large else GPU_BLOCK
        each = KERNEL_QUERY_BYTES if large and device.type == "cuda" else QUERY_BYTES
        return max(1, min(limit, free_memory(device) // (each * len(self._image))))

    def _asked(self, question: Question, cell: Tensor | None) -> Asked:
        if _begins(self._decoder):  # free memory is asked for no other
            question = replace(question, block=self.block(cell))
        return Asked(self._decoder, self._latents, question, keep=not self._grad)

    def _in_blocks(self, latent: Any, points: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        """The decoder's values at ``points`` ``(B, N, d)``, in blocks unless a graph is kept."""

        def evaluate(window: Window) -> Tensor:
            own_cell, own = _part(cell, conditions, window[0])
            values = kernels.query(self._decoder, latent, points[:, window[0]], own_cell, own)
            return values.float() if ending is None else ending(values)

        count, ending = points.shape[1], self._ending()
        if count == 0 or self._grad:
            return evaluate((slice(None),))
        parts = [values for _, values in in_blocks(evaluate, [(slice(0, count),)], self.block(cell))]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _ending(self, clamp: bool = False) -> Ending | None:
        """The way back to [0, 1]; None for embeddings."""
        return Ending(self._std, self._mean, clamp) if self._decoder.output == "picture" else None

    def _to_extent(
        self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool
    ) -> tuple[list[Tensor], Tensor | None]:
        """Map picture coordinates and cells into the padded extent of the features."""
        extent = self._latents.extent
        ratio = [n / e for n, e in zip(self._size, extent, strict=True)]
        inside = [x if r == 1 else (x + 1) * r - 1 for x, r in zip(per_axis, ratio, strict=True)]
        if not self._decoder.uses_cell or cell is None:
            return inside, None
        if self._size != extent:
            cell = cell * constants(ratio, torch.float32, cell.device)
        return inside, self._decoder.default_cell(cell, extent) if default else cell


def _begins(decoder: Decoder) -> bool:
    """Whether the decoder computes anything for a question as a whole."""
    return type(decoder).begin is not Decoder.begin


def _part(
    cell: Tensor | None, conditions: Mapping[str, Tensor], at: slice | Tensor
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The cells and the conditions' values of some points."""
    own = cell if cell is None or cell.shape[1] == 1 else cell[:, at]
    return own, {name: value[:, at] for name, value in conditions.items()}


def _of_picture(question: Question, b: int) -> Question:
    """The question to one picture of the batch."""
    cell, points = (x if x is None or len(x) == 1 else x[b : b + 1] for x in (question.cell, question.points))
    return replace(question, cell=cell, points=points)
