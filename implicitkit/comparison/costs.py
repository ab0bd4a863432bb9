"""What a model costs: parameters, and multiplications for one picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from implicitkit.model import ImplicitModel


def parameters(model: ImplicitModel) -> dict[str, int]:
    """How many numbers the model holds in all, and how many of them its training changed."""
    counted = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(n for n, _ in counted), "trainable": sum(n for n, free in counted if free)}


@torch.no_grad()
def macs(model: ImplicitModel, image: Tensor, mask: Tensor | None, size: tuple[int, ...]) -> int:
    """Multiply-accumulates of encoding ``image`` ``(3, h, w)`` and rendering it at ``size``: those of convolutions and
    matrix products, as they are run; what is done value by value is not counted.
    """
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused attention is not counted
        model.encode(image, mask).render(size)
    flops: Any = counter.get_total_flops()
    return int(flops) // 2
