"""How much memory is free, and what to do where it runs out: try again with less."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import torch

T = TypeVar("T")
LIMITS = (  # of a container, which may be lower than what the machine has: version 2, then version 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
SAID = ("can't allocate memory", "not enough memory", "out of memory")  # by PyTorch's allocators, as a RuntimeError


def free_memory(device: torch.device) -> int:
    """Bytes that can be allocated on ``device`` now."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    available = int(psutil.virtual_memory().available)
    for limit, used in LIMITS:
        try:
            available = min(available, max(0, int(limit.read_text()) - int(used.read_text())))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return available


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; PyTorch says so in several ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in SAID)


def unless_out_of_memory(call: Callable[[], T]) -> T | None:
    """What ``call`` returns; None if memory ran out, and all that it held is free again."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:  # it keeps the tensors of its frames alive while it is being handled
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
