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

from implicitkit.kernels.engines import Engine, is_hooked
from implicitkit.kernels.modes import values_alone

T = TypeVar("T")


class MLP(nn.Sequential):
    """A ``Sequential`` of ``Linear`` and ``ReLU``, for many points ``(M, K)`` at a time.

    A CPU adds the bias and applies the ReLU while a product is still in its registers (oneDNN's fused product);
    elsewhere, and for other layers, it is a ``Sequential`` like any other.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(M, K)`` -> ``(M, out)``."""
        dtype = dtype_of_products(x)
        if not _fuses(x, dtype):
            for layer in self:
                x = layer(x)
            return x
        graph, layers = torch.is_grad_enabled(), list(self)
        while layers:
            layer = layers.pop(0)
            if not isinstance(layer, nn.Linear) or not is_plain(layer, nn.Linear):
                x = layer(x)
                continue
            relu = bool(layers) and is_plain(layers[0], nn.ReLU)
            if relu:
                layers.pop(0)
            if graph:
                own: Tensor | None = layer.bias
                x = _Product.apply(x.to(dtype), layer.weight.to(dtype), None if own is None else own.to(dtype), relu)
                continue
            weight, bias = _prepared(layer, dtype)
            if relu or weight.is_mkldnn:
                x = _product(x.to(dtype), weight, bias, relu)
            else:
                x = F.linear(x.to(dtype), weight, bias)
        return x


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether it does what its ``kind`` does, and nobody has hooked it."""
    return isinstance(module, kind) and type(module).forward is kind.forward and not is_hooked(module)


def _fuses(x: Tensor, dtype: torch.dtype) -> bool:
    return x.device.type == "cpu" and x.ndim == 2 and values_alone() and cpu_fuses_relu(dtype)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    return result


class _Product(torch.autograd.Function):
    """oneDNN's product where a graph is kept. PyTorch's own goes elsewhere in float32, to less than half the speed on
    some processors.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        result = _product(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, result if relu else None)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        x, weight, result = ctx.saved_tensors
        if result is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, result, 0)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            if torch.is_grad_enabled():  # its gradient is wanted as well
                of_x = gradient @ weight
            else:
                of_x = _product(gradient.contiguous(), weight.t(), None, False)
        if ctx.needs_input_grad[1]:
            of_weight = gradient.t() @ x
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0)
        return of_x, of_weight, of_bias, None


def begins_with_relu(layers: nn.Sequential) -> bool:
    """Whether the first layer is a ReLU that whoever calls the rest may apply in its place: nobody has hooked it."""
    return len(layers) > 0 and not is_hooked(layers) and is_plain(layers[0], nn.ReLU)


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
