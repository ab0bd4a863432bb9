"""The package's extras, what each installs, and the one line that says so where a package is missing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from implicitkit.errors import MissingPackageError

EXTRAS: dict[str, dict[str, str]] = {
    "app": {"gradio": "gradio", "starlette": "starlette", "uvicorn": "uvicorn"},
    "datasets": {"datasets": "datasets"},
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "volumes": {"nibabel": "nibabel"},
    "heif": {"pillow_heif": "pillow-heif"},
    "exr": {"OpenEXR": "OpenEXR"},
    "video": {"av": "av"},
    "wandb": {"wandb": "wandb"},
    "mlflow": {"mlflow": "mlflow"},
}
"""By extra, as in ``pyproject.toml``: the modules that are imported, and the packages that bring them."""


def require(
    extra: str,
    purpose: str,
    modules: Sequence[str] | None = None,
    error: type[MissingPackageError] = MissingPackageError,
) -> None:
    """Go on if the packages of an extra are installed; else say which are missing and how to get them.

    Args:
        extra: one of :data:`EXTRAS`.
        purpose: what needs them: the beginning of the line.
        modules: the modules that it needs (default: all of the extra).
        error: what to raise.

    Raises:
        MissingPackageError: or ``error``.

    >>> import sys
    >>> sys.modules["OpenEXR"] = None  # as if it were not installed
    >>> try:
    ...     require("exr", "sky.exr")
    ... except MissingPackageError as missing:
    ...     print(missing)
    sky.exr needs OpenEXR, which is not installed: pip install 'implicitkit[exr]'
    >>> del sys.modules["OpenEXR"]
    """
    packages = EXTRAS[extra]
    missing = [packages[name] for name in modules or packages if not _is_here(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = " and ".join([", ".join(missing[:-1]), missing[-1]] if missing[1:] else missing)
        raise error(f"{purpose} needs {names}, which {verb} not installed: pip install 'implicitkit[{extra}]'")


def _is_here(module: str) -> bool:
    if module in sys.modules:  # of one that was made at run time, find_spec knows nothing
        return sys.modules[module] is not None
    return importlib.util.find_spec(module) is not None
