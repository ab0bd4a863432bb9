"""The decoder contract: prepare once per picture, then query."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

from implicitkit.coordinates import Size, constants, mesh
from implicitkit.decoders.options import check_options
from implicitkit.encoders.base import Encoder, Features
from implicitkit.encoders.part import Part


class Condition(Protocol):
    """The field of another model that a decoder reads; :class:`implicitkit.Field` is one."""

    @property
    def size(self) -> Size:
        """The picture's ``(H, W)``."""

    @property
    def image(self) -> Tensor:
        """The encoded picture, ``(B, C, *S)`` in [0, 1]."""

    @property
    def mask(self) -> Tensor | None:
        """Its mask, ``(B, 1, *S)``, or None."""

    def __call__(self, coords: Tensor, cell: Tensor | float | Sequence[float] | None = None) -> Tensor:
        """Values ``(B, N, C)`` at points ``(N, d)`` or ``(B, N, d)``."""

    def render(
        self,
        size: Sequence[int] | int,
        box: Sequence[float] | None = None,
        cell: Tensor | float | Sequence[float] | None = None,
        *,
        clamp: bool = True,
        block: int | None = None,
    ) -> Tensor:
        """Values ``(B, C, *size)`` on a grid that fills ``box``."""

    def blocks(
        self,
        size: Sequence[int] | int,
        box: Sequence[float] | None = None,
        cell: Tensor | float | Sequence[float] | None = None,
        *,
        clamp: bool = True,
        block: int | None = None,
    ) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """:meth:`render` block by block: ``(window, values (B, C, *window))``."""


class ConditionModel(Protocol):
    """A model whose field a decoder reads; :class:`implicitkit.ImplicitModel` is one."""

    @property
    def encoder(self) -> Encoder:
        """Picture -> features."""

    @property
    def decoder(self) -> Decoder:
        """Features and coordinates -> values."""


@dataclass(frozen=True)
class Inputs:
    """The encoder's input, for decoders that read the picture itself (a bilinear skip).

    ``picture`` ``(B, C, *S)`` is in the model's output space; ``mask`` ``(B, 1, *S)`` is 1 where missing. A tile begins
    at pixel ``origin`` of a picture of ``size``; by default both describe a whole picture.
    """

    picture: Tensor
    mask: Tensor | None = None
    origin: Size = ()
    size: Size = ()

    def __post_init__(self) -> None:
        pixels = tuple(self.picture.shape[2:])
        object.__setattr__(self, "size", self.size or pixels)
        object.__setattr__(self, "origin", self.origin or (0,) * len(pixels))


@dataclass(frozen=True)
class Question:
    """All that is asked of a picture at once: one ``render``, or one call at points.

    Attributes:
        cell: the output pixel's size ``(B or 1, N or 1, d)`` in the features' extent, as in :meth:`Decoder.query`.
        axes: the coordinates of the whole grid, per axis, of a render; None at points.
        points: ``(B or 1, N, d)``, all points of a call; None for a grid.
        options: the decoder's options, defaults included.
        block: how many points to evaluate at a time; what is computed must not depend on it beyond rounding.

    >>> question = Question(None, axes=(torch.zeros(5), torch.zeros(4)), block=8)
    >>> with torch.no_grad():
    ...     question.count, [tuple(part.shape) for part, _ in question.blocks()]
    (20, [(1, 8, 2), (1, 8, 2), (1, 4, 2)])
    """

    cell: Tensor | None
    axes: tuple[Tensor, ...] | None = None
    points: Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    block: int = 1 << 13

    @property
    def count(self) -> int:
        """The number of points, per picture."""
        if self.axes is not None:
            return math.prod(len(axis) for axis in self.axes)
        return 0 if self.points is None else self.points.shape[1]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """All points in order, ``(points (B or 1, n, d), their cells)`` with ``n`` at most :attr:`block`; with a graph
        all at once.
        """
        step = self.count if torch.is_grad_enabled() else max(1, self.block)
        for start in range(0, self.count, max(1, step)):
            span = slice(start, min(start + step, self.count))
            cell = self.cell if self.cell is None or self.cell.shape[1] == 1 else self.cell[:, span]
            yield self._part(span), cell

    def _part(self, span: slice) -> Tensor:
        if self.axes is None:
            assert self.points is not None
            return self.points[:, span]
        index, parts = torch.arange(span.start, span.stop, device=self.axes[0].device), []
        for axis in reversed(self.axes):
            parts.append(axis.float()[index % len(axis)])
            index = index // len(axis)
        return torch.stack(parts[::-1], dim=-1)[None]


