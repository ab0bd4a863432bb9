"""When LIIF and LTE run by :mod:`implicitkit.kernels.gpu_wide_source`, and its arguments.

That is in bfloat16, at the published widths, on a Hopper card, with Triton 3.6 or newer, for many queries. Elsewhere
:mod:`implicitkit.kernels.gpu_source` serves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows

if TYPE_CHECKING:
    from implicitkit.kernels.gpu import Packed


ROWS, WIDTH, LAST, SLICE = 128, 256, 16, 64
WARPS = 8
SHARED_BYTES = 227 << 10  # of a Hopper card's program; the kernels take 209 KiB
HOPPER = (9, 0)
MIN_TRITON = (3, 6)
MIN_QUERIES = 4096  # fewer take the simpler kernel, which has many small programs
TRIAL = -1  # the tile of a kernel on trial


def serves(name: str, source: Rows, near: QueryNeighbours, mlp: Packed) -> bool:
    """Whether the kernel is there for the decoder ``name`` and an MLP of these widths, on the device of ``source``."""
    rows = source.rows
    waves = name == "lte"
    begin, *others, last = mlp.widths
    return (
        rows.is_cuda
        and name in ("liif", "lte")
        and mlp.weights.dtype == torch.bfloat16
        and (begin, last) == (WIDTH // 2 if waves else WIDTH, LAST)
        and len(others) > 0
        and all(width == WIDTH for width in others)
        and rows.shape[-1] == (2 * WIDTH if waves else WIDTH)
        and rows.shape[0] * (near.points * near.sides**2 + ROWS) < 1 << 31
        and gluon_there()
        and is_hopper(rows.device)
    )


def is_hopper(device: torch.device) -> bool:
    """Whether the device is a Hopper card, whose matrix products the kernel is made of."""
    properties = torch.cuda.get_device_properties(device)
    room = getattr(properties, "shared_memory_per_block_optin", 0)
    return (properties.major, properties.minor) == HOPPER and room >= SHARED_BYTES


@cache
def gluon_there() -> bool:
    """Whether Triton has Gluon as the kernel uses it."""
    from implicitkit.kernels.gpu import triton_version

    return triton_version() >= MIN_TRITON and importlib.util.find_spec("triton.experimental.gluon") is not None


def launch(
    name: str, out: Tensor, source: Rows, near: QueryNeighbours, own: Sequence[Tensor], mlp: Packed, *, trial: bool
) -> None:
    """Run the kernel: ``own`` are the decoder's geometry and constant, or its phase.

    On trial one program takes all tiles, as each does of a large picture.
    """
    from triton.experimental.gluon.language import NVMMASharedLayout
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    from implicitkit.kernels.gpu_wide_source import ensemble

    waves = name == "lte"
    depth = len(mlp.widths) - 2  # LTE's cosines and sines are two halves of the first layer's inputs
    wide = depth * WIDTH * WIDTH
    matrices = mlp.weights[:wide].view(depth * WIDTH, WIDTH)
    described = TensorDescriptor.from_tensor(matrices, [SLICE, WIDTH], NVMMASharedLayout(128, 16))
    rows = source.rows.contiguous()
    tiles = -(-near.points * near.sides**2 // ROWS) * len(rows)
    programs = min(tiles, torch.cuda.get_device_properties(rows.device).multi_processor_count)
    ensemble[(1 if trial else programs,)](
        out, rows, near.cell_y, near.off_y, near.cell_x, near.off_x, own[0], own[-1],
        described, mlp.weights[wide:], mlp.biases,
        near.points, near.width, near.cell_y.shape[1], near.cell_x.shape[1], rows.shape[1], source.cells[1], tiles,
        OUT=mlp.out, GRID=near.grid, SIDES=near.sides, DEPTH=depth, WAVES=waves, num_warps=WARPS,
    )  # fmt: skip
