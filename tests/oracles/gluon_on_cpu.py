"""Enough of Gluon to run :mod:`implicitkit.kernels.gpu_wide_source` on a CPU: a barrier that nobody will pass fails.

Asynchronous products read their factors as late as they may: when they are waited for. Layouts mean nothing here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

_program = SimpleNamespace(place=(0, 1))


class Pointer:
    """A flat tensor and offsets into it."""

    def __init__(self, data: Tensor, at: Any = 0) -> None:
        self.data, self.at = data, at

    def __add__(self, offset: Any) -> Pointer:
        return Pointer(self.data, self.at + offset)


class Memory:
    """Shared memory."""

    def __init__(self, data: Tensor) -> None:
        self.data = data

    def index(self, k: int) -> Memory:
        return Memory(self.data[int(k)])

    def slice(self, start: int, length: int, dim: int) -> Memory:
        return Memory(self.data.narrow(dim, start, length))

    def store(self, values: Tensor) -> None:
        assert values.shape == self.data.shape and values.dtype == self.data.dtype
        self.data.copy_(values)


class Barrier:
    """A barrier in shared memory: a phase ends when all have arrived and all bytes that are expected have come."""

    def __init__(self) -> None:
        self.phase = self.count = self.left = self.bytes = 0

    def change(self, arrivals: int, missing: int) -> None:
        self.left -= arrivals
        self.bytes += missing
        assert self.left >= 0, "more arrive than may"
        if self.left == 0 and self.bytes == 0:
            self.phase += 1
            self.left = self.count

    def wait(self, parity: int) -> None:
        assert self.phase % 2 != int(parity), "it waits for ever"


class Barriers:
    def __init__(self, count: int) -> None:
        self.each = [Barrier() for _ in range(count)]

    def index(self, k: int) -> Barrier:
        return self.each[int(k)]


class Sums:
    """The sums of products of which some have not been made."""

    def __init__(self, value: Tensor, pending: list[tuple[Memory, Memory, bool]]) -> None:
        self.value, self.pending = value, pending


def load(pointer: Pointer, mask: Any = None, other: Any = 0) -> Tensor:
    at = torch.as_tensor(pointer.at)
    inside = torch.ones_like(at, dtype=torch.bool) if mask is None else mask.expand_as(at)
    found = pointer.data[torch.where(inside, at, 0)]
    return torch.where(inside, found, torch.as_tensor(other, dtype=found.dtype))


def store(pointer: Pointer, values: Tensor, mask: Tensor) -> None:
    at, values, mask = torch.broadcast_tensors(pointer.at, values, mask)
    pointer.data[at[mask]] = values[mask]


def allocate(dtype: torch.dtype, shape: list[int], layout: Any) -> Memory | Barriers:
    del layout
    if dtype == torch.int64:
        return Barriers(shape[0])
    return Memory(torch.full(shape, float("nan"), dtype=dtype))


def inline(asm: str, constraints: str, args: list[Tensor], dtype: torch.dtype, is_pure: bool, pack: int) -> Tensor:
    del constraints, is_pure, pack
    ways: dict[str, Callable[[Tensor], Tensor]] = {"cvt.rn.relu": torch.relu, "cos": torch.cos, "sin": torch.sin}
    (way,) = (way for name, way in ways.items() if asm.startswith(name))
    return way(args[0]).to(dtype)


def product(a: Memory, b: Memory, total: Any, use_acc: bool, is_async: bool) -> Sums:
    assert is_async and a.data.shape[1] == b.data.shape[0]
    total = total if isinstance(total, Sums) else Sums(total, [])
    return Sums(total.value, [*total.pending, (a, b, use_acc)])


def wait(outstanding: int, deps: list[Sums]) -> Any:
    (sums,) = deps
    value, done = sums.value, len(sums.pending) - outstanding
    for a, b, use_acc in sums.pending[:done]:
        made = a.data.float() @ b.data.float()
        value = value + made if use_acc else made
    return Sums(value, sums.pending[done:]) if outstanding else value


def copy(source: Memory, place: list[int], barrier: Barrier, target: Memory, pred: bool = True) -> None:
    if pred:
        target.data.copy_(source.data[int(place[0]) : int(place[0]) + len(target.data)])
        barrier.change(0, -target.data.numel() * target.data.element_size())


def expect(barrier: Barrier, size: int, pred: bool = True) -> None:
    if pred:
        barrier.change(0, size)
        barrier.change(1, 0)


def jit(function: Any = None, **options: Any) -> Any:
    return function if function is not None else lambda decorated: decorated


def modules() -> dict[str, ModuleType]:
    """Modules that stand for Gluon's."""
    names = ["triton", "triton.experimental", "triton.experimental.gluon", "triton.experimental.gluon.language"]
    names += [f"{names[-1]}.nvidia", f"{names[-1]}.nvidia.hopper"]
    made = {name: ModuleType(name) for name in names}
    gluon, gl, hopper = made[names[2]], made[names[3]], made[names[5]]
    gluon.jit, gluon.language = jit, gl  # type: ignore[attr-defined]
    nothing = lambda *arguments, **options: None  # noqa: E731
    for name in ("BlockedLayout", "SliceLayout", "NVMMASharedLayout", "NVMMADistributedLayout", "barrier"):
        setattr(gl, name, nothing)
    gl.__dict__.update(
        constexpr=lambda value: value, static_range=range, to_tensor=int, cdiv=lambda a, b: -(-a // b),
        program_id=lambda axis: _program.place[0], num_programs=lambda axis: _program.place[1], num_warps=lambda: 4,
        bfloat16=torch.bfloat16, float32=torch.float32, int64=torch.int64, cast=lambda value, dtype: value, minimum=min,
        arange=lambda start, end, layout: torch.arange(start, end), expand_dims=torch.unsqueeze,
        convert_layout=lambda value, layout: value, zeros=lambda shape, dtype, layout: torch.zeros(shape, dtype=dtype),
        full=lambda shape, value, dtype, layout: torch.full(shape, value, dtype=dtype), load=load, store=store,
        abs=torch.abs, maximum=lambda a, b: torch.clamp(a, min=b), fma=lambda a, b, c: (a.double() * b + c).float(),
        where=lambda c, a, b: torch.where(c, a, b) if isinstance(c, Tensor) else (a if c else b),
        sum=lambda value, axis: value.sum(axis), reshape=torch.reshape, allocate_shared_memory=allocate,
        inline_asm_elementwise=inline,
    )  # fmt: skip
    hopper.mbarrier = ModuleType("mbarrier")  # type: ignore[attr-defined]
    hopper.mbarrier.__dict__.update(
        MBarrierLayout=nothing, init=lambda barrier, count: barrier.__dict__.update(count=count, left=count),
        wait=lambda barrier, parity: barrier.wait(parity),
        expect=expect,
    )  # fmt: skip
    hopper.tma = ModuleType("tma")  # type: ignore[attr-defined]
    hopper.tma.async_copy_global_to_shared = copy
    hopper.__dict__.update(warpgroup_mma=product, warpgroup_mma_wait=wait, fence_async_shared=nothing)
    return made


@contextmanager
def source() -> Iterator[Any]:
    """The kernel's module as it is on Gluon of this file."""
    place = importlib.util.find_spec("implicitkit.kernels.gpu_wide_source")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    own = modules()
    before = {name: sys.modules.get(name) for name in own}
    sys.modules.update(own)
    try:
        place.loader.exec_module(module)
    finally:
        for name, old in before.items():
            sys.modules.pop(name)
            if old is not None:
                sys.modules[name] = old
    yield module


def launch(kernel: Any, programs: int, arguments: list[Any], options: dict[str, Any]) -> None:
    """Run all programs, one after another."""
    given = [Pointer(a.view(-1)) if isinstance(a, Tensor) else a for a in arguments]
    for k in range(programs):
        _program.place = (k, programs)
        kernel(*given, **options)
