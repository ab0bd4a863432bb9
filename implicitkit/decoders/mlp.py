"""The small network that is evaluated at every point: linear layers with ReLUs between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from implicitkit.kernels.engines import Engine

T = TypeVar("T")


class MLP(nn.Sequential):
    """A ``Sequential`` of ``Linear`` and ``ReLU``, for many points ``(M, K)`` at a time.

    Where no graph is kept, a CPU adds the bias and applies the ReLU while a product is still in its registers (oneDNN's
    fused product); elsewhere, and for other layers, it is a ``Sequential`` like any other.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(M, K)`` -> ``(M, out)``."""
        dtype = dtype_of_products(x)
        if (
            x.device.type != "cpu"
            or torch.is_grad_enabled()
            or torch.compiler.is_compiling()
            or _get_current_dispatch_mode() is not None  # something looks on, and may know aten's operators alone
            or not cpu_fuses_relu(dtype)
        ):
            for layer in self:
                x = layer(x)
            return x
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if not isinstance(layer, nn.Linear):
                x = layer(x)
                continue
            weight, bias = _prepared(layer, dtype)
            fuses = layers and isinstance(layers[0], nn.ReLU)
            if fuses:
                layers.pop(0)
            if fuses or weight.is_mkldnn:
                x = torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, "relu" if fuses else "none", [], "")
            else:
                x = F.linear(x.to(dtype), weight, bias)
        return x


def begins_with_relu(layers: nn.Sequential) -> bool:
    """Whether the first layer is a ReLU that whoever calls the rest may apply in its place: nobody has hooked it."""
    if not len(layers) or type(layers[0]) is not nn.ReLU:
        return False
    return not any(module._forward_hooks or module._forward_pre_hooks for module in (layers, layers[0]))


def dtype_of_products(x: Tensor) -> torch.dtype:
    """What a linear layer on a CPU multiplies ``x`` in: autocast's type where it is on, ``x``'s own otherwise."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class Ready(dict[Hashable, tuple[tuple[Tensor | None, ...], Any]]):
    """Weights as the layers have them, and what was made of them: in the order that oneDNN, or a kernel, reads."""


_ready_now: ContextVar[Ready | None] = ContextVar("ready_now", default=None)


def weights_prepared_once(ready: Ready | None = None) -> AbstractContextManager[None]:
    """Within it, the first call of an :class:`MLP`, or of a kernel, prepares its weights, and further calls find them
    in ``ready``.

    They must not change in the meantime. None: what the context around this one uses, or else a new one.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    if ready is None:
        ready = _ready_now.get()
    return _with(Ready() if ready is None else ready)


@contextmanager
def _with(ready: Ready) -> Iterator[None]:
    token = _ready_now.set(ready)
    try:
        yield
    finally:
        _ready_now.reset(token)


def packed(engine: Engine, layers: Sequence[nn.Linear], blocks: int = 1) -> Any:
    """The layers as ``engine`` reads them, see :meth:`~implicitkit.kernels.engines.Engine.pack`."""
    weights = tuple(p for layer in layers for p in (layer.weight, layer.bias))
    return _once((engine, *map(id, layers)), weights, lambda: engine.pack(layers, blocks))


def _prepared(layer: nn.Linear, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    def prepare() -> tuple[Tensor, Tensor | None]:
        weight = layer.weight.to(dtype)
        if _ready_now.get() is not None:
            weight = torch.ops.mkldnn._reorder_linear_weight(weight)
        return weight, None if layer.bias is None else layer.bias.to(dtype)

    return _once((id(layer), dtype), (layer.weight, layer.bias), prepare)


def _once(key: Hashable, weights: tuple[Tensor | None, ...], make: Callable[[], T]) -> T:
    """What ``make`` returns, now or, in a context where weights are prepared once, the first time for these."""
    ready = _ready_now.get()
    if ready is not None and key in ready:
        used, made = ready[key]
        if all(a is b for a, b in zip(used, weights, strict=True)):  # else lent others, as functional_call does
            return cast(T, made)
    made = make()
    if ready is not None:
        ready[key] = weights, made
    return made


@cache
def cpu_fuses_relu(dtype: torch.dtype) -> bool:
    """Whether oneDNN's product with a fused ReLU, which PyTorch's own compiler calls, is there and does what it should.

    It is not part of PyTorch's documented interface, hence the trial.
    """
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = (torch.linspace(-1, 1, n, dtype=dtype) for n in (12, 20, 5))
    x, weight = x.view(3, 4), weight.view(5, 4)
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            ordered = torch.ops.mkldnn._reorder_linear_weight(weight)
            for ours in (weight, ordered):
                for also, expected in (("none", F.linear(x, weight, bias)), ("relu", F.linear(x, weight, bias).relu())):
                    found = torch.ops.mkldnn._linear_pointwise(x, ours, bias, also, [], "")
                    if not torch.allclose(found.float(), expected.float(), atol=1e-2):
                        return False
            return True
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
