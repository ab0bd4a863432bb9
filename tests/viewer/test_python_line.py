"""The line that the page copies runs as it is, and gives the picture that is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageCms

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, to_pixels, write_picture
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.python_line import python_line
from implicitkit.viewer.question import Damage, Layer, Question
from oracles.models import conditioned_model, small_model

BOX = (-0.123456789, -0.25, 0.5, 0.987654321)
ALL = Damage(blur=0.7, low=1.5, noise=12, holes=0.1, seed=99)


@pytest.mark.parametrize("damage", [Damage(), Damage(blur=1), Damage(noise=9, seed=5), ALL], ids=str)
@pytest.mark.parametrize("word", ["model-0", "model-1", "meaning-1", "nearest", "bicubic", "original"])
def test_the_line_runs_and_gives_what_is_shown(
    word: str, damage: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photo: torch.Tensor
) -> None:
    monkeypatch.chdir(tmp_path)
    name = 'it\'s a "photo".png'
    ik.write_image(name, photo[:, :41, :50])
    torch.manual_seed(0)
    models = {"one.safetensors": small_model(skip="bilinear"), "two": conditioned_model()}
    path = models["one.safetensors"].save(tmp_path / "one.safetensors")
    models["one.safetensors"] = ik.load_model(path)
    load = ik.load_model
    monkeypatch.setattr(ik, "load_model", lambda source: models["two"] if source == "two" else load(source))
    room = Darkroom([Path(name)], [Named(*pair) for pair in models.items()])
    question = Question(0, Layer.parse(word, 2), damage, BOX, (33, 47))
    model = room.models[question.layer.model]
    line = python_line(question, name, model.name, size=room.size(0), takes_mask=model.model.takes_mask)
    assert "\n" not in line
    exec(compile(line, "copied", "exec"), {})
    shown, written = room.render(question)[..., :3], to_pixels(ik.read_image("view.png"))
    assert written.shape == (33, 47, 3)
    assert np.abs(shown.astype(int) - written).max() <= 1  # blocks and the whole differ by rounding
    assert (shown == written).mean() > 0.99


@pytest.mark.parametrize("word", ["model-0", "nearest", "bicubic", "original", "meaning-1"])
@pytest.mark.parametrize("grey", [False, True])
def test_depth_transparency_and_profile_come_with_the_line(
    word: str, grey: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 65536, (21, 30, 1 if grey else 3)).astype(np.uint16)
    icc = None if grey else ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    write_picture("a.png", Picture(pixels, random.integers(0, 65536, (21, 30)).astype(np.uint16), icc))
    models = {"one": small_model(skip="bilinear"), "two": conditioned_model()}
    monkeypatch.setattr(ik, "load_model", models.__getitem__)
    room = Darkroom([Path("a.png")], [Named(*pair) for pair in models.items()])
    for damage in (Damage(), ALL):
        question = Question(0, Layer.parse(word, 2), damage, BOX, (33, 47))
        name = room.models[question.layer.model].name
        line = python_line(question, "a.png", name, size=(21, 30), plain=room.original(0).is_plain)
        exec(compile(line, "copied", "exec"), {})
        saved, written = room.save(question), read_picture("view.png")
        assert (written.bits, written.icc) == (saved.bits, saved.icc) and written.bits == (8 if "mean" in word else 16)
        assert np.abs(saved.pixels.astype(int) - written.pixels).max() <= written.bits - 7
        if word != "meaning-1":
            assert written.alpha is not None and np.array_equal(saved.alpha, written.alpha)
            assert written.is_grey == (grey and (damage == Damage() or word == "original"))


def test_a_mask_a_tile_and_a_device_are_said_where_they_matter() -> None:
    question = Question(0, Layer("model"), Damage(holes=0.2), (-1, -1, 1, 1), (4, 4))
    line = python_line(question, "a.png", "m", size=(8, 8), takes_mask=True, tile=512, device="cuda:0")
    assert ".encode(seen.image, seen.mask, tile=512)" in line and "ik.load_model('m', device='cuda:0')" in line
    assert "seen.mask" not in python_line(question, "a.png", "m", size=(8, 8))
