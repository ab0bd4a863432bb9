"""The exported graphs give what the model gives, at sizes that were not traced."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit import export as module
from implicitkit.coordinates import cell_size, grid
from implicitkit.export import Exported, export
from oracles import PARITY, ROOT
from oracles.models import small_model

MODELS = {
    "liif": lambda: ik.load_model(PARITY / "liif-edsr.pth"),
    "lte": lambda: ik.load_model(PARITY / "lte-edsr.pth"),
    "liif without a cell, with a skip": lambda: small_model(cell_decode=False, skip="bilinear"),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[ik.ImplicitModel, Exported]]:
    """Each of the models with its graphs in ONNX, which are written once."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("onnx")

    @cache
    def write(name: str) -> tuple[ik.ImplicitModel, Exported]:
        model = MODELS[name]()
        return model, export(model, folder / f"{name.partition(' ')[0]}{len(name)}_onnx")

    return write


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_onnx_equals_the_model(name: str, exported: Callable, photo: torch.Tensor) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model, done = exported(name)
    assert done.difference <= 1e-4
    encoder, decoder = (onnxruntime.InferenceSession(done.folder / f"{part}.onnx") for part in ("encoder", "decoder"))
    for picture, size in ((photo, (33, 70)), (photo[:, :21, :9], (50, 41))):
        (latent,) = encoder.run(None, {"image": picture[None].numpy()})
        coords = grid(size)[None]
        every = {"latent": latent, "image": picture[None].numpy(), "coords": coords.numpy()}
        every["cell"] = cell_size(size).expand_as(coords).contiguous().numpy()
        (values,) = decoder.run(None, {x.name: every[x.name] for x in decoder.get_inputs()})
        expected = model.encode(picture).render(size, cell=cell_size(size), clamp=False)
        assert np.abs(values[0].T.reshape(3, *size) - expected.numpy()).max() <= 1e-4
    said = json.loads((done.folder / "export.json").read_text())
    assert set(said["decoder"]["inputs"]) == {x.name for x in decoder.get_inputs()}
    assert said["largest_trained_scale"] == (4.0 if name == "lte" else None)
    (values,) = decoder.run(
        None,
        {x.name: every[x.name][:, :1] if x.name in ("coords", "cell") else every[x.name] for x in decoder.get_inputs()},
    )
    assert values.shape == (1, 1, 3)  # a single point


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 2.5, 3, 5, 7])
def test_onnx_where_queries_meet_the_centres_of_cells(scale: float, exported: Callable, photo: torch.Tensor) -> None:
    """At odd factors weights of areas divide 0 by 0 in the last rows and columns; all points are compared there."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model, done = exported("liif")
    encoder, decoder = (onnxruntime.InferenceSession(done.folder / f"{part}.onnx") for part in ("encoder", "decoder"))
    picture = photo[:, :16, :20]
    size = (round(16 * scale), round(20 * scale))
    coords = grid(size)[None]
    given = {"latent": encoder.run(None, {"image": picture[None].numpy()})[0], "image": picture[None].numpy()}
    given |= {"coords": coords.numpy(), "cell": cell_size(size).expand_as(coords).contiguous().numpy()}
    (values,) = decoder.run(None, {x.name: given[x.name] for x in decoder.get_inputs()})
    expected = model.encode(picture).render(size, cell=cell_size(size), clamp=False).numpy()
    assert np.abs(values[0].T.reshape(3, *size) - expected).max() <= 1e-4


@pytest.mark.slow
def test_pt2_equals_the_model(tmp_path: Path) -> None:
    model = small_model(name="lte_plus")
    done = export(model, tmp_path / "out", "pt2")
    assert done.difference <= 1e-5
    decoder = torch.export.load(done.folder / "decoder.pt2").module()
    encoder = torch.export.load(done.folder / "encoder.pt2").module()
    picture, points, cells = torch.rand(1, 3, 23, 40), torch.rand(1, 77, 2) * 2 - 1, torch.rand(1, 77, 2) * 0.1
    values = decoder(latent=encoder(image=picture), coords=points, cell=cells, image=picture)
    torch.testing.assert_close(values, model.encode(picture)(points, cells), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_latent_that_is_told_nothing_per_question_is_exported(tmp_path: Path) -> None:
    """LMF's `begin` has something to do with ``latent_cell`` alone."""
    decoder = {"name": "lmf", "hidden": 4, "depth": 2, "latent_hidden": [8]}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": decoder}).eval()
    done = export(model, tmp_path / "out", "pt2")
    assert done.difference <= 1e-5


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"decoder": "lm_liif"}, "the decoder lm_liif says that it cannot be exported"),
        ({"encoder": {"name": "edsr", "blocks": 0, "ndim": 1}}, "this one is 1-dimensional"),
        ({"inputs": ["image", "mask"]}, "takes a mask"),
        ({"passes": 2}, "more than one pass"),
        ({"encoder": {"name": "swinir", "channels": 8, "depths": [2], "heads": [2], "window": 4}}, "multiples of 4"),
    ],
)
def test_other_models_are_refused_in_one_line(spec: dict, message: str, tmp_path: Path) -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": "liif", **spec})
    with pytest.raises(ik.UserError, match=message):
        export(model, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ik.UserError, match="graphs differ from the model by"):
        export(model, tmp_path / "out", "pt2")
    monkeypatch.undo()

    class Curious(type(model.encoder)):
        def extract(self, x: torch.Tensor) -> torch.Tensor:
            return super().extract(x if x.sum() > 0 else -x)  # depends on values: no graph says that

    model.encoder.__class__ = Curious
    with pytest.raises(ik.UserError, match="the encoder Curious cannot be traced: "):
        export(model, tmp_path / "out", "pt2")
    assert not list(tmp_path.iterdir())


