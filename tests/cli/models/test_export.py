"""``implicitkit export``."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles.models import small_model


@pytest.mark.slow
def test_it_writes_two_graphs_and_says_how_near_they_are(run, tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    done = run("export", weights, "-o", tmp_path / "graphs", "--format", "pt2")
    assert done.code == 0, done.err
    assert "decoder.pt2, encoder.pt2, export.json" in done.out and "differs from the model by" in done.out


def test_what_cannot_be_is_one_line(run, tmp_path: Path) -> None:
    weights = small_model().save(tmp_path / "m.safetensors")
    for words, message in (
        (("-o", tmp_path), "exists; choose another folder"),
        (("-o", tmp_path / "x", "--format", "tf"), "--format is onnx or pt2; received 'tf'"),
    ):
        done = run("export", weights, *words)
        assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0]
    assert not (tmp_path / "x").exists()
