"""Real files of every kind, made with other writers and read back."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

import implicitkit as ik
from implicitkit.images.io import Picture, read_mask, read_picture, to_pixels, write_picture
from oracles import PHOTOS

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def rgb() -> np.ndarray:
    with Image.open(PHOTOS / "chelsea.png") as image:
        return np.asarray(image.convert("RGB").crop((100, 60, 148, 92)))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".jpg"])
def test_round_trip_of_colour_and_profile(tmp_path: Path, rgb: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    write_picture(path, Picture(rgb, icc=PROFILE))
    again = read_picture(path)
    assert again.bits == 8 and not again.is_grey and again.alpha is None
    assert again.icc == PROFILE
    error = np.abs(again.pixels.astype(int) - rgb)
    assert error.mean() < 4 if suffix in (".webp", ".jpg") else error.max() == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_round_trip_of_depth_grey_and_alpha(
    tmp_path: Path, suffix: str, channels: int, alpha: bool, dtype: type
) -> None:
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (9, 13, channels + 1), dtype=dtype)
    picture = Picture(noise[..., :channels], noise[..., -1] if alpha else None, PROFILE)
    write_picture(tmp_path / f"x{suffix}", picture)
    again = read_picture(tmp_path / f"x{suffix}")
    assert np.array_equal(again.pixels, picture.pixels) and again.pixels.dtype == dtype
    assert (again.alpha is None) == (not alpha)
    assert not alpha or np.array_equal(again.alpha, picture.alpha)
    assert again.icc == PROFILE


def test_others_read_our_16_bit_files(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    write_picture(tmp_path / "x.png", Picture(noise, icc=PROFILE))
    write_picture(tmp_path / "x.tif", Picture(noise))
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "x.png").read_bytes()), noise)
    assert np.array_equal(tifffile.imread(tmp_path / "x.tif"), noise)
    with Image.open(tmp_path / "x.png") as image:
        assert image.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", "16.png", "16.tif"])
def test_pictures_come_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # a bright upper left corner
    with Image.fromarray(upright) as image:
        exif = image.getexif()
        exif[0x0112] = orientation
        # what a camera stores: the inverse of what a viewer does
        turned = {
            1: None,
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }[orientation]
        stored = image if turned is None else image.transpose(turned)
    path = tmp_path / f"x{suffix}"
    if suffix == "16.tif":
        tifffile.imwrite(
            path,
            np.asarray(stored).astype(np.uint16) * 257,
            photometric="rgb",
            extratags=[(274, 3, 1, orientation, True)],
        )
    elif suffix == "16.png":
        plain = io.BytesIO()
        stored.save(plain, "PNG", exif=exif)
        chunks = plain.getvalue()
        start = chunks.index(b"eXIf") - 4
        length = int.from_bytes(chunks[start : start + 4], "big") + 12
        deep = imagecodecs.png_encode(np.asarray(stored).astype(np.uint16) * 257)
        path.write_bytes(deep[:33] + chunks[start : start + length] + deep[33:])
    else:
        stored.save(path, exif=exif, quality=95)
    picture = read_picture(path)
    assert picture.size == (16, 32)
    assert picture.bits == (16 if "16" in suffix else 8)
    assert np.abs(picture.colour().mean(0).numpy() - upright[..., 0] / 255).mean() < 0.02


def test_palettes_bilevel_and_cmyk(tmp_path: Path, rgb: np.ndarray) -> None:
    image = Image.fromarray(rgb)
    image.quantize(32).save(tmp_path / "palette.png")
    assert np.abs(read_picture(tmp_path / "palette.png").pixels.astype(int) - rgb).mean() < 15
    image.quantize(8).save(tmp_path / "clear.png", transparency=0)
    assert read_picture(tmp_path / "clear.png").alpha is not None
    image.convert("1").save(tmp_path / "bilevel.png")
    assert read_picture(tmp_path / "bilevel.png").is_grey
    image.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_picture(tmp_path / "cmyk.jpg").pixels.astype(int) - rgb).mean() < 6


def test_odd_tiffs(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (3, 8, 9), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "planar.tif", noise, photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_picture(tmp_path / "planar.tif").pixels, np.moveaxis(noise, 0, -1))
    red = np.zeros((4, 4, 4), np.uint16)
    red[..., 0] = red[..., 3] = 16000
    tifffile.imwrite(tmp_path / "premultiplied.tif", red, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "premultiplied.tif")
    assert picture.pixels[0, 0].tolist() == [65535, 0, 0] and picture.alpha[0, 0] == 16000
    tifffile.imwrite(tmp_path / "extra.tif", red, photometric="rgb", extrasamples=["unspecified"])
    with pytest.raises(ik.ImageError, match="a TIFF of 4 bands, of which 3 are the picture"):
        read_picture(tmp_path / "extra.tif")
    tifffile.imwrite(tmp_path / "ink.tif", red, photometric="separated")
    assert read_picture(tmp_path / "ink.tif").pixels[0, 0].tolist() == [
        37441,
        49535,
        49535,
    ]  # 49535² / 65535, and 49535
    tifffile.imwrite(tmp_path / "lab.tif", red[..., :3], photometric="cielab")
    with pytest.raises(ik.ImageError, match="a TIFF in CIELAB; convert it to grey or RGB"):
        read_picture(tmp_path / "lab.tif")
    tifffile.imwrite(
        tmp_path / "twelve.tif", np.full((8, 8), 4095, np.uint16), photometric="minisblack", bitspersample=12
    )
    assert read_picture(tmp_path / "twelve.tif").pixels.min() == 65535
    tifffile.imwrite(tmp_path / "white.tif", noise[0], photometric="miniswhite")
    assert np.array_equal(read_picture(tmp_path / "white.tif").pixels[..., 0], 65535 - noise[0])


def test_read_image_is_rgb_float32() -> None:
    image = ik.read_image(PHOTOS / "rocket.jpg")
    assert image.dtype == torch.float32 and image.shape[0] == 3
    assert image.min() >= 0 and image.max() <= 1


def test_write_image_rounds(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "x.png", torch.tensor([-0.2, 0.5 / 255 + 1e-4, 1.2]).reshape(1, 1, 3))
    assert read_picture(tmp_path / "x.png").pixels.flatten().tolist() == [0, 1, 255]
    ik.write_image(tmp_path / "y.png", torch.full((3, 2, 2), 0.5), bits=16)
    assert read_picture(tmp_path / "y.png").bits == 16
    assert to_pixels(torch.tensor([[[1.0]]]), 16).item() == 65535


def test_damage_is_one_line(tmp_path: Path, rgb: np.ndarray) -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        whole = tmp_path / f"whole{suffix}"
        write_picture(whole, Picture(np.tile(rgb, (4, 4, 1))))
        cut = tmp_path / f"cut{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        with pytest.raises(ik.ImageError, match=r"cut\.\w+ cannot be decoded|is not a picture") as caught:
            read_picture(cut)
        assert "\n" not in str(caught.value)
    deep = tmp_path / "deep.png"
    write_picture(deep, Picture(np.random.default_rng(0).integers(0, 65536, (50, 50, 3), dtype=np.uint16)))
    deep.write_bytes(deep.read_bytes()[:5000])
    with pytest.raises(ik.ImageError, match="cannot be decoded"):
        read_picture(deep)
    for name, content in (("empty.png", b""), ("text.png", b"hello there, this is text")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ik.ImageError, match=r"0 bytes|is a text file"):
            read_picture(tmp_path / name)
    with pytest.raises(ik.ImageError, match="there is no file"):
        read_picture(tmp_path / "nothing.png")


def test_formats_that_cannot_hold_it_are_refused_before_writing(tmp_path: Path) -> None:
    wide = Picture(np.zeros((1, 70000, 3), np.uint8))
    with pytest.raises(ik.ImageError, match="at most 65535"):
        write_picture(tmp_path / "x.jpg", wide)
    with pytest.raises(ik.ImageError, match="no transparency"):
        write_picture(tmp_path / "x.jpg", Picture(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)))
    with pytest.raises(ik.ImageError, match=r"received '\.gif'"):
        write_picture(tmp_path / "x.gif", Picture(np.zeros((2, 2, 3), np.uint8)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_failed_write_leaves_nothing(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / f"x{suffix}"
    write_picture(target, Picture(np.full((2, 2, 3), 7, np.uint8)))

    def full_disk(*arguments: object, **options: object) -> None:
        next(a for a in arguments if isinstance(a, Path)).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    monkeypatch.setattr("implicitkit.images.io.write_png", full_disk)
    monkeypatch.setattr("implicitkit.images.io.write_tiff", full_disk)
    with pytest.raises(ik.UserError, match="No space left on device"):
        write_picture(target, Picture(np.zeros((2, 2, 3), np.uint8)))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == [target.name]
    assert read_picture(target).pixels.max() == 7


def test_pillows_own_limit_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    read_picture(PHOTOS / "rocket.jpg")
    assert before == Image.MAX_IMAGE_PIXELS


WRONG = [
    (torch.full((3, 4, 4), 255, dtype=torch.uint8), "received torch.uint8"),
    (torch.full((3, 4, 4), 200.0), r"received up to 200 \(divide 8-bit values by 255\)"),
    (torch.full((3, 4, 4), float("nan")), "received NaN or infinity"),
    (torch.full((3, 4, 4), float("inf")), "received NaN or infinity"),
    (torch.full((3, 4, 4), -2.0), r"received down to -2 \(undo a normalisation"),
]


@pytest.mark.parametrize(("image", "message"), WRONG)
def test_writing_and_encoding_refuse_what_is_no_picture(image: torch.Tensor, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        ik.write_image(tmp_path / "a.png", image)
    assert not list(tmp_path.iterdir())
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 4}, "decoder": "nearest"})
    with pytest.raises(ValueError, match="received"):
        model.encode(image)
    model.encode(torch.full((3, 4, 4), 1.5))  # noise reaches beyond


HOLE = np.zeros((6, 8), np.uint8)
HOLE[2:4, 3:6] = 1


@pytest.mark.parametrize(
    "pixels",
    [
        HOLE,
        HOLE * 255,
        np.dstack([np.zeros((6, 8, 3), np.uint8), HOLE * 255]),
        np.dstack([np.full((6, 8, 3), 255, np.uint8), HOLE * 255]),
        np.dstack([HOLE * 255] * 3),
    ],
    ids=["0 and 1", "0 and 255", "alpha of black", "alpha of white", "colours"],
)
def test_masks_of_every_kind(pixels: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), HOLE == 1)
    assert np.array_equal(read_mask(tmp_path / "mask.png", "black"), HOLE == 0)
    record = ik.create_degradation("inpainting", kind="folder", folder=str(tmp_path), augment=False)
    degraded = record(torch.rand(3, 6, 8), torch.Generator())
    assert int(degraded.mask.sum()) == HOLE.sum()


def test_masks_that_could_mean_anything_are_refused(tmp_path: Path) -> None:
    Image.fromarray(HOLE * 90).save(tmp_path / "grey.png")
    with pytest.raises(ik.ImageError, match="without a pixel above 0.5 of white: its values are 0 to 90 of 255"):
        read_mask(tmp_path / "grey.png")
    Image.fromarray(np.dstack([HOLE * 255] * 3 + [(1 - HOLE) * 255])).save(tmp_path / "both.png")
    with pytest.raises(ik.ImageError, match="colours and transparency"):
        read_mask(tmp_path / "both.png")
    Image.fromarray(HOLE * 0).save(tmp_path / "none.png")
    assert not read_mask(tmp_path / "none.png").any()


def test_a_photograph_in_place_of_a_mask_is_noticed(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    with pytest.warns(ik.ImageWarning, match=r"photo.png is read as a mask, but \d+% of it is neither black nor white"):
        read_mask(tmp_path / "photo.png")
    read_mask(tmp_path / "photo.png", warn=False)
    Image.fromarray((1 - HOLE) * 200).save(tmp_path / "two.png")  # mostly one grey: two values are a mask
    assert np.array_equal(read_mask(tmp_path / "two.png"), HOLE == 0)


def test_webp_without_loss(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.webp", Picture(pixels), lossless=True)
    assert np.array_equal(read_picture(tmp_path / "a.webp").pixels, pixels)
    write_picture(tmp_path / "b.webp", Picture(pixels))
    assert not np.array_equal(read_picture(tmp_path / "b.webp").pixels, pixels)


def test_what_pillow_would_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(b"P5\n2 1\n65535\n" + bytes([1, 0, 200, 0]))
    (tmp_path / "b.bmp").write_bytes(b"Pf\n1 1\n-1.0\n" + np.float32(0.5).tobytes())
    for name, kind in (("a.bmp", "more than 8 bits"), ("b.bmp", "floats")):
        with pytest.raises(ik.ImageError, match=f"{name} is PPM of {kind}, which is not supported"):
            ik.read_image(tmp_path / name)


def test_a_grey_mask_without_a_hole_is_refused(tmp_path: Path) -> None:
    Image.fromarray(HOLE * 0 + 100).save(tmp_path / "grey.png")
    with pytest.raises(ik.ImageError, match="without a pixel above 0.5 of white"):
        read_mask(tmp_path / "grey.png")


def test_a_picture_without_pixels_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ik.ImageError, match=r"received \(3, 0, 4\)"):
        ik.write_image(tmp_path / "a.png", torch.zeros(3, 0, 4))


def test_floats_that_are_no_sRGB_values_are_refused(tmp_path: Path) -> None:
    """A float TIFF of 0 to 255 would be read as white."""
    picture = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
    for name, values in (("255", picture * 255), ("65535", picture * 65535), ("signed", picture * 4 - 2)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, photometric="rgb", metadata=None)
        with pytest.raises(ik.ImageError, match=r"floats from .* to .*, most of them outside of \[0, 1\].*hdr=True"):
            ik.read_image(tmp_path / f"{name}.tif")
        read = ik.read_image(tmp_path / f"{name}.tif", hdr=True)
        assert torch.equal(read, torch.from_numpy(values).movedim(-1, 0))
    tifffile.imwrite(tmp_path / "bright.tif", picture * 1.5, photometric="rgb", metadata=None)
    assert ik.read_image(tmp_path / "bright.tif").max() == 1  # a third is beyond white: cut off, and said


@pytest.mark.parametrize("hole", ["white", "black"])
def test_a_mask_that_varies_but_is_one_sided_is_refused(tmp_path: Path, hole: str) -> None:
    values = np.array([[254, 255], [255, 255]], dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "m.png")
    with pytest.raises(ik.ImageError, match="without a pixel below 0.5 of white: its values are 254 to 255 of 255"):
        read_mask(tmp_path / "m.png", hole)
    Image.fromarray(values * 0 + 255).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").all()  # of one colour, it says what it says
