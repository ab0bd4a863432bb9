"""``implicitkit restore``: a model undoes what it was trained for, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, write_picture
from oracles import PHOTOS
from oracles.models import small_model


def saved(folder: Path, name: str, *steps: str) -> Path:
    """A model whose file says that it was trained to undo ``steps``."""
    torch.manual_seed(0)
    model = small_model(skip="bilinear")
    with torch.no_grad():
        model.decoder.rest[-1].weight.mul_(0.05)
        model.decoder.rest[-1].bias.zero_()
    model.training_summary = {"degradation": [{"name": step} for step in steps]}
    return model.save(folder / f"{name}.safetensors")


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    ik.write_image(tmp_path / "cat.png", ik.read_image(PHOTOS / "chelsea.png")[:, 60:100, 100:150])
    return tmp_path / "cat.png"


def test_a_picture_keeps_its_size_and_is_what_the_model_makes_of_it(run, cat: Path, tmp_path: Path) -> None:
    file = saved(tmp_path, "both", "blur", "noise")
    done = run("restore", cat, "--model", file, "--precision", "float32")
    assert done.code == 0, done.err
    assert "blur and noise undone" in done.out
    model = ik.load_model(file)
    expected = model.encode(ik.read_image(cat)).render((40, 50))
    assert (ik.read_image(tmp_path / "cat_restored.png") - expected).abs().max() <= 0.5 / 255 + 1e-6
    assert run("restore", cat, "--model", file, "--undo", "Noise", "--force").code == 0


def test_a_folder_becomes_a_folder_and_files_stay_what_they_are(run, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    grey = np.random.default_rng(0).integers(0, 65536, (20, 24, 1)).astype(np.uint16)
    write_picture(tmp_path / "in" / "grey.png", Picture(grey))
    ik.write_image(tmp_path / "in" / "b.png", torch.rand(3, 9, 8))
    done = run("restore", tmp_path / "in", "-o", tmp_path / "out", "--model", saved(tmp_path, "m", "jpeg"))
    assert done.code == 0, done.err
    found = read_picture(tmp_path / "out" / "grey.png")
    assert found.is_grey and found.bits == 16 and found.size == (20, 24)
    assert read_picture(tmp_path / "out" / "b.png").size == (9, 8)


@pytest.mark.parametrize(
    ("steps", "extra", "message"),
    [
        ((), (), "does not say what it was trained to undo; `implicitkit upscale --scale 1`"),
        (
            ("super_resolution",),
            (),
            "was trained to undo super_resolution; it does so while it enlarges: .* --model .*m",
        ),
        (("super_resolution", "noise"), (), "super_resolution and noise; .*: implicitkit upscale"),
        (("inpainting",), (), "was trained to undo inpainting; implicitkit inpaint .* fills holes"),
        (("noise",), ("--undo", "jpeg"), "was trained to undo noise, not jpeg"),
        (("noise",), ("-o", "cat.png"), "cat.png is the input itself"),
    ],
)
def test_what_the_model_does_not_undo_is_refused(
    run, cat: Path, tmp_path: Path, steps: tuple[str, ...], extra: tuple[str, ...], message: str, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("restore", cat, "--model", saved(tmp_path, "m", *steps), *extra)
    assert done.code == 2 and len(done.errors) == 1
    assert re.search(message, done.errors[0]), done.errors
    assert not (tmp_path / "cat_restored.png").exists()


def test_without_a_model_it_says_that_none_is_in_the_box(run, cat: Path) -> None:
    done = run("restore", cat)
    assert done.code == 2 and len(done.errors) == 1
    assert done.errors[0].startswith("error: --model is needed: none of the models in the box restores")


def test_a_model_without_pictures_is_refused(run, cat: Path, tmp_path: Path) -> None:
    spec = {"encoder": {"name": "edsr", "blocks": 1, "channels": 6}, "decoder": {"name": "bilinear", "project": False}}
    file = ik.create_model(spec).save(tmp_path / "m.safetensors")
    assert "does not map RGB pictures to RGB pictures" in run("restore", cat, "--model", file).errors[0]
