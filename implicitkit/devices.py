"""Which device and which precision to use when the user leaves it to us."""

from __future__ import annotations

import platform

import torch

from implicitkit.errors import UserError
from implicitkit.field import PRECISIONS

KINDS = ("cpu", "cuda", "mps", "xpu")


def choose_device(name: str = "auto") -> torch.device:
    """``auto``: CUDA if there is one, then Apple's MPS, then the CPU.

    Raises:
        UserError: the device is unknown or not there.
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
        raise UserError(f"the device {name!r} cannot be used: {str(error).splitlines()[0][:120]}") from None
    return device


def choose_precision(name: str, device: torch.device, *, bits: int = 8) -> str:
    """``auto``: bfloat16 where the hardware multiplies it and 8-bit output hides it, float32 otherwise."""
    if name != "auto":
        if name not in PRECISIONS:
            raise UserError(f"the precision is auto, {' or '.join(PRECISIONS)}; received {name!r}")
        return name
    if bits > 8:
        return "float32"  # bfloat16 keeps 8 bits of a value
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if device.type == "cpu" and cpu_multiplies_bfloat16() else "float32"


def cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has bfloat16 matrix instructions (AVX512-BF16 or AMX); without them it is emulated,
    slowly.
    """
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, probe, lambda: False)()) for probe in probes)


def describe_machine(device: torch.device) -> str:
    """One line for reports: processor or GPU, threads, library versions."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{_cpu_name()}, {torch.get_num_threads()} threads"
    return f"{hardware}; torch {torch.__version__}, Python {platform.python_version()}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()
