"""Allocations that fail above a size."""

from __future__ import annotations

import math

import torch

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    MemoryError(),
]


class Limited:
    """Stands for a method that fails for more than ``most`` elements, as an allocation would."""

    def __init__(self, method, measure, most: int, error: BaseException = ERRORS[0]) -> None:
        self.method, self.measure, self.most, self.error = method, measure, most, error
        self.failed, self.sizes = 0, []

    def __call__(self, *arguments):
        size = self.measure(*arguments)
        if size > self.most:
            self.failed += 1
            raise self.error
        self.sizes.append(size)
        return self.method(*arguments)


def grid_points(decoder, latent, axes, *rest) -> int:
    return math.prod(len(axis) for axis in axes)
