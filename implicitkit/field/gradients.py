"""Refuse derivatives of a field that keeps no graph: they would be zero, or fail far away in PyTorch's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.autograd import forward_ad

from implicitkit.decoders.mlp import is_transformed, is_wrapped


def refuse_derivatives(what: str, *tensors: Tensor | None) -> None:
    """Raise :class:`ValueError` if a caller differentiates by one of ``tensors``.

    >>> refuse_derivatives("the coords", torch.zeros(3, 2))
    >>> refuse_derivatives("the coords", torch.zeros(3, 2, requires_grad=True))
    Traceback (most recent call last):
    ValueError: derivatives by the coords are asked for, but ... use model.encode(image, grad=True), or ...
    """
    if any(is_differentiated(tensor) for tensor in tensors if tensor is not None):
        raise ValueError(
            f"derivatives by {what} are asked for, but this field keeps no graph; use model.encode(image, grad=True), "
            "or .detach() or torch.no_grad() if none are meant"
        )


def refuse_transformed(what: str, tensors: Iterable[Tensor]) -> None:
    """:func:`refuse_derivatives` by ``torch.func`` alone: weights always require gradients of autograd."""
    if not torch.compiler.is_compiling() and is_transformed():
        refuse_derivatives(what, *filter(is_wrapped, tensors))


def is_differentiated(tensor: Tensor) -> bool:
    """Whether derivatives by ``tensor`` are asked for: by autograd, forward mode, or any level of ``torch.func``.

    >>> is_differentiated(torch.zeros(2)), is_differentiated(torch.zeros(2, requires_grad=True))
    (False, True)
    """
    if torch.compiler.is_compiling():
        return torch.is_grad_enabled() and tensor.requires_grad
    return any(
        (torch.is_grad_enabled() and level.requires_grad) or forward_ad.unpack_dual(level).tangent is not None
        for level in _levels(tensor)
    )


def _levels(tensor: Tensor) -> Iterator[Tensor]:
    """``tensor``, and what ``torch.func`` has wrapped in it."""
    yield tensor
    while is_wrapped(tensor) and is_transformed():
        tensor = torch._C._functorch.get_unwrapped(tensor)
        yield tensor
