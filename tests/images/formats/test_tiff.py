"""TIFFs of all kinds, made by tifffile and Pillow."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import implicitkit as ik
from implicitkit.images import read_picture

RGB = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
GREY = RGB[..., 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_orientations(orientation: int, dtype: type, tmp_path: Path) -> None:
    tags = [(274, "H", 1, orientation, True)]
    grey = GREY.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="minisblack", extratags=tags, metadata=None)
    upright = grey.T if orientation >= 5 else grey
    rows, columns = -1 if orientation in (3, 4, 7, 8) else 1, -1 if orientation in (2, 3, 6, 7) else 1
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels[..., 0], upright[::rows, ::columns])


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "jpeg"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_byte_orders_compressions_and_large_files(compression: str | None, order: str, tmp_path: Path) -> None:
    smooth = np.repeat(np.linspace(0, 255, 96).astype(np.uint8).reshape(8, 12, 1), 3, axis=2)
    for big in (False, True):
        tifffile.imwrite(
            tmp_path / "a.tif", smooth, photometric="rgb", bigtiff=big, byteorder=order, compression=compression,
            metadata=None,
        )  # fmt: skip
        difference = read_picture(tmp_path / "a.tif").pixels.astype(int) - smooth
        assert np.abs(difference).max() <= (25 if compression == "jpeg" else 0)


def test_low_depths_palettes_and_inks_as_pillow_reads_them(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    for number, other in enumerate(
        (image.convert("1"), image.quantize(16), image.convert("CMYK"), image.convert("LA"))
    ):
        path = tmp_path / f"{number}.tif"
        other.save(path)
        picture = read_picture(path)
        expected = np.asarray(Image.open(path).convert("L" if picture.is_grey else "RGB"))
        assert np.abs(picture.pixels.squeeze(-1 if picture.is_grey else ()).astype(int) - expected).max() <= 1
        assert (picture.alpha is not None) == (other.mode == "LA")


@pytest.mark.parametrize(
    ("samples", "how", "message"),
    [
        (np.full((4, 4), np.nan, np.float32), {"photometric": "minisblack"}, "it holds NaN or infinity"),
        (GREY.astype(np.int32), {"photometric": "minisblack"}, "a TIFF of int32 samples"),
        (
            RGB.astype(np.uint16),
            {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": ["unspecified"] * 2},
            "a TIFF of 3 bands, of which 1 is the picture",
        ),
        (RGB, {"photometric": "rgb", "subfiletype": 1}, "its first page is a thumbnail"),
        (np.stack([GREY, GREY]), {"photometric": "minisblack"}, "a TIFF of 2 pages; save one of them"),
    ],
    ids=["nan", "int32", "bands", "thumbnail", "pages"],
)
def test_what_is_no_single_picture_is_named(samples: np.ndarray, how: dict, message: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", samples, metadata=None, **how)
    with pytest.raises(ik.ImageError, match=message):
        read_picture(tmp_path / "a.tif")


def test_a_raw_file_is_not_its_thumbnail(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "photo.dng") as file:
        file.write(RGB, photometric="rgb", subifds=1, metadata=None, extratags=[(50706, "B", 4, (1, 4, 0, 0), True)])
        file.write(np.zeros((16, 16), np.uint16), photometric="cfa", metadata=None,
                   extratags=[(33421, "H", 2, (2, 2), True), (33422, "B", 4, (0, 1, 1, 2), True)])  # fmt: skip
    with pytest.raises(ik.ImageError, match="as in a camera's raw file"):
        read_picture(tmp_path / "photo.dng")


def test_a_stack_of_imagej_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([GREY, GREY, GREY]), imagej=True)
    with pytest.raises(ik.ImageError, match="a TIFF of 3 pages; save one of them"):
        read_picture(tmp_path / "stack.tif")


def test_a_pyramid_is_one_picture(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB, photometric="rgb", metadata=None)
        file.write(RGB[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, RGB)


def test_a_colour_map_of_8_bits_is_not_black(tmp_path: Path) -> None:
    index = (np.arange(96).reshape(8, 12) % 16).astype(np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, :16] = RGB.reshape(-1, 3)[:16].T
    for factor in (1, 257):
        tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colours * factor, metadata=None)
        assert np.array_equal(read_picture(tmp_path / "a.tif").pixels, colours.T[index])


def test_colours_that_are_not_converted_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "y.tif", RGB, photometric="ycbcr", compression="zlib", metadata=None)
    with pytest.raises(ik.ImageError, match="YCBCR that is not compressed as JPEG"):
        read_picture(tmp_path / "y.tif")
    inks = np.dstack([RGB, GREY])
    tifffile.imwrite(
        tmp_path / "inks.tif", inks, photometric="separated", extratags=[(332, "H", 1, 2, True)], metadata=None
    )
    with pytest.raises(ik.ImageError, match="inks other than CMYK"):
        read_picture(tmp_path / "inks.tif")
