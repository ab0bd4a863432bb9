"""The CPU kernel ``basis.c`` for decoders that are sums of separable functions of the offset: when it runs, and its
arguments.

It computes in float32 and needs a C compiler. ``IMPLICITKIT_KERNELS=0`` turns it off.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.coordinates import nearest_index
from implicitkit.decoders.base import in_half_cells
from implicitkit.decoders.basis.base import BasisDecoder, turned_waves
from implicitkit.decoders.ending import Ending
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.neighbours import axis_linear, axis_neighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels.compiled import ForkSafeLock, library

SOURCE = Path(__file__).with_name("basis.c")
NUMBERS = (
    *("waves", "narrow", "batch", "channels", "sides", "functions", "padded", "ny", "nx"),
    *("cells", "cells_x", "pixels", "pixels_x", "limited", "out_picture", "out_plane", "out_line", "passes", "groups"),
)
POINTERS = (
    *("column", "first", "start", "nth", "cell_y", "cell_x", "along_y", "along_x", "factor", "turned", "rows"),
    *("picture", "pixel_y", "pixel_x", "share_y", "share_x", "constant", "out", "rooms"),
)
LEAST_PIXELS = 1 << 10  # per thread
PASSING = 1 << 23  # bytes of a result that is more than usual caches keep for who reads it next
_loading = ForkSafeLock()


@dataclass(frozen=True)
class Separable:
    """The form of a basis decoder whose functions are separable.

    With ``waves`` a cell's row holds phases, then amplitudes per channel, and its value is ``sum_k A_ck sin(a_k(y) +
    b_k(x) + phase_k)``. Otherwise a row holds, for each channel, the coefficients of products ``f_i(y) g_j(x)``.

    Attributes:
        waves: which of the two.
        along: the angles, or the functions, ``(n, K)`` along an axis (0 for y) at offsets ``(n,)`` in half cells.
        factor: with ``waves``, what each is multiplied by, ``(K,)``, for a cell ``(d,)`` in half cells, or None; None:
            nothing.
        constant: added to each channel with the picture; None: nothing.
    """

    waves: bool
    along: Callable[[int, Tensor], Tensor]
    factor: Callable[[Tensor | None], Tensor | None] | None = None
    constant: Sequence[float] | None = None


class Lines(NamedTuple):
    """What a grid's lines read, per axis (y, x): the form's geometry, shared by all kernels.

    Attributes:
        cells: ``(sides, n)`` int64, the cells as they are stored.
        along: ``(sides, n, K)``, the functions times the side's share; with waves ``(1, n, K)``, the angles. Float32.
        sides: 2 with a local ensemble, else 1.
        factor: the form's, ``(K,)``; None: nothing.
    """

    cells: list[Tensor]
    along: list[Tensor]
    sides: int
    factor: Tensor | None = None

    @classmethod
    def of(
        cls, form: Separable, decoder: BasisDecoder, latent: Latent, axes: Sequence[Tensor], cell: Tensor | None
    ) -> Lines | None:
        """The lines of the grid of ``axes``; None where the decoder's settings are not separable."""
        source, ensemble, ties = latent.features, decoder.local_ensemble, decoder.ties
        if decoder.average or (form.waves and ensemble):  # a pixel's mean over waves is not
            return None
        near = [axis_neighbours(x, n, ensemble=ensemble, ties=ties) for x, n in zip(axes, source.grid, strict=True)]
        along, factor = [form.along(k, near[k].offset).float() for k in range(2)], None
        if form.waves:
            scaled = in_half_cells(cell, source.grid)
            factor = None if form.factor is None else form.factor(None if scaled is None else scaled[0, 0])
        else:
            along = [part * axis.weight[..., None] for part, axis in zip(along, near, strict=True)]
        cells = [
            (axis.cell - origin).clamp(0, stored - 1).contiguous()
            for axis, stored, origin in zip(near, source.cells, source.origin, strict=True)
        ]
        return cls(cells, [part.contiguous() for part in along], near[0].cell.shape[0], factor)

    def turned(self) -> list[Tensor]:
        """With waves: the cosines and sines of the angles ``(1, n, 2, K)``, along x times the factor."""
        y, x = (torch.stack([angle.cos(), angle.sin()], dim=-2) for angle in self.along)
        return [y, x if self.factor is None else x * self.factor]


class _Basis(ctypes.Structure):
    """``struct basis``; ``basis.c`` explains its fields."""

    _fields_ = (*((name, ctypes.c_int64) for name in NUMBERS), *((name, ctypes.c_void_p) for name in POINTERS))


