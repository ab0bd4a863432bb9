"""How a map lies in memory."""

from __future__ import annotations

import torch
from torch import Tensor


def for_convolutions(x: Tensor) -> Tensor:
    """``x`` ``(B, C, H, W)`` as convolutions are fastest with: on a CPU each pixel's channels lie side by side.

    What they make of it lies so too (``torch.channels_last``); shapes and values are the same. On other devices, for
    other dimensions, and where it is compiled or transformed, ``x`` as it is.
    """
    transformed = torch._C._functorch.peek_interpreter_stack() is not None  # vmap knows no memory formats
    if x.device.type != "cpu" or x.ndim != 4 or torch.compiler.is_compiling() or transformed:
        return x
    return x.contiguous(memory_format=torch.channels_last)
