"""The small network that runs at every point: linear layers with ReLUs between them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module
from torch.nn.utils.prune import is_pruned


class MLP(nn.Sequential):
    """A ``Sequential`` of ``Linear`` and ``ReLU``, for many points ``(M, K)`` at a time.

    On a CPU oneDNN computes a linear layer and the ReLU behind it in one call, see :class:`Product`.

    >>> MLP(*MLP.layers(4, 8, 3))(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """

    @staticmethod
    def layers(*widths: int, relu_first: bool = False) -> list[nn.Module]:
        """Linear layers between ``widths`` with ReLUs between them, and one before them if ``relu_first``."""
        modules: list[nn.Module] = []
        for before, after in pairwise(widths):
            modules += [nn.ReLU(inplace=True), nn.Linear(before, after)]
        return modules if relu_first else modules[1:]

    def forward(self, x: Tensor) -> Tensor:
        """``(M, K)`` -> ``(M, out)``."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        if x.device.type != "cpu" or x.ndim != 2 or not only_values(x, *self.parameters()) or not has_product(dtype):
            for layer in self:
                x = layer(x)
            return x
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if not isinstance(layer, nn.Linear) or not _is_plain(layer, nn.Linear):
                x = layer(x)
                continue
            relu = bool(layers) and _is_plain(layers[0], nn.ReLU)
            layers = layers[relu:]
            bias: Tensor | None = layer.bias
            x = Product.apply(x.to(dtype), layer.weight.to(dtype), None if bias is None else bias.to(dtype), relu)
        return x


class Product(torch.autograd.Function):
    """``x @ weight.T + bias``, through a ReLU if ``relu``, by oneDNN. The float32 library behind PyTorch's linear layer
    reaches less than half its speed on some processors.
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
        if ctx.needs_input_grad[0] and torch.is_grad_enabled():  # double backward
            of_x = gradient @ weight
        elif ctx.needs_input_grad[0]:
            of_x = _product(gradient.contiguous(), weight.t(), None, False)
        if ctx.needs_input_grad[1]:
            of_weight = gradient.t() @ x
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum(0)
        return of_x, of_weight, of_bias, None


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    return result


@cache
def has_product(dtype: torch.dtype) -> bool:
    """Whether oneDNN's product exists and is right; it is not part of PyTorch's documented interface."""
    if dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    x, weight, bias = (torch.linspace(-1, 1, n, dtype=dtype, device="cpu") for n in (12, 20, 5))
    x, weight = x.view(3, 4), weight.view(5, 4)
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            plain = F.linear(x, weight, bias)
            pairs = ((_product(x, weight, bias, False), plain), (_product(x, weight, bias, True), plain.relu()))
            return all(torch.allclose(ours.float(), theirs.float(), atol=1e-2) for ours, theirs in pairs)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False


def only_values(*tensors: Tensor) -> bool:
    """Whether operators on ``tensors`` run eagerly: nothing compiles, traces, transforms or counts them, as those tools
    know PyTorch's documented operators only.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
        return False
    if torch.utils._python_dispatch._get_current_dispatch_mode() is not None or is_transformed():
        return False
    return not any(is_wrapped(t) or forward_ad.unpack_dual(t).tangent is not None for t in tensors)


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` is at work."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def is_wrapped(tensor: Tensor) -> bool:
    """Whether a tensor holds no values of its own: ``torch.func`` has wrapped another."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False


def is_hooked(module: nn.Module) -> bool:
    """Whether a module has forward or backward hooks, or all modules have.

    >>> layer = nn.Linear(2, 2)
    >>> handle = layer.register_forward_hook(lambda *_: None)
    >>> is_hooked(layer), is_hooked(nn.Linear(2, 2))
    (True, False)
    """
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks) or bool(torch_module._has_any_global_hook())


def holds_hooks(network: nn.Module) -> bool:
    """Whether a network, or a module in it, has hooks or was compiled in place (``module.compile()``): both count where
    modules are called, one after the other.
    """
    return any(is_hooked(module) or module._compiled_call_impl is not None for module in network.modules())


def weight_of(layer: nn.Linear) -> Tensor:
    """The weight of a layer that is not called, since its product is computed in parts: as pruning leaves it, which
    masks a weight before each call.
    """
    if is_pruned(layer) and isinstance(mask := getattr(layer, "weight_mask", None), Tensor):
        return layer.weight_orig * mask  # type: ignore[operator]
    return layer.weight


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module has the forward of ``kind`` and no hooks."""
    return isinstance(module, kind) and type(module).forward is kind.forward and not is_hooked(module)
