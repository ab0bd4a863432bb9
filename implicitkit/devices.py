"""Which device and which precision to use when the user leaves it to us."""

from __future__ import annotations

import platform

import torch

from implicitkit import processor
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
    """``auto``: bfloat16 where the hardware multiplies it and 8-bit output hides it, float32 otherwise.

    Raises:
        UserError: there is no such precision.
    """
    return explain_precision(name, device, bits=bits)[0]


def explain_precision(name: str, device: torch.device, *, bits: int = 8) -> tuple[str, str]:
    """:func:`choose_precision`, and why ``auto`` chose it in a few words (empty where it was not left to us)."""
    if name != "auto":
        if name not in PRECISIONS:
            raise UserError(f"the precision is auto, {' or '.join(PRECISIONS)}; received {name!r}")
        return name, ""
    if bits > 8:
        return "float32", f"bfloat16 keeps 8 bits of a value, the picture has {bits}"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU multiplies it"
        return "float32", "the GPU has no bfloat16"
    if device.type == "cpu":
        instructions = processor.bfloat16_instructions()
        if instructions:
            return "bfloat16", f"the processor has {instructions}"
        return "float32", "the processor has no instructions for bfloat16"
    return "float32", f"bfloat16 is not faster everywhere on {device.type}"


def describe_machine(device: torch.device) -> str:
    """One line for reports: processor or GPU, threads, library versions."""
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        hardware = f"{processor.name()}, {threads} thread{'' if threads == 1 else 's'}"
    return f"{hardware}; torch {torch.__version__}, Python {platform.python_version()}"
