"""CLIT, cascaded local implicit transformers (Chen et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from implicitkit.coordinates import Size, open_mesh, pixel_centres
from implicitkit.decoders.base import Condition, Inputs, Question, in_half_cells
from implicitkit.decoders.joint.attention import Places, attend, read_with_zeros, zero_outside
from implicitkit.decoders.joint.base import JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.rows import Rows
from implicitkit.encoders.base import Features

KEPT_SHARE = 0.75  # of the stage before


@dataclass(frozen=True)
class Cascade(Latent):
    """A picture as CLIT reads it: for each stage its queries, and its keys and values, on a grid of its own."""

    stages: tuple[tuple[Rows, Rows], ...] = ()
    all_stages: bool = False
    """Whether all points pass all stages (the grids were given), or as many as their magnification asks for."""


class CLIT(JointDecoder):
    """A point attends to the cells of a window around it, in one stage or, at large magnifications, in several.

    Queries are interpolated linearly at the point; keys and values are those of the ``(2 r + 1)^2`` cells around the
    nearest one, zero beyond the picture. The logits get a bias by the sines and cosines of the offset. An MLP reads all
    weighted values and the output pixel's size, without blending neighbours, and the interpolated picture is added.

    A further stage ``k`` does the same on the features interpolated at a finer grid, ``scale_base^k`` times the
    picture's, and adds three quarters of the stage before. A point passes it if its magnification is above
    ``scale_base^k`` (axes that differ: their geometric mean). The option ``between`` gives the finer grids
    explicitly, ``[[H, W], ...]``; then all points pass all of these stages.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        width: of queries, keys and values (256).
        heads: of the attention; divides ``width``.
        radius: of the window, in cells.
        hidden: widths of the MLP's hidden layers.
        stages: at most.
        scale_base: the magnification of each stage but the last.
        waves: sines and cosines of an offset, a multiple of 4 (default: ``width / 4``, as at the authors' sizes).

    >>> CLIT(in_channels=8, width=16, heads=2, radius=2, hidden=[32]).mlps[0][0].in_features  # 25 cells of 16, the size
    402
    """

    options: ClassVar[Mapping[str, Any]] = {"between": None}

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        width: int = 256,
        heads: int = 8,
        radius: int = 3,
        hidden: Sequence[int] = (256, 256, 256, 256),
        stages: int = 1,
        scale_base: float = 4.0,
        waves: int | None = None,
    ) -> None:
        super().__init__()
        waves = max(4, width // 16 * 4) if waves is None else waves
        numbers = (in_channels, out_channels, width, heads, radius, stages, waves, *hidden)
        if min(numbers) < 1 or width % heads or waves % 4 or not scale_base > 1:
            raise ValueError(
                "clit takes positive numbers, a width that heads divides, waves that 4 divides and scale_base > 1; "
                f"received in_channels={in_channels}, out_channels={out_channels}, width={width}, heads={heads}, "
                f"radius={radius}, stages={stages}, waves={waves}, hidden={list(hidden)}, scale_base={scale_base}"
            )
        self.in_channels, self.out_channels, self.scale_base = in_channels, out_channels, scale_base
        self.window, self.reach, self.skips_parts = radius, radius + 2 + (stages > 1), stages > 1
        self.lift = nn.Conv2d(in_channels, width, 3, padding=1)
        self.queries, self.keys, self.contents = (
            nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(stages)) for _ in range(3)
        )
        self.places = Places(heads, waves)
        widths = [(2 * radius + 1) ** 2 * width + 2, *hidden]
        self.mlps = nn.ModuleList(
            nn.Sequential(
                *(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.GELU())),
                nn.Linear(widths[-1], out_channels),
            )
            for _ in range(stages)
        )

    def project(self, map: Tensor) -> Tensor:
        features: Tensor = self.lift(map)
        return features

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Cascade:
        latent = super().prepare(features, inputs, conditions)
        return Cascade(latent.features, latent.extent, latent.extra, (self.stage(0, latent.features),))

    def begin(self, latent: Cascade, question: Question) -> Cascade:
        given, source = question.options.get("between"), latent.features
        grids = self.grids(source.grid, question.cell) if given is None else [tuple(grid) for grid in given]
        if any(m < n for grid in grids for m, n in zip(grid, source.grid, strict=True)):
            raise ValueError(
                f"the grids between are at least the {source.grid} cells of the features; received {grids}"
            )
        later = (self.stage(k, finer(source, grid)) for k, grid in enumerate(grids, 1))
        return replace(latent, stages=(*latent.stages, *later), all_stages=given is not None)

    def grids(self, grid: Size, cell: Tensor | None) -> list[Size]:
        """The grids of the stages after the first that a question with this cell needs."""
        most = len(self.mlps) - 1
        if most == 0 or cell is None:
            return []
        try:
            finest = float(self.magnification(cell, grid).max())
        except RuntimeError:  # torch.func.vmap has many values in place of one
            finest = float("inf")
        bases = [self.scale_base**k for k in range(1, most + 1)]
        return [tuple(round(n * base) for n in grid) for base in bases if finest > base]

    def magnification(self, cell: Tensor, grid: Size) -> Tensor:
        """``(B or 1, N or 1)``, a little less than it is, so that rounding does not exceed ``scale_base``."""
        cells = in_half_cells(cell, grid)
        assert cells is not None
        return 2 * (1 - 1e-4) / cells.prod(dim=-1).clamp_min(1e-12).sqrt()

    def stage(self, k: int, source: Rows) -> tuple[Rows, Rows]:
        """Stage ``k``'s queries, and its keys and values, of the features on its grid."""
        map = source.rows.transpose(1, 2).unflatten(2, source.cells)
        both = torch.cat([self.keys[k](map), self.contents[k](map)], dim=1)
        return tuple(Rows.of(part, source.origin, source.grid) for part in (self.queries[k](map), both))  # type: ignore[return-value]

    def values(self, latent: Latent, coords: Tensor, cell: Tensor | None) -> Tensor:
        assert isinstance(latent, Cascade) and cell is not None
        total: Tensor | None = None
        for k, (mlp, (queries, cells)) in enumerate(zip(self.mlps, latent.stages, strict=False)):
            around = self.around(cells, coords, cell)
            assert around.cell is not None
            key, content = zero_outside(around).chunk(2, dim=-1)
            query = read_with_zeros(queries, list(coords.unbind(-1)))
            attended = attend(query, key, content, self.places(around.offset))
            size = around.cell.expand(*attended.shape[:2], -1)
            value = mlp(torch.cat([attended, size], dim=-1).to(self.lift.weight.dtype)).float()
            if total is not None:
                value = value + KEPT_SHARE * total
            if total is None or latent.all_stages:
                total = value
            else:
                passes = self.magnification(cell, latent.features.grid) > self.scale_base**k
                total = torch.where(passes[..., None], value, total)
        assert total is not None
        return total

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        checked = super().check_options(options)
        grids = checked["between"]
        if grids is not None and not (
            isinstance(grids, Sequence) and len(grids) <= len(self.mlps) - 1 and all(map(_is_size, grids))
        ):
            raise ValueError(
                f"the option between of {self.title} is a list of at most {len(self.mlps) - 1} sizes [H, W], for the "
                f"stages after the first; received {grids!r}"
            )
        return checked


def finer(source: Rows, grid: Size) -> Rows:
    """The map interpolated linearly at the centres of ``grid``, zero outside; of a tile, the centres within it."""
    spans = [
        range(-(-(2 * o * m - n) // (2 * n)), min(m, -(-(2 * (o + c) * m - n) // (2 * n))))  # centres (i + 1/2) n / m
        for m, n, o, c in zip(grid, source.grid, source.origin, source.cells, strict=True)
    ]
    axes = [
        pixel_centres(m, device=source.rows.device)[max(0, span.start) : span.stop]
        for m, span in zip(grid, spans, strict=True)
    ]
    rows = read_with_zeros(source, open_mesh(axes)).to(source.rows.dtype)
    return Rows(rows, tuple(map(len, axes)), tuple(max(0, span.start) for span in spans), grid)


def _is_size(value: Any) -> bool:
    return isinstance(value, Sequence) and len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)
