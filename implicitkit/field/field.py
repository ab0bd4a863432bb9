"""A picture as a continuous function: what ``model.encode(image)`` returns."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from implicitkit.coordinates import (
    Size,
    axes,
    cell_size,
    check_cell,
    check_points,
    check_size,
    check_tensor,
    scaled_size,
)
from implicitkit.devices import PRECISIONS
from implicitkit.field.gradients import refuse_derivatives, refuse_transformed
from implicitkit.field.latents import Composed, Latents, computing_precision, modes
from implicitkit.field.sampler import Asked, Sampler
from implicitkit.field.tiles import Window, assembled, check_canvas, check_room, in_blocks
from implicitkit.images.filling import Fill, fill_holes

Cell = Tensor | float | Sequence[float] | None
Options = Mapping[str, Any] | None
Region = Sequence[float] | None


class Prediction(NamedTuple):
    """A model's values at a list of points.

    >>> import torch
    >>> import implicitkit as ik
    >>> model = ik.load_model("liif_small")
    >>> model(torch.rand(2, 3, 8, 8), torch.zeros(2, 5, 2), cell=torch.full((2, 5, 2), 0.1)).values.shape
    torch.Size([2, 5, 3])
    """

    values: Tensor
    """``(B, N, out)``; pictures in [0, 1] (not clamped), embeddings as they are."""
    conditions: dict[str, Tensor]
    """``(B, N, C)`` per requested condition, for losses."""


class Questions(NamedTuple):
    """A question to a field, and the same to the fields it reads."""

    own: Asked
    conditions: dict[str, Questions]


class Field:
    """One picture (or batch) as a function of continuous coordinates, as :meth:`ImplicitModel.encode` returns it.

    It holds features and a reference to the model. Queries change neither, so several threads may query it.

    Attributes:
        model: the model that encoded the picture.
        conditions: the fields that the model reads, by name; batched as this one is.
        batched: whether the picture came as a batch; then results are batches.
        size: the picture's ``(H, W)``.
        options: those of its questions, unless a question has its own.

    >>> import torch
    >>> import implicitkit as ik
    >>> field = ik.load_model("liif_small").encode(torch.rand(3, 16, 12))
    >>> field
    Field((3, 16, 12), liif, float32, cpu)
    >>> field.render((40, 30)).shape
    torch.Size([3, 40, 30])
    >>> field(torch.tensor([[0.0, 0.5]]), cell=0.05).shape
    torch.Size([1, 3])
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
        options: Options = None,
    ) -> None:
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}; received {precision!r}")
        self.model, self.grad = model, grad
        self.options = model.decoder.check_options(options)
        self.precision = precision = computing_precision(model, precision)
        if not grad:
            refuse_derivatives("the image", image)
            refuse_derivatives("the mask", mask)
            refuse_transformed("the weights", model.parameters())
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
                tile=None if condition.sight is None else tile,
                precision=precision,
                grad=grad,
                fill=condition.fill,
            )
            for name, condition in model.conditions.items()
        }
        for name, field in read.items():
            if (count := len(field._image)) != len(self._image):
                raise ValueError(f"the condition {name!r} is of {count} pictures, the image of {len(self._image)}")
        self._read = {name: field._as_batch(True) for name, field in read.items()}  # decoders take batches
        self.conditions = {name: field._as_batch(self.batched) for name, field in read.items()}
        with self._modes():
            self._latents = Latents(model, self._image, self._mask, self._read, tile=tile, grad=grad)
        self._sampler = Sampler(model.decoder, self._latents, self._image, mean=model.mean, std=model.std, grad=grad)

    def __repr__(self) -> str:
        """``Field(2×(3, 64, 80), liif, float32, cpu)``: a batch of two, the decoder, the precision, the device."""
        shape = str(tuple(self._image.shape[1:]))
        parts = [f"{len(self._image)}×{shape}" if self.batched else shape, self.model.decoder.title]
        parts += [self.precision or str(self._image.dtype).removeprefix("torch."), str(self.device)]
        return f"Field({', '.join(parts + ['with a mask'] * (self._mask is not None))})"

    def __call__(self, coords: Tensor, cell: Cell = None, *, options: Options = None) -> Tensor:
        """Values at points.

        Args:
            coords: ``(..., d)``, order ``(y, x)``; the picture covers ``[-1, 1]^d``. For a batch of pictures: points of
                all pictures ``(N, d)``, or each picture's own ``(B, ..., d)``.
            cell: size of an output pixel in the same units: a number, ``(d,)``, or one for each point. Needed if the
                decoder uses it.
            options: of the question, such as ``{"temperature": 0.8}``; the decoder's :attr:`~Decoder.options` names
                them.

        Returns:
            ``(..., out)``, or ``(B, ..., out)`` for a batch. Pictures in [0, 1], not clamped.

        >>> import implicitkit as ik
        >>> field = ik.load_model("liif_small").encode(torch.rand(3, 8, 8))
        >>> field(torch.zeros(4, 5, 2), cell=0.1).shape, field(torch.zeros(2), cell=0.1).shape
        (torch.Size([4, 5, 3]), torch.Size([3]))
        """
        leading = check_tensor(coords).shape[:-1]
        if self.batched and coords.ndim > 3:
            coords, leading = coords.flatten(1, -2), leading[1:]
            cell = cell.flatten(1, -2) if isinstance(cell, Tensor) and cell.ndim > 3 else cell
        elif self.batched:
            leading = leading[1:] if coords.ndim == 3 else leading
            coords = coords.reshape(1, -1) if coords.ndim == 1 else coords
        elif coords.ndim and coords.shape[-1] == self.model.ndim:
            if isinstance(cell, Tensor) and cell.ndim > 1 and cell.shape[:-1] == leading:
                cell = cell.reshape(-1, cell.shape[-1])
            coords = coords.reshape(-1, self.model.ndim)
        coords, cells = self._check_points(coords, cell)
        with self._modes():
            result = self._at_points(coords, cells, options=options).values
        return (result if self.batched else result[0]).reshape(
            *result.shape[: self.batched], *leading, result.shape[-1]
        )

    def predict(
        self, coords: Tensor, cell: Cell = None, wanted: Collection[str] | None = None, *, options: Options = None
    ) -> Prediction:
        """Like calling the field, with the values of conditions; always batched.

        Args:
            coords: see :meth:`__call__`.
            cell: see :meth:`__call__`.
            wanted: names of conditions to return (default: all).
            options: see :meth:`__call__`.
        """
        coords, cells = self._check_points(coords, cell)
        names = tuple(self._read) if wanted is None else wanted
        unknown = set(names) - set(self._read)
        if unknown:
            raise ValueError(f"wanted are {sorted(unknown)}; the model reads {sorted(self._read) or 'none'}")
        with self._modes():
            return self._at_points(coords, cells, names, options)

    def render(
        self,
        size: Sequence[int] | int | None = None,
        box: Sequence[float] | None = None,
        cell: Cell = None,
        *,
        scale: float | None = None,
        clamp: bool = True,
        block: int | None = None,
        options: Options = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """The field on a pixel grid.

        Args:
            size: pixels per axis, ``(H, W)``; any size, any aspect.
            scale: instead of ``size``: output pixels per pixel of the picture, any positive number.
            box: the window ``(y0, x0, y1, x1)`` to show (default: the whole extent).
            cell: see :meth:`__call__`; by default the size of one output pixel.
            clamp: limit pictures to [0, 1].
            block: queries to evaluate at a time (default: by device); the result does not depend on it.
            options: see :meth:`__call__`.
            out: a tensor to write into and return, of the result's shape, dtype and device.

        Returns:
            ``(out, *size)``, or ``(B, out, *size)`` for a batch.

        >>> import implicitkit as ik
        >>> ik.load_model("liif_small").encode(torch.rand(3, 8, 6)).render(scale=2.5).shape
        torch.Size([3, 20, 15])
        """
        if (size is None) == (scale is None):
            raise ValueError(f"give a size (H, W), or scale=; received size={size!r} and scale={scale!r}")
        size = check_size(scaled_size(self.size, scale, box) if size is None else size, self.model.ndim)
        check_room(size, len(self._image) * self.model.decoder.out_channels, self.device, out)
        if out is not None:
            shape = (len(self._image), self.model.decoder.out_channels, *size)
            check_canvas(out, shape if self.batched else shape[1:], self.device, graph=self.grad)
        canvas = out if out is None or self.batched else out[None]
        blocks = self._blocks(size, box, cell, clamp, block, options, canvas)
        values = assembled(blocks, size, canvas, fresh=self.model.decoder.output == "picture")
        return out if out is not None else values if self.batched else values[0]

    def blocks(
        self,
        size: Sequence[int] | int,
        box: Sequence[float] | None = None,
        cell: Cell = None,
        *,
        clamp: bool = True,
        block: int | None = None,
        options: Options = None,
    ) -> Iterator[tuple[Window, Tensor]]:
        """Yield blocks of :meth:`render`, ``(window, values (B, out, *window))``, for canvases larger than memory."""
        return self._blocks(check_size(size, self.model.ndim), box, cell, clamp, block, options, None)

    def _blocks(
        self, size: Size, box: Region, cell: Cell, clamp: bool, block: int | None, options: Options, out: Tensor | None
    ) -> Iterator[tuple[Window, Tensor]]:
        """:meth:`blocks`; a kernel may write values to their place in ``out`` ``(B, out, *size)``."""
        per_axis = axes(size, box, device=self.device)
        default = cell is None
        cells = cell_size(size, box, device=self.device)[None, None] if default else self._check_cell(cell, 1)
        if cells is not None and cells.shape[:2] != (1, 1):
            raise ValueError("render takes one cell for the whole grid; call the field at points for one cell each")

        with self._modes():
            questions = self._ask(per_axis, cells, default, self._completed(options))
            block = self._sampler.block(cells, grid=True) if block is None else block

        def evaluate(window: Window) -> Tensor:
            with self._modes():
                place = None if out is None else out[(slice(None), slice(None), *window)]
                return self._on_grid(questions, window, clamp, place)

        return in_blocks(evaluate, product(*self._sampler.spans(per_axis)), block, retry=not self.grad)

    @property
    def image(self) -> Tensor:
        """The picture, its holes filled as the encoder sees them: ``(C, *S)`` or ``(B, C, *S)``, float32."""
        return self._image if self.batched else self._image[0]

    @property
    def mask(self) -> Tensor | None:
        """The mask, ``(1, *S)`` or ``(B, 1, *S)``, 1 where missing; None if the model takes none."""
        return self._mask if self.batched or self._mask is None else self._mask[0]

    @property
    def device(self) -> torch.device:
        """The picture's device."""
        return self._image.device

    def _modes(self) -> AbstractContextManager[None]:
        return modes(self.device, self.precision, grad=self.grad)

    def _as_batch(self, batched: bool) -> Field:
        """A view of the field whose results have a leading ``B`` or not."""
        if batched == self.batched:
            return self
        view = copy.copy(self)
        view.batched = batched
        view.conditions = {name: field._as_batch(batched) for name, field in self.conditions.items()}
        return view

    def _completed(self, options: Options) -> Mapping[str, Any]:
        """A question's options, with those of the field where it has none."""
        return self.model.decoder.check_options({**self.options, **options}) if options else self.options

    def _ask(
        self, per_axis: Sequence[Tensor], cell: Tensor | None, default: bool, options: Mapping[str, Any]
    ) -> Questions:
        """A question on the grid of ``per_axis``; ``default``: the cell was not given explicitly."""
        conditions = {}
        for name in self.model.decoder.queried:
            read = self._read[name]
            conditions[name] = read._ask(per_axis, cell, default, read.options)
        return Questions(self._sampler.ask(per_axis, cell, default, options), conditions)

    def _on_grid(self, questions: Questions, window: Window, clamp: bool = False, out: Tensor | None = None) -> Tensor:
        """Values ``(B, out, *S)`` on a window of a question's grid; see :meth:`Sampler.on_grid`."""
        conditions = {
            name: self._read[name]._on_grid(question, window) for name, question in questions.conditions.items()
        }
        return self._sampler.on_grid(questions.own, window, conditions, clamp=clamp, out=out)

    def _at_points(
        self, coords: Tensor, cell: Tensor | None, names: Collection[str] = (), options: Options = None
    ) -> Prediction:
        queried = self.model.decoder.queried
        question = self._sampler.ask_at(coords, cell, self._completed(options))
        values = {n: self._read[n]._at_points(coords, cell).values for n in dict.fromkeys((*queried, *names))}
        own = self._sampler.at_points(question, {name: values[name] for name in queried})
        return Prediction(own, {name: values[name] for name in names})

    def _check_points(self, coords: Tensor, cell: Cell) -> tuple[Tensor, Tensor | None]:
        coords = check_points(coords, len(self._image), self.model.ndim, device=self.device)
        if not self.grad:
            refuse_derivatives("the coords", coords)
        return coords, self._check_cell(cell, coords.shape[1])

    def _check_cell(self, cell: Cell, points: int) -> Tensor | None:
        """``cell`` as ``(B or 1, N or 1, d)`` float32, or None if unused."""
        if cell is not None:
            checked = check_cell(cell, len(self._image), points, self.model.ndim, device=self.device)
            if not self.grad:
                refuse_derivatives("the cell", checked)
            return checked
        if self.model.uses_cell:
            raise ValueError("this model needs cell=, the size of an output pixel (2/n for n pixels across a picture)")
        return None
