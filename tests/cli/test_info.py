"""``implicitkit info``."""

from __future__ import annotations

from pathlib import Path

from oracles.models import small_model


def test_info_of_names_and_files(run, tmp_path: Path) -> None:
    named = run("info", "liif_edsr_baseline")
    assert named.code == 0 and "69 pixels" in named.out and "×1 to ×4" in named.out and "none (random)" in named.out
    path = small_model().save(tmp_path / "m.safetensors", license="CC0-1.0")
    assert "CC0-1.0" in run("info", path).out
    assert "did you mean" in run("info", "liif_smal").errors[0]
