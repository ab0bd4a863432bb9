"""A picture as a continuous function: what ``model.encode(image)`` returns."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import chain, product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import Size, axes, cell_size, check_cell, check_points, check_size
from implicitkit.decoders.mlp import Ready, weights_prepared_once
from implicitkit.devices import PRECISIONS, free_memory, unless_out_of_memory
from implicitkit.field.latents import Composed, Latents, SmallerTiles
from implicitkit.field.tiles import Tiling, Window, cut, noting, points_of
from implicitkit.images.filling import Fill, fill_holes
from implicitkit.kernels.workers import in_order, workers

CPU_BLOCK, GPU_BLOCK = 1 << 13, 1 << 18  # queries per block, where memory allows
FUSED_BLOCK = 1 << 16  # for each thread, of a decoder's own kernel on a CPU: some tenths of a second
SMALLEST_BLOCK = 1 << 11  # that is worth a worker's while
QUERY_BYTES = 1 << 16  # more than any built-in decoder takes for one


class Prediction(NamedTuple):
    """What a model says at a list of points."""

    values: Tensor
    """``(B, N, out)``; pictures in [0, 1] (not clamped), embeddings as they are."""
    conditions: dict[str, Tensor]
    """``(B, N, C)`` per condition that was asked for: what a loss on a condition needs."""


class Field:
    """One picture (or batch) as a function of continuous coordinates.

    Made by :meth:`ImplicitModel.encode`. It holds features and a reference to the model, no parameters of its own;
    asking it anything changes neither, so several threads may.

    Attributes:
        model: whose field it is.
        conditions: the fields that the model reads, by name; each answers with a batch as this one does.
        batched: whether the picture came as a batch, and answers do.
        size: the picture's ``(H, W)``.
    """

    def __init__(
        self,
        model: Composed,
        image: Tensor,
        mask: Tensor | None = None,
        *,
        tile: int | None = None,
        precision: str | None = None,
        grad: bool = False,
        conditions: Mapping[str, Field] | None = None,
        fill: Fill | None = None,
    ) -> None:
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}; received {precision!r}")
        self.model, self.grad, self.precision = model, grad, precision
        self.batched = image.ndim == model.ndim + 2
        self._image, self._mask = model.check_inputs(image, mask)
        if fill is not None and self._mask is not None:
            self._image = fill_holes(self._image, self._mask, fill)
        self.size: Size = tuple(self._image.shape[2:])
        if conditions is not None and set(conditions) != set(model.conditions.keys()):
            raise ValueError(
                f"the model reads the conditions {sorted(model.conditions.keys()) or 'none'}; received "
                f"{sorted(conditions) or 'none'}"
            )
        read = dict(conditions or {}) or {
            name: Field(
                condition,
                self._image,
                self._mask if condition.takes_mask else None,
                tile=None if condition.encoder.radius is None else tile,
                precision=precision,
                grad=grad,
                fill=condition.fill,
            )
            for name, condition in model.conditions.items()
        }
        for name, field in read.items():
            if (count := len(field._image)) != len(self._image):
                raise ValueError(f"the condition {name!r} is of {count} pictures, the image of {len(self._image)}")
        self._read = {name: field._answering(batched=True) for name, field in read.items()}  # a decoder's are batched
        self.conditions = {name: field._answering(self.batched) for name, field in read.items()}
        with self._context():
            self._latents = Latents(model, self._image, self._mask, self._read, tile=tile, grad=grad)
        self._extent = self._latents.extent

    # ---------------------------------------------------------------- what a user asks

    def __call__(self, coords: Tensor, cell: Tensor | float | Sequence[float] | None = None) -> Tensor:
        """Values at any points.

        Args:
            coords: ``(N, d)`` or ``(B, N, d)``, order ``(y, x)``, the picture being ``[-1, 1]^d``.
            cell: size of an output pixel in the same units: a number, ``(d,)``, ``(N, d)`` or ``(B, N, d)``.
                Needed if the decoder uses it.

        Returns:
            ``(N, out)``, or ``(B, N, out)`` if the picture or the points are batched. Pictures in [0, 1], not clamped.
        """
        batched = self.batched or coords.ndim == 3
        coords, cells = self._check_points(coords, cell)
        with self._context():
            result = self._at_points(coords, cells).values
        return result if batched else result[0]

    def predict(
        self,
        coords: Tensor,
        cell: Tensor | float | Sequence[float] | None = None,
        wanted: Collection[str] | None = None,
    ) -> Prediction:
        """Like calling the field, with the values of conditions beside it; always batched.

        Args:
            coords: see :meth:`__call__`.
            cell: see :meth:`__call__`.
            wanted: names of conditions (default: all). One that is neither wanted nor read by the decoder at its points
                is not evaluated there.
        """
        coords, cells = self._check_points(coords, cell)
        wanted = tuple(self._read) if wanted is None else wanted
        unknown = set(wanted) - set(self._read)
        if unknown:
            raise ValueError(f"wanted are {sorted(unknown)}; the model reads {sorted(self._read) or 'none'}")
        with self._context():
            return self._at_points(coords, cells, wanted)

    def render(
        self,
        size: Sequence[int] | int,
        box: Sequence[float] | None = None,
        cell: Tensor | float | Sequence[float] | None = None,
        *,
        clamp: bool = True,
        block: int | None = None,
    ) -> Tensor:
        """The field on a pixel grid.

        Args:
            size: pixels per axis, ``(H, W)``; any size, any aspect.
            box: the window ``(y0, x0, y1, x1)`` to show (default: the whole extent).
            cell: see :meth:`__call__`; by default the size of one output pixel.
            clamp: limit pictures to [0, 1].
            block: queries that are evaluated at a time, or, where the decoder has no kernel on a CPU with several
                threads, by each of some threads (default: what suits the device); the result does not depend on it.

        Returns:
            ``(out, *size)``, or ``(B, out, *size)`` for a batch.
        """
        size = check_size(size, self.model.ndim)
        canvas: Tensor | None = None
        for window, values in self.blocks(size, box, cell, clamp=clamp, block=block):
            if canvas is None:
                canvas = values.new_empty((*values.shape[:2], *size))
            canvas[(slice(None), slice(None), *window)] = values
        assert canvas is not None
        return canvas if self.batched else canvas[0]

    def blocks(
        self,
        size: Sequence[int] | int,
        box: Sequence[float] | None = None,
        cell: Tensor | float | Sequence[float] | None = None,
        *,
        clamp: bool = True,
        block: int | None = None,
    ) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """What :meth:`render` assembles, piece by piece: ``(window, values (B, out, *window))``; for canvases too
        large for memory. The model's weights must not change between two pieces.
        """
        size = check_size(size, self.model.ndim)
        per_axis = axes(size, box, device=self.device)
        default = cell is None
        step = cell_size(size, box, device=self.device) if default else cell
        cells = self._check_cell(step, 1)
        if cells is not None and cells.shape[:2] != (1, 1):
            raise ValueError("render takes one cell for the whole grid; ask the field at points for one cell each")

        ready = Ready()

        def evaluate(window: Window) -> Tensor:
            with self._context(), weights_prepared_once(ready):
                part = [axis[span] for axis, span in zip(per_axis, window, strict=True)]
                values = self._on_grid(part, cells, default)
                return values.clamp(0, 1) if clamp and self.model.decoder.output == "picture" else values

        return self._pieces(evaluate, product(*self._spans(per_axis)), block, fused=self._is_fused(cells))

    @property
    def image(self) -> Tensor:
        """The picture that it is a field of, its holes filled as the encoder sees them: ``(C, *S)``, or ``(B, C, *S)``
        for a batch; float32, on its device.
        """
        return self._image if self.batched else self._image[0]

    @property
    def mask(self) -> Tensor | None:
        """What was missing of it: ``(1, *S)`` or ``(B, 1, *S)``, 1 where missing; None if the model takes no mask."""
        return self._mask if self.batched or self._mask is None else self._mask[0]

    @property
    def device(self) -> torch.device:
        """Where the field's picture is."""
        return self._image.device

    def _answering(self, batched: bool) -> Field:
        """The same field, sharing all that it holds, whose answers have a leading ``B`` or not."""
        if batched == self.batched:
            return self
        view = copy.copy(self)
        view.batched = batched
        view.conditions = {name: field._answering(batched) for name, field in self.conditions.items()}
        return view

    @property
    def _has_tiles(self) -> bool:
        """Whether there may be something to encode when it is asked."""
        return self._latents.tiling is not None or any(field._has_tiles for field in self._read.values())

    def _is_fused(self, cell: Tensor | None) -> bool:
        """Whether a kernel of the decoder's own evaluates queries of this ``cell`` ``(B or 1, N or 1, d)``."""
        with self._context():
            return (cell is None or cell.shape[:2] == (1, 1)) and self.model.decoder.is_fused(self._image)

    def _workers(self, fused: bool) -> int:
        """How many blocks are evaluated at a time."""
        return 1 if self.grad or fused or self.device.type != "cpu" else workers()

    def _block(self, points: int, fused: bool) -> int:
        """How many of so many points are evaluated at a time; no more than leaves a block or two for every worker."""
        most, count = CPU_BLOCK if self.device.type == "cpu" else GPU_BLOCK, self._workers(fused)
        if fused and self.device.type == "cpu":
            most = FUSED_BLOCK * torch.get_num_threads() // len(self._image)
        if count > 1:
            most = min(most, max(SMALLEST_BLOCK, points // (2 * count)))
        return max(1, min(most, free_memory(self.device) // (count * QUERY_BYTES * len(self._image))))

    def _pieces(
        self, evaluate: Callable[[Window], Tensor], regions: Iterable[Window], block: int | None, *, fused: bool
    ) -> Iterator[tuple[Window, Tensor]]:
        """``evaluate`` of the regions, in windows of at most ``block`` points (None: what suits each region); fewer
        from where memory runs out on. ``fused``: a kernel of the decoder's own does it.
        """

        def attempt(window: Window) -> Tensor | None:
            if self.grad or points_of(window) < 2:
                return evaluate(window)
            return unless_out_of_memory(lambda: evaluate(window))

        for region in regions:
            most = block or self._block(points_of(region), fused)
            count, left = self._workers_for(region, most, fused), iter([region])
            alone = int(self._has_tiles)  # all threads are for encoding one
            while True:
                pieces, taken = cut(left, most), deque[Window]()
                with closing(in_order(attempt, noting(pieces, taken), count, alone=alone)) as results:
                    for values in results:
                        if values is None:
                            break
                        yield taken.popleft(), values
                    else:
                        break
                most = block = points_of(taken[0]) // 2
                left, alone = chain(tuple(taken), pieces), 1  # what may be too large again is tried once

    def _workers_for(self, region: Window, block: int, fused: bool) -> int:
        """How many blocks are evaluated at a time; 1 where most workers would have none."""
        count, blocks = self._workers(fused), points_of(region) / block - self._has_tiles
        return count if 2 * blocks > count else 1

    # ---------------------------------------------------------------- evaluation

    def _on_grid(self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool) -> Tensor:
        """Values ``(B, out, *S)`` on the grid of ``per_axis`` (picture coordinates)."""
        decoder = self.model.decoder
        seen = {name: self._read[name]._on_grid(per_axis, cell, default) for name in decoder.queried}
        inside, cell = self._to_extent(per_axis, cell, default)
        if self._latents.tiling is None:
            return self._map_back(decoder.query_grid(self._latents.whole, inside, cell, seen))
        while True:
            try:
                return self._on_tiles(self._latents.tiling, inside, cell, seen)
            except SmallerTiles:
                continue

    def _on_tiles(
        self, tiling: Tiling, inside: Sequence[Tensor], cell: Tensor | None, seen: Mapping[str, Tensor]
    ) -> Tensor:
        canvas: Tensor | None = None
        for run in product(*(tiling.runs(axis, k) for k, axis in enumerate(inside))):
            window = (slice(None), slice(None), *(span for _, span in run))
            part = [axis[span] for axis, (_, span) in zip(inside, run, strict=True)]
            here = {name: value[window] for name, value in seen.items()}
            latent = self._latents.tile(tiling, tuple(t for t, _ in run))
            values = self._map_back(self.model.decoder.query_grid(latent, part, cell, here))
            if canvas is None:
                canvas = values.new_empty((*values.shape[:2], *(len(axis) for axis in inside)))
            canvas[window] = values
        assert canvas is not None
        return canvas

    def _at_points(self, coords: Tensor, cell: Tensor | None, wanted: Collection[str] = ()) -> Prediction:
        decoder = self.model.decoder
        asked = {n: self._read[n]._at_points(coords, cell).values for n in dict.fromkeys((*decoder.queried, *wanted))}
        seen, beside = ({name: asked[name] for name in names} for names in (decoder.queried, wanted))
        inside, cell = self._to_extent(coords.unbind(-1), cell, default=False)
        points = torch.stack(list(inside), dim=-1)
        if self._latents.tiling is None:
            return Prediction(self._in_blocks(self._latents.whole, points, cell, seen), beside)
        while True:
            try:
                return Prediction(self._in_tiles(self._latents.tiling, points, cell, seen), beside)
            except SmallerTiles:
                continue

    def _in_tiles(self, tiling: Tiling, points: Tensor, cell: Tensor | None, seen: Mapping[str, Tensor]) -> Tensor:
        owners = torch.stack([tiling.owners(axis, k) for k, axis in enumerate(points.unbind(-1))], dim=-1)
        values = points.new_empty((*points.shape[:2], self.model.decoder.out_channels))
        for b in range(len(points)):  # pictures of a batch own different points, so they take turns
            cells = cell if cell is None or len(cell) == 1 else cell[b : b + 1]
            for tile in torch.unique(owners[b], dim=0).tolist():
                at = (owners[b] == torch.tensor(tile, device=owners.device)).all(-1).nonzero()[:, 0]
                here = {name: value[b : b + 1, at] for name, value in seen.items()}
                own = cells if cells is None or cells.shape[1] == 1 else cells[:, at]
                latent = self._latents.tile(tiling, tuple(tile), b)
                values[b, at] = self._in_blocks(latent, points[b : b + 1, at], own, here)[0]
        return values

    def _in_blocks(self, latent: Any, points: Tensor, cell: Tensor | None, seen: Mapping[str, Tensor]) -> Tensor:
        """The decoder's values at ``points`` ``(B, N, d)``, so many at a time unless a graph is wanted."""
        count, ready = points.shape[1], Ready()

        def evaluate(window: Window) -> Tensor:
            (span,) = window
            own = cell if cell is None or cell.shape[1] == 1 else cell[:, span]
            here = {name: value[:, span] for name, value in seen.items()}
            with weights_prepared_once(ready):
                return self._map_back(self.model.decoder.query(latent, points[:, span], own, here))

        if count == 0 or self.grad:
            return evaluate((slice(None),))
        fused = self._is_fused(cell)
        parts = [values for _, values in self._pieces(evaluate, [(slice(0, count),)], None, fused=fused)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _map_back(self, values: Tensor) -> Tensor:
        """From the model's output space to [0, 1]; embeddings are left alone."""
        values = values.float()
        return values * self.model.std + self.model.mean if self.model.decoder.output == "picture" else values

    def _to_extent(
        self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool
    ) -> tuple[list[Tensor], Tensor | None]:
        """Picture coordinates and cells as those of the padded extent that the features cover."""
        ratio = [n / e for n, e in zip(self.size, self._extent, strict=True)]
        inside = [x if r == 1 else (x + 1) * r - 1 for x, r in zip(per_axis, ratio, strict=True)]
        if not self.model.decoder.uses_cell or cell is None:
            return inside, None
        cell = (
            cell if self.size == self._extent else cell * torch.tensor(ratio, dtype=torch.float32, device=cell.device)
        )
        return inside, self.model.decoder.default_cell(cell, self._extent) if default else cell

    def _spans(self, per_axis: Sequence[Tensor]) -> list[list[slice]]:
        """The grid cut along tiles, axis by axis."""
        tiling = self._latents.tiling
        if tiling is None:
            return [[slice(0, len(axis))] for axis in per_axis]
        inside, _ = self._to_extent(per_axis, None, default=False)
        return [[span for _, span in tiling.runs(axis, k)] for k, axis in enumerate(inside)]

    # ---------------------------------------------------------------- checks

    def _check_points(
        self, coords: Tensor, cell: Tensor | float | Sequence[float] | None
    ) -> tuple[Tensor, Tensor | None]:
        coords = check_points(coords, len(self._image), self.model.ndim, device=self.device)
        return coords, self._check_cell(cell, coords.shape[1])

    def _check_cell(self, cell: Tensor | float | Sequence[float] | None, points: int) -> Tensor | None:
        """``cell`` as ``(B or 1, N or 1, d)`` float32, or None where nothing uses it."""
        if cell is not None:
            return check_cell(cell, len(self._image), points, self.model.ndim, device=self.device)
        if self.model.uses_cell:
            raise ValueError(
                "this model needs cell=, the size of an output pixel (2/n for n pixels across the picture)"
            )
        return None

    @contextmanager
    def _context(self) -> Iterator[None]:
        """Gradients as the field was asked for, and autocast at its precision (None: whatever is in force)."""
        with ExitStack() as stack:
            if not self.grad:
                stack.enter_context(torch.no_grad())
            if self.precision is not None:
                low = self.precision != "float32"
                dtype = PRECISIONS[self.precision] if low else None
                stack.enter_context(torch.autocast(self.device.type, dtype=dtype, enabled=low))
            yield
