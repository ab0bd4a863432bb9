"""Evaluate a decoder by the fastest way: the device's kernel, or the decoder's own code (the plain path)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

from implicitkit.coordinates import open_mesh
from implicitkit.decoders.base import Decoder, in_float32
from implicitkit.decoders.basis.base import BasisDecoder
from implicitkit.decoders.ending import Ending
from implicitkit.decoders.local_ensemble import Latent, LocalEnsembleDecoder
from implicitkit.decoders.mlp import holds_hooks, only_values
from implicitkit.decoders.neighbours import QueryNeighbours
from implicitkit.decoders.rows import Rows
from implicitkit.kernels import basis, cpu, gpu, gpu_basis, pool
from implicitkit.kernels.basis import Separable
from implicitkit.kernels.table import Modulated, Networks, Placed, Sums, form_of

MAX_NARROW_CHANNELS = 16  # values per point; a large block of more takes too much memory
_plain_only: ContextVar[bool] = ContextVar("plain_only", default=False)


class Kernel(Protocol):
    """A kernel for one dtype. All methods return ``(B, N, out)`` float32, or None where the kernel cannot run."""

    def sums(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        geometry: Tensor,
        constant: Tensor,
        added: Tensor | None = None,
    ) -> Tensor | None:
        """Evaluate :class:`~implicitkit.kernels.table.Sums`.

        Args:
            source: rows of ``K`` numbers.
            near: the cells around the queries.
            layers: the linear layers behind the first ReLU.
            geometry: ``(2, K)``, multiplied by the offset.
            constant: ``(K,)``, added to every row.
            added: ``(B, N, K)``, added to the rows of all neighbours of a query.
        """
        ...

    def waves(
        self,
        source: Rows,
        near: QueryNeighbours,
        layers: Sequence[nn.Linear],
        phase: Tensor,
        added: Tensor | None = None,
    ) -> Tensor | None:
        """Evaluate :class:`~implicitkit.kernels.table.Waves`.

        Args:
            source: rows of ``2 K`` numbers: amplitudes, frequencies along y, frequencies along x, in radians.
            near: the cells around the queries.
            layers: all linear layers; the first reads cosines, then sines.
            phase: ``(K / 2,)`` in radians.
            added: ``(B, N, width)``, added to the sums of the first layer.
        """
        ...

    def modulated(
        self, source: Rows, near: QueryNeighbours, layers: Sequence[nn.Linear], geometry: Tensor, constant: Tensor
    ) -> Tensor | None:
        """Evaluate :class:`~implicitkit.kernels.table.Modulated`; arguments as of :meth:`sums`."""
        ...


@contextmanager
def plain_path() -> Iterator[None]:
    """Use no kernel in this context, only PyTorch's operators.

    >>> import torch
    >>> import implicitkit as ik
    >>> field = ik.load_model("liif_small").encode(torch.rand(3, 8, 8))
    >>> with plain_path():
    ...     expected = field.render((12, 12))
    >>> torch.allclose(field.render((12, 12)), expected, atol=1e-4)
    True
    """
    token = _plain_only.set(True)
    try:
        yield
    finally:
        _plain_only.reset(token)


def query(
    decoder: Decoder, latent: Any, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]
) -> Tensor:
    """:meth:`Decoder.query <implicitkit.decoders.base.Decoder.query>` by the fastest way."""
    if holds_hooks(decoder):
        return decoder(latent, coords, cell, conditions)  # type: ignore[no-any-return]
    chosen = _choose(decoder, latent, cell, coords)
    if chosen is not None:
        flat = {name: value.flatten(0, 1) for name, value in conditions.items()}
        values = _by_kernel(*chosen, decoder, latent, coords.float().unbind(-1), cell, flat)
        if values is not None:
            return values

    def plain(span: slice) -> Tensor:
        own_cell = cell if cell is None or cell.shape[1] == 1 else cell[:, span]
        own = {name: value[:, span] for name, value in conditions.items()}
        return decoder.query(latent, coords[:, span], own_cell, own)

    if not _may_share(decoder, latent, coords):
        return decoder.query(latent, coords, cell, conditions)
    return _joined(plain, pool.spans_of(coords.shape[1], len(coords) * coords.shape[1]), dim=1)


def query_grid(
    decoder: Decoder,
    latent: Any,
    axes: Sequence[Tensor],
    cell: Tensor | None,
    conditions: Mapping[str, Tensor],
    ending: Ending | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """:meth:`Decoder.query_grid <implicitkit.decoders.base.Decoder.query_grid>` by the fastest way, and the values'
    end, float32.

    ``out``: where the values may be written; what is returned may be another tensor.
    """
    if holds_hooks(decoder):
        values: Tensor = decoder(latent, axes, cell, conditions)
    elif (ended := _by_basis(decoder, latent, axes, cell, ending, out)) is not None:
        return ended
    elif (found := _grid_by_kernel(decoder, latent, axes, cell, conditions)) is not None:
        return found if ending is None else ending.into(out, found)
    else:
        values = _grid_by_decoder(decoder, latent, axes, cell, conditions)
    return values.float() if ending is None else ending(values)


def _grid_by_kernel(
    decoder: Decoder, latent: Any, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
) -> Tensor | None:
    """``(B, C, *S)`` by a kernel for points, or None."""
    chosen = _choose(decoder, latent, cell, *axes)
    if chosen is None:
        return None
    flat = {name: rearrange(value, "b c ... -> (b ...) c") for name, value in conditions.items()}
    values = _by_kernel(*chosen, decoder, latent, open_mesh(axes), cell, flat)
    return None if values is None else values.transpose(1, 2).reshape(len(values), -1, *(len(axis) for axis in axes))


def _grid_by_decoder(
    decoder: Decoder, latent: Any, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
) -> Tensor:
    """The plain path, on all threads where it may."""

    def plain(span: slice) -> Tensor:
        own = {name: value[:, :, span] for name, value in conditions.items()}
        return decoder.query_grid(latent, [axes[0][span], *axes[1:]], cell, own)

    if (cell is not None and cell.shape[1] != 1) or not _may_share(decoder, latent, *axes):
        return decoder.query_grid(latent, axes, cell, conditions)
    return _joined(plain, pool.spans_of(len(axes[0]), math.prod(len(axis) for axis in axes)), dim=2)


def runs_in_large_blocks(decoder: Decoder, picture: Tensor, cell: Tensor | None) -> bool:
    """Whether a kernel evaluates queries of ``picture`` with this ``cell`` and a large block takes little memory: few
    channels, and no values of other fields. A kernel shares a block among all threads.
    """
    small = not decoder.queried and decoder.out_channels <= MAX_NARROW_CHANNELS
    return small and _kernel_of(decoder, picture, cell) is not None


def renders_at_once(decoder: Decoder, picture: Tensor, cell: Tensor | None) -> bool:
    """Whether grids of ``picture`` with this ``cell`` are rendered in at most 0.2 s per million pixels and thread by a
    kernel that takes no memory besides the values: those of basis decoders and LMF.
    """
    if torch.compiler.is_compiling() or _plain_only.get() or torch.is_grad_enabled():
        return False
    form = form_of(decoder)
    if isinstance(form, Modulated):
        return runs_in_large_blocks(decoder, picture, cell)
    one_cell = cell is None or cell.shape[:2] == (1, 1)
    return one_cell and isinstance(form, Separable) and _basis_kernel_for(picture) is not None


def _may_share(decoder: Decoder, latent: Any, *coords: Tensor) -> bool:
    """Whether the plain path may run on the thread pool: on a CPU, without a graph, on a latent of rows."""
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or coords[0].device.type != "cpu":
        return False
    source = latent.features if isinstance(latent, Latent) else latent
    return isinstance(source, Rows) and only_values(source.rows, *coords, *decoder.parameters())


def _joined(call: Callable[[slice], Tensor], spans: Sequence[slice], dim: int) -> Tensor:
    parts = pool.in_parallel(call, spans)
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)


def _choose(decoder: Decoder, latent: Any, cell: Tensor | None, *coords: Tensor) -> tuple[Kernel, Networks] | None:
    if not isinstance(latent, Latent):
        return None
    chosen = _kernel_of(decoder, latent.features.rows, cell, *coords)
    row = latent.features.rows.shape[-1]
    if chosen is not None and isinstance(chosen[1], Placed) and row != chosen[1].row:
        return None  # rows that were prepared while a layer had a hook
    return chosen


def _kernel_of(decoder: Decoder, like: Tensor, cell: Tensor | None, *coords: Tensor) -> tuple[Kernel, Networks] | None:
    """The kernel and the form of ``decoder`` for a latent on the device of ``like``; None: take the plain path."""
    if torch.compiler.is_compiling() or _plain_only.get() or torch.is_grad_enabled():
        return None
    if cell is not None and cell.shape[:2] != (1, 1):  # one cell per point
        return None
    form = None if holds_hooks(decoder) else form_of(decoder)
    if form is None or isinstance(form, Separable):
        return None
    tensors = [like, *coords, *(p for layer in form.layers for p in layer.parameters(recurse=False))]
    if not only_values(*tensors):
        return None
    kernel: Kernel | None = gpu.kernel_for(like, form.layers, form.width) or cpu.kernel_for(like, form.layers)
    return None if kernel is None else (kernel, form)


def _basis_kernel_for(like: Tensor) -> basis.BasisKernel | gpu_basis.GPUBasisKernel | None:
    """The kernel of basis decoders for a latent on the device of ``like``."""
    return basis.basis_kernel() if like.device.type == "cpu" else gpu_basis.basis_kernel_for(like)


def _by_basis(
    decoder: Decoder,
    latent: Any,
    axes: Sequence[Tensor],
    cell: Tensor | None,
    ending: Ending | None,
    out: Tensor | None,
) -> Tensor | None:
    """A basis decoder's values on a grid by its kernel, or None; see :func:`query_grid`."""
    if torch.compiler.is_compiling() or _plain_only.get() or torch.is_grad_enabled():
        return None
    if not isinstance(decoder, BasisDecoder) or not only_values(*decoder.parameters()):
        return None
    form = form_of(decoder)
    if not isinstance(form, Separable) or not applies(latent, axes, cell):
        return None
    kernel = _basis_kernel_for(latent.features.rows)
    with in_float32(latent.features.rows.device.type):
        if kernel is None:
            return None
        return kernel.grid(form, decoder, latent, [axis.float() for axis in axes], cell, ending, out)


