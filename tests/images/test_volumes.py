"""NIfTI in and out: values, and where every voxel lies."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.errors import DataError
from implicitkit.images.volumes import Volume, read_volume, write_volume

nibabel = pytest.importorskip("nibabel")
AFFINE = np.array([[0, -2.0, 0, 10], [1.5, 0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_file_comes_back_with_its_values_and_its_place(tmp_path: Path, suffix: str) -> None:
    stored = np.random.default_rng(0).integers(-1000, 2000, (5, 6, 7)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(stored, AFFINE), tmp_path / f"a{suffix}")
    volume = read_volume(tmp_path / f"a{suffix}")
    assert volume.values.shape == (1, 5, 6, 7) and volume.values.aminmax() == (0, 1)
    assert volume.spacing == (1.5, 2.0, 3.0)
    write_volume(tmp_path / f"b{suffix}", volume)
    again = nibabel.load(tmp_path / f"b{suffix}")
    np.testing.assert_allclose(again.get_fdata(), stored, atol=1e-3)
    np.testing.assert_allclose(again.affine, AFFINE)
    assert [p.name for p in tmp_path.iterdir() if p.name[0] not in "ab"] == []


def test_other_voxels_cover_the_same_part_of_the_world() -> None:
    """A linear function of place, read at the new voxels' millimetres, is itself."""
    volume = Volume(torch.zeros(1, 4, 6, 8), AFFINE)
    other = volume.resized(torch.zeros(1, 8, 3, 24))
    for corner in np.ndindex(2, 2, 2):  # the outer corners of the grid, half a voxel outside of the centres
        ends = [
            v.affine @ [*(c * n - 0.5 for c, n in zip(corner, v.values.shape[1:], strict=True)), 1]
            for v in (volume, other)
        ]
        np.testing.assert_allclose(*ends, atol=1e-9)
    assert other.spacing == (0.75, 4.0, 1.0)
    assert volume.size_at(1.0) == (6, 12, 24) and volume.size_at([1.5, 2, 1]) == (4, 6, 24)


def test_a_field_of_a_volume_is_read_where_the_affine_says(tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, 8).expand(1, 4, 6, 8).contiguous()
    encoder = {"name": "edsr", "blocks": 0, "channels": 4, "in_channels": 1, "ndim": 3}
    decoder = {"name": "liif", "hidden": [4], "out_channels": 1, "skip": "bilinear", "cell_decode": False}
    model = ik.create_model({"encoder": encoder, "decoder": decoder})
    for parameter in model.decoder.rest[-1].parameters():
        torch.nn.init.zeros_(parameter)
    volume = Volume(ramp, AFFINE)
    fine = volume.resized(model.encode(volume.values).render(volume.size_at([1.5, 2.0, 1.0])))
    places = [(v.affine @ [0, 0, k, 1])[2] for v, k in ((volume, 3), (fine, 10))]
    assert places[0] == places[1] and abs(float(fine.values[0, 2, 2, 10] - ramp[0, 2, 2, 3])) < 1e-5


def test_bad_files_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.nii").write_text("nothing")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), AFFINE), tmp_path / "four.nii")
    nibabel.save(nibabel.Nifti1Image(np.full((2, 2, 2), np.nan, np.float32), AFFINE), tmp_path / "nan.nii")
    for name, message in (
        ("no.nii", "there is no file"),
        ("text.nii", "is no NIfTI file"),
        ("four.nii", r"has the shape \(2, 2, 2, 3\); a volume has three axes"),
        ("nan.nii", "values that are not finite"),
    ):
        with pytest.raises(ik.DataError, match=message):
            read_volume(tmp_path / name)
    volume = Volume(torch.zeros(1, 2, 2, 2), AFFINE)
    with pytest.raises(ik.UserError, match=r"written as \.nii or \.nii\.gz; received .*a\.png"):
        write_volume(tmp_path / "a.png", volume)
    for spacing in (0, [1, 2], [1, 1, -1]):
        with pytest.raises(ValueError, match="one positive number of millimetres, or three"):
            volume.size_at(spacing)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ik.MissingPackageError, match=r"a volume needs nibabel, which is not installed: pip install"):
        read_volume(tmp_path / "nan.nii")


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("micron", 1e-3), ("meter", 1e3), ("unknown", 1)])
def test_lengths_in_other_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(0).random((3, 4, 5)), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing == pytest.approx((2 * factor, 3 * factor, 4 * factor))
    write_volume(tmp_path / "b.nii", volume)
    assert read_volume(tmp_path / "b.nii").spacing == pytest.approx(volume.spacing)


def test_complex_voxels_and_empty_volumes_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "c.nii")
    with pytest.raises(DataError, match="c.nii holds complex64 voxels; a volume has one real number in each"):
        read_volume(tmp_path / "c.nii")
