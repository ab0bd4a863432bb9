"""Our own weight files: one ``.safetensors`` with the spec in its metadata.

Metadata keys: ``format`` = ``implicitkit``, ``format_version``, ``spec`` (JSON), ``version`` of the library that wrote
it, ``training`` (JSON summary), ``license``, ``frozen`` (JSON): parts that are not in the file, with the source and
the SHA-256 of their weights, and ``origins`` (JSON): the distributions that bring parts of other packages.
Nothing else is needed to build and fill the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from implicitkit.errors import WeightsError
from implicitkit.files import parse_json, replacing
from implicitkit.version import __version__
from implicitkit.weights.checkpoint import Checkpoint
from implicitkit.weights.migration import migrated

FORMAT, FORMAT_VERSION = "implicitkit", 1


def write_native(checkpoint: Checkpoint, path: str | Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write ``checkpoint`` to ``path`` (which must end in ``.safetensors``), atomically.

    Args:
        checkpoint: the content.
        path: the file.
        dtype: type of the stored floating-point weights; reading converts them to float32.

    Raises:
        WeightsError: the suffix is another.
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
        for name, value in checkpoint.tensors.items()
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "spec": json.dumps(checkpoint.spec),
        "version": __version__,
        "training": json.dumps(checkpoint.summary),
        "license": checkpoint.license,
        "frozen": json.dumps(checkpoint.frozen),
        **({"origins": json.dumps(checkpoint.origins)} if checkpoint.origins else {}),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))
    return path


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file; empty if it has none."""
    from safetensors import SafetensorError, safe_open

    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise WeightsError(f"{path}: the path is not UTF-8, and safetensors opens no such files; rename it")
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file: {error}") from None


def read_spec(path: str | Path) -> dict[str, Any]:
    """The spec of a native file, in today's words, without its tensors.

    >>> import implicitkit
    >>> read_spec(Path(implicitkit.__file__).parent / "weights/box/liif_small.safetensors")["decoder"]["name"]
    'liif'
    """
    return migrated(json.loads(read_metadata(path)["spec"]))


def read_native(path: str | Path) -> Checkpoint:
    """The content of a native file.

    Raises:
        WeightsError: the file is damaged, is no native file, or is of a newer format.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path} is a safetensors file, but not one of implicitkit's (its metadata: {sorted(metadata) or 'none'})"
        )
    try:
        version, spec = int(metadata["format_version"]), parse_json(metadata["spec"])
        summary = parse_json(metadata.get("training") or "{}")
        frozen = {
            part: {"source": str(known["source"]), "sha256": str(known["sha256"])}
            for part, known in parse_json(metadata.get("frozen") or "{}").items()
        }
        origins = {str(part): str(owner) for part, owner in parse_json(metadata.get("origins") or "{}").items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: its metadata is damaged ({type(error).__name__}: {error})") from None
    if version > FORMAT_VERSION:
        raise WeightsError(
            f"{path} has format version {version}; this implicitkit reads up to {FORMAT_VERSION}: upgrade it"
        )
    if not (isinstance(spec, dict) and "encoder" in spec and isinstance(summary, dict)):
        raise WeightsError(
            f"{path}: its metadata is damaged: spec and training are mappings, and a spec has an encoder; "
            f"received {shorten(metadata['spec'], 60)} and {shorten(metadata.get('training') or '{}', 60)}"
        )
    return Checkpoint(
        migrated(spec), load_file(str(path)), summary, metadata.get("license", ""), frozen, origins=origins
    )


def fingerprint(part: nn.Module) -> str:
    """The SHA-256 of a part's tensors: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(part.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_tensors(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise :class:`WeightsError` for tensors that no model computes with: without values, not finite, or packed."""
    for name, value in tensors.items():
        if value.is_meta:
            fault = "has no values (a meta tensor); save the model itself"
        elif value.layout != torch.strided:
            fault = f"is sparse ({str(value.layout).removeprefix('torch.')}); save it with .to_dense()"
        elif value.is_quantized:
            fault = f"is quantised ({str(value.dtype).removeprefix('torch.')}); save it with .dequantize()"
        elif value.is_complex():
            fault = f"is complex ({str(value.dtype).removeprefix('torch.')}); weights are real"
        elif value.is_floating_point() and not torch.isfinite(value if value.itemsize > 1 else value.float()).all():
            fault = "holds NaN or infinity, as of a training that diverged; take an earlier checkpoint"
        else:
            continue
        raise WeightsError(f"{where}: {name} {fault}")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Load ``tensors`` strictly; an error lists the missing, the unexpected and those of another shape.

    A part whose weights then differ from its published ``source`` loses that source.
    """
    own: dict[str, Any] = model.state_dict()
    missing, unexpected = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = [
        f"{k} {tuple(tensors[k].shape)} for {tuple(own[k].shape)}"
        for k in own.keys() & tensors.keys()
        if tensors[k].shape != own[k].shape
    ]
    faults = [
        f"{fault}: {', '.join(names[:8])}"
        for fault, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", sorted(shapes)))
        if names
    ]
    if faults:
        raise WeightsError(f"{where} does not fit the model; " + "; ".join(faults))
    check_tensors({name: value for name, value in tensors.items() if name in own and not own[name].is_meta}, where)
    for name, value in tensors.items():
        if own[name].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise WeightsError(
                f"{where}: {name} holds whole numbers ({kind}), as of quantised weights; save it as floats"
            )
    sourced = {part: fingerprint(part) for part in model.modules() if isinstance(getattr(part, "source", None), str)}
    model.load_state_dict({k: v.to(own[k].dtype) for k, v in tensors.items()})
    for part, before in sourced.items():
        if fingerprint(part) != before:  # now a file must hold them
            part.source = None  # type: ignore[assignment]
