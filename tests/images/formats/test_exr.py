"""OpenEXR and float TIFF: light above 1 goes through where it is asked for, and is shown as screens do where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import implicitkit as ik
from implicitkit.images.formats.light import encode_srgb
from implicitkit.images.io import Picture, read_picture, write_picture
from implicitkit.images.upscale import upscale_picture

OpenEXR = pytest.importorskip("OpenEXR", reason="OpenEXR, the extra exr, is not installed")
SKY = np.random.default_rng(0).uniform(0, 1, (12, 10, 3)).astype(np.float32)
SKY[2:5, 3:7] = 60.0  # the sun
HEADER = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}


def write(path: Path, channels: dict, **header: object) -> Path:
    with OpenEXR.File({**HEADER, **header}, channels) as file:
        file.write(str(path))
    return path


def test_others_files_are_read_and_ours_by_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.exr", {"RGB": SKY})
    assert np.array_equal(read_picture(path, hdr=True).pixels, SKY)
    assert torch.equal(ik.read_image(path, hdr=True), torch.from_numpy(SKY).movedim(-1, 0))
    shown = read_picture(path)
    assert shown.bits == 16 and shown.clipped == pytest.approx(0.1)
    assert np.abs(shown.pixels / 65535 - encode_srgb(SKY).clip(0, 1)).max() < 1e-5
    ik.write_image(tmp_path / "b.exr", torch.from_numpy(SKY).movedim(-1, 0), hdr=True)
    with OpenEXR.File(str(tmp_path / "b.exr")) as file:
        assert np.array_equal(file.channels()["RGB"].pixels, SKY)


def test_alpha_is_premultiplied_in_the_file_alone(tmp_path: Path) -> None:
    alpha = np.random.default_rng(1).uniform(0.2, 1, SKY.shape[:2]).astype(np.float32)
    write_picture(tmp_path / "a.exr", Picture(SKY, alpha, linear=True))
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        assert np.allclose(file.channels()["RGBA"].pixels, np.dstack([SKY * alpha[..., None], alpha]), rtol=1e-6)
    again = read_picture(tmp_path / "a.exr", hdr=True)
    assert np.allclose(again.pixels, SKY, rtol=1e-5) and np.array_equal(again.alpha, alpha)


def test_grey_and_integers_become_light(tmp_path: Path) -> None:
    write_picture(tmp_path / "grey.exr", Picture(np.full((4, 5, 1), 128, np.uint8)))
    with OpenEXR.File(str(tmp_path / "grey.exr")) as file:
        assert file.channels()["Y"].pixels.max() == pytest.approx(0.2158605, rel=1e-3)  # half floats
    ik.write_image(tmp_path / "b.exr", torch.full((3, 4, 4), 0.5))
    assert ik.read_image(tmp_path / "b.exr").mean() == pytest.approx(0.5, abs=1e-3)


def test_the_display_window_is_shown(tmp_path: Path) -> None:
    corners = (np.array([0, 0], np.int32), np.array([11, 9], np.int32))
    data = (np.array([4, 2], np.int32), np.array([13, 13], np.int32))
    path = write(tmp_path / "a.exr", {"RGB": SKY}, dataWindow=data, displayWindow=corners)
    picture = read_picture(path, hdr=True)
    assert picture.size == (10, 12) and not picture.pixels[:2].any() and not picture.pixels[:, :4].any()
    assert np.array_equal(picture.pixels[2:, 4:], SKY[:8, :8])


def test_primaries_stay(tmp_path: Path) -> None:
    p3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
    picture = read_picture(write(tmp_path / "a.exr", {"RGB": SKY}, chromaticities=p3), hdr=True)
    write_picture(tmp_path / "b.exr", picture)
    with OpenEXR.File(str(tmp_path / "b.exr")) as file:
        assert np.allclose(file.header()["chromaticities"], p3, atol=1e-5)
    write_picture(tmp_path / "b.png", picture)
    assert read_picture(tmp_path / "b.png").colour_space == picture.colour_space
    with pytest.raises(ik.ImageError, match="only PNG holds the colour space"):
        write_picture(tmp_path / "b.jpg", picture)


def test_what_is_no_picture_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ik.ImageError, match="an EXR of the channels Z; convert it to RGB or grey"):
        read_picture(write(tmp_path / "depth.exr", {"Z": SKY[..., 0].copy()}))
    with pytest.raises(ik.ImageError, match="holds NaN or infinity"):
        read_picture(write(tmp_path / "nan.exr", {"RGB": np.full((2, 2, 3), np.nan, np.float32)}))
    whole = write(tmp_path / "a.exr", {"RGB": SKY}).read_bytes()
    for length in (40, len(whole) // 2):
        (tmp_path / "cut.exr").write_bytes(whole[:length])
        with pytest.raises(ik.ImageError, match=r"cut\.exr cannot be (read|decoded)"):
            read_picture(tmp_path / "cut.exr")
    with pytest.raises(ik.ImageError, match=r"values above 1 are kept in \.tif and \.tiff and \.exr; received '\.png'"):
        ik.write_image(tmp_path / "a.png", torch.rand(3, 4, 4), hdr=True)


class Doubler:
    """A model that repeats pixels, and adds what networks add at edges."""

    sight = None

    def encode(self, image: torch.Tensor, **how: object) -> Doubler:
        assert image.max() <= 1 and image.min() > -0.1  # what it was trained on
        self.values = image.repeat_interleave(2, 1).repeat_interleave(2, 2)
        return self

    def blocks(self, size: tuple[int, int], box: object, *, clamp: bool, options: object) -> list:
        values = torch.where(self.values == 1, 1.01, self.values)
        whole = tuple(slice(0, n) for n in size)
        return [(whole, (values.clamp(0, 1) if clamp else values)[None])]


@pytest.mark.parametrize("suffix", [".exr", ".tif"])
@pytest.mark.parametrize("negative", [False, True])
def test_a_model_keeps_the_range(tmp_path: Path, suffix: str, negative: bool) -> None:
    light = SKY - 0.01 * negative
    if suffix == ".exr":
        path = write(tmp_path / "a.exr", {"RGB": light})
    else:
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, light, photometric="rgb")
    picture = read_picture(path, hdr=True)
    assert np.array_equal(picture.pixels, light)
    large = upscale_picture(Doubler(), picture, (24, 20), tile=None)
    assert large.pixels.dtype == np.float32 and large.linear == (suffix == ".exr")
    assert np.allclose(large.pixels, light.repeat(2, 0).repeat(2, 1), rtol=1e-3, atol=1e-5)
    write_picture(tmp_path / f"b{suffix}", large)
    assert np.array_equal(read_picture(tmp_path / f"b{suffix}", hdr=True).pixels, large.pixels)


def test_float_tiffs_without_request_become_16_bits(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 48, dtype=np.float64).reshape(6, 8)
    tifffile.imwrite(tmp_path / "a.tif", values)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.bits == 16 and picture.is_grey and picture.clipped == 0
    assert np.abs(picture.pixels[..., 0] / 65535 - values).max() <= 0.5 / 65535 + 1e-9


def test_without_the_library_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.exr", {"RGB": SKY})
    monkeypatch.setitem(__import__("sys").modules, "OpenEXR", None)
    for call in (lambda: read_picture(path), lambda: ik.write_image(tmp_path / "b.exr", torch.rand(3, 2, 2))):
        with pytest.raises(ik.ImageError, match=r"exr needs OpenEXR, .*: pip install 'implicitkit\[exr\]'$"):
            call()
