"""JFIF, AVIF, HEIC, GIF and lossless WebP."""

from __future__ import annotations

import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image, features

import implicitkit as ik
from implicitkit.images.folders import pictures_in
from implicitkit.images.io import Picture, read_picture, write_picture
from implicitkit.images.survey import stored_size

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF (11.3 and newer do)")


@pytest.mark.parametrize("suffix", [".jfif", ".jpeg"])
def test_jfif_is_jpeg(tmp_path: Path, suffix: str) -> None:
    ik.write_image(tmp_path / f"a{suffix}", torch.rand(3, 8, 6))
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.format == "JPEG"
    assert pictures_in(tmp_path) == [tmp_path / f"a{suffix}"]
    with pytest.raises(ik.ImageError, match="JPEG holds no transparency"):
        write_picture(tmp_path / f"b{suffix}", Picture(PIXELS, PIXELS[..., 0]))


@avif
def test_avif_both_ways(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.avif", Picture(PIXELS, np.full((32, 48), 100, np.uint8), b"a profile"))
    again = read_picture(tmp_path / "a.avif")
    assert np.abs(again.pixels.astype(int) - PIXELS).mean() < 4 and again.alpha.mean() == pytest.approx(100, abs=2)
    assert again.icc == b"a profile" and stored_size(tmp_path / "a.avif") == (32, 48)


@avif
@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_keeps_its_depth(tmp_path: Path, bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 64).astype(np.uint16)[None, :, None].repeat(16, 0).repeat(3, 2)
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(ramp, level=100, bitspersample=bits))
    picture = read_picture(tmp_path / "a.avif")
    assert picture.bits == 16 and picture.pixels.max() > 65000
    assert np.abs(picture.pixels / 65535 - ramp / (2**bits - 1)).max() < 2e-3


def test_an_avif_that_pillow_does_not_know_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    (tmp_path / "a.avif").write_bytes(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1" + bytes(20))
    with pytest.raises(ik.ImageError, match=r"is AVIF, which Pillow 11\.3 and newer read"):
        read_picture(tmp_path / "a.avif")


def heic(path: Path, pixels: np.ndarray, mode: str = "RGB", **info: object) -> Path:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif, the extra heif, is not installed")
    size = pixels.shape[1], pixels.shape[0]
    heif.encode(mode, size, pixels.tobytes(), path, quality=-1, **info)
    return path


def test_heic(tmp_path: Path) -> None:
    picture = read_picture(heic(tmp_path / "a.heic", PIXELS))
    assert picture.size == (32, 48) and np.abs(picture.pixels.astype(int) - PIXELS).mean() < 4
    assert stored_size(tmp_path / "a.heic") == (32, 48) and pictures_in(tmp_path) == [tmp_path / "a.heic"]


def test_heic_of_10_bits_keeps_them(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None, :, None].repeat(16, 0).repeat(3, 2)
    picture = read_picture(heic(tmp_path / "a.heic", np.ascontiguousarray(ramp), "RGB;16"))
    assert picture.bits == 16 and np.abs(picture.pixels / 65535 - ramp / 65535).max() < 2e-2


def test_heic_without_its_library_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x20ftypheic\0\0\0\0mif1heic" + bytes(20))
    with pytest.raises(ik.ImageError, match=r"heic needs pillow-heif, .*: pip install 'implicitkit\[heif\]'$"):
        read_picture(tmp_path / "a.heic")


def test_gif(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS).quantize(64)
    image.save(tmp_path / "a.gif")
    assert np.array_equal(read_picture(tmp_path / "a.gif").pixels, np.asarray(image.convert("RGB")))
    image.save(tmp_path / "moves.gif", save_all=True, append_images=[image.rotate(180)])
    with pytest.raises(ik.ImageError, match="is an animation of 2 pictures; save one of them"):
        read_picture(tmp_path / "moves.gif")


@pytest.mark.parametrize("more", [{}, {"exif": b"II*\0" + bytes(8)}])
def test_lossless_webp_stays_lossless(tmp_path: Path, more: dict) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.webp", lossless=True, **more)
    Image.fromarray(PIXELS).save(tmp_path / "lossy.webp", quality=90)
    picture = read_picture(tmp_path / "a.webp")
    assert picture.lossless and not read_picture(tmp_path / "lossy.webp").lossless
    changed = Picture(255 - picture.pixels, lossless=picture.lossless)
    write_picture(tmp_path / "b.webp", changed)
    assert np.array_equal(read_picture(tmp_path / "b.webp").pixels, changed.pixels)
    write_picture(tmp_path / "c.webp", changed, quality=50)
    assert not np.array_equal(read_picture(tmp_path / "c.webp").pixels, changed.pixels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.gif", b"GIF89a", "is a GIF picture that cannot be decoded; it is damaged, or only a part of the file"),
        ("a.bin", b"RIFF\0\0\0\0WEBPxx", "is a WebP picture that cannot be decoded"),
        ("a.jpg", b"some words", "is a text file, whatever its name says$"),
        ("a.doc", b"some words", "is a text file; pictures are .png, .jpg"),
        ("a.jxl", b"\xff\x0a", "is a JPEG XL picture; pictures are .png, .jpg"),
        ("a.webp", b"\x01\x02\x03", "is not a picture; pictures are"),
    ],
)
def test_what_cannot_be_decoded_is_called_what_it_is(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ik.ImageError, match=message):
        read_picture(tmp_path / name)