@dataclass(frozen=True)
class BasisKernel:
    """The compiled functions, and their limits."""

    functions: ctypes.CDLL
    lanes: int
    max_functions: int
    max_channels: int
    room: int  # bytes that each thread works in

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
        """``(B, C, H, W)`` float32 on the grid of ``axes``; None where the kernel cannot run.

        ``out``: where it may write them; what is returned may be another tensor.
        """
        ending = Ending() if ending is None else ending
        lines, source, channels = Lines.of(form, decoder, latent, axes, cell), latent.features, decoder.out_channels
        if lines is None or channels > self.max_channels:
            return None
        functions = lines.along[0].shape[-1]
        padded = -(-functions // self.lanes) * self.lanes
        if padded > self.max_functions:
            return None
        narrow = source.rows.dtype == torch.bfloat16
        rows = (source.rows if narrow else source.rows.float()).contiguous()
        along_y, along_x, factor = *lines.along, lines.factor
        if form.waves and ending.scale != 1:
            factor = along_x.new_full((functions,), ending.scale) if factor is None else factor * ending.scale
        elif ending.scale != 1:
            along_x = along_x * ending.scale
        height, width = (len(axis) for axis in axes)
        shape = (len(rows), channels, height, width)
        each = functions * (1 + channels if form.waves else channels * functions)
        picture = None if latent.extra is None else latent.extra.rows
        known = picture is None or (picture.shape[0], picture.shape[2]) == (len(rows), channels)
        if rows.shape[2] != each or not known:
            return None
        given = out
        if out is None or out.shape != shape or not _may_hold(out, (rows, picture)):
            out = torch.empty(shape, dtype=torch.float32, device="cpu")
        if not out.numel():
            return out
        constant = (0.0,) * channels if picture is None or form.constant is None else form.constant
        numbers = {
            "waves": form.waves,
            "narrow": narrow,
            "sides": lines.sides,
            "functions": functions,
            "padded": padded,
            **dict(zip(("batch", "channels", "ny", "nx"), shape, strict=True)),
            "cells": rows.shape[1],
            "cells_x": source.cells[1],
            "limited": ending.limited,
            "passes": 4 * out.numel() >= PASSING,
            **dict(zip(("out_picture", "out_plane", "out_line"), out.stride(), strict=False)),
        }
        tensors: dict[str, Tensor | None] = {
            "cell_y": lines.cells[0],
            "cell_x": lines.cells[1],
            "along_y": along_y,
            "along_x": F.pad(along_x.transpose(-2, -1), (0, self.lanes)),
            "factor": None if factor is None else factor.float().contiguous(),
            "turned": along_x.new_empty(2 * functions * (width + self.lanes)) if form.waves else None,
            "rows": rows,
            "constant": along_y.new_tensor([c * ending.scale + ending.shift for c in constant]),
            "out": out,
            "column": torch.empty(lines.sides * width, dtype=torch.int64, device="cpu"),
            "first": torch.empty(width + 1, dtype=torch.int64, device="cpu"),
            "start": torch.empty(width + 1, dtype=torch.int64, device="cpu"),
            "nth": torch.zeros(lines.sides, width + self.lanes, dtype=torch.int32, device="cpu"),
        }
        if latent.extra is not None:
            numbers |= {"pixels": latent.extra.rows.shape[1], "pixels_x": latent.extra.cells[1]}
            tensors |= picture_of(decoder, latent.extra, latent.extent, axes, ending.scale)
        pointers = {name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()}

        threads = max(1, min(torch.get_num_threads(), out.numel() // channels // LEAST_PIXELS))
        rooms = torch.empty(threads * self.room, dtype=torch.uint8, device="cpu")
        self._call(_Basis(**numbers, **pointers, rooms=rooms.data_ptr()), threads)
        if out is given and not out.is_inference():
            torch.autograd.graph.increment_version(out)  # as any operation in place does
        return out

    def _call(self, task: _Basis, threads: int) -> None:
        """ctypes releases the GIL meanwhile."""
        self.functions.run(ctypes.byref(task), ctypes.c_int64(threads))


def _may_hold(out: Tensor, read: Sequence[Tensor | None]) -> bool:
    """Whether the kernel may write to ``out`` while it reads the others."""
    store = out.untyped_storage().data_ptr()
    plain = out.dtype == torch.float32 and out.device.type == "cpu" and out.stride(-1) == 1 and not out.is_neg()
    return plain and all(tensor is None or tensor.untyped_storage().data_ptr() != store for tensor in read)


def picture_of(
    decoder: BasisDecoder, picture: Rows, extent: Sequence[int], axes: Sequence[Tensor], scale: float = 1.0
) -> dict[str, Tensor]:
    """The kernels' arguments for the picture that is added ``scale`` times: two pixels per axis, and their shares."""
    pixels, shares = [], []
    for x, e, n, stored, origin in zip(axes, extent, picture.grid, picture.cells, picture.origin, strict=True):
        if decoder.skip == "nearest":
            cell = nearest_index(x, e, ties=decoder.ties).clamp(max=n - 1).expand(2, -1)
            share = x.new_full((2, len(x)), 0.5)  # of the same pixel
        else:
            near = axis_linear(x, e, n)
            cell, share = near.cell, near.weight
        pixels.append((cell - origin).clamp(0, stored - 1).contiguous())
        shares.append(share.contiguous())
    return {
        "picture": picture.rows.float().contiguous(),
        "pixel_y": pixels[0],
        "pixel_x": pixels[1],
        "share_y": shares[0],
        "share_x": shares[1] if scale == 1 else shares[1] * scale,
    }


def basis_kernel() -> BasisKernel | None:
    """The kernel; the first call on a machine compiles it, in about a second. None where there is none."""
    with _loading:
        return _kernel()


@cache
def _kernel() -> BasisKernel | None:
    built = None if os.environ.get("IMPLICITKIT_KERNELS", "1") == "0" else library(SOURCE)
    if built is None:
        return None
    about = (ctypes.c_int64 * 5)()
    try:
        built.functions.about(about)
    except AttributeError:  # another library under this name
        return None
    lanes, most_functions, most_channels, size, room = about
    if size != ctypes.sizeof(_Basis):
        return None
    kernel = BasisKernel(built.functions, lanes, most_functions, most_channels, room)
    return kernel if agrees(kernel) else None


def agrees(kernel: BasisKernel) -> bool:
    """Whether the kernel computes both forms correctly on a small example; no test has run with this compiler."""
    cases = ((True, False), (False, False), (False, True))
    n = kernel.lanes  # whole vectors of waves, and two groups of cells
    large = example_agrees(kernel, True, False, functions=n, columns=n + 2)
    return bool(large) and all(example_agrees(kernel, *case) for case in cases)


def example_agrees(
    kernel: Any,
    waves: bool,
    ensemble: bool,
    functions: int = 3,
    channels: int = 3,
    device: torch.device | str = "cpu",
    columns: int = 4,
) -> bool | None:
    """Whether a kernel computes one form correctly for so many functions, channels and columns of cells; None if it did
    not run.
    """
    device = torch.device(device)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        generator = torch.Generator("cpu").manual_seed(0)  # leave the global generator alone
        axes = [torch.linspace(-0.9, 0.9, n, dtype=torch.float32, device="cpu") for n in (5, 21)]
        decoder = _Example(waves, ensemble, functions, channels)
        stored = functions * (1 + channels if waves else channels * functions)
        rows = torch.rand(1, 3 * columns, stored, generator=generator, dtype=torch.float32, device="cpu") - 0.5
        grid = (3, columns)
        ours, theirs = (Latent(Rows(r, grid, (0, 0), grid), grid) for r in (rows.to(device), rows))
        form = Separable(waves, decoder.along)
        found: Tensor | None = kernel.grid(form, decoder, ours, [axis.to(device) for axis in axes], None)
        if found is None:
            return None
        expected = decoder.query_grid(theirs, axes, None, {})  # a GPU's own products may be TF32
        return bool(((found.cpu() - expected).abs() <= 1e-4 * expected.abs().max().clamp(min=1)).all())


class _Example(BasisDecoder):
    """Functions per axis, or waves."""

    uses_cell = False

    def __init__(self, waves: bool, ensemble: bool, functions: int, channels: int) -> None:
        super().__init__()
        self.waves, self.local_ensemble = waves, ensemble
        self.count, self.out_channels = functions, channels

    def along(self, axis: int, offset: Tensor) -> Tensor:
        """Both the functions and the angles."""
        steps = torch.arange(self.count, dtype=offset.dtype, device=offset.device) * (3 / self.count)
        return offset[..., None] * (steps + axis) + 1

    def opened(self, rows: Tensor) -> Tensor:
        return turned_waves(rows, self.count) if self.waves else rows

    def table(self, offset: Sequence[Tensor], cell: Tensor | None) -> Tensor:
        y, x = (self.along(k, part) for k, part in enumerate(offset))
        if self.waves:
            return torch.cat([(y + x).sin(), (y + x).cos()], dim=-1)
        return (y[..., :, None] * x[..., None, :]).flatten(-2)
