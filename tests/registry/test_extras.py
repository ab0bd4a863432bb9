"""What an extra brings, against pyproject.toml; and the one line of what is missing."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import implicitkit as ik
from implicitkit.errors import MissingCodecError
from implicitkit.registry.extras import EXTRAS, require

ROOT = Path(__file__).resolve().parents[2]
PROJECT, FOR_DEVELOPERS = ROOT / "pyproject.toml", {"dev", "docs"}


def test_the_extras_are_those_of_the_project() -> None:
    table = PROJECT.read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    declared = {
        name: set(re.findall(r'"([A-Za-z][\w-]*)', packages))
        for name, packages in re.findall(r"^(\w+) = \[(.*?)\]$", table, re.MULTILINE | re.DOTALL)
    }
    assert {name: set(packages.values()) for name, packages in EXTRAS.items()} == {
        name: packages for name, packages in declared.items() if name not in FOR_DEVELOPERS
    }


def test_no_other_module_says_what_to_install_for_an_extra() -> None:
    package = ROOT / "implicitkit"
    spoken = re.compile(r"pip install [^\"\n]*implicitkit\[")
    said = {str(f.relative_to(package)) for f in package.rglob("*.py") if spoken.search(f.read_text(encoding="utf-8"))}
    assert said == {"registry/extras.py", "datasets/hugging_face.py"}  # the latter in the module's description


def test_what_is_installed_passes_and_what_is_not_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ik.MissingPackageError) as raised:
        require("onnx", "exporting")
    assert str(raised.value) == (
        "exporting needs onnx, onnxscript and onnxruntime, which are not installed: pip install 'implicitkit[onnx]'"
    )
    assert isinstance(raised.value, ik.UserError) and isinstance(raised.value, ImportError)
    with pytest.raises(MissingCodecError, match="needs onnx and onnxruntime, which are not"):
        require("onnx", "it", ["onnx", "onnxruntime"], MissingCodecError)
    assert issubclass(MissingCodecError, ik.ImageError)
    monkeypatch.setitem(EXTRAS, "onnx", {"json": "json"})
    require("onnx", "exporting")
