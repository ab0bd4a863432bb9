"""The GPU kernels of :mod:`implicitkit.kernels.gpu_source`: when they run, and their arguments.

They multiply float16 and bfloat16 on the tensor cores with float32 sums, as autocast does. Float32 takes the plain
path, which is exact, unless TF32 is allowed (``torch.set_float32_matmul_precision("high")``). They need Triton 3.3
(PyTorch 2.7); ``IMPLICITKIT_KERNELS=0`` turns them off.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows
from implicitkit.devices import is_out_of_memory, is_recorded
from implicitkit.kernels import gpu_wide
from implicitkit.kernels.trial import ensemble_agrees

TILES = {"liif": ((64, 8),), "lte": ((64, 8),), "lmf": ((64, 4), (64, 8), (128, 8))}
"""Rows (neighbours of queries) and warps per program; the autotuner chooses where there are several, for many queries.

On an NVIDIA H200 (Triton 3.6) LIIF and LTE of the published widths were right with (64, 8) alone: (64, 4) and (128, 8)
gave wrong values (by 3 % of the largest) or an illegal memory access, and so did layers in two halves. The reason is
not known. In LIIF's machine code every product is waited for, and no register that one reads or adds to is written
meanwhile; that of (64, 8) multiplies by instructions of 64 × 128 sums, that of the others of 64 × 256.
"""
FORMS = {"liif": "sums", "lte": "waves", "lmf": "modulated"}  # methods of a kernel
MAX_NARROW = 32  # of layers whose float32 products are exact
MIN_TILE = 16  # the narrowest tile of the tensor cores
RESERVED_BYTES = 16 << 10  # shared memory besides a layer's matrix

MIN_QUERIES_TO_TUNE = 4096  # fewer are too fast to time
MIN_TRITON = (3, 3)  # the first with tuple arguments

Variant = tuple[str, torch.device, tuple[Any, ...]]
_broken: set[Variant] = set()
_proven: set[Variant] = set()
_trying = threading.Lock()
_tuning = threading.Lock()  # Triton's autotuner keeps state between its steps


class Packed(NamedTuple):
    """An MLP in the kernels' memory layout: matrices ``(in, out)`` in one flat tensor, biases in another, padded with
    zeros to ``widths``, which are powers of two. ``out`` is the output width without padding.
    """

    weights: Tensor
    biases: Tensor
    widths: tuple[int, ...]
    out: int


def dtype_for(rows: Tensor, widths: Sequence[int]) -> torch.dtype | None:
    """The dtype that the kernels multiply in; None: take the plain path.

    They need a CUDA device with Triton, at least one layer, and shared memory for the largest layer of ``widths``.
    """
    if not rows.is_cuda or len(widths) < 2 or not triton_there():
        return None
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
    elif tf32_allowed():
        dtype = torch.float32
    else:
        return None
    largest = max(padded(a) * padded(b) for a, b in pairwise(widths)) * dtype.itemsize
    room = getattr(torch.cuda.get_device_properties(rows.device), "shared_memory_per_block_optin", 0)
    return dtype if largest + RESERVED_BYTES <= room else None


def tf32_allowed() -> bool:
    """Whether a GPU may compute float32 products in TF32, by PyTorch's newer setting or else the old one."""
    newer = getattr(torch.backends.cuda.matmul, "fp32_precision", None)
    return newer == "tf32" if newer is not None else bool(torch.backends.cuda.matmul.allow_tf32)


@cache
def triton_there() -> bool:
    """Whether Triton is installed, new enough and not turned off by ``IMPLICITKIT_KERNELS=0``."""
    if os.environ.get("IMPLICITKIT_KERNELS", "1") == "0" or importlib.util.find_spec("triton") is None:
        return False
    return triton_version() >= MIN_TRITON


def triton_version() -> tuple[int, int]:
    """The installed Triton's major and minor number; zeros where they cannot be told."""
    try:
        major, minor = importlib.metadata.version("triton").split(".")[:2]
        return int(major), int(minor)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return 0, 0


def padded(n: int) -> int:
    """The next power of two, at least 16."""
    return max(MIN_TILE, 1 << (n - 1).bit_length())


