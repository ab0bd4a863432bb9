"""``implicitkit info``."""

from __future__ import annotations

from pathlib import Path

import pytest

import implicitkit as ik
from oracles.models import small_model


def test_info_of_names_and_files(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))  # what was fetched before is not what is tested
    named = run("info", "liif_edsr_baseline")
    assert named.code == 0 and "69 pixels" in named.out and "×1 to ×4" in named.out and "none (random)" in named.out
    path = small_model().save(tmp_path / "m.safetensors", license="CC0-1.0")
    assert "CC0-1.0" in run("info", path).out
    assert "did you mean" in run("info", "liif_smal").errors[0]


def test_any_part_has_its_options_with_defaults_and_meanings(run) -> None:
    lines = run("info", "liif").out.splitlines()
    assert lines[0].startswith("liif is a decoder of implicitkit 0.1.0: ")
    at = lines.index("  skip: Skip = 'none'")
    assert lines[at + 1].startswith('      "none" as in the paper, or the picture is added: "bilinear", "harmonic"')
    assert lines[-1] == "in a spec:  decoder: {name: liif, hidden: [256, 256, 256, 256]}"
    assert all(len(line) <= 110 and "``" not in line for line in lines)
    assert "  out_channels: int = 64" in run("info", "timm:resnet18").out


@pytest.mark.parametrize("kind", ["encoders", "necks", "decoders", "degradations", "losses", "metrics", "protocols"])
def test_every_part_can_be_described(run, kind: str) -> None:
    for name in getattr(ik, f"list_{kind}")():
        done = run("info", name if not name.endswith(":") else f"{name}resnet18")
        assert done.code == 0 and f" is a{'n' if kind == 'encoders' else ''} {kind[:3]}" in done.out, name


def test_a_name_of_two_kinds_is_described_as_both(run) -> None:
    done = run("info", "l1")
    assert "l1 is a loss of" in done.out and "l1 is a metric of" in done.out and "hole_weight: float = 1.0" in done.out


def test_a_name_of_no_kind_leads_to_the_nearest_of_any(run) -> None:
    assert run("info", "noize").errors == ["error: nothing is called 'noize'; did you mean the degradation 'noise'?"]
