"""Our own weight files: one ``.safetensors`` whose metadata holds everything else.

Metadata keys: ``format`` = ``implicitkit``, ``format_version``, ``spec`` (JSON), ``version`` of the library that
    wrote it, ``training`` (JSON summary),
``license``. The file alone is enough to build and fill the model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from implicitkit.atomic import replacing
from implicitkit.errors import UserError, WeightsError
from implicitkit.version import __version__

if TYPE_CHECKING:
    from implicitkit.model import ImplicitModel

FORMAT, FORMAT_VERSION = "implicitkit", 1


def save_native(
    model: ImplicitModel, path: str | Path, *, dtype: torch.dtype | None = None, license: str | None = None
) -> Path:
    """Write ``model`` to ``path`` (which must end in ``.safetensors``), atomically.

    Args:
        dtype: stores floating-point weights in this type; they are read back as float32.
        license: terms of the weights (default: the model's own).

    Raises:
        ValueError: a part of the model was not built by name.
        UserError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"native weight files end in .safetensors; received {path}")
    tensors = {
        name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in model.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": json.dumps(model.spec),
        "version": __version__,
        "training": json.dumps(model.training_summary),
        "license": model.license if license is None else license,
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))
    return path


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it has none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from None


def load_native(path: str | Path) -> ImplicitModel:
    """The model of a native file, in eval mode, float32.

    Raises:
        WeightsError: the file is damaged, is no native file, is of a newer format, or does not fit its own spec.
    """
    from safetensors.torch import load_file

    from implicitkit.model import create_model

    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file, but not one of implicitkit's (its metadata: {sorted(metadata) or 'none'})"
        )
    try:
        version, spec = int(metadata["format_version"]), json.loads(metadata["spec"])
        summary = json.loads(metadata.get("training") or "{}")
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: its metadata is damaged ({type(error).__name__}: {error})") from None
    if version > FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version}; this implicitkit reads up to {FORMAT_VERSION}: upgrade it"
        )
    try:
        model = create_model(spec)
    except (UserError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from None
    fill(model, load_file(str(path)), str(path))
    model.training_summary = summary
    model.license = metadata.get("license", "")
    return model.eval()


def fill(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load ``tensors`` strictly; whatever is missing, unexpected or of another shape is listed."""
    own: dict[str, Any] = model.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{k} {tuple(tensors[k].shape)} for {tuple(own[k].shape)}"
        for k in own.keys() & tensors.keys()
        if tensors[k].shape != own[k].shape
    ]
    faults = [
        f"{what}: {', '.join(found[:8])}"
        for what, found in (("missing", missing), ("unexpected", unexpected), ("wrong shape", sorted(shapes)))
        if found
    ]
    if faults:
        raise WeightsError(f"{where} does not fit the model; " + "; ".join(faults))
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})
