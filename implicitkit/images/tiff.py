"""TIFF by tifffile: one reader for all of them, and one refusal that names what a file holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
REDUCED_IMAGE, DNG_VERSION, ORIENTATION, ICC_PROFILE = 1, 50706, 274, 34675
INK_SET, CMYK = 332, 1
JPEGS = (6, 7, 33007, 34892)  # compressions whose decoder turns YCbCr into RGB
COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}  # samples of a pixel, but for alpha


class TIFF(NamedTuple):
    """What a file holds."""

    pixels: NDArray[Any]
    """``(H, W, 1 or 3)`` uint8 or uint16."""
    alpha: NDArray[Any] | None
    """``(H, W)`` of the same type, not premultiplied."""
    icc: bytes | None
    orientation: int
    """As EXIF numbers it, 1 to 8."""


def tiff_size(path: Path) -> tuple[tuple[int, int], int]:
    """The size ``(W, H)`` and the bytes per pixel."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        return (page.imagewidth, page.imagelength), page.samplesperpixel * max(1, page.bitspersample // 8)


def read_tiff(path: Path) -> TIFF:
    """Decode a file of one grey or RGB picture (palettes, CMYK and JPEG's YCbCr become RGB), up to 16 bits.

    Raises:
        ValueError: it holds anything else, and the message says what.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        tags = {tag.code: tag.value for tag in page.tags}
        _check_one_picture(file, page, tags)
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        if page.dtype is None or page.dtype.kind not in "ub" or page.dtype.itemsize > 2:
            raise ValueError(f"it is a TIFF of {page.dtype or 'unknown'} samples; convert it to 8 or 16 bits")
        if photometric not in (*COLOURS, "PALETTE"):
            raise ValueError(f"it is a TIFF in {photometric}; convert it to grey or RGB")
        if photometric == "YCBCR" and page.compression not in JPEGS:
            raise ValueError("it is a TIFF in YCBCR that is not compressed as JPEG; convert it to grey or RGB")
        if photometric == "SEPARATED" and tags.get(INK_SET, CMYK) != CMYK:
            raise ValueError("it is a TIFF of inks other than CMYK; convert it to grey or RGB")
        samples = page.asarray()
        if samples.ndim == 2:
            samples = samples[..., None]
        elif page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            samples = np.moveaxis(samples, 0, -1)
        if photometric == "PALETTE":
            if samples.shape[2] > 1:
                raise ValueError(f"it is a TIFF of a palette and {samples.shape[2]} bands; convert it to RGB")
            palette = np.moveaxis(page.colormap, 0, -1)
            if palette.max() > 255:  # a map of 16 bits, as the format asks; libtiff reads those of 8 bits too
                palette = palette // 256
            samples, colours = palette[samples[..., 0]].astype(np.uint8), 3
        else:
            samples, colours = _to_whole_bytes(samples, page.bitspersample), COLOURS[photometric]
        pixels, alpha = _split(samples, colours, [kind.name for kind in map(tifffile.EXTRASAMPLE, page.extrasamples)])
    top = np.iinfo(pixels.dtype).max
    if photometric == "MINISWHITE":
        pixels = top - pixels
    icc = tags.get(ICC_PROFILE)
    if photometric == "SEPARATED":
        ink, black = top - pixels[..., :3].astype(np.uint32), top - pixels[..., 3:].astype(np.uint32)
        pixels, icc = ((ink * black + top // 2) // top).astype(pixels.dtype), None  # the profile describes inks
    return TIFF(np.ascontiguousarray(pixels), alpha, icc, int(tags.get(ORIENTATION, 1)))


def write_tiff(path: Path, samples: NDArray[Any], grey: bool, alpha: bool, icc: bytes | None) -> None:
    """Write ``(H, W)`` or ``(H, W, C)`` uint8 or uint16, alpha last."""
    import tifffile

    tifffile.imwrite(
        path,
        samples,
        photometric="minisblack" if grey else "rgb",
        extrasamples=["unassalpha"] if alpha else None,
        planarconfig="contig",
        compression="zlib",
        iccprofile=icc,
        metadata=None,
    )


def _check_one_picture(file: Any, page: Any, tags: dict[int, Any]) -> None:
    """Raise ValueError for camera raws, whose first page is a thumbnail, and for files of several pictures."""
    if DNG_VERSION in tags or page.subfiletype & REDUCED_IMAGE:
        raise ValueError("its first page is a thumbnail, as in a camera's raw file; develop it to a TIFF or PNG")
    count = sum(1 for other in file.pages if not other.subfiletype & REDUCED_IMAGE)
    count = max(count, (file.imagej_metadata or {}).get("images", 1))  # ImageJ writes a stack as one page
    if count > 1:
        raise ValueError(f"it is a TIFF of {count} pages; save one of them")
    if page.is_tiled and page.imagedepth > 1:
        raise ValueError(f"it is a TIFF of a volume of {page.imagedepth} slices; save one of them")


def _to_whole_bytes(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """1 to 7 bits as 8, 9 to 15 as 16: the largest value stays the largest."""
    dtype = np.uint8 if bits <= 8 else np.uint16
    top = np.iinfo(dtype).max
    if bits in (8, 16):
        return samples
    whole: NDArray[Any] = np.round(samples * (top / (2**bits - 1))).astype(dtype)
    return whole


def _split(samples: NDArray[Any], colours: int, extra: list[str]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colours, and an alpha that is not premultiplied."""
    bands = samples.shape[2]
    if bands == colours:
        return samples, None
    if bands != colours + 1 or extra[:1] not in (["UNASSALPHA"], ["ASSOCALPHA"]):
        raise ValueError(
            f"it is a TIFF of {bands} bands, of which {colours} {'is' if colours == 1 else 'are'} the picture and the "
            "others are not said to be alpha; convert it to grey or RGB"
        )
    colour, alpha = samples[..., :colours], np.ascontiguousarray(samples[..., colours])
    if extra[0] == "ASSOCALPHA":  # stored premultiplied
        top = np.iinfo(samples.dtype).max
        straight = colour / np.maximum(alpha, 1)[..., None].astype(np.float64) * top
        colour = np.clip(np.round(straight), 0, top).astype(samples.dtype)
    return colour, alpha
