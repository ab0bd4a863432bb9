"""Which kernel evaluates a local ensemble in one pass: Triton's on a GPU, C's on a CPU, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from torch import Tensor, nn

from implicitkit.decoders.rows import Rows
from implicitkit.kernels import cpu, launch
from implicitkit.kernels.places import Places

_plain: ContextVar[bool] = ContextVar("plain", default=False)


class Engine(Protocol):
    """A kernel with its number format; hashable, as what it packs is kept."""

    def pack(self, layers: Sequence[nn.Linear], blocks: int = 1) -> Any:
        """``layers`` as the kernel reads them; the first reads ``blocks`` inputs of one width."""
        ...

    def liif(
        self, source: Rows, where: Places, geometry: Tensor, constant: Tensor, mlp: Any, shared: Tensor | None = None
    ) -> Tensor | None:
        """LIIF's blended values ``(B, N, out)`` float32; None where the kernel turns out not to run here, or for these.

        Args:
            source: the first layer's sums per cell, ``(B, prod cells, K)``.
            where: the queries.
            geometry: ``(2, K)``, what the offset is multiplied by.
            constant: ``(K,)``, what all queries share (the cell's part).
            mlp: the layers behind the first ReLU, packed.
            shared: ``(B, N, K)``, what a query adds to the sums of all its neighbours.
        """
        ...

    def lte(self, source: Rows, where: Places, phase: Tensor, mlp: Any) -> Tensor | None:
        """LTE's blended values, as above.

        Args:
            source: ``(B, prod cells, 2 K)``: amplitudes, frequencies along y, frequencies along x, times pi.
            where: the queries.
            phase: ``(K / 2,)``, times pi.
            mlp: all layers, packed in two blocks; the first reads cosines, then sines.
        """
        ...


@contextmanager
def plain_path() -> Iterator[None]:
    """Within it no kernel is used: PyTorch's operators alone, as where there is none."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def engine_for(like: Tensor, layers: Sequence[nn.Linear], first: int) -> Engine | None:
    """The kernel for a latent on the device of ``like`` and an MLP of ``layers`` whose inputs come in blocks of
    ``first``; None where the plain path is to be taken.
    """
    if _plain.get():
        return None
    dtype = launch.dtype_for(like, [first, *(layer.out_features for layer in layers)])
    if dtype is not None:
        return launch.GPUKernel(dtype)
    return cpu.engine_for(like, layers)


def linears(mlp: nn.Sequential, first: type[nn.Module]) -> list[nn.Linear] | None:
    """The linear layers of an MLP that is ReLUs and linear layers in turn, from ``first`` to a linear one; None for any
    other, which the kernels do not compute.
    """
    layers = list(mlp)
    kinds = (nn.ReLU, nn.Linear) if first is nn.ReLU else (nn.Linear, nn.ReLU)
    known = all(type(layer) is kinds[k % 2] for k, layer in enumerate(layers))
    if not known or not layers or type(layers[-1]) is not nn.Linear or any(map(is_hooked, (mlp, *layers))):
        return None
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody wants to know, or to change, what goes in or comes out."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
