"""The CPU kernel ``ensemble.c``: when it runs, and its arguments.

It multiplies in float32, or in bfloat16 with float32 sums where the processor has AVX512-BF16. It needs a C compiler
and AVX2, AVX-512 or NEON. ``IMPLICITKIT_KERNELS=0`` turns it off.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels.compiled import ForkSafeLock, library

SOURCE = Path(__file__).with_name("ensemble.c")
FORMS = {"sums": 0, "waves": 1, "modulated": 2}
NUMBERS = (
    *("form", "narrow", "narrow_rows", "batch", "points", "sides", "grid", "width", "ny", "nx"),
    *("cells", "cells_x", "row", "first", "layers", "channels"),
)
POINTERS = (
    *("widths", "real", "cell_y", "cell_x", "off_y", "off_x", "share_y", "share_x"),
    *("rows", "geometry", "added"),
    *("weights", "biases", "last", "last_bias", "out"),
)
DTYPES = (torch.float32, torch.bfloat16)
_loading = ForkSafeLock()


class Packed(NamedTuple):
    """An MLP in the kernel's memory layout; hidden widths are padded with zeros to whole strips.

    Attributes:
        weights: hidden layers, concatenated, in strips.
        biases: hidden layers, float32.
        widths: ``(layers,)`` int64, padded.
        real: ``(layers,)`` int64, not padded.
        first: padded input width.
        last: ``(out, padded in)``.
        last_bias: ``(out,)`` float32.
    """

    weights: Tensor
    biases: Tensor
    widths: Tensor
    real: Tensor
    first: int
    last: Tensor
    last_bias: Tensor


class _Ensemble(ctypes.Structure):
    """``struct ensemble``; ``ensemble.c`` explains its fields."""

    _fields_ = (*((name, ctypes.c_int64) for name in NUMBERS), *((name, ctypes.c_void_p) for name in POINTERS))


@dataclass(frozen=True)
class CPUKernel:
    """A :class:`~implicitkit.kernels.evaluate.Kernel` that multiplies in ``dtype``, float32 or bfloat16.

    Hidden widths are padded to a multiple of ``strip``, LMF's to one of ``slim``.
    """

    functions: ctypes.CDLL = field(repr=False)
    strip: int
    slim: int
    dtype: torch.dtype

    def pack(self, layers: Sequence[nn.Linear], blocks: int = 1) -> Packed:
        strip, narrow = self.strip, self.dtype == torch.bfloat16
        *hidden, final = layers
        block = padded(layers[0].in_features // blocks, strip // blocks)
        before = first = block * blocks
        weights, biases, widths = [], [], []
        for i, layer in enumerate(hidden):
            width = padded(layer.out_features, strip)
            matrix = _padded_inputs(layer, before, blocks if i == 0 else 1)
            matrix = F.pad(matrix, (0, 0, 0, width - layer.out_features)).to(self.dtype)
            if narrow:  # (strips, in / 2, strip, 2)
                strips = matrix.view(-1, strip, before // 2, 2).transpose(1, 2)
            else:
                strips = matrix.view(-1, strip, before).transpose(1, 2)
            weights.append(strips.flatten())
            biases.append(F.pad(_bias(layer), (0, width - layer.out_features)))
            widths.append(width)
            before = width
        real = [layer.out_features for layer in hidden]
        return Packed(
            torch.cat([torch.zeros(0, dtype=self.dtype, device="cpu"), *weights]),
            torch.cat([torch.zeros(0, dtype=torch.float32, device="cpu"), *biases]),
            torch.tensor(widths, dtype=torch.int64, device="cpu"),
            torch.tensor(real, dtype=torch.int64, device="cpu"),
            first,
            _padded_inputs(final, before, 1 if hidden else blocks).to(self.dtype).contiguous(),
            _bias(final).contiguous(),
        )

    def sums(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        geometry: Tensor,
        constant: Tensor,
        added: Tensor | None = None,
    ) -> Tensor:
        mlp = self.pack(layers)
        own = torch.cat([geometry.float(), constant.float()[None]])
        return self._run("sums", source, near, F.pad(own, (0, mlp.first - own.shape[1])), mlp, added)

    def waves(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        phase: Tensor,
        added: Tensor | None = None,
    ) -> Tensor | None:
        if added is not None and len(layers) < 2:
            return None
        mlp = self.pack(layers, 2)
        return self._run("waves", source, near, F.pad(phase.float(), (0, mlp.first // 2 - len(phase))), mlp, added)

    def modulated(
        self, source: Rows, near: QueryNeighbours, layers: Sequence[nn.Linear], geometry: Tensor, constant: Tensor
    ) -> Tensor:
        """Evaluate :class:`~implicitkit.kernels.table.Modulated`, always in float32; arguments as of :meth:`sums`."""
        exact = replace(self, strip=self.slim, dtype=torch.float32)
        mlp = exact.pack(layers)
        own = torch.cat([geometry.float(), constant.float()[None]])
        return exact._run("modulated", source, near, F.pad(own, (0, mlp.first - own.shape[1])), mlp, None)

    def _run(
        self, form: str, source: Rows, near: QueryNeighbours, own: Tensor, mlp: Packed, added: Tensor | None
    ) -> Tensor:
        rows = source.rows.contiguous()
        if not (form == "sums" and rows.dtype == self.dtype == torch.bfloat16):
            rows = rows.float()
        out = torch.empty(len(rows), near.points, len(mlp.last), dtype=torch.float32, device="cpu")
        if near.grid:  # as it will be read: channel by channel
            out = out.view(len(rows), len(mlp.last), near.points).transpose(1, 2)
        if not out.numel():
            return out
        numbers = {
            "form": FORMS[form],
            "narrow": self.dtype == torch.bfloat16,
            "narrow_rows": rows.dtype == torch.bfloat16,
            "batch": len(rows),
            "points": near.points,
            "sides": near.sides,
            "grid": near.grid,
            "width": near.width,
            "ny": near.cell_y.shape[1],
            "nx": near.cell_x.shape[1],
            "cells": rows.shape[1],
            "cells_x": source.cells[1],
            "row": rows.shape[2],
            "first": mlp.first,
            "layers": len(mlp.widths),
            "channels": len(mlp.last),
        }
        tensors = {
            "widths": mlp.widths,
            "real": mlp.real,
            "cell_y": near.cell_y,
            "cell_x": near.cell_x,
            "off_y": near.off_y,
            "off_x": near.off_x,
            "share_y": near.share_y,
            "share_x": near.share_x,
            "rows": rows,
            "geometry": own.contiguous(),
            "added": None if added is None else added.float().contiguous(),
            "weights": mlp.weights,
            "biases": mlp.biases,
            "last": mlp.last,
            "last_bias": mlp.last_bias,
            "out": out,
        }
        pointers = {name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()}
        if self._call(_Ensemble(**numbers, **pointers)):
            raise MemoryError("not enough memory to evaluate the decoder")
        return out

    def _call(self, task: _Ensemble) -> int:
        """Call ``run``; ctypes releases the GIL meanwhile."""
        return int(self.functions.run(ctypes.byref(task), ctypes.c_int64(torch.get_num_threads())))


def kernel_for(like: Tensor, layers: Sequence[nn.Linear]) -> CPUKernel | None:
    """The kernel for a latent on the device of ``like`` and an MLP of ``layers``, if there is one."""
    if like.device.type != "cpu" or not layers:
        return None
    tensors = [like, *(p for layer in layers for p in layer.parameters(recurse=False))]
    if any(type(t) not in (Tensor, nn.Parameter) or t.device.type != "cpu" for t in tensors):
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if dtype not in DTYPES or (dtype == torch.float32 and any(t.dtype != dtype for t in tensors[1:])):
        return None
    return kernels().get(dtype)


def kernels() -> dict[torch.dtype, CPUKernel]:
    """The kernel per dtype; the first call on a machine compiles it, in about a second."""
    with _loading:
        return _kernels()


@cache
def _kernels() -> dict[torch.dtype, CPUKernel]:
    built = None if os.environ.get("IMPLICITKIT_KERNELS", "1") == "0" else library(SOURCE)
    if built is None:
        return {}
    about = (ctypes.c_int64 * 4)()
    try:
        built.functions.about(about)
    except AttributeError:  # another library under this name
        return {}
    strip, narrow, size, slim = about
    if size != ctypes.sizeof(_Ensemble):
        return {}
    dtypes = [torch.float32, torch.bfloat16] if narrow else [torch.float32]
    by_dtype = {dtype: CPUKernel(built.functions, strip, slim, dtype) for dtype in dtypes}
    return {dtype: kernel for dtype, kernel in by_dtype.items() if agrees(kernel)}


def agrees(kernel: CPUKernel) -> bool:
    """Whether the kernel computes all forms correctly on a small example; no test has run with this compiler."""
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        waves, points, hidden = 20, 9, 24
        generator = torch.Generator("cpu").manual_seed(0)  # leave the global generator alone

        def random(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu") * 2 - 1

        def linear(before: int, after: int) -> nn.Linear:
            layer = skip_init(nn.Linear, before, after, dtype=torch.float32, device="cpu")
            for p in layer.parameters():
                p.copy_(random(*p.shape))
            return cast(nn.Linear, layer)

        def close(values: Tensor | None, first_sums: Tensor) -> bool:
            expected = layers[1](first_sums.relu())
            bound = 1e-4 if kernel.dtype == torch.float32 else 0.02
            return values is not None and bool(((values[0] - expected).abs() <= bound * expected.abs().max()).all())

        def source(width: int) -> Rows:
            return Rows(random(1, points, width), (1, points), (0, 0), (1, points))

        layers = [linear(2 * waves, hidden), linear(hidden, 3)]
        cell, off = torch.arange(points, device="cpu")[None], [random(1, points), random(1, points)]
        all_of_it = torch.ones(1, points, device="cpu")
        near = QueryNeighbours(
            torch.zeros_like(cell), off[0], cell, off[1], points, points, False, 1, all_of_it, all_of_it
        )
        offset, phase, geometry = torch.cat(off).t(), random(waves), random(3, 2 * waves)

        liif, lte = source(2 * waves), source(4 * waves)
        lte.rows.mul_(5)
        for added in (None, random(1, points, 2 * waves)):
            inputs = liif.rows[0] + offset @ geometry[:2] + geometry[2] + (0 if added is None else added[0])
            if not close(kernel.sums(liif, near, layers, geometry[:2], geometry[2], added), layers[0](inputs.relu())):
                return False
        amplitude, frequency = lte.rows[0].split(2 * waves, dim=1)
        angle = frequency[:, :waves] * offset[:, :1] + frequency[:, waves:] * offset[:, 1:] + phase
        inputs = layers[0](amplitude * torch.cat([angle.cos(), angle.sin()], dim=1))
        for added in (None, random(1, points, hidden)):
            expected = inputs if added is None else inputs + added[0]
            if not close(kernel.waves(lte, near, layers, phase, added), expected):
                return False

        lmf, layers, geometry = source(4 * hidden), [linear(hidden, hidden), linear(hidden, 3)], random(3, hidden)
        scale, added_scale, shift, added_shift = lmf.rows[0].split(hidden, dim=1)
        inputs = shift + scale * (offset @ geometry[:2] + geometry[2])
        expected = added_shift + added_scale * layers[0](inputs.relu())
        return close(kernel.modulated(lmf, near, layers, geometry[:2], geometry[2]), expected)


def describe() -> str:
    """One phrase for reports: the compiler and the dtypes, or that there is no kernel."""
    by_dtype = kernels()
    built = library(SOURCE) if by_dtype else None
    if built is None:
        return "no CPU kernel"
    formats = " and ".join(str(dtype).removeprefix("torch.") for dtype in by_dtype)
    return f"CPU kernel compiled by {Path(built.compiler).name} ({formats})"


def padded(n: int, multiple: int) -> int:
    """``n`` rounded up to a multiple of ``multiple``."""
    return -(-n // multiple) * multiple


def _padded_inputs(layer: nn.Linear, width: int, blocks: int) -> Tensor:
    """The layer's matrix ``(out, width)``, each of its ``blocks`` of inputs padded separately."""
    parts = layer.weight.detach().float().chunk(blocks, dim=1)
    return torch.cat([F.pad(part, (0, width // blocks - part.shape[1])) for part in parts], dim=1)


def _bias(layer: nn.Linear) -> Tensor:
    bias: Tensor | None = layer.bias
    if bias is None:
        return torch.zeros(layer.out_features, dtype=torch.float32, device="cpu")
    return bias.detach().float()
