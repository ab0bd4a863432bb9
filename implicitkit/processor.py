"""What this machine's processor is called and what it can do."""

from __future__ import annotations

import platform

import torch


def name() -> str:
    """The processor, as it calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.machine()
    except OSError:
        return platform.processor() or platform.machine()


def bfloat16_instructions() -> str:
    """The processor's matrix instructions for bfloat16, ``AMX`` or ``AVX512-BF16``; empty without them, when it would
    be emulated, slowly.
    """
    probes = {"AMX": "_is_amx_tile_supported", "AVX512-BF16": "_is_avx512_bf16_supported"}
    return next((name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()), "")


def vector_instructions() -> str:
    """The widest that PyTorch found and may use (``ATEN_CPU_CAPABILITY`` can forbid some): ``AVX512`` or ``AVX2``,
    ``NEON`` on ARM; empty for any others.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "NEON"
    found = torch.backends.cpu.get_cpu_capability()
    return found if found in ("AVX512", "AVX2") else ""
