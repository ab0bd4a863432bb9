"""``implicitkit doctor``."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from implicitkit.errors import describe
from implicitkit.version import __version__

LIBRARIES = (
    *("torch", "torchvision", "timm", "accelerate", "numpy", "scipy", "pillow", "tifffile", "imagecodecs"),
    *("safetensors", "pydantic", "pyyaml", "typer", "rich", "pluggy", "lpips", "huggingface_hub", "triton"),
    *("onnx", "onnxscript", "onnxruntime"),
)
VARIABLES = (  # of other libraries that change results; none may hold a secret
    *("CC", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "XDG_CACHE_HOME", "TORCH_HOME"),
    *("HF_HOME", "HF_HUB_OFFLINE", "PYTHONIOENCODING", "PYTHONUTF8"),
)
OWN_PREFIX = "IMPLICITKIT_"
ADVICE = "In a bug report, paste all of the above, the command that failed, and what it printed with --debug."


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False) -> None:
    """Say what is installed and what works here; for bug reports.

    Versions, devices, kernels, caches, plugins, weights.
    """
    import sys

    with redirect_stdout(sys.stderr):  # what a library prints is no part of the report
        report = examine()
    if as_json:
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for title, rows in report.items():
        typer.echo(title)
        width = max(map(len, rows), default=0) + 1
        for name, value in rows.items():
            typer.echo(f"  {name + ':':<{width}} {value}")
    typer.echo(ADVICE)


def examine() -> dict[str, dict[str, str]]:
    """The report: section -> name -> value; a part that cannot be examined says why in place of its value."""
    sections: dict[str, Callable[[], dict[str, str]]] = {
        "versions": _versions,
        "system": _system,
        "devices": _devices,
        "kernels": _kernels,
        "caches": _caches,
        "plugins": _plugins,
        "weights": _weights,
        "environment": _environment,
    }
    return {title: _rows(section) for title, section in sections.items()}


def shown(text: object) -> str:
    """``text`` in one line, with ``~`` for the home folder, which may hold the user's name.

    >>> shown(Path.home() / "pictures")
    '~/pictures'
    """
    line = " ".join(str(text).split())
    try:
        home = str(Path.home())
    except RuntimeError:  # there is none
        return line
    return line if len(home) < 2 else line.replace(home, "~")


def _rows(section: Callable[[], dict[str, str]]) -> dict[str, str]:
    """A section's rows; one row with the reason if it fails."""
    try:
        return {name: shown(value) for name, value in section().items()}
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a library may even exit
        return {"failed": shown(describe(error))}


def _value(find: Callable[[], Any]) -> str:
    """What ``find`` gives, or why it gives nothing."""
    row = _rows(lambda: {"value": find()})
    return row.get("value", f"failed: {row.get('failed')}")


