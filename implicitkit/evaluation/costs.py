"""What a model costs to hold and to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """How many numbers a model holds in all, and how many of them training may change.

    Example:
        >>> count_parameters(nn.Linear(3, 4))
        (16, 16)
    """
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return sum(n for n, _ in counts), sum(n for n, trainable in counts if trainable)


@torch.no_grad()
def count_macs(work: Callable[[], Any]) -> int:
    """Multiply-accumulates of ``work()``: those of convolutions and matrix products, as they are run; what is done
    value by value is not counted.

    Example:
        >>> layer = nn.Linear(3, 4)
        >>> count_macs(lambda: layer(torch.zeros(2, 3)))
        24
    """
    counter = _Counter()
    with sdpa_kernel(SDPBackend.MATH), counter:  # fused attention is not counted
        work()
    return counter.operations // 2


class _Counter(TorchDispatchMode):
    """Counts operations as PyTorch's FlopCounterMode does, without its hooks on all modules: a decoder with hooks takes
    another path, which costs more.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(func._overloadpacket)
        if count is None and func._can_decompose():
            with self:
                return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        if count is not None:
            self.operations += int(count(*args, **kwargs, out_val=result))
        return result


def count_text(number: float | None) -> str:
    """A large number with three digits, or a dash where there is none.

    >>> count_text(1_234_000_000), count_text(12), count_text(None)
    ('1.23 G', '12', '–')
    """
    if number is None:
        return "–"
    units = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
    return next((f"{number / size:.3g} {unit}" for unit, size in units if number >= size), str(number))
