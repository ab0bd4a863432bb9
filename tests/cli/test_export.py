"""``implicitkit export``."""

from __future__ import annotations

from pathlib import Path

from oracles.models import small_model


def test_it_writes_two_graphs_and_says_how_near_they_are(run, tmp_path: Path) -> None:
    weights, target = small_model(skip="bilinear").save(tmp_path / "m.safetensors"), tmp_path / "graphs"
    done = run("export", weights, "-o", target, "--format", "pt2")
    assert done.code == 0, done.err
    assert "decoder.pt2, encoder.pt2, export.json" in done.out and "differs from the model by" in done.out
    assert "exists; choose another folder" in run("export", weights, "-o", target).err
    assert "--format is onnx or pt2" in run("export", weights, "-o", tmp_path / "x", "--format", "tf").err
