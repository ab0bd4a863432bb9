"""Checkpoints of the authors' repositories, read without executing anything.

Their file is a pickled ``{"model": {"name", "args", "sd"}, ...}``. The architecture is read off the tensors' shapes;
``args`` only tells what no shape shows (``local_ensemble``, ``res_scale``). A bare state dict is understood as well.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from implicitkit.errors import WeightsError
from implicitkit.model import ImplicitModel, create_model
from implicitkit.weights.native import fill

# Tensors that are in the authors' files and take no part in their forward pass (RGB mean shifts, never called).
DO_NOTHING = re.compile(r"encoder\.(sub|add)_mean\.(weight|bias)")

LIIF_KEYS = "encoder.head.0.weight, encoder.body.N.body.{0,2}.weight, imnet.layers.N.weight"


@dataclass(frozen=True)
class Checkpoint:
    """What an authors' file turned out to hold."""

    layout: str
    spec: dict[str, Any]
    tensors: dict[str, Tensor]
    dropped: tuple[str, ...]


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read and recognise a ``.pth`` file.

    Raises:
        WeightsError: the file is damaged, needs code to be executed, or has a layout that is not known.
    """
    try:
        with Path(path).open("rb") as file:  # a file object: torch.load guesses from a name
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        what = f"refers to {wanted[1]}" if wanted else "holds more than tensors and plain values"
        raise WeightsError(f"{path} {what}; reading it could execute code, so it is refused") from None
    except Exception as error:
        raise WeightsError(
            f"{path} cannot be read as a checkpoint: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from None
    return recognise(content, str(path))


def recognise(content: Any, where: str) -> Checkpoint:
    """Tell what a checkpoint's content is, by its keys and shapes."""
    name, state = "", content
    args: Mapping[str, Any] = {}
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        model = content["model"]
        name, args, state = model.get("name", ""), model.get("args") or {}, model.get("sd", model)
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        keys = ", ".join(map(str, list(content)[:8])) if isinstance(content, Mapping) else type(content).__name__
        raise WeightsError(f"{where}: expected {{'model': {{'name', 'args', 'sd'}}}} or a state dict; found {keys}")
    dropped = tuple(key for key in state if DO_NOTHING.fullmatch(key))
    tensors = {key: value for key, value in state.items() if key not in dropped}
    if name in ("", "liif") and "encoder.head.0.weight" in tensors and "imnet.layers.0.weight" in tensors:
        try:
            return Checkpoint(
                "LIIF with EDSR (yinboc/liif)", _liif_spec(tensors, args), _liif_tensors(tensors), dropped
            )
        except KeyError as error:
            raise WeightsError(f"{where}: looks like LIIF with EDSR, but lacks {error}") from None
    found = ", ".join(sorted(tensors)[:6])
    raise WeightsError(
        f"{where}: unknown layout{f' {name!r}' if name else ''}; expected {LIIF_KEYS}; found {found}, … "
        f"({len(tensors)} tensors)"
    )


def load_authors(path: str | Path) -> ImplicitModel:
    """The model of an authors' checkpoint, in eval mode; every tensor of theirs is used or known to do nothing."""
    return build(read_checkpoint(path), str(path))


def build(checkpoint: Checkpoint, where: str) -> ImplicitModel:
    """The model that a recognised checkpoint holds, in eval mode; ``where`` names it in errors."""
    model = create_model(checkpoint.spec)
    fill(model, checkpoint.tensors, where)
    model.training_summary = {"converted_from": checkpoint.layout}
    return model.eval()


def _liif_spec(tensors: Mapping[str, Tensor], args: Mapping[str, Any]) -> dict[str, Any]:
    encoder, channels = _edsr_spec(tensors, args.get("encoder_spec") or {})
    layers = _numbers(tensors, r"imnet\.layers\.(\d+)\.weight")
    hidden = [tensors[f"imnet.layers.{k}.weight"].shape[0] for k in layers]
    inputs = tensors["imnet.layers.0.weight"].shape[1]
    unfold = inputs >= 9 * channels
    geometry = inputs - channels * (9 if unfold else 1)
    if geometry not in (2, 4):
        raise WeightsError(f"the first decoder layer takes {inputs} inputs, which no LIIF on {channels} features does")
    decoder = {
        "name": "liif",
        "hidden": hidden[:-1],
        "out_channels": hidden[-1],
        "local_ensemble": bool(args.get("local_ensemble", True)),
        "feat_unfold": unfold,
        "cell_decode": geometry == 4,
    }
    return {"encoder": encoder, "decoder": decoder, "scales": [1, 4]}


def _edsr_spec(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    channels, in_channels = tensors["encoder.head.0.weight"].shape[:2]
    blocks = len(_numbers(tensors, r"encoder\.body\.(\d+)\.body\.0\.weight"))
    published = 1.0 if channels < 256 else 0.1  # the authors' defaults of edsr-baseline and edsr
    spec = {
        "name": "edsr",
        "blocks": blocks,
        "channels": channels,
        "res_scale": float((given.get("args") or {}).get("res_scale", published)),
        "in_channels": in_channels,
    }
    return spec, channels


def _liif_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' names as ours: ``imnet.layers.0`` is the decoder's first layer, the others follow in a sequence."""

    def ours(key: str) -> str:
        match = re.fullmatch(r"imnet\.layers\.(\d+)\.(weight|bias)", key)
        if match is None:
            return key
        number, kind = int(match[1]), match[2]
        return f"decoder.first.{kind}" if number == 0 else f"decoder.rest.{number - 1}.{kind}"

    return {ours(key): value for key, value in tensors.items()}


def _numbers(tensors: Mapping[str, Tensor], pattern: str) -> list[int]:
    return sorted(int(m[1]) for key in tensors if (m := re.fullmatch(pattern, key)))
