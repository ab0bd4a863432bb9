"""The authors' checkpoints: parity with their implementations' outputs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from benchmarks import newer_vectors as newer
from implicitkit.create import build_checkpoint, create_encoder, load_encoder
from implicitkit.errors import WeightsError
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill
from oracles import PARITY, ROOT, states

FILES = sorted(path.stem for path in PARITY.glob("*.pth") if path.stem not in ("span", "swinir-small"))
SHARED = ROOT.parent / "shared" / "parity"  # the one checkpoint that is too large to keep here
SHAPES = json.loads((PARITY / "official_state_dict_shapes.json").read_text())

HALVES = {"gsasr-decoder"}  # its encoder is another entry; layouts/test_gaussians.py reads both as one file


def error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The bar of the vectors: largest difference, relative where their values exceed 1."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))


def check_parity(checkpoint: Path, tile: int | None) -> None:
    model, vectors = ik.load_model(checkpoint), np.load(PARITY / f"{checkpoint.stem}.npz")
    picture = torch.from_numpy(vectors["input"]) * 0.5 + 0.5  # theirs is normalised
    assert error(model.encoder(picture).map, vectors["features"]) <= 1e-5
    field = model.encode(picture, tile=tile)
    for k in (0, 1):
        size = vectors[f"grid{k}_size"].tolist()
        grid = field.render(size, cell=[2 / n for n in size], clamp=False) * 2 - 1
        assert error(grid.permute(0, 2, 3, 1), vectors[f"grid{k}_output"]) <= 1e-5
    if "points_coord" in vectors:
        points = field(torch.from_numpy(vectors["points_coord"]), torch.from_numpy(vectors["points_cell"])) * 2 - 1
        assert error(points, vectors["points_output"]) <= 1e-5


def test_all_vectors_are_here() -> None:
    liif = ["liif-edsr", "liif-edsr-no-cell", "liif-edsr-no-ensemble", "liif-edsr-no-unfold", "liif-rcan"]
    assert [*liif, "lte-edsr", "lte-plus-edsr", "metasr-edsr"] == FILES


@pytest.mark.parametrize(
    ("name", "tile"), [(name, tile) for name in FILES for tile in (None, 7) if tile is None or "rcan" not in name]
)
def test_parity(name: str, tile: int | None) -> None:
    check_parity(PARITY / f"{name}.pth", tile)


@pytest.mark.skipif(not (SHARED / "liif-rdn.pth").exists(), reason="liif-rdn.pth (13 MB) is not kept here")
def test_parity_of_rdn() -> None:
    check_parity(SHARED / "liif-rdn.pth", None)


@pytest.mark.skipif(not newer.SHARED.exists(), reason="the newer decoders' checkpoints (6 MB) are not kept here")
@pytest.mark.parametrize("name", newer.FILES)
def test_parity_of_the_newer_decoders(name: str) -> None:
    assert {array: error for array, error in newer.errors(name).items() if not error <= newer.BAR} == {}


@pytest.mark.skipif(not newer.SHARED.exists(), reason="the newer decoders' checkpoints (6 MB) are not kept here")
@pytest.mark.parametrize("name", ["ope-edsr", "linf-edsr", "lmliif-edsr", "thera-plus"])
def test_parity_of_the_newer_decoders_in_tiles(name: str) -> None:
    assert max(newer.errors(name, tile=7, block=97).values()) <= newer.BAR


@pytest.mark.parametrize("name", [name for name in states.SHAPES if name not in HALVES])
def test_every_full_size_layout_loads(name: str) -> None:
    checkpoint = recognise(states.random_state(name), name)
    if "decoder" not in checkpoint.spec:
        encoder = create_encoder(checkpoint.spec["encoder"])
        fill(encoder, {key.removeprefix("encoder."): v for key, v in checkpoint.tensors.items()}, name)
    else:
        build_checkpoint(checkpoint, name)  # strict: no tensor is left over, none is missing


def test_parity_of_a_bare_swinir() -> None:
    encoder, vectors = load_encoder(PARITY / "swinir-small.pth"), np.load(PARITY / "swinir-small.npz")
    for given, expected in (("input", "features"), ("input2", "features2")):
        picture = torch.from_numpy(vectors[given]) * 0.5 + 0.5
        assert error(encoder(picture).map, vectors[expected]) <= 1e-5


def test_an_encoder_alone_is_no_model() -> None:
    with pytest.raises(ik.WeightsError, match="holds SwinIR, an encoder alone.*load_encoder reads it"):
        ik.load_model(PARITY / "swinir-small.pth")
    with_decoder = load_encoder(PARITY / "liif-edsr.pth")
    assert torch.equal(with_decoder.head[0].weight, ik.load_model(PARITY / "liif-edsr.pth").encoder.head[0].weight)


def test_told_apart_by_content_not_by_name(tmp_path: Path) -> None:
    model = ik.load_model(PARITY / "liif-edsr.pth")
    native = model.save(tmp_path / "m.safetensors").rename(tmp_path / "m.pth")
    assert ik.load_model(native).spec == model.spec
    disguised = tmp_path / "m.safetensors"
    disguised.write_bytes((PARITY / "liif-edsr.pth").read_bytes())
    assert ik.load_model(disguised).spec == model.spec


def test_unknown_layouts_say_what_was_expected_and_found(tmp_path: Path) -> None:
    torch.save({"backbone.conv.weight": torch.zeros(3)}, tmp_path / "x.pth")
    with pytest.raises(ik.WeightsError, match=r"expected encoder\.head\.0\.weight.*found backbone\.conv\.weight"):
        ik.load_model(tmp_path / "x.pth")
    state = torch.load(PARITY / "lte-edsr.pth", weights_only=True)["model"]["sd"]
    torch.save({"model": {"name": "opesr", "sd": state}}, tmp_path / "n.pth")
    with pytest.raises(
        ik.WeightsError, match=r"unknown layout 'opesr' with the encoder EDSR; expected .*found coef\.bias"
    ):
        ik.load_model(tmp_path / "n.pth")
    del state["phase.weight"]
    torch.save(state, tmp_path / "n.pth")
    with pytest.raises(ik.WeightsError, match=r"does not fit the model; missing: decoder\.phase\.weight"):
        ik.load_model(tmp_path / "n.pth")
    del state["encoder.head.0.weight"]
    torch.save(state, tmp_path / "n.pth")
    with pytest.raises(ik.WeightsError, match=r"looks like LTE with EDSR, but lacks 'head\.0\.weight'"):
        ik.load_model(tmp_path / "n.pth")
    state["encoder.head.0.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "n.pth")
    with pytest.raises(
        ik.WeightsError, match="looks like LTE with EDSR, but its tensors or arguments have other forms"
    ):
        ik.load_model(tmp_path / "n.pth")
    torch.save([1, 2], tmp_path / "y.pth")
    with pytest.raises(ik.WeightsError, match="found list"):
        ik.load_model(tmp_path / "y.pth")
    (tmp_path / "z.pth").write_bytes((PARITY / "liif-edsr.pth").read_bytes()[:9000])
    with pytest.raises(ik.WeightsError, match="is a damaged or incomplete file") as caught:
        ik.load_model(tmp_path / "z.pth")
    assert "\n" not in str(caught.value)


def test_names_that_are_no_texts_are_refused() -> None:
    with pytest.raises(WeightsError, match="x.pth: the names of its tensors are no texts; received 1"):
        recognise({1: torch.zeros(1)}, "x.pth")
