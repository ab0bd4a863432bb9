"""Our own weight files: one ``.safetensors`` whose metadata holds everything else.

Metadata keys: ``format`` = ``implicitkit``, ``format_version``, ``spec`` (JSON), ``version`` of the library that
    wrote it, ``training`` (JSON summary),
``license``, and ``frozen`` (JSON): parts that are not in the file, with where their weights come from and the SHA-256
    of what they must be. Otherwise the file alone is enough to build and fill the model.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from implicitkit.decoders.base import Decoder
from implicitkit.encoders.base import Encoder
from implicitkit.errors import UserError, WeightsError
from implicitkit.files import replacing
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
    left_out = resolvable(model)
    tensors = {
        name: (value.to(dtype) if dtype is not None and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in model.state_dict().items()
        if not name.startswith(tuple(f"{path}." for path in left_out))
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": json.dumps(model.spec),
        "version": __version__,
        "training": json.dumps(model.training_summary),
        "license": model.license if license is None else license,
        "frozen": json.dumps(left_out),
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
        frozen = {
            path: (str(f["source"]), str(f["sha256"])) for path, f in json.loads(metadata.get("frozen") or "{}").items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its metadata is damaged ({type(error).__name__}: {error})") from None
    if version > FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version}; this implicitkit reads up to {FORMAT_VERSION}: upgrade it"
        )
    try:
        model = create_model(spec)
    except (UserError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from None
    tensors = load_file(str(path))
    for part, (source, wanted) in frozen.items():
        theirs = model.get_submodule(part)
        if fingerprint(theirs) != wanted:
            raise WeightsError(
                f"{path} was saved with other weights of {source} for its {part}; the file does not hold them"
            )
        tensors |= {f"{part}.{name}": value for name, value in theirs.state_dict().items()}
    fill(model, tensors, str(path))
    model.training_summary = summary
    model.license = metadata.get("license", "")
    return model.eval()


def resolvable(model: ImplicitModel, where: str = "") -> dict[str, dict[str, str]]:
    """The frozen parts whose weights anybody can get: path -> where from, and their SHA-256."""
    found: dict[str, dict[str, str]] = {}
    for name, part in (("encoder", model.encoder), ("decoder", model.decoder)):
        if not part.trainable and part.source:
            found[where + name] = {"source": part.source, "sha256": fingerprint(part)}
    for name, condition in model.conditions.items():
        found |= resolvable(condition, f"{where}conditions.{name}.")
    return found


def fingerprint(part: nn.Module) -> str:
    """The SHA-256 of a part's tensors: their names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(part.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fill(model: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load ``tensors`` strictly; whatever is missing, unexpected or of another shape is listed.

    A part that had weights from a public source and gets others forgets that source.
    """
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
    parts = [part for part in model.modules() if isinstance(part, (Encoder, Decoder))]
    sourced = {part: fingerprint(part) for part in parts if part.source}
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})
    for part, before in sourced.items():
        if fingerprint(part) != before:  # no longer what anybody can get, so a file must hold it
            part.source = None
