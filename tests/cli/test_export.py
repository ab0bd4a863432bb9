"""``implicitkit export``, and the page that shows how to use what it writes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from oracles import ROOT
from oracles.models import small_model


def test_the_command_and_the_page(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    done = run("export", weights, "-o", "liif_small_onnx")
    assert done.code == 0, done.err
    assert "decoder.onnx, encoder.onnx, export.json" in done.out and "differs from the model by" in done.out
    assert "exists; choose another folder" in run("export", weights, "-o", "liif_small_onnx").err
    assert "--format is onnx or pt2" in run("export", weights, "-o", "x", "--format", "tf").err
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(compile(code, "export.md", "exec"), names)
    picture = torch.rand(1, 3, 20, 17)
    expected = ik.load_model(weights).encode(picture).render((31, 40))
    assert np.abs(names["upscale"](picture.numpy(), 31, 40) - expected.numpy()).max() <= 1e-4
