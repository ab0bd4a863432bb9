"""Devices, precisions, the processor's instructions and free memory."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import psutil
import torch

from implicitkit.errors import UserError, first_line
from implicitkit.files import cache_folder, read_json, write_json
from implicitkit.version import __version__

T = TypeVar("T")
KINDS = ("cpu", "cuda", "mps", "xpu")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CONTAINER_LIMITS = (  # cgroups version 2, then version 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "out of memory")  # of PyTorch's RuntimeErrors


def choose_device(name: str = "auto") -> torch.device:
    """``auto``: CUDA if available, then Apple's MPS, then the CPU.

    Raises:
        UserError: the device is unknown or not available.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name.partition(":")[0] not in KINDS:
        raise UserError(
            f"the device {name!r} cannot be used: it is auto, or one of {', '.join(KINDS)} (cuda:1 for the second)"
        )
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error).partition(". ")[0][:120]
        raise UserError(f"the device {name!r} cannot be used: {reason} (auto takes what there is)") from None
    return device


def choose_precision(name: str, device: torch.device, *, bits: int = 8) -> str:
    """``auto``: bfloat16 where it is measured to be faster and the output has 8 bits, float32 otherwise.

    Raises:
        UserError: there is no such precision.

    >>> choose_precision("auto", torch.device("cpu"), bits=16)
    'float32'
    """
    return explain_precision(name, device, bits=bits)[0]


def explain_precision(name: str, device: torch.device, *, bits: int = 8) -> tuple[str, str]:
    """:func:`choose_precision`, and the reason of ``auto`` in a few words (empty for others)."""
    if name != "auto":
        if name not in PRECISIONS:
            raise UserError(f"the precision is auto, {', '.join(PRECISIONS)}; received {name!r}")
        return name, ""
    if bits > 8:
        return "float32", f"bfloat16 keeps 8 bits of a value, the picture has {bits}"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU multiplies it"
        return "float32", "the GPU has no bfloat16"
    if device.type == "cpu":
        instructions = bfloat16_instructions()
        if not instructions:
            return "float32", "the processor has no instructions for bfloat16"
        ratio = bfloat16_speedup()
        if ratio > 1:
            return "bfloat16", f"measured {ratio:.1f} times as fast as float32, by {instructions}"
        return "float32", f"bfloat16, by {instructions}, is measured {ratio:.2f} times as fast"
    return "float32", f"bfloat16 is not faster everywhere on {device.type}"


def describe_machine(device: torch.device) -> str:
    """One line for reports: processor or GPU, threads, library versions."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        hardware = f"{processor_name()}, {threads} thread{'' if threads == 1 else 's'}"
    return f"{hardware}; torch {torch.__version__}, Python {platform.python_version()}"


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with a known number of threads, on which the last bits of sums depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor_name() -> str:
    """The processor's own name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def bfloat16_instructions() -> str:
    """The processor's matrix instructions for bfloat16, ``AMX`` or ``AVX512-BF16``; empty without any."""
    probes = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    return next((name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()), "")


def bfloat16_speedup() -> float:
    """How many times as fast as float32 this processor computes in bfloat16.

    Instructions for bfloat16 are no promise: without AMX they can be slower than float32. It is measured once for a
    processor, a number of threads and the versions of PyTorch and of this package, and kept in the cache folder.

    >>> bfloat16_speedup() > 0
    True
    """
    key = f"{processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, implicitkit {__version__}"
    known: dict[str, float] = {}
    with suppress(UserError):  # not there yet, damaged, or no home folder to be in
        content = read_json(cache_folder() / "bfloat16.json")
        known = content if isinstance(content, dict) else {}
    if not isinstance(known.get(key), float):
        known[key] = round(_measure_bfloat16(), 3)
        with suppress(UserError, OSError):  # a folder that cannot be written costs a measurement each time
            cache_folder().mkdir(parents=True, exist_ok=True)
            write_json(cache_folder() / "bfloat16.json", known)
    return known[key]


def _measure_bfloat16() -> float:
    """The ratio of times of what models spend theirs on: a matrix product and a 3×3 convolution, best of five."""
    rows, matrix = torch.rand(1024, 256), torch.rand(256, 256)
    map, weight = torch.rand(1, 64, 48, 48), torch.rand(64, 64, 3, 3)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.no_grad():
        for _ in range(6):  # in turn, so that a busy moment meets both; the first of each warms up
            for dtype in seconds:
                operands = [tensor.to(dtype) for tensor in (rows, matrix, map, weight)]
                start = time.perf_counter()
                operands[0] @ operands[1]
                torch.nn.functional.conv2d(operands[2], operands[3], padding=1)
                seconds[dtype] = min(seconds[dtype], time.perf_counter() - start)
    return seconds[torch.float32] / seconds[torch.bfloat16]


def vector_instructions() -> str:
    """The widest that PyTorch uses (``ATEN_CPU_CAPABILITY`` limits them): ``AVX512`` or ``AVX2``, ``NEON`` on ARM;
    empty for others.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "NEON"
    capability = torch.backends.cpu.get_cpu_capability()
    return capability if capability in ("AVX512", "AVX2") else ""


def constants(
    values: Sequence[float] | float, dtype: torch.dtype, device: torch.device | str | None = None
) -> torch.Tensor:
    """``values`` as a tensor ``()`` or ``(n,)``, written on ``device`` itself.

    A copy from the host would wait for a GPU, and cannot be part of a CUDA graph.

    >>> constants([0.5, 0.25], torch.float32)
    tensor([0.5000, 0.2500])
    """
    if not isinstance(values, Sequence):
        return torch.full((), values, dtype=dtype, device=device)
    return torch.stack([torch.full((), value, dtype=dtype, device=device) for value in values])


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed, as far as it is made to: glibc learns from the largest block that was given
    back to the system. From then on it takes blocks of up to 32 MiB from its heap, and leaves 64 MiB of that free.

    Every map of an encoder would otherwise be new memory, page by page, for a tenth to a fifth of the time.

    >>> keep_freed_memory()
    """
    bytes((1 << 25) - (1 << 16))  # 32 MiB with what belongs to a block; never touched, so that it takes no memory


def is_recorded(tensor: torch.Tensor) -> bool:
    """Whether a CUDA graph is being recorded from ``tensor``, which has no values to look at then.

    >>> is_recorded(torch.zeros(2))
    False
    """
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def free_memory(device: torch.device) -> int:
    """Free bytes on ``device``."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    available = int(psutil.virtual_memory().available)
    for limit, used in CONTAINER_LIMITS:
        try:
            available = min(available, max(0, int(limit.read_text()) - int(used.read_text())))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return available


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, which PyTorch reports in several ways."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in OUT_OF_MEMORY_TEXTS)


def unless_out_of_memory(call: Callable[[], T]) -> T | None:
    """The result of ``call``; None if memory ran out, with all its memory free again."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:  # keeps the tensors of its frames alive until here
        if not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
