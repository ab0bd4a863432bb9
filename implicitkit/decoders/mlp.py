"""The small network that is evaluated at every point: linear layers with ReLUs between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode


class MLP(nn.Sequential):
    """A ``Sequential`` of ``Linear`` and ``ReLU``, for many points ``(M, K)`` at a time.

    Where no graph is kept, a CPU adds the bias and applies the ReLU while a product is still in its registers (oneDNN's
    fused product); elsewhere, and for other layers, it is a ``Sequential`` like any other.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``(M, K)`` -> ``(M, out)``."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
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
            weight, bias = _ready(layer, dtype)
            fuses = layers and isinstance(layers[0], nn.ReLU)
            if fuses:
                layers.pop(0)
            if fuses or weight.is_mkldnn:
                x = torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight, bias, "relu" if fuses else "none", [], "")
            else:
                x = F.linear(x.to(dtype), weight, bias)
        return x


Ready = tuple[Tensor, Tensor | None]
_prepared: ContextVar[dict[tuple[int, torch.dtype], tuple[Ready, Ready]] | None] = ContextVar("prepared", default=None)


@contextmanager
def weights_prepared_once() -> Iterator[None]:
    """Within it, the first call of an :class:`MLP` brings the weights into the format and order that oneDNN multiplies
    in, and further calls of the same thread find them there. They must not change in the meantime.
    """
    token = _prepared.set({})
    try:
        yield
    finally:
        _prepared.reset(token)


def _ready(layer: nn.Linear, dtype: torch.dtype) -> Ready:
    known = _prepared.get()
    key = (id(layer), dtype)
    if known is not None and key in known:
        (weight, bias), ready = known[key]
        if weight is layer.weight and bias is layer.bias:  # else it was lent others, as torch.func.functional_call does
            return ready
    weight = layer.weight.to(dtype)
    bias = None if layer.bias is None else layer.bias.to(dtype)
    if known is None:
        return weight, bias
    ready = torch.ops.mkldnn._reorder_linear_weight(weight), bias
    known[key] = (layer.weight, layer.bias), ready
    return ready


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
