"""The examples run as their first lines say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oracles import ROOT

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow  # processes that train


def run(*arguments: str, **environment: str) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments], cwd=EXAMPLES, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_compose() -> None:
    printed = run("compose.py", "--steps", "30")
    scores = [float(x) for x in re.findall(r": ([\d.]+) dB", printed)]
    assert len(scores) == 3 and printed.count("drawn:") == 3
    assert scores[0] > max(scores[1:]) > 20  # the trained model is the best, the fitted ones have learnt something


def test_compare() -> None:
    printed = run("compare.py", "--steps", "10", OMP_NUM_THREADS="1")
    bicubic, liif, lte = (float(x) for x in re.findall(r": ([\d.]+) dB at x4", printed))
    assert bicubic > 20 and liif > 15 and lte > 15
    low, high = (float(x) for x in re.search(r"95 % interval ([+-][\d.]+) to ([+-][\d.]+)", printed).groups())
    assert low <= lte - liif + 0.02 and lte - liif - 0.02 <= high and "LIIF/seed-0: trained" in printed


def test_a_plugin_in_one_file() -> None:
    printed = run("third_party_plugin.py")
    assert "'decoder': ['affine']" in printed and printed.endswith("keeps the contract\n")


def test_it_is_found_by_the_variable_too() -> None:
    environment = {"IMPLICITKIT_PLUGINS": "none,third_party_plugin"}
    assert "posterise" in run("-m", "implicitkit", "list", "degradations", **environment)
    script = Path(sys.executable).with_name("implicitkit")  # which does not have the current folder on its path
    listed = subprocess.run(
        [script, "list", "decoders"], cwd=EXAMPLES, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert "affine" in listed.stdout, listed.stderr
    assert "G: " in run("-m", "implicitkit", "count-levels", "photos/coffee.png", **environment)


def test_volume(tmp_path: Path) -> None:
    """At its first steps the model is linear interpolation; the file covers what the volume covers."""
    nibabel = pytest.importorskip("nibabel")
    printed = run("-c", f"import volume; volume.main({str(tmp_path / 'fine.nii.gz')!r}, steps=2)")
    linear, spline, liif = (float(x) for x in re.findall(r" ([\d.]+) dB", printed))
    assert abs(liif - linear) < 0.5 and min(linear, spline) > 20
    fine = nibabel.load(tmp_path / "fine.nii.gz")
    assert fine.shape == (128, 96, 24) and "from 8.00×2.00×2.20" in printed
