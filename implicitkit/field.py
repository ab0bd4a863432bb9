"""A picture as a continuous function: what ``model.encode(image)`` returns."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import Size, axes, cell_size, check_cell, check_points, check_size
from implicitkit.decoders.base import Inputs
from implicitkit.encoders.base import Features
from implicitkit.tiles import Tiling

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_BLOCK, GPU_BLOCK = 1 << 13, 1 << 18  # queries per block: on a CPU, what keeps the intermediate values in its cache
TILES_KEPT = 2


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
        model: ImplicitModel,
        image: Tensor,
        mask: Tensor | None = None,
        *,
        tile: int | None = None,
        precision: str | None = None,
        grad: bool = False,
        conditions: Mapping[str, Field] | None = None,
    ) -> None:
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}; received {precision!r}")
        self.model, self.grad, self.precision = model, grad, precision
        self.batched = image.ndim == model.ndim + 2
        self._image, self._mask = model.check_inputs(image, mask)
        self.size: Size = tuple(self._image.shape[2:])
        self._kept: OrderedDict[Size, Any] = OrderedDict()
        self._lock = threading.Lock()
        self._tiling = self._plan(tile) if tile is not None else None
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
            )
            for name, condition in model.conditions.items()
        }
        for name, field in read.items():
            if (count := len(field._image)) != len(self._image):
                raise ValueError(f"the condition {name!r} is of {count} pictures, the image of {len(self._image)}")
        self._read = {name: field._answering(batched=True) for name, field in read.items()}  # a decoder's are batched
        self.conditions = {name: field._answering(self.batched) for name, field in read.items()}
        self._whole: Any = None
        if self._tiling is None:
            with self._context():
                features = self._encode(self._image, self._mask)
                inputs = self._inputs(self._image, self._mask)
                self._whole = model.decoder.prepare(features, inputs, self._read)
            self._extent, self._grid_size = features.extent, features.grid
        else:
            self._extent, self._grid_size = self._tiling.extent, self._tiling.grid

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
            block: queries evaluated at a time (default: what suits the device); the result does not depend on it.

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
        large for memory.
        """
        size = check_size(size, self.model.ndim)
        per_axis = axes(size, box, device=self.device)
        default = cell is None
        step = cell_size(size, box, device=self.device) if default else cell
        cells = self._check_cell(step, 1)
        if cells is not None and cells.shape[:2] != (1, 1):
            raise ValueError("render takes one cell for the whole grid; ask the field at points for one cell each")
        for window in self._windows(per_axis, block or self._block):
            with self._context():
                part = [axis[span] for axis, span in zip(per_axis, window, strict=True)]
                values = self._on_grid(part, cells, default)
                if clamp and self.model.decoder.output == "picture":
                    values = values.clamp(0, 1)
            yield window, values

    @property
    def image(self) -> Tensor:
        """The picture that it is a field of: ``(C, *S)``, or ``(B, C, *S)`` for a batch; float32, on its device."""
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
    def _block(self) -> int:
        return CPU_BLOCK if self.device.type == "cpu" else GPU_BLOCK

    # ---------------------------------------------------------------- evaluation

    def _on_grid(self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool) -> Tensor:
        """Values ``(B, out, *S)`` on the grid of ``per_axis`` (picture coordinates)."""
        decoder = self.model.decoder
        seen = {name: self._read[name]._on_grid(per_axis, cell, default) for name in decoder.queried}
        inside, cell = self._to_extent(per_axis, cell, default)
        if self._tiling is None:
            return self._map_back(decoder.query_grid(self._whole, inside, cell, seen))
        canvas: Tensor | None = None
        for run in product(*(self._tiling.runs(axis, k) for k, axis in enumerate(inside))):
            window = (slice(None), slice(None), *(span for _, span in run))
            part = [axis[span] for axis, (_, span) in zip(inside, run, strict=True)]
            here = {name: value[window] for name, value in seen.items()}
            values = self._map_back(decoder.query_grid(self._tile(tuple(t for t, _ in run)), part, cell, here))
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
        if self._tiling is None:
            return Prediction(self._in_blocks(self._whole, points, cell, seen), beside)
        owners = torch.stack([self._tiling.owners(axis, k) for k, axis in enumerate(inside)], dim=-1)
        values = coords.new_empty((*coords.shape[:2], decoder.out_channels))
        for b in range(len(coords)):  # pictures of a batch own different points, so they take turns
            cells = cell if cell is None or len(cell) == 1 else cell[b : b + 1]
            for tile in torch.unique(owners[b], dim=0).tolist():
                at = (owners[b] == torch.tensor(tile, device=owners.device)).all(-1).nonzero()[:, 0]
                here = {name: value[b : b + 1, at] for name, value in seen.items()}
                own = cells if cells is None or cells.shape[1] == 1 else cells[:, at]
                latent = self._tile(tuple(tile), b)
                values[b, at] = self._in_blocks(latent, points[b : b + 1, at], own, here)[0]
        return Prediction(values, beside)

    def _in_blocks(self, latent: Any, points: Tensor, cell: Tensor | None, seen: dict[str, Tensor]) -> Tensor:
        """The decoder's values at ``points`` ``(B, N, d)``, so many at a time unless a graph is wanted."""
        step = points.shape[1] if self.grad else self._block
        parts = []
        for start in range(0, max(1, points.shape[1]), max(1, step)):
            span = slice(start, start + step)
            own = cell if cell is None or cell.shape[1] == 1 else cell[:, span]
            here = {name: value[:, span] for name, value in seen.items()}
            parts.append(self._map_back(self.model.decoder.query(latent, points[:, span], own, here)))
        return torch.cat(parts, dim=1)

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

    def _windows(self, per_axis: Sequence[Tensor], block: int) -> Iterator[tuple[slice, ...]]:
        """The grid cut along tiles, then into pieces of at most ``block`` points (whole rows where they fit)."""
        if self._tiling is None:
            spans = [[slice(0, len(axis))] for axis in per_axis]
        else:
            inside, _ = self._to_extent(per_axis, None, default=False)
            spans = [[span for _, span in self._tiling.runs(axis, k)] for k, axis in enumerate(inside)]
        for region in product(*spans):
            lengths = [span.stop - span.start for span in region]
            steps, room = [0] * len(lengths), max(1, block)
            for k in reversed(range(len(lengths))):
                steps[k] = max(1, min(lengths[k], room))
                room //= steps[k]
            starts = [range(span.start, span.stop, step) for span, step in zip(region, steps, strict=True)]
            for corner in product(*starts):
                yield tuple(
                    slice(a, min(a + step, span.stop)) for a, step, span in zip(corner, steps, region, strict=True)
                )

    # ---------------------------------------------------------------- encoding

    def _encode(self, image: Tensor, mask: Tensor | None) -> Features:
        model = self.model
        x = torch.cat([image, mask], dim=1) if mask is not None and "mask" in model.inputs else image
        with nullcontext() if model.encoder.trainable else torch.no_grad():
            features: Features = model.encoder(x)
        return features

    def _inputs(self, image: Tensor, mask: Tensor | None, origin: Size = (), size: Size = ()) -> Inputs:
        return Inputs((image - self.model.mean) / self.model.std, mask, origin, size)

    def _plan(self, tile: int) -> Tiling:
        encoder, decoder = self.model.encoder, self.model.decoder
        if encoder.radius is None:
            raise ValueError(
                f"{type(encoder).__name__} sees the whole picture at once, so it cannot encode in tiles; "
                "encode without tile="
            )
        if tile < 1:
            raise ValueError(f"tile is a positive number of pixels; received {tile}")
        return Tiling.plan(
            self.size,
            tile=tile,
            stride=encoder.stride,
            multiple=encoder.size_multiple,
            radius=encoder.radius,
            reach=decoder.reach,
        )

    def _tile(self, tile: Size, picture: int | None = None) -> Any:
        """The latent of one tile (of one picture of the batch, or of all); the last few are kept."""
        key = tile if picture is None else (*tile, picture)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        assert self._tiling is not None
        crop = self._tiling.crop(tile)
        rows = slice(None) if picture is None else slice(picture, picture + 1)
        image = self._image[(rows, slice(None), *crop)]
        mask = None if self._mask is None else self._mask[(rows, slice(None), *crop)]
        features = self._encode(image, mask)
        origin = tuple(span.start // self._tiling.stride for span in crop)
        placed = Features(features.map, self._tiling.extent, origin, self._tiling.grid)
        inputs = self._inputs(image, mask, tuple(span.start for span in crop), self.size)
        latent = self.model.decoder.prepare(placed, inputs, self._read)
        if not self.grad:
            with self._lock:
                self._kept[key] = latent
                while len(self._kept) > TILES_KEPT:
                    self._kept.popitem(last=False)
        return latent

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
