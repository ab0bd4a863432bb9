"""The GPU kernels of :mod:`implicitkit.kernels.gpu_basis_source`, for grids of decoders that are sums of separable
functions: when they run, and their arguments.

They compute in float32 at any precision and need Triton 3.3; ``IMPLICITKIT_KERNELS=0`` turns them off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from implicitkit.decoders.basis.base import BasisDecoder
from implicitkit.decoders.ending import Ending
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.rows import Rows
from implicitkit.devices import constants
from implicitkit.kernels.basis import Lines, Separable, example_agrees, picture_of
from implicitkit.kernels.gpu import MIN_QUERIES_TO_TUNE, first_failure, launched, triton_there, tuned

MAX_WAVES, MAX_FUNCTIONS = 512, 64
MAX_LINES = 1 << 17  # of a grid: a launch has at most 65,535 programs on this axis
MAX_GROUP = 4  # channels of a program that makes waves
TILE_NUMBERS = 1024  # pixels times functions of a program, at least
WAVE_TILES = ((1, 8, 2), (1, 8, 4), (1, 8, 8), (1, 16, 4), (1, 4, 4))
"""The autotuner's choices: multiples of :data:`TILE_NUMBERS`, lines and warps per program. The one that it took on an
NVIDIA H200 was right.
"""
PRODUCT_TILE = (1, 8, 4)  # likewise
JOIN_TILE = (128, 16, 4)  # numbers, lines and warps per program
JOINED_BYTES = 256 << 20  # of the lines' joined coefficients at a time


@dataclass(frozen=True)
class GPUBasisKernel:
    """The kernels, for one form at a time.

    ``tile`` is the one of :data:`WAVE_TILES` that is on trial; None: use those that have been tried.
    """

    tile: int | None = None

    def grid(
        self,
        form: Separable,
        decoder: BasisDecoder,
        latent: Latent,
        axes: Sequence[Tensor],
        cell: Tensor | None,
        ending: Ending | None = None,
        out: Tensor | None = None,
    ) -> Tensor | None:
        """``(B, C, H, W)`` float32 on the grid of ``axes``; None where the kernels cannot run.

        ``out``: where it may write them; what is returned may be another tensor.
        """
        lines = Lines.of(form, decoder, latent, axes, cell)
        if (
            lines is None
            or len(axes[0]) > MAX_LINES
            or lines.along[0].shape[-1] > (MAX_WAVES if form.waves else MAX_FUNCTIONS)
        ):
            return None
        source = latent.features
        size = [len(axis) for axis in axes]
        values = source.rows.new_empty(len(source.rows), decoder.out_channels, *size, dtype=torch.float32)
        if not values.numel():
            return values
        picture: list[Any] = [values] * 6  # never read
        pixels = [0, 0]
        if latent.extra is not None:
            named = picture_of(decoder, latent.extra, latent.extent, axes)
            picture = [named[name] for name in ("picture", "pixel_y", "share_y", "pixel_x", "share_x")]
            constant = (0.0,) * decoder.out_channels if form.constant is None else tuple(form.constant)
            picture.append(constants(constant, torch.float32, source.rows.device))
            pixels = [latent.extra.rows.shape[1], latent.extra.cells[1]]
        make = _waves if form.waves else _products
        made = make(self, values, source, lines, picture, pixels, latent.extra is not None)
        if not made:
            return None
        return values if ending is None else ending.into(out, values)

    def _tried(self, waves: bool, lines: Lines, out: Tensor, tiles: int) -> Callable[[], bool | None] | None:
        """What tries the first ``tiles`` shapes; None for a kernel that is on trial itself."""
        if self.tile is not None:
            return None
        functions, channels = lines.along[0].shape[-1], out.shape[1]

        def tried() -> bool | None:
            shapes = (GPUBasisKernel(k) for k in range(tiles))
            return first_failure(
                example_agrees(shape, waves, lines.sides == 2, functions, channels, out.device) for shape in shapes
            )

        return tried


def basis_kernel_for(like: Tensor) -> GPUBasisKernel | None:
    """The kernels for a latent on the device of ``like``, if there are any."""
    return _KERNEL if like.is_cuda and triton_there() else None


_KERNEL = GPUBasisKernel()


def _padded(functions: int) -> int:
    return 1 << max(2, (functions - 1).bit_length())


def _waves(
    of: GPUBasisKernel,
    out: Tensor,
    source: Rows,
    lines: Lines,
    picture: list[Any],
    pixels: list[int],
    has_picture: bool,
) -> bool:
    from implicitkit.kernels import gpu_basis_source

    batch, channels, height, width = out.shape
    functions = lines.along[0].shape[-1]
    group = min(channels, MAX_GROUP)
    padded = _padded(functions)
    arguments = [out, source.rows.contiguous(), *lines.cells, *lines.turned(), *picture]
    sizes = [height, width, source.rows.shape[1], source.cells[1], *pixels]
    options = {"K": functions, "PADDED": padded, "CHANNELS": channels, "GROUP": group, "PICTURE": has_picture}
    groups = -(-channels // group) * batch

    def blocks(meta: dict[str, int]) -> tuple[int, int, int]:
        return -(-width // meta["M"]), -(-height // meta["LINES"]), groups

    many = out.is_cuda and out.numel() >= channels * MIN_QUERIES_TO_TUNE
    shapes: tuple[tuple[int, int, int], ...] = WAVE_TILES if many else WAVE_TILES[:1]
    shapes = shapes if of.tile is None else WAVE_TILES[of.tile :][:1]
    tiles = [({"M": max(1, factor * TILE_NUMBERS // padded), "LINES": n}, warps) for factor, n, warps in shapes]

    def run() -> None:
        kernel = gpu_basis_source.waves
        if len(tiles) > 1:
            tuned(kernel, tuple((tuple(meta.items()), warps) for meta, warps in tiles), ("K", "CHANNELS", "PICTURE"))[
                blocks
            ](*arguments, *sizes, **options)
        else:
            ((meta, warps),) = tiles
            kernel[blocks(meta)](*arguments, *sizes, **options, **meta, num_warps=warps, num_stages=1)

    settings = (functions, channels, has_picture, source.rows.dtype, shapes)
    return launched("waves", settings, out, run, of._tried(True, lines, out, len(shapes)))


def _products(
    of: GPUBasisKernel,
    out: Tensor,
    source: Rows,
    lines: Lines,
    picture: list[Any],
    pixels: list[int],
    has_picture: bool,
) -> bool:
    from implicitkit.kernels import gpu_basis_source

    batch, channels, height, width = out.shape
    functions, sides = lines.along[0].shape[-1], lines.sides
    padded, each = _padded(functions), channels * functions
    columns, index = _columns(lines.cells[1], source.cells[1])
    count, rows = len(columns), source.rows.contiguous()
    step = max(1, min(height, JOINED_BYTES // (4 * batch * count * each)))
    factor, lines_of_tile, warps = PRODUCT_TILE
    tile = max(1, factor * TILE_NUMBERS // padded)
    numbers, joined_lines, join_warps = JOIN_TILE

    def run() -> None:
        joined = torch.empty(batch, step, count, each, dtype=torch.float32, device=out.device)
        for first in range(0, height, step):
            some = min(step, height - first)
            gpu_basis_source.join[(-(-count * each // numbers), -(-some // joined_lines), batch)](
                *(joined, rows, columns, lines.cells[0], lines.along[0]),
                *(height, rows.shape[1], source.cells[1], first, some, count),
                K=functions, CHANNELS=channels, SIDES=sides,
                N=numbers, LINES=joined_lines, num_warps=join_warps, num_stages=1,
            )  # fmt: skip
            gpu_basis_source.products[(-(-width // tile), -(-some // lines_of_tile), batch)](
                *(out, joined, index, lines.along[1], *picture),
                *(height, width, *pixels, first, some, count),
                K=functions, PADDED=padded, CHANNELS=channels, SIDES=sides, PICTURE=has_picture,
                M=tile, LINES=lines_of_tile, num_warps=warps, num_stages=1,
            )  # fmt: skip

    settings = (functions, channels, sides, has_picture, source.rows.dtype)
    return launched("products", settings, out, run, of._tried(False, lines, out, 1))


def _columns(cells: Tensor, stored: int) -> tuple[Tensor, Tensor]:
    """The columns ``(count,)`` of cells to join, and which of them each pixel reads, ``(sides, W)``: all that are
    stored, or each pixel's own where those are fewer.
    """
    if stored <= cells.numel():
        return torch.arange(stored, device=cells.device), cells
    return cells.flatten(), torch.arange(cells.numel(), device=cells.device).view(cells.shape)
