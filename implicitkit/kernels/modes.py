"""What PyTorch is doing besides computing values."""

from __future__ import annotations

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import _get_current_dispatch_mode


def values_alone() -> bool:
    """Whether operators are run for their values (and gradients): nothing compiles, traces or transforms them, and
    nothing looks on that may know PyTorch's own operators alone, to count them, say.
    """
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and _get_current_dispatch_mode() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
    )
