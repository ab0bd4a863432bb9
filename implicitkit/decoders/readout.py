"""Baselines: the features at the nearest cell, or interpolated, mapped linearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from implicitkit.coordinates import Size, Ties, nearest_index, open_mesh
from implicitkit.decoders.base import Condition, Decoder, Inputs
from implicitkit.decoders.rows import Rows
from implicitkit.decoders.skip import read_linear
from implicitkit.encoders.base import Features


class Readout(Decoder):
    """Reads the feature map at a point and maps it linearly, without offset or cell.

    The projection runs once per cell in :meth:`prepare`: reading is linear with weights that sum to one, so their order
    does not matter.

    Args:
        in_channels: features per cell.
        out_channels: values per point (default: 3, or ``in_channels`` without the projection).
        project: map the features to ``out_channels`` by a linear layer. Without it the values are the features, an
            embedding, neither mapped back to [0, 1] nor clamped.
        ndim: 1, 2 or 3.
    """

    uses_cell = False

    def __init__(
        self, in_channels: int = 64, out_channels: int | None = None, project: bool = True, ndim: int = 2
    ) -> None:
        super().__init__()
        if out_channels is None:
            out_channels = 3 if project else in_channels
        if min(in_channels, out_channels) < 1 or ndim not in (1, 2, 3):
            raise ValueError(
                "a read-out takes positive channels and ndim 1, 2 or 3; received "
                f"in_channels={in_channels}, out_channels={out_channels}, ndim={ndim}"
            )
        if not project and out_channels != in_channels:
            raise ValueError(
                f"without a projection, values are the {in_channels} features; received out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.ndim = in_channels, out_channels, ndim
        self.project = nn.Linear(in_channels, out_channels) if project else None
        self.output = "picture" if project else "embedding"

    def read(self, rows: Rows, per_axis: Sequence[Tensor]) -> Tensor:
        """The rows ``(B, N, C)`` at queries given per axis, whose shapes broadcast."""
        raise NotImplementedError(f"{type(self).__name__} does not implement read()")

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Rows:
        map = features.map
        if self.project is not None:
            map = self.project(map.movedim(1, -1)).movedim(-1, 1)
        return Rows.of(map, features.origin, features.grid)

    def query(self, latent: Rows, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        return self.read(latent, coords.float().unbind(-1))

    def query_grid(
        self, latent: Rows, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        per_axis = open_mesh(axes)
        values = self.read(latent, per_axis).transpose(1, 2)
        return values.reshape(*values.shape[:2], *(len(axis) for axis in axes))


class Nearest(Readout):
    """The features of the cell that contains the point.

    >>> Nearest(in_channels=8, project=False).output
    'embedding'
    """

    def read(self, rows: Rows, per_axis: Sequence[Tensor]) -> Tensor:
        return read_nearest(rows, rows.grid, per_axis)


class Bilinear(Readout):
    """The features interpolated linearly between the cells' centres (in ``ndim`` dimensions), borders repeated.

    >>> import implicitkit as ik
    >>> ik.create_decoder("bilinear", in_channels=8)
    Bilinear(8 -> 3 channels, 27 parameters)
    """

    def read(self, rows: Rows, per_axis: Sequence[Tensor]) -> Tensor:
        return read_linear(rows, rows.grid, per_axis)


def read_nearest(picture: Rows, extent: Size, per_axis: Sequence[Tensor], *, ties: Ties = "even") -> Tensor:
    """The picture's nearest pixel ``(B, N, C)`` to each query, given per axis in ``extent`` (pixels), borders repeated.

    ``ties`` as of :func:`~implicitkit.coordinates.nearest_index`.
    """
    index: Tensor | None = None
    for x, e, n, stored, origin in zip(per_axis, extent, picture.grid, picture.cells, picture.origin, strict=True):
        pixel = (nearest_index(x.float(), e, ties=ties).clamp(max=n - 1) - origin).clamp(0, stored - 1)
        index = pixel if index is None else index * stored + pixel
    assert index is not None
    return picture.take(index.flatten(1)).reshape(picture.rows.shape[0], -1, picture.rows.shape[-1])