class Decoder(Part):
    """Features and coordinates -> values ``(B, N, out_channels)``.

    Several threads may query a decoder at a time, so a query must not change it.

    Attributes a subclass sets:
        in_channels: features per cell that :meth:`prepare` expects.
        out_channels: values per point.
        ndim: dimensions of the coordinates.
        uses_cell: whether the size of the output pixel matters.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.
        output: ``"picture"`` (values in the model's output space, mapped back by the field) or ``"embedding"``
            (left alone).
        conditions: names of the other fields that are read at the same coordinates; see also :attr:`queried`.
        reach: how far from a query, in cells, a feature matters; the halo of a tile follows from it. None: everywhere,
            so that the picture cannot be encoded in tiles.
        options: the options of a question, name -> default (a bool, int, float, str or None); see :meth:`begin`.
        skips_parts: whether a question may leave parameters without a gradient; training in several processes must not
            wait for it then.
        exports: whether :mod:`implicitkit.export` can write it: :meth:`pack` and :meth:`unpack` work, and what they
            give can be asked without :meth:`begin`.
        fill: how to fill the holes of ``inputs.picture``, see :func:`implicitkit.images.filling.fill_holes`; None: as
            the encoder's.

    >>> import torch
    >>> class Mean(Decoder):
    ...     uses_cell, in_channels = False, 3
    ...     def prepare(self, features, inputs, conditions):
    ...         return features.map.mean((2, 3))
    ...     def query(self, latent, coords, cell, conditions):
    ...         return latent[:, None].expand(-1, coords.shape[1], -1)
    >>> Mean().query(torch.ones(1, 3), torch.zeros(1, 5, 2), None, {}).shape
    torch.Size([1, 5, 3])
    """

    in_channels: int
    out_channels: int = 3
    ndim: int = 2
    uses_cell: bool = True
    scale_max: float | None = None
    output: Literal["picture", "embedding"] = "picture"
    conditions: ClassVar[tuple[str, ...]] = ()
    reach: int | None = 1
    fill: str | None = None
    options: ClassVar[Mapping[str, Any]] = {}
    skips_parts: bool = False
    exports: bool = False

    @property
    def read_conditions(self) -> tuple[str, ...]:
        """The conditions whose values the output depends on: those :attr:`queried`, and those that :meth:`prepare`
        reads. Training in several processes waits for their gradients.
        """
        return self.queried

    @property
    def queried(self) -> tuple[str, ...]:
        """The ``conditions`` whose values :meth:`query` gets at its points (default: all); :meth:`prepare` alone uses
        the others.
        """
        return self.conditions

    def connect(self, conditions: Mapping[str, ConditionModel]) -> None:
        """Called once with the models whose fields are read: check that they fit, make what depends on them alone."""

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Any:
        """Compute what depends on the picture alone; called once per picture (or tile). Features, inputs and the values
        of ``conditions`` have a leading ``B``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement prepare()")

    def begin(self, latent: Any, question: Question) -> Any:
        """Compute once what all points of a question share; what it returns is the ``latent`` of its queries.

        It is called once per ``render`` or call at points (with tiles: once per tile) and must leave ``latent`` as it
        is. Blocks, tiles and threads must not change the values. The default returns ``latent`` itself.

        Args:
            latent: what :meth:`prepare` returned.
            question: the cell, the whole grid or all points, and the options.
        """
        return latent

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """The options of a question, with the defaults of those left out.

        Raises:
            ValueError: one is unknown, or has a value of the wrong kind. A decoder with ranges checks them here too.
        """
        return check_options(self.title, self.options, options or {})

    def pack(self, latent: Any) -> Tensor:
        """The latent of a whole picture as one tensor ``(1, H, W, K)``, for :mod:`implicitkit.export`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement pack()")

    def unpack(self, packed: Tensor, inputs: Inputs | None) -> Any:
        """The latent of what :meth:`pack` returned, and the picture (given if :attr:`reads_picture`)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement unpack()")

    def at_scale(self, scale: int) -> nn.Module | None:
        """A network from the features ``(B, in_channels, H, W)``, and the picture in the model's output space if
        :attr:`reads_picture`, to the values ``(B, out_channels, scale * H, scale * W)``, for export as one graph. None:
        the decoder has none.
        """
        return None

    @property
    def reads_picture(self) -> bool:
        """Whether :meth:`unpack` needs the picture."""
        return False

    def query(self, latent: Any, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        """Values at points.

        Args:
            latent: what :meth:`begin` returned: by default that of :meth:`prepare`.
            coords: ``(B, N, d)`` float32 in the extent of the features.
            cell: ``(B or 1, N or 1, d)`` float32, the size of an output pixel in the same units; None if unused.
            conditions: the values ``(B, N, C)`` of each condition in :attr:`queried` at the same points.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement query()")

    def query_grid(
        self, latent: Any, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        """Values ``(B, out_channels, *S)`` on the grid of the per-axis coordinates ``axes``; conditions ``(B, C, *S)``.

        The base class calls :meth:`query` with the grid's points; override it where separability helps.
        """
        size = [len(axis) for axis in axes]
        at_points = {name: rearrange(value, "b c ... -> b (...) c") for name, value in conditions.items()}
        values = self.query(latent, mesh(axes)[None], cell, at_points)
        return values.transpose(1, 2).reshape(*values.shape[::2], *size)

    def forward(
        self,
        latent: Any,
        where: Tensor | Sequence[Tensor],
        cell: Tensor | None = None,
        conditions: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """:meth:`query` at points, or :meth:`query_grid` on axes: what a decoder with hooks is called by, so that they
        fire.
        """
        ask = self.query if isinstance(where, Tensor) else self.query_grid
        return ask(latent, where, cell, conditions)  # type: ignore[arg-type]

    def default_cell(self, cell: Tensor, extent: Size) -> Tensor:
        """The cell that ``render`` uses by default for a picture of ``extent`` pixels: ``cell``, per axis at least that
        of magnification :attr:`scale_max`.
        """
        if self.scale_max is None:
            return cell
        finest = [2 / (n * self.scale_max) for n in extent]
        return torch.maximum(cell, torch.tensor(finest, dtype=cell.dtype, device=cell.device))


def check_scale_max(scale_max: float | None) -> float | None:
    """``scale_max``, if it is None or a positive magnification.

    Raises:
        ValueError: it is neither.
    """
    if scale_max is not None and not 0 < scale_max < float("inf"):
        raise ValueError(f"scale_max is a positive magnification, or None; received {scale_max}")
    return scale_max


def in_float32(device_type: str) -> torch.autocast:
    """A context without autocast, for geometry, which is float32 at any precision."""
    return torch.autocast(device_type, enabled=False)


def in_half_cells(cell: Tensor | None, grid: Size) -> Tensor | None:
    """The output pixel's size, given in ``[-1, 1]``, in half cells of ``grid``."""
    return None if cell is None else cell.float() * constants(grid, cell.device)
