"""Cut a picture into tiles to encode, without seams, and into blocks to evaluate.

A tile owns the cells of a square of the feature grid. Its halo (encoder radius plus decoder reach) is so wide that
every feature a query reads equals that of the whole picture. Origins lie on the encoder's size multiple.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

import torch
from torch import Tensor

from implicitkit.coordinates import Size, nearest_index
from implicitkit.devices import free_memory, unless_out_of_memory

Window = tuple[slice, ...]
MAX_BLOCK_WIDTH = 256  # points


@dataclass(frozen=True)
class Tiling:
    """A picture of ``size`` (padded: ``extent``) cut into tiles of ``tile`` pixels with ``halo`` pixels around each.

    >>> tiling = Tiling.plan((100, 60), tile=32, stride=1, multiple=1, sight=7)
    >>> tiling.halo, tiling.crop((1, 0))
    (7, (slice(25, 71, None), slice(0, 39, None)))
    """

    size: Size
    extent: Size
    stride: int
    tile: int
    halo: int
    align: int = 1

    @classmethod
    def plan(cls, size: Size, *, tile: int, stride: int, multiple: int, sight: int, align: int | None = None) -> Tiling:
        """Tiles of a picture that the encoder pads to ``multiple`` (itself one of the stride).

        ``tile`` and the halo, ``sight`` pixels, are rounded up to ``align`` (default: ``multiple``), a multiple of
        ``multiple`` at which windows of encoder and necks begin.
        """
        align = multiple if align is None else align

        def up(n: int, to: int) -> int:
            return -(-n // to) * to

        return cls(size, tuple(up(n, multiple) for n in size), stride, up(tile, align), up(sight, align), align)

    @property
    def grid(self) -> Size:
        """Cells of the whole feature grid."""
        return tuple(n // self.stride for n in self.extent)

    def owners(self, x: Tensor, axis: int) -> Tensor:
        """The tile of each coordinate ``x`` of an axis (in the padded extent): int64, same shape."""
        return nearest_index(x.float(), self.grid[axis]) * self.stride // self.tile

    def runs(self, x: Tensor, axis: int) -> list[tuple[int, slice]]:
        """A sorted axis ``(n,)`` as ``(tile, slice)`` runs."""
        tiles, counts = torch.unique_consecutive(self.owners(x, axis), return_counts=True)
        ends = [0, *counts.cumsum(0).tolist()]
        return [(int(t), slice(a, b)) for t, (a, b) in zip(tiles.tolist(), pairwise(ends), strict=True)]

    def crop(self, tile: Size) -> tuple[slice, ...]:
        """The pixels, halo included, from which ``tile`` (one number per axis) is encoded."""
        return tuple(
            slice(max(0, k * self.tile - self.halo), min(n, (k + 1) * self.tile + self.halo))
            for k, n in zip(tile, self.size, strict=True)
        )


def windows(region: Window, block: int) -> Iterator[Window]:
    """Cut ``region`` into windows of at most ``block`` points and ``MAX_BLOCK_WIDTH`` columns: a roughly square window
    reads fewer cells than a few long rows.
    """
    lengths = [span.stop - span.start for span in region]
    steps, room = [0] * len(lengths), max(1, block)
    for k in reversed(range(len(lengths))):
        steps[k] = max(1, min(lengths[k], room, MAX_BLOCK_WIDTH if k else room))
        room //= steps[k]
    starts = [range(span.start, span.stop, step) for span, step in zip(region, steps, strict=True)]
    for corner in product(*starts):
        yield tuple(slice(a, min(a + step, span.stop)) for a, step, span in zip(corner, steps, region, strict=True))


def points_of(window: Window) -> int:
    """The number of points in a window."""
    return math.prod(span.stop - span.start for span in window)


def in_blocks(
    evaluate: Callable[[Window], Tensor], regions: Iterable[Window], block: int, *, retry: bool = True
) -> Iterator[tuple[Window, Tensor]]:
    """Yield ``(window, evaluate(window))`` for windows of at most ``block`` points that cover the regions.

    With ``retry``, halve this and all later windows where memory runs out.
    """
    for region in regions:
        stack = [region]
        while stack:
            window = stack.pop()
            if points_of(window) > block:
                stack += reversed(list(windows(window, block)))
                continue
            may_shrink = retry and points_of(window) > 1
            values = unless_out_of_memory(partial(evaluate, window)) if may_shrink else evaluate(window)
            if values is None:
                block = points_of(window) // 2
                stack.append(window)
            else:
                yield window, values


def check_room(size: Sequence[int], channels: int, device: torch.device, out: Tensor | None = None) -> None:
    """Raise :class:`MemoryError` if a canvas of ``channels`` float32 values a pixel does not fit into free memory.

    With ``out`` the canvas is there.
    """
    needed = 4 * channels * math.prod(size)
    if out is None and needed > 1 << 30 and needed > (available := free_memory(device)):
        shape = "×".join(map(str, reversed(size)))
        raise MemoryError(
            f"a picture of {shape} pixels needs {needed / 1e9:,.1f} GB, {available / 1e9:,.1f} GB are free; ask for a "
            "smaller size or box, or pass out= a tensor on disk, or take the blocks"
        )


def assembled(
    pieces: Iterable[tuple[Window, Tensor]], size: Sequence[int], out: Tensor | None = None, *, fresh: bool = False
) -> Tensor:
    """The canvas ``(B, C, *size)`` made of pieces ``(window, values (B, C, *window))``.

    With ``out`` it is written there, where it is not yet, and ``out`` is returned. ``fresh``: nothing else reads the
    values (embeddings may be the latent itself), so that a piece that is the whole canvas is returned as it is.
    """
    given = out is not None
    for window, values in pieces:
        if out is None and fresh and values.shape[2:] == tuple(size) and values.is_contiguous():
            return values
        if out is None:
            out = values.new_empty((*values.shape[:2], *size))
        place = out[(slice(None), slice(None), *window)]
        if not given or not values.is_set_to(place):
            place.copy_(values)
    assert out is not None
    return out


def check_canvas(out: Tensor, shape: Sequence[int], device: torch.device, *, graph: bool = False) -> None:
    """Raise ValueError unless ``out`` can hold a canvas of ``shape``, float32 on ``device``, without a graph.

    >>> check_canvas(torch.empty(3, 4, 6), (3, 4, 6), torch.device("cpu"))
    """
    expected = f"out is a tensor {tuple(shape)}, {torch.float32}, {device}"
    if not isinstance(out, Tensor):
        raise ValueError(f"{expected}; received {type(out).__name__}")
    if out.shape != torch.Size(shape) or out.dtype != torch.float32 or out.device != device:
        raise ValueError(f"{expected}; received {tuple(out.shape)}, {out.dtype}, {out.device}")
    if graph or out.requires_grad:
        raise ValueError("out takes no values with gradients; encode with grad=False, or render without out")
    if any(step == 0 and n > 1 for step, n in zip(out.stride(), out.shape, strict=True)):
        raise ValueError("out has one place for several pixels, as expanded tensors do; pass out.contiguous()")
