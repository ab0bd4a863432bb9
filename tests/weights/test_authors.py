"""The authors' checkpoints: parity with their implementations' outputs, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.create import build_checkpoint, load_encoder
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill
from oracles import PARITY, ROOT

FILES = sorted(path.stem for path in PARITY.glob("*.pth") if path.stem != "swinir-small")
SHARED = ROOT.parent / "shared" / "parity"  # the one checkpoint that is too large to keep here
SHAPES = json.loads((PARITY / "official_state_dict_shapes.json").read_text())


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


def zoo_name(official: str) -> str:
    """The zoo's name of ``edsr-baseline-lte-fast``: ``lte_plus_edsr_baseline``."""
    encoder, decoder = re.fullmatch(r"(edsr-baseline|rdn|swinir)-(.*)", official).groups()
    return f"{decoder.replace('lte-fast', 'lte_plus')}_{encoder.replace('-', '_')}"


@pytest.mark.parametrize("official", SHAPES)
def test_the_official_shapes_load_strictly(official: str) -> None:
    shapes = SHAPES[official]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    registered = official.removeprefix("edsr-baseline-").removeprefix("rdn-").removeprefix("swinir-")
    for content in ({"model": {"name": registered, "args": {}, "sd": state}}, state):
        checkpoint = recognise(content, "official")
        with torch.device("meta"):
            model, named = ik.create_model(checkpoint.spec), ik.create_model(zoo_name(official))
        fill(model, checkpoint.tensors, "official")
        assert len(checkpoint.tensors) + len(checkpoint.dropped) == len(shapes)
        named_shapes = {key: value.shape for key, value in named.state_dict().items()}
        assert named_shapes == {key: value.shape for key, value in model.state_dict().items()}
    does_nothing = r"encoder\.(sub|add)_mean\.(weight|bias)|.*\.(attn_mask|relative_position_index)"
    assert set(checkpoint.dropped) == {key for key in shapes if re.fullmatch(does_nothing, key)}


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


def test_told_apart_by_content_not_by_name(tmp_path: Path) -> None:
    model = ik.load_model(PARITY / "liif-edsr.pth")
    native = model.save(tmp_path / "m.safetensors").rename(tmp_path / "m.pth")
    assert ik.load_model(native).spec == model.spec
    disguised = tmp_path / "m.safetensors"
    disguised.write_bytes((PARITY / "liif-edsr.pth").read_bytes())
    assert ik.load_model(disguised).spec == model.spec


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed!",)


def test_a_foreign_pickle_is_refused_and_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": Surprise()}, tmp_path / "x.pth")
    with pytest.raises(ik.WeightsError, match="could execute code"):
        ik.load_model(tmp_path / "x.pth")
    assert "executed" not in capsys.readouterr().out


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
    with pytest.raises(ik.WeightsError, match="cannot be read as a checkpoint") as caught:
        ik.load_model(tmp_path / "z.pth")
    assert "\n" not in str(caught.value)