def pack(layers: Sequence[nn.Linear], dtype: torch.dtype, blocks: int = 1) -> Packed:
    """Pack ``layers`` in ``dtype``; the inputs of the first are ``blocks`` parts of one width, padded separately."""
    widths = [padded(layers[0].in_features // blocks), *(padded(layer.out_features) for layer in layers)]
    weights, biases = [], []
    for i, layer in enumerate(layers):
        matrix = layer.weight.detach().t().to(dtype)
        for part in matrix.chunk(blocks if i == 0 else 1):
            weights.append(F.pad(part, (0, widths[i + 1] - part.shape[1], 0, widths[i] - part.shape[0])).flatten())
        bias = matrix.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
        biases.append(F.pad(bias.float(), (0, widths[i + 1] - len(bias))))
    return Packed(torch.cat(weights), torch.cat(biases), tuple(widths), layers[-1].out_features)


@dataclass(frozen=True)
class GPUKernel:
    """A :class:`~implicitkit.kernels.evaluate.Kernel` that multiplies in ``dtype``; TF32 unless ``exact``.

    ``tile`` is the one of :data:`TILES` that is on trial, or :data:`.gpu_wide.TRIAL`; None: use those
    that have been tried.
    """

    dtype: torch.dtype
    exact: bool = False
    tile: int | None = None

    def sums(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        geometry: Tensor,
        constant: Tensor,
        added: Tensor | None = None,
    ) -> Tensor | None:
        if added is not None:
            return None
        mlp = pack(layers, self.dtype)
        placed = [geometry.float().contiguous(), constant.float().contiguous()]
        found = _launch_wide("liif", source, near, placed, mlp, self, layers)
        if found is not None or self.tile == gpu_wide.TRIAL:
            return found
        own = [*placed, mlp.weights, mlp.biases]
        return _launch("liif", source, source.rows, near, source.rows.shape[-1], own, mlp, self, layers)

    def waves(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        phase: Tensor,
        added: Tensor | None = None,
    ) -> Tensor | None:
        if added is not None:
            return None
        mlp = pack(layers, self.dtype, 2)
        phase = phase.float().contiguous()
        found = _launch_wide("lte", source, near, [phase], mlp, self, layers)
        if found is not None or self.tile == gpu_wide.TRIAL:
            return found
        own = [phase, mlp.weights, mlp.biases]
        return _launch("lte", source, source.rows.float(), near, source.rows.shape[-1] // 2, own, mlp, self, layers)

    def modulated(
        self, source: Rows, near: QueryNeighbours, layers: Sequence[nn.Linear], geometry: Tensor, constant: Tensor
    ) -> Tensor | None:
        """Evaluate :class:`~implicitkit.kernels.table.Modulated`; arguments as of :meth:`sums`."""
        mlp = pack(layers, self.dtype)
        own = [geometry.float().contiguous(), constant.float().contiguous(), mlp.weights, mlp.biases]
        return _launch("lmf", source, source.rows, near, geometry.shape[1], own, mlp, self, layers)


def first_failure(results: Iterable[bool | None]) -> bool | None:
    """The first result that is not True; True if there is none."""
    return next((result for result in results if result is not True), True)


def kernel_for(like: Tensor, layers: Sequence[nn.Linear], first: int) -> GPUKernel | None:
    """The kernel for a latent on the device of ``like`` and an MLP of ``layers`` that reads ``first`` inputs.

    Narrow layers are so little work that float32 is multiplied exactly where TF32 is not allowed.
    """
    widths = [first, *(layer.out_features for layer in layers)]
    dtype = dtype_for(like, widths)
    if dtype is not None:
        return GPUKernel(dtype)
    narrow = like.is_cuda and len(widths) > 1 and max(widths) <= MAX_NARROW and triton_there()
    exactly = narrow and not torch.is_autocast_enabled("cuda")
    return GPUKernel(torch.float32, exact=True) if exactly else None


def _launch_wide(
    name: str,
    source: Rows,
    near: QueryNeighbours,
    own: Sequence[Tensor],
    mlp: Packed,
    kernel: GPUKernel,
    layers: Sequence[nn.Linear],
) -> Tensor | None:
    """What the kernel of :mod:`implicitkit.kernels.gpu_wide` makes, where it serves and is right; else None."""
    trial = kernel.tile == gpu_wide.TRIAL
    few = near.points * len(source.rows) < gpu_wide.MIN_QUERIES
    if ((few or kernel.tile is not None) and not trial) or not gpu_wide.serves(name, source, near, mlp):
        return None
    out = torch.empty(len(source.rows), near.points, mlp.out, dtype=torch.float32, device=source.rows.device)

    def tried() -> bool | None:
        return ensemble_agrees(replace(kernel, tile=gpu_wide.TRIAL), FORMS[name], source, near, layers)

    def run() -> None:
        gpu_wide.launch(name, out, source, near, own, mlp, trial=trial)

    settings = (mlp.widths, source.rows.dtype, near.grid, near.sides)
    return out if launched(f"wide {name}", settings, out, run, None if trial else tried) else None


def _launch(
    name: str,
    source: Rows,
    rows: Tensor,
    near: QueryNeighbours,
    width: int,
    own: Sequence[Tensor],
    mlp: Packed,
    kernel: GPUKernel,
    layers: Sequence[nn.Linear],
) -> Tensor | None:
    batch, corners = len(rows), near.sides**2
    out = torch.empty(batch, near.points, mlp.out, dtype=torch.float32, device=rows.device)
    if not out.numel():
        return out
    arguments = [out, rows.contiguous(), near.cell_y, near.off_y, near.cell_x, near.off_x, *own]
    sizes = [near.points, near.width, near.cell_y.shape[1], near.cell_x.shape[1], rows.shape[1], source.cells[1]]
    narrow = "tf32" if mlp.weights.dtype == torch.float32 and not kernel.exact else "ieee"
    options = {
        "K": width,
        "OUT": mlp.out,
        "GRID": near.grid,
        "SIDES": near.sides,
        "WIDTHS": mlp.widths,
        "PRECISION": narrow if rows.is_cuda else "widened",
    }

    many = rows.is_cuda and near.points * batch >= MIN_QUERIES_TO_TUNE
    tiles = TILES[name] if many else TILES[name][:1]
    tiles = tiles if kernel.tile is None else TILES[name][kernel.tile :][:1]

    def run() -> None:
        from implicitkit.kernels import gpu_source

        compiled = getattr(gpu_source, name)
        if len(tiles) > 1:
            choices = tuple(((("M", tile),), warps) for tile, warps in tiles)
            tuned(compiled, choices, ("K", "WIDTHS", "PRECISION"))[
                lambda meta: (-(-near.points * corners // meta["M"]), batch)
            ](*arguments, *sizes, **options)
        else:
            ((tile, warps),) = tiles
            compiled[(-(-near.points * corners // tile), batch)](
                *arguments, *sizes, **options, M=tile, num_warps=warps, num_stages=1
            )

    settings = (mlp.widths, mlp.weights.dtype, kernel.exact, rows.dtype, near.grid, near.sides, tiles)

    def tried() -> bool | None:
        shapes = (replace(kernel, tile=k) for k in range(len(tiles)))
        return first_failure(ensemble_agrees(shape, FORMS[name], source, near, layers) for shape in shapes)

    return out if launched(name, settings, out, run, tried if kernel.tile is None else None) else None


def launched(
    name: str, settings: tuple[Any, ...], out: Tensor, run: Callable[[], None], trial: Callable[[], bool | None] | None
) -> bool:
    """Whether ``run`` launched the kernel ``name``, which is compiled for ``settings``, on the device of ``out``.

    Before its first use ``trial`` says whether it is right on a small example (None: it did not run). Where it is not,
    or fails on a GPU, a warning says so, and it is not used again.
    """
    variant = (name, out.device, settings)
    if variant in _broken or (trial is not None and not _tried(variant, out, trial)):
        return False
    try:
        with torch.cuda.device(out.device) if out.is_cuda else nullcontext(), _tuning:
            run()
    except (ValueError, TypeError):  # a mistake in the arguments
        raise
    except Exception as error:  # compilers, drivers and devices raise many kinds
        if not out.is_cuda or is_out_of_memory(error):
            raise
        _broken.add(variant)
        warnings.warn(f"the {name} kernel does not run here, the plain path does: {error}", stacklevel=3)
        return False
    return True


def _tried(variant: Variant, out: Tensor, trial: Callable[[], bool | None]) -> bool:
    """Whether the variant is right, tried once; not yet while a CUDA graph is recorded, before which a warm-up has."""
    if variant in _proven:
        return True
    if is_recorded(out):
        return False
    with _trying:
        if variant not in _proven and variant not in _broken:
            try:
                right = trial()
            except Exception as error:  # a GPU tells of a failure later, where values are read
                if not out.is_cuda or is_out_of_memory(error):
                    raise
                right = False
            (_proven if right else _broken).add(variant)
            if right is False:
                warnings.warn(f"the {variant[0]} kernel is wrong here, the plain path serves instead", stacklevel=4)
    return variant in _proven


@cache
def tuned(kernel: Any, tiles: tuple[tuple[tuple[tuple[str, int], ...], int], ...], key: tuple[str, ...]) -> Any:
    """The kernel with its autotuner, which times ``tiles`` (sizes by name, and warps) at the first call for a ``key``.

    Results are cached on disk where this version of Triton can.
    """
    import triton

    configs = [triton.Config(dict(sizes), num_warps=warps, num_stages=1) for sizes, warps in tiles]
    cached = {"cache_results": True} if "cache_results" in inspect.signature(triton.autotune).parameters else {}
    decorate: Callable[[Any], Any] = triton.autotune(configs, key=list(key), **cached)
    return decorate(kernel)
