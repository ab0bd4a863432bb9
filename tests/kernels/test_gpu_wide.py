"""When LIIF and LTE run by the kernel for Hopper cards."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from implicitkit.kernels import gpu, gpu_wide


def test_it_serves_the_published_widths_on_hopper_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_wide, "gluon_there", lambda: True)
    monkeypatch.setattr(gpu_wide, "is_hopper", lambda device: True)
    near = SimpleNamespace(points=5000, sides=2)
    mlp = gpu.Packed(torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1), (256, 256, 256, 16), 3)

    def serves(name: str = "liif", row: int = 256, there: bool = True, **changed: Any) -> bool:
        source = SimpleNamespace(rows=SimpleNamespace(is_cuda=there, shape=(1, 30, row), device="cuda"))
        return gpu_wide.serves(name, source, near, mlp._replace(**changed))  # type: ignore[arg-type]

    assert serves() and serves("lte", 512, widths=(128, 256, 256, 16))
    assert not serves("lmf") and not serves(there=False) and not serves(row=255) and not serves(widths=(256, 16))
    assert not serves(weights=torch.zeros(1)) and not serves(widths=(256, 512, 256, 16))
    assert not serves("lte", 512, widths=(256, 256, 256, 16))
    monkeypatch.setattr(gpu_wide, "is_hopper", lambda device: False)
    assert not serves()


def test_few_queries_take_the_simpler_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(gpu_wide, "serves", lambda *arguments: bool(asked.append(True)))
    source = SimpleNamespace(rows=torch.zeros(1, 30, 256))
    kernel = gpu.GPUKernel(torch.bfloat16)
    for points, tile in ((10, None), (5000, 0), (5000, None), (10, gpu_wide.TRIAL)):
        near = SimpleNamespace(points=points)
        assert gpu._launch_wide("liif", source, near, [], None, replace(kernel, tile=tile), []) is None  # type: ignore[arg-type]
    assert len(asked) == 2
