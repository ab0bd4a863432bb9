"""The CPU kernel, ``ensemble.c``: when it serves, and what it is given.

It multiplies in float32, or in bfloat16 with float32 sums where the processor has AVX512-BF16 instructions. It takes
the place of the plain path where no graph is kept and nothing watches PyTorch's operators; ``IMPLICITKIT_KERNELS=0``
turns it off, and without a C compiler, or a processor that it knows, there is none.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.rows import Rows
from implicitkit.kernels.compiled import library
from implicitkit.kernels.modes import values_alone
from implicitkit.kernels.places import Places
from implicitkit.kernels.trial import agrees

SOURCE = Path(__file__).with_name("ensemble.c")
DECODERS = {"liif": 0, "lte": 1}
NUMBERS = (
    *("decoder", "narrow", "narrow_rows", "batch", "points", "sides", "grid", "width", "ny", "nx"),
    *("cells", "cells_x", "row", "first", "layers", "channels"),
)
POINTERS = (
    *("widths", "real", "cell_y", "cell_x", "off_y", "off_x", "rows", "geometry", "shared"),
    *("weights", "biases", "last", "last_bias", "out"),
)
NUMBERS_KNOWN = (torch.float32, torch.bfloat16)
_loading = threading.Lock()


class Packed(NamedTuple):
    """The layers of an MLP as the kernel reads them, hidden widths padded with zeros to whole strips.

    Attributes:
        weights: of the layers that a ReLU follows, one after the other, in strips.
        biases: float32.
        widths: ``(layers,)`` int64, padded.
        real: ``(layers,)`` int64, as they were.
        first: padded width of what the first layer reads.
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
    """``struct ensemble``: what it means is said there."""

    _fields_ = (*((name, ctypes.c_int64) for name in NUMBERS), *((name, ctypes.c_void_p) for name in POINTERS))


@dataclass(frozen=True)
class CPUKernel:
    """The kernel with products of one number format, see :class:`~implicitkit.kernels.engines.Engine`.

    Attributes:
        functions: what was compiled.
        strip: numbers that a hidden width is padded to a multiple of.
        dtype: float32 or bfloat16.
    """

    functions: ctypes.CDLL = field(repr=False)
    strip: int
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

    def liif(
        self,
        source: Rows,
        where: Places,
        geometry: Tensor,
        constant: Tensor,
        mlp: Packed,
        shared: Tensor | None = None,
    ) -> Tensor:
        own = torch.cat([geometry.float(), constant.float()[None]])
        return self._run("liif", source, where, F.pad(own, (0, mlp.first - own.shape[1])), mlp, shared)

    def lte(self, source: Rows, where: Places, phase: Tensor, mlp: Packed) -> Tensor:
        return self._run("lte", source, where, F.pad(phase.float(), (0, mlp.first // 2 - len(phase))), mlp)

    def _run(
        self, decoder: str, source: Rows, where: Places, own: Tensor, mlp: Packed, shared: Tensor | None = None
    ) -> Tensor:
        rows = source.rows.contiguous()
        if not (decoder == "liif" and rows.dtype == self.dtype == torch.bfloat16):
            rows = rows.float()
        out = torch.empty(len(rows), where.points, len(mlp.last), dtype=torch.float32, device="cpu")
        if not out.numel():
            return out
        numbers = {
            "decoder": DECODERS[decoder],
            "narrow": self.dtype == torch.bfloat16,
            "narrow_rows": rows.dtype == torch.bfloat16,
            "batch": len(rows),
            "points": where.points,
            "sides": where.sides,
            "grid": where.grid,
            "width": where.width,
            "ny": where.cell_y.shape[1],
            "nx": where.cell_x.shape[1],
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
            "cell_y": where.cell_y,
            "cell_x": where.cell_x,
            "off_y": where.off_y,
            "off_x": where.off_x,
            "rows": rows,
            "geometry": own.contiguous(),
            "shared": None if shared is None else shared.float().contiguous(),
            "weights": mlp.weights,
            "biases": mlp.biases,
            "last": mlp.last,
            "last_bias": mlp.last_bias,
            "out": out,
        }
        pointers = {name: None if tensor is None else tensor.data_ptr() for name, tensor in tensors.items()}
        task = _Ensemble(**numbers, **pointers)
        if self._call(task):
            raise MemoryError("not enough memory to evaluate the decoder")
        return out

    def _call(self, task: _Ensemble) -> int:
        """What ``run`` returns; other Python threads go on in the meantime."""
        return int(self.functions.run(ctypes.byref(task), ctypes.c_int64(torch.get_num_threads())))


def engine_for(like: Tensor, layers: Sequence[nn.Linear]) -> CPUKernel | None:
    """The kernel for a latent on the device of ``like`` and an MLP of ``layers``; None where the plain path is to be
    taken.
    """
    if like.device.type != "cpu" or not layers or torch.is_grad_enabled() or not values_alone():
        return None
    tensors = [like, *(p for layer in layers for p in (layer.weight, layer.bias) if p is not None)]
    if any(type(t) not in (Tensor, nn.Parameter) or t.device.type != "cpu" for t in tensors):
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    if dtype not in NUMBERS_KNOWN or (dtype == torch.float32 and any(t.dtype != dtype for t in tensors[1:])):
        return None
    return kernels().get(dtype)


def kernels() -> dict[torch.dtype, CPUKernel]:
    """The kernel by number format; compiled when first asked for: a second, once per machine."""
    with _loading:
        return _kernels()


def _forget() -> None:
    """In a forked process: another thread may have held the lock, and is not there to release it."""
    global _loading
    _loading = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@cache
def _kernels() -> dict[torch.dtype, CPUKernel]:
    made = None if os.environ.get("IMPLICITKIT_KERNELS", "1") == "0" else library(SOURCE)
    if made is None:
        return {}
    answer = (ctypes.c_int64 * 3)()
    try:
        made.functions.about(answer)
    except AttributeError:  # a file of the right name that holds something else
        return {}
    strip, narrow, size = answer
    if size != ctypes.sizeof(_Ensemble):
        return {}
    dtypes = [torch.float32, torch.bfloat16] if narrow else [torch.float32]
    found = {dtype: CPUKernel(made.functions, strip, dtype) for dtype in dtypes}
    return {dtype: kernel for dtype, kernel in found.items() if agrees(kernel)}


def describe() -> str:
    """The kernel in a few words, for reports."""
    found = kernels()
    made = library(SOURCE) if found else None
    if made is None:
        return "no CPU kernel"
    formats = " and ".join(str(dtype).removeprefix("torch.") for dtype in found)
    return f"CPU kernel compiled by {Path(made.compiler).name} ({formats})"


def padded(n: int, multiple: int) -> int:
    """The next multiple."""
    return -(-n // multiple) * multiple


def _padded_inputs(layer: nn.Linear, width: int, blocks: int) -> Tensor:
    """The layer's matrix ``(out, width)``, each of its ``blocks`` of inputs padded by itself."""
    parts = layer.weight.detach().float().chunk(blocks, dim=1)
    return torch.cat([F.pad(part, (0, width // blocks - part.shape[1])) for part in parts], dim=1)


def _bias(layer: nn.Linear) -> Tensor:
    bias: Tensor | None = layer.bias
    if bias is None:
        return torch.zeros(layer.out_features, dtype=torch.float32, device="cpu")
    return bias.detach().float()
