"""upscale on volumes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.cli.pictures import scans
from implicitkit.images import volumes

nibabel = pytest.importorskip("nibabel")
AFFINE = np.array([[0, -2.0, 0, 10], [4.0, 0, 0, -20], [0, 0, 2.0, 5], [0, 0, 0, 1]])


def scan(path: Path, affine: np.ndarray = AFFINE) -> Path:
    """A ramp along the first axis, its values in a scanner's units, in the MNI's space."""
    values = np.broadcast_to(np.arange(6.0)[:, None, None] * 100 - 50, (6, 5, 4))
    image = nibabel.Nifti1Image(values.astype(np.int16), affine)
    image.header.set_sform(affine, 4)
    nibabel.save(image, path)
    return path


def model(path: Path, ndim: int = 3) -> Path:
    """Linear interpolation, as a model."""
    encoder = {"name": "edsr", "blocks": 0, "channels": 4, "in_channels": 1, "ndim": ndim}
    decoder = {"name": "liif", "hidden": [4], "out_channels": 1, "skip": "bilinear", "cell_decode": False}
    made = ik.create_model({"encoder": encoder, "decoder": decoder})
    for parameter in made.decoder.rest[-1].parameters():
        torch.nn.init.zeros_(parameter)
    return made.save(path)


def test_the_names_are_those_of_volumes() -> None:
    assert scans.SUFFIXES == volumes.SUFFIXES and set(scans.INTERPOLATIONS) == set(volumes.INTERPOLATIONS)


def test_thick_slices_become_cubes_where_they_were(run, tmp_path: Path) -> None:
    source = scan(tmp_path / "head.nii.gz")
    done = run("upscale", source)
    target = tmp_path / "head_fine.nii.gz"
    assert done.code == 0, done.err
    assert f"{source} 6×5×4 of 4×2×2 mm -> {target} 12×5×4 of 2×2×2 mm, by spline, which learns nothing" in done.out
    fine = nibabel.load(target)
    assert fine.shape == (12, 5, 4) and int(fine.header["sform_code"]) == 4
    np.testing.assert_allclose(fine.affine @ [-0.5, -0.5, -0.5, 1], AFFINE @ [-0.5, -0.5, -0.5, 1])
    inner = fine.get_fdata()[3:9, 2, 2]
    np.testing.assert_allclose(inner, (np.arange(3, 9) - 0.5) * 50 - 50, atol=8)


def test_a_model_answers_at_any_spacing(run, tmp_path: Path) -> None:
    source, weights = scan(tmp_path / "head.nii"), model(tmp_path / "m.safetensors")
    call = ("upscale", source, "-o", tmp_path / "out.nii", "--model", weights)
    done = run(*call, "--spacing", "1x4x1")  # finer, coarser, finer
    assert done.code == 0, done.err
    assert re.search(r"24×2×8 of 1×\d.*×1 mm, by .*m\.safetensors \(cpu, float32\)", done.out)
    found = nibabel.load(tmp_path / "out.nii").get_fdata()
    np.testing.assert_allclose(found[4:-4, 0, 3], (np.arange(24)[4:-4] - 1.5) * 25 - 50, atol=0.5)
    assert run(*call, "--scale", "2").code == 2
    assert run(*call, "--scale", "2", "--force").code == 0
    assert nibabel.load(tmp_path / "out.nii").shape == (12, 10, 8)
    assert "1 was there already" in run(*call, "--scale", "2", "--skip-existing").err


def test_labels_stay_labels(run, tmp_path: Path) -> None:
    source = scan(tmp_path / "labels.nii")
    assert run("upscale", source, "-o", tmp_path / "n.nii", "--scale", "3", "--model", "nearest").code == 0
    stored = nibabel.load(source).get_fdata()
    np.testing.assert_allclose(nibabel.load(tmp_path / "n.nii").get_fdata()[1::3, 1::3, 1::3], stored, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cubes.nii"], r"the voxels of cubes\.nii are cubes already \(2×2×2 mm\); say --scale or --spacing"),
        (["a.nii", "--size", "20x20"], "--size is of pictures; volumes take --scale or --spacing"),
        (["a.nii", "--tile", "8"], "--tile is of pictures"),
        (["a.nii", "--format", "png"], "--format is of pictures"),
        (["a.nii", "--scale", "2", "--spacing", "1"], "give one of --scale and --spacing"),
        (["a.nii", "--spacing", "1x2"], "--spacing is millimetres, such as 1, or 1x1x3 .* received '1x2'"),
        (["a.nii", "--scale", "0"], "--scale is a positive number"),
        (["a.nii", "--scale", "9999"], r"needs .* GB, .* are free; take a smaller --scale"),
        (["a.nii", "-o", "out.png"], r"out\.png: volumes are written as \.nii or \.nii\.gz"),
        (["a.nii", "-o", "a.nii"], r"a\.nii is the input itself"),
        (["a.nii", "a.png"], r"a\.png is no volume, a\.nii is; do pictures and volumes apart"),
        (["none.nii.gz"], r"there is no file none\.nii\.gz"),
        (["a.nii", "cubes.nii", "-o", "c.nii"], r"2 volumes cannot become the one file c\.nii"),
        (["text.nii"], r"text\.nii is no NIfTI file"),
        (["a.nii", "--model", "liif_small"], "liif_small maps pictures of 3 channels to 3; for volumes pass --model"),
        (["a.nii", "--model", "flat.safetensors"], "maps pictures of 1 channels to 1; for volumes"),
        (["a.png", "--spacing", "1"], r"--spacing is of volumes \(\.nii, \.nii\.gz\); pictures take --scale"),
    ],
)
def test_mistakes_are_one_line(
    run, tmp_path: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scan(tmp_path / "a.nii")
    scan(tmp_path / "cubes.nii", np.diag([2.0, 2.0, 2.0, 1.0]))
    (tmp_path / "text.nii").write_text("no volume")
    ik.write_image(tmp_path / "a.png", torch.rand(3, 8, 8))
    model(tmp_path / "flat.safetensors", ndim=2)
    done = run("upscale", *arguments)
    assert done.code == 2 and len(done.errors) == 1, done.err
    assert re.search(message, done.errors[0]), done.errors
