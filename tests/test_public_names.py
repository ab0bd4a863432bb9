"""What is promised is there, and importing the library loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

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


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(ik.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module and node.module.startswith("implicitkit.")
    }
    assert {name: f"implicitkit.{home}" for name, home in ik._HOME.items()} == {
        k: v for k, v in seen.items() if k != "__version__"
    }
    assert sorted(ik.__all__) == sorted([*ik._HOME, "__version__"])
