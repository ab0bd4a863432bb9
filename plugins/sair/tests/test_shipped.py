"""The models that come with the plugin: what they promise, and that they fill a face better than a flat colour does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.images.filling import fill_holes
from implicitkit.images.resize import resize
from implicitkit.registry.kinds import models, shipped_file
from implicitkit.weights import fill, read_metadata
from implicitkit_sair import inpaint
from implicitkit_sair.models import SHIPPED

OLDER = Path(__file__).parent / "files" / "sair_small_faces.safetensors"  # written by an earlier version
ASTRONAUT = Path(ik.__file__).parent / "assets" / "astronaut.png"


def face() -> torch.Tensor:
    """A face of 88 pixels that no training has seen."""
    return resize(ik.read_image(ASTRONAUT)[:, :176, 150:326], (88, 88), "pil").clamp(0, 1)


@pytest.fixture(scope="module")
def model() -> ik.ImplicitModel:
    return ik.create_model("sair_faces", pretrained=True)


@pytest.mark.parametrize("name", SHIPPED)
def test_terms_origin_and_size(name: str) -> None:
    model = ik.load_model(name)
    assert model.license and model.training_summary["trained_on"]
    assert ik.create_model(name).spec == model.spec


def test_older_files_keep_their_meaning() -> None:
    """They say nothing of where the embedding is read; it was the point, and gives the same bits as it did."""
    said = json.loads(read_metadata(OLDER)["spec"])
    assert said["decoder"].get("semantics") is None
    before = ik.create_model(said | {"decoder": {**said["decoder"], "semantics": "embedding_at_point"}})
    now, mask = ik.load_model(OLDER), torch.zeros(1, 88, 88)
    fill(before, now.state_dict(), "older")
    before.training_summary = now.training_summary
    mask[:, 30:60, 20:50] = 1
    assert torch.equal(now.encode(face(), mask).render((88, 88)), before.eval().encode(face(), mask).render((88, 88)))


def test_together_they_are_small() -> None:
    assert sum(shipped_file(models.find(name)[0]).stat().st_size for name in SHIPPED) < 16 * 2**20


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SHIPPED)
def test_clearly_better_than_the_mean_colour(name: str, seed: int) -> None:
    model = ik.create_model(name, pretrained=True)
    clean, psnr = face(), ik.create_metric("psnr")
    holes = {"name": "inpainting", "kind": "strokes", "ratio": 0.3}
    mask = ik.create_degradation(holes)(clean, seeded(seed)).mask
    painted, flat = inpaint(model, clean, mask), fill_holes(clean[None], mask[None], "mean")[0]
    assert psnr(painted, clean, mask) > psnr(flat, clean, mask) + 2  # dB in the hole; half of what was measured


def test_inpaint_needs_no_more_than_two_pictures(run, model: ik.ImplicitModel, tmp_path: Path) -> None:
    mask = torch.zeros(1, 88, 88)
    mask[:, 40:60, 30:58] = 1
    ik.write_image(tmp_path / "face.png", face())
    ik.write_image(tmp_path / "mask.png", mask)
    done = run("inpaint", tmp_path / "face.png", tmp_path / "mask.png", "-o", tmp_path / "out.png")
    assert done.code == 0, done.err
    assert f"sair_faces: {model.license}" in done.err
    chosen = done.out.partition("; ")[2].partition(":")[
        0
    ]  # by a test on this picture: one painter, or shares of several
    picture, expected, total = ik.read_image(tmp_path / "face.png"), torch.zeros(3, 88, 88), 0.0
    for share, name in re.findall(r"(?:(\d+)% )?([a-z_]+)", chosen):
        painter = model if name == "sair_faces" else name if "harmonic" in name else ik.load_model(name)
        expected += float(share or 100) * inpaint(painter, picture, mask)
        total += float(share or 100)
    difference = (ik.read_image(tmp_path / "out.png") - expected / total).abs().mean()
    assert total > 95 and difference < 0.01  # shares are rounded, and the machine may choose bfloat16