def _versions() -> dict[str, str]:
    rows = {"implicitkit": __version__, "python": f"{platform.python_version()} ({platform.python_implementation()})"}
    for name in LIBRARIES:
        try:
            rows[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            rows[name] = "not installed"
    return rows


def _system() -> dict[str, str]:
    from implicitkit import devices

    return {
        "operating system": platform.platform(),
        "processor": _value(devices.processor_name),
        "cores": f"{os.cpu_count()}",
        "instructions": _value(lambda: ", ".join(filter(None, _instructions())) or "none that the kernels use"),
    }


def _instructions() -> tuple[str, str]:
    from implicitkit import devices

    return devices.vector_instructions(), devices.bfloat16_instructions()


def _devices() -> dict[str, str]:
    import torch

    from implicitkit.devices import choose_device, explain_precision, free_memory

    def cpu() -> str:
        threads = torch.get_num_threads()
        free = free_memory(torch.device("cpu"))
        return f"{threads} thread{'' if threads == 1 else 's'}, {size(free)} free"

    def automatic() -> str:
        device = choose_device()
        return f"{device}, {' because '.join(filter(None, explain_precision('auto', device)))}"

    rows = {"cpu": _value(cpu)}
    for index in range(torch.cuda.device_count()):
        rows[f"cuda:{index}"] = _value(partial(_gpu, index))
    if torch.backends.mps.is_available():
        rows["mps"] = "available"
    return {**rows, "built for CUDA": str(torch.version.cuda or "no"), "auto": _value(automatic)}


def _gpu(index: int) -> str:
    import torch

    from implicitkit.devices import free_memory

    memory = torch.cuda.get_device_properties(index).total_memory
    free = free_memory(torch.device("cuda", index))
    return f"{torch.cuda.get_device_name(index)}, {size(free)} of {size(memory)} free"


def _kernels() -> dict[str, str]:
    from implicitkit.kernels.compiled import find_compiler, library
    from implicitkit.kernels.cpu import SOURCE, describe, kernels
    from implicitkit.kernels.gpu import triton_there

    def c_kernel() -> str:
        if os.environ.get("IMPLICITKIT_KERNELS", "1") == "0":
            return "turned off by IMPLICITKIT_KERNELS=0"
        if kernels():
            return f"{describe()}; it agrees with PyTorch"
        if library(SOURCE) is None:
            return "does not compile here; PyTorch's operators are used"
        return "compiled, but DISAGREES with PyTorch, so PyTorch's operators are used"

    return {
        "C compiler": _value(lambda: " ".join(find_compiler() or ["none"])),
        "C kernel": _value(c_kernel),
        "Triton": _value(lambda: "there, for a GPU" if triton_there() else "not used"),
    }


def _caches() -> dict[str, str]:
    from implicitkit.files import cache_folder

    def hub() -> Path:
        from huggingface_hub.constants import HF_HUB_CACHE

        return Path(HF_HUB_CACHE)

    def torch_hub() -> Path:
        import torch

        return Path(torch.hub.get_dir())

    folders: dict[str, Callable[[], Path]] = {
        "kernels": lambda: cache_folder() / "kernels",
        "pictures": lambda: cache_folder() / "pictures",
        "weights": lambda: cache_folder() / "weights",
        "Hugging Face hub": hub,
        "torch hub": torch_hub,
    }
    return {name: _value(partial(_contents, find)) for name, find in folders.items()}


def _contents(find: Callable[[], Path]) -> str:
    """A folder, and how much is in it; the links of the hub's cache are not counted twice."""
    folder = find()
    if not folder.is_dir():
        return f"{folder} (not there)"
    files = total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            if not path.is_symlink():
                files += 1
                total += path.stat().st_size if path.exists() else 0
    return f"{folder} ({files:,} file{'' if files == 1 else 's'}, {size(total)})"


def _plugins() -> dict[str, str]:
    from implicitkit.errors import PluginError
    from implicitkit.registry.kinds import plugins as loaded

    rows = {}
    try:
        loaded.load()
    except PluginError as error:  # strict mode: list them all the same
        rows["strict"] = str(error)
    for plugin in loaded.loaded:
        if plugin.source != "built in":
            provided = sum(map(len, plugin.provides.values()))
            rows[plugin.name] = f"{plugin.owner}, {plugin.source}, " + (
                f"FAILED: {plugin.error}" if plugin.error else f"{provided} names in {plugin.seconds * 1000:.0f} ms"
            )
    return rows or {"plugins": "none"}


def _weights() -> dict[str, str]:
    from implicitkit.registry.kinds import models, shipped_file, weights
    from implicitkit.weights.fetching import is_here, is_intact, location

    def found(name: str) -> str:
        file = shipped_file(models.find(name)[0])
        return f"{size(file.stat().st_size)}" if file.is_file() else f"MISSING (looked for {file})"

    def fetched(name: str) -> str:
        return "intact" if is_intact(name) else f"DAMAGED (delete {location(name)}, and get it again)"

    known = weights.names()
    rows = {name: _value(partial(found, name)) for name in models.names(pretrained=True) if name not in known}
    rows |= {name: _value(partial(fetched, name)) for name in known if is_here(name)}
    return rows or {"weights": "none"}


def _environment() -> dict[str, str]:
    names = [name for name in sorted(os.environ) if name.startswith(OWN_PREFIX)]
    return {n: os.environ[n] for n in (*names, *VARIABLES) if n in os.environ} or {"variables": "none set"}


def size(count: int) -> str:
    """A number of bytes with its unit.

    >>> size(999), size(4956), size(3 << 30)
    ('999 B', '5.0 kB', '3.2 GB')
    """
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
