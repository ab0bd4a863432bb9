"""Decoders and necks with weights and outputs of the authors' own code, in ``parity/parts``.

A file holds the part's spec, its tensors, the features, the picture in [-1, 1] if the part reads it, and outputs in the
model's output space.
"""

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor

import implicitkit as ik
from implicitkit.coordinates import axes, mesh
from implicitkit.decoders.base import Decoder, Inputs, Question
from implicitkit.encoders.base import Features
from oracles import PARITY

BAR = 1e-5


def read(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The spec and the arrays of a file; the part's tensors begin with ``tensor/``."""
    with np.load(PARITY / "parts" / f"{name}.npz") as file:
        spec = json.loads(str(file["spec"]))
        return spec, {key: torch.from_numpy(file[key]) for key in file if file[key].dtype.kind != "U"}


def tensors(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("tensor/"): value for key, value in arrays.items() if key.startswith("tensor/")}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value if that is above 1."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1))


@torch.no_grad()
def errors(name: str, prefix: str = "") -> list[float]:
    """The differences of a decoder from the authors' grids, as a grid and as a list of points, and from their points.
    ``prefix`` tells the features, the picture and the outputs of another input.
    """
    spec, arrays = read(name)
    decoder: Decoder = ik.create_decoder(spec).eval()
    decoder.load_state_dict(tensors(arrays))
    map = arrays[f"{prefix}features"]
    picture = arrays.get(f"{prefix}picture", torch.zeros(1, 3, 1, 1))
    latent = decoder.prepare(Features(map, tuple(map.shape[2:])), Inputs(picture), {})
    options, found = decoder.check_options(options_of(name)), []
    for key in sorted(key for key in arrays if key.startswith(f"{prefix}grid")):
        theirs = arrays[key]
        size = tuple(theirs.shape[2:])
        lines = tuple(axes(size))
        cell = arrays.get("cell", torch.tensor([[[2 / n for n in size]]])) if decoder.uses_cell else None
        begun = decoder.begin(latent, Question(cell, axes=lines, options=options, block=97))
        found.append(difference(decoder.query_grid(begun, lines, cell, {}), theirs))
        points = mesh(lines)[None]
        begun = decoder.begin(latent, Question(cell, points=points, options=options))
        found.append(difference(decoder.query(begun, points, cell, {}).transpose(1, 2).reshape(theirs.shape), theirs))
    if "points" in arrays and not prefix:
        points, cell = arrays["points"], arrays["points_cell"]
        begun = decoder.begin(latent, Question(cell, points=points, options=options))
        found.append(difference(decoder.query(begun, points, cell, {}), arrays["points_output"]))
    return found


def options_of(name: str) -> dict[str, Any]:
    """The options with which the authors' outputs of a file were made."""
    with np.load(PARITY / "parts" / f"{name}.npz") as file:
        options: dict[str, Any] = json.loads(str(file["options"])) if "options" in file else {}
    return options


@torch.no_grad()
def neck_error(name: str) -> float:
    """The difference of a neck from the authors' features."""
    spec, arrays = read(name)
    neck = ik.create_neck(spec).eval()
    neck.load_state_dict(tensors(arrays))
    return difference(neck(arrays["features"]), arrays["refined"])