def applies(latent: Any, axes: Sequence[Tensor], cell: Tensor | None) -> bool:
    """Whether the tensors are of a kind that the kernels read: plain, on one device, not float64; one cell for all."""
    if not isinstance(latent, Latent) or len(axes) != 2 or (cell is not None and cell.shape[:2] != (1, 1)):
        return False
    extra = [] if latent.extra is None else [latent.extra.rows]
    tensors = [latent.features.rows, *axes, *extra, *([] if cell is None else [cell])]
    device = tensors[0].device
    plain = all(type(t) is Tensor and t.device == device and t.dtype != torch.float64 for t in tensors)
    return plain and only_values(*tensors)


def _by_kernel(
    kernel: Kernel,
    form: Networks,
    decoder: Decoder,
    latent: Latent,
    per_axis: Sequence[Tensor],
    cell: Tensor | None,
    conditions: Mapping[str, Tensor],
) -> Tensor | None:
    assert isinstance(decoder, LocalEnsembleDecoder)
    source = latent.features
    cell = decoder.in_cells(cell, source.grid)
    point = decoder.at_point(cell, conditions)
    near = QueryNeighbours.of(per_axis, source, ensemble=decoder.local_ensemble)
    blended: Tensor | None
    with in_float32(source.rows.device.type):
        if isinstance(form, Placed):
            geometry = form.geometry.float().t()
            constant = geometry.new_zeros(form.width) if cell is None else (cell @ geometry[2:])[0]
        if isinstance(form, Modulated):
            blended = kernel.modulated(source, near, form.layers, geometry[:2], constant)
        elif isinstance(form, Sums):
            if point is not None and len(point) == 1:
                constant, point = constant + point[0].float(), None
            blended = kernel.sums(source, near, form.layers, geometry[:2], constant, _per_query(point, source))
        else:
            assert point is not None
            phase, rest = point.tensor_split([form.width], dim=1)
            added = rest.expand(len(source.rows) * near.points, -1) if rest.shape[1] else None
            blended = kernel.waves(source, near, form.layers, phase[0].float(), _per_query(added, source))
    return None if blended is None else decoder.finish(latent, per_axis, blended)


def _per_query(point: Tensor | None, source: Rows) -> Tensor | None:
    return None if point is None else point.unflatten(0, (len(source.rows), -1))
