"""What is promised is there, and importing the library loads nothing heavy."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import implicitkit as ik

HEAVY = (
    "torch",
    "timm",
    "open_clip",
    "torchvision",
    "accelerate",
    "lpips",
    "tensorboard",
    "tifffile",
    "imagecodecs",
    "PIL.PngImagePlugin",
    "PIL.TiffImagePlugin",
    "PIL.WebPImagePlugin",
)
PROMISED = [
    "create_model",
    "create_encoder",
    "create_decoder",
    "create_degradation",
    "load_model",
    "read_image",
    "write_image",
    "ImplicitModel",
    "Field",
    "list_encoders",
    "list_decoders",
    "list_degradations",
    "list_models",
]


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_by("import implicitkit") & set(HEAVY)


def test_using_a_model_loads_only_torch() -> None:
    loaded = loaded_by("import implicitkit as ik, torch\nik.create_model('liif_edsr_baseline')\nik.list_encoders()")
    assert not loaded & (set(HEAVY) - {"torch"})


def test_the_command_lists_its_help_without_torch() -> None:
    loaded = loaded_by("from implicitkit.cli import main")
    assert "torch" not in loaded


def test_every_promised_name_is_there() -> None:
    assert set(PROMISED) <= set(ik.__all__)
    for name in ik.__all__:
        assert getattr(ik, name) is not None
        assert name in dir(ik)


def test_each_name_is_promised_once_and_comes_from_where_the_stub_says() -> None:
    stub = ast.parse(Path(ik.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    homes = [
        (alias.name, f"implicitkit.{node.module}")
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname  # for type checkers, a name of a stub is public if it is imported as itself
    ]
    assert sorted(name for name, _ in homes) == ik.__all__
    for name, home in homes:
        assert getattr(ik, name) is getattr(importlib.import_module(home), name)


def test_a_name_that_is_not_promised_is_an_attribute_error() -> None:
    with pytest.raises(
        AttributeError, match="module 'implicitkit' has no attribute 'read_imag'; did you mean 'read_image'"
    ):
        ik.read_imag  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'zzz'$"):
        ik.zzz  # noqa: B018
    assert not hasattr(ik, "__path_of_nothing__")
