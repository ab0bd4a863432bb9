"""Files of several repositories, told apart by their keys: LIIF as mmagic stores it, and as its authors do."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.create import build_checkpoint
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill
from oracles import PARITY

SHAPES = json.loads((PARITY / "official_state_dict_shapes.json").read_text())


def error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The bar of the vectors: largest difference, relative where their values exceed 1."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))


def test_values_go_where_they_belong() -> None:
    state = {name: torch.rand(shape) for name, shape in SHAPES["edsr-baseline-liif"].items()}
    checkpoint = recognise({"model": {"name": "liif", "args": {}, "sd": state}}, "official")
    model = ik.create_model(checkpoint.spec)
    fill(model, checkpoint.tensors, "official")
    assert torch.equal(model.decoder.first.weight, state["imnet.layers.0.weight"])
    assert model.encoder.body[0].res_scale == 1


def as_mmagic(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The authors' keys as mmagic's generator calls them."""
    rules = (
        (r"encoder\.head\.0\.", "encoder.conv_first."),
        (r"encoder\.body\.(\d+)\.body\.0\.", r"encoder.body.\1.conv1."),
        (r"encoder\.body\.(\d+)\.body\.2\.", r"encoder.body.\1.conv2."),
        (r"encoder\.body\.\d+\.(weight|bias)", r"encoder.conv_after_body.\1"),
        (r"encoder\.SFENet", "encoder.sfe"),
        (r"encoder\.RDBs\.(\d+)\.convs\.(\d+)\.conv\.0\.", r"encoder.rdbs.\1.layers.\2.conv."),
        (r"encoder\.RDBs\.(\d+)\.LFF\.", r"encoder.rdbs.\1.lff."),
        (r"encoder\.GFF\.", "encoder.gff."),
    )
    renamed = {}
    for key, value in state.items():
        if "_mean." in key:
            continue
        for pattern, replacement in rules:
            key, found = re.subn(pattern, replacement, key)
            if found:
                break
        renamed[re.sub(r"^encoder\.", prefix, key)] = value
    return renamed


@pytest.mark.parametrize("prefix", ["encoder.", ""])
def test_mmagics_liif_with_edsr(prefix: str) -> None:
    """Parity once more, under other names; with the upsampling tail that the encoder was built with, and extras."""
    state = torch.load(PARITY / "liif-edsr.pth", weights_only=True)["model"]["sd"]
    theirs = {f"generator.{key}": value for key, value in as_mmagic(state, prefix).items()}
    extras = ["step_counter", "data_preprocessor.mean"]
    tail = ["generator.encoder.upsample.0.upsample_conv.weight", "generator.encoder.conv_last.bias"] if prefix else []
    theirs |= {key: torch.zeros(3) for key in extras + tail}
    checkpoint = recognise({"meta": {}, "state_dict": theirs}, "x.pth")
    assert checkpoint.layout == "LIIF with EDSR (mmagic)"
    assert sorted(checkpoint.dropped) == sorted(extras + tail)
    assert checkpoint.spec["encoder"] == ik.load_model(PARITY / "liif-edsr.pth").spec["encoder"]
    model, vectors = build_checkpoint(checkpoint, "x.pth"), np.load(PARITY / "liif-edsr.npz")
    points = model.encode(torch.from_numpy(vectors["input"]) * 0.5 + 0.5)(
        torch.from_numpy(vectors["points_coord"]), torch.from_numpy(vectors["points_cell"])
    )
    assert error(points * 2 - 1, vectors["points_output"]) <= 1e-5


def test_mmagics_liif_with_rdn() -> None:
    state = {name: torch.empty(shape, device="meta") for name, shape in SHAPES["rdn-liif"].items()}
    ours = recognise(state, "official")
    theirs = recognise({f"generator.{key}": value for key, value in as_mmagic(state, "").items()}, "x.pth")
    assert theirs.layout == "LIIF with RDN (mmagic)"
    assert theirs.spec == ours.spec
    assert all(theirs.tensors[key] is value for key, value in ours.tensors.items())


def test_mmagics_moving_average_is_preferred() -> None:
    state = torch.load(PARITY / "liif-edsr.pth", weights_only=True)["model"]["sd"]
    plain = as_mmagic(state, "")
    both = {f"generator.{key}": torch.zeros_like(value) for key, value in plain.items()}
    both |= {f"generator_ema.{key}": value for key, value in plain.items()}
    checkpoint = recognise({"state_dict": both}, "x.pth")
    assert torch.equal(checkpoint.tensors["encoder.head.0.weight"], state["encoder.head.0.weight"])
    assert len(checkpoint.dropped) == len(plain)
