"""The authors' checkpoints: parity with their implementations' outputs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import PARITY

import implicitkit as ik
from implicitkit.weights.authors import recognise
from implicitkit.weights.native import fill

FILES = sorted(path.stem for path in PARITY.glob("liif-edsr*.pth"))


def error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """The bar of the vectors: largest difference, relative where their values exceed 1."""
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))


def test_all_vectors_are_here() -> None:
    assert FILES == ["liif-edsr", "liif-edsr-no-cell", "liif-edsr-no-ensemble", "liif-edsr-no-unfold"]


@pytest.mark.parametrize("tile", [None, 7])
@pytest.mark.parametrize("name", FILES)
def test_parity(name: str, tile: int | None) -> None:
    model, vectors = ik.load_model(PARITY / f"{name}.pth"), np.load(PARITY / f"{name}.npz")
    picture = torch.from_numpy(vectors["input"]) * 0.5 + 0.5  # theirs is normalised
    assert error(model.encoder(picture).map, vectors["features"]) <= 1e-5
    field = model.encode(picture, tile=tile)
    for k in (0, 1):
        grid = field.render(vectors[f"grid{k}_size"].tolist(), clamp=False) * 2 - 1
        assert error(grid.permute(0, 2, 3, 1), vectors[f"grid{k}_output"]) <= 1e-5
    points = field(torch.from_numpy(vectors["points_coord"]), torch.from_numpy(vectors["points_cell"])) * 2 - 1
    assert error(points, vectors["points_output"]) <= 1e-5


def test_the_official_shapes_load_strictly() -> None:
    shapes = json.loads((PARITY / "official_state_dict_shapes.json").read_text())["edsr-baseline-liif"]
    state = {name: torch.rand(shape) for name, shape in shapes.items()}
    args = {
        "encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": True}},
        "imnet_spec": {"name": "mlp", "args": {}},
    }
    for content in ({"model": {"name": "liif", "args": args, "sd": state}}, state):
        checkpoint = recognise(content, "official")
        model = ik.create_model(checkpoint.spec)
        fill(model, checkpoint.tensors, "official")
        assert set(checkpoint.dropped) == {f"encoder.{n}_mean.{k}" for n in ("sub", "add") for k in ("weight", "bias")}
        assert len(checkpoint.tensors) + len(checkpoint.dropped) == len(shapes)
        named = ik.create_model("liif_edsr_baseline")
        assert {k: v.shape for k, v in named.state_dict().items()} == {
            k: v.shape for k, v in model.state_dict().items()
        }
        assert torch.equal(model.decoder.first.weight, state["imnet.layers.0.weight"])
        assert model.encoder.body[0].res_scale == 1


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
    torch.save([1, 2], tmp_path / "y.pth")
    with pytest.raises(ik.WeightsError, match="found list"):
        ik.load_model(tmp_path / "y.pth")
    (tmp_path / "z.pth").write_bytes((PARITY / "liif-edsr.pth").read_bytes()[:9000])
    with pytest.raises(ik.WeightsError, match="cannot be read as a checkpoint") as caught:
        ik.load_model(tmp_path / "z.pth")
    assert "\n" not in str(caught.value)