def test_libraries_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ik.UserError, match=r"needs onnx, onnxscript and onnxruntime, .*: pip install 'implicitkit\[onnx\]'"
    ):
        export(small_model(), tmp_path / "out")


@pytest.mark.slow
def test_the_page_shows_how_graphs_are_used(
    exported: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, done = exported("liif")
    (tmp_path / "liif_small_onnx").symlink_to(done.folder)
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(compile(code, "export.md", "exec"), names)
    picture = torch.rand(1, 3, 20, 17)
    expected = model.encode(picture).render((31, 40))
    assert np.abs(names["upscale"](picture.numpy(), 31, 40) - expected.numpy()).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gb_lsr", "thera"])
def test_a_basis_decoder_is_one_graph_of_convolutions(name: str, tmp_path: Path, photo: torch.Tensor) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    decoder = {"gb_lsr": {"name": "gb_lsr", "order": 3}, "thera": {"name": "thera", "components": 4}}[name]
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder}).eval()
    done = export(model, tmp_path / "out", scales=[3])
    assert done.difference <= 1e-4
    session = onnxruntime.InferenceSession(done.folder / "x3.onnx")
    for picture in (photo, photo[:, :21, :9]):
        (values,) = session.run(None, {"image": picture[None].numpy()})
        expected = model.encode(picture).render([3 * n for n in picture.shape[1:]], clamp=False)
        assert np.abs(values[0] - expected.numpy()).max() <= 1e-4  # offsets of 240 float32 coordinates
    kinds = {node.op_type for node in onnx.load(done.folder / "x3.onnx").graph.node}
    assert ("ConvTranspose" if name == "gb_lsr" else "DepthToSpace") in kinds and "Gather" not in kinds
    assert json.loads((done.folder / "export.json").read_text())["x3"]["file"] == "x3.onnx"


def test_a_decoder_without_a_fixed_magnification_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ik.UserError, match=r"^liif has no graph of a fixed magnification; received scale 2"):
        export(small_model(), tmp_path / "out", "pt2", scales=[2])
    assert not (tmp_path / "out").exists()


def test_graphs_of_one_size_alone_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(given: object) -> None:
        raise RuntimeError("Got invalid dimensions for input: coords\nfor the following indices")

    monkeypatch.setattr("implicitkit.export._write", lambda *_: run)
    with pytest.raises(
        ik.UserError, match=r"not traced: Got invalid dimensions for input: coords; .*x\.shape\[0\] is not"
    ):
        export(small_model(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
