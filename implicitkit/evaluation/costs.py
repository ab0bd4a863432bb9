"""What a model costs to hold and to use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


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
    counter = FlopCounterMode(display=False)
    # its own tracker puts hooks on all modules, and a decoder with hooks takes another path, which costs more
    counter.mod_tracker = _OneModule()  # type: ignore[assignment]
    with sdpa_kernel(SDPBackend.MATH), counter:  # fused attention is not counted
        work()
    return counter.get_total_flops() // 2


class _OneModule(nullcontext[None]):
    """Stands in for PyTorch's ModuleTracker: everything counts for the model as a whole."""

    parents = frozenset({"Global"})

    def __exit__(self, *_: object) -> None:  # PyTorch calls it without arguments
        pass


def count_text(number: float | None) -> str:
    """A large number with three digits, or a dash where there is none.

    >>> count_text(1_234_000_000), count_text(12), count_text(None)
    ('1.23 G', '12', '–')
    """
    if number is None:
        return "–"
    units = (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))
    return next((f"{number / size:.3g} {unit}" for unit, size in units if number >= size), str(number))
