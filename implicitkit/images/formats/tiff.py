"""TIFF by tifffile: one reader for all of them, and one refusal that names what a file holds."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from implicitkit.images.formats.exif import (
    KEPT_TAGS,
    RESOLUTION_UNIT,
    X_RESOLUTION,
    Y_RESOLUTION,
    YCBCR_POSITIONING,
    Entry,
    Exif,
    directories,
    read_exif,
    resolution_of,
    write_exif,
)
from implicitkit.images.formats.light import finite, straight_colour, white_of
from implicitkit.images.metadata import NOTHING, ImageMetadata, ImageWarning

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
REDUCED_IMAGE, DNG_VERSION, ORIENTATION, XMP, ICC_PROFILE = 1, 50706, 274, 700, 34675
DESCRIPTION, SOFTWARE = 270, 305
OF_PROGRAMS = (b"{", b"ImageJ=", b"<?xml", b"<OME", b"tifffile")  # about the file: how it stores the samples
RESOLUTION = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
INK_SET, CMYK = 332, 1
JPEGS = (6, 7, 33007, 34892)  # compressions whose decoder turns YCbCr into RGB
MAX_CLASSIC_BYTES = 2**32 - 2  # beyond, places in a file have 8 bytes
COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "RGB": 3, "YCBCR": 3, "SEPARATED": 4}  # samples of a pixel, but for alpha


class TIFF(NamedTuple):
    """What a file holds."""

    pixels: NDArray[Any]
    """``(H, W, 1 or 3)`` uint8, uint16 or float32."""
    alpha: NDArray[Any] | None
    """``(H, W)`` of the same type, not premultiplied."""
    icc: bytes | None
    orientation: int
    """As EXIF numbers it, 1 to 8."""
    metadata: ImageMetadata
    """As the file has it, before its orientation is applied."""


def tiff_size(path: Path) -> tuple[tuple[int, int], int]:
    """The size ``(W, H)`` and the bytes per pixel."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        return (page.imagewidth, page.imagelength), page.samplesperpixel * max(1, page.bitspersample // 8)


def read_tiff(path: Path) -> TIFF:
    """Decode a file of one grey or RGB picture (palettes, CMYK and JPEG's YCbCr become RGB): up to 16 bits, or floats.

    Raises:
        ValueError: it holds anything else, and the message says what.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        tags = {tag.code: tag.value for tag in page.tags}
        _check_one_picture(file, page, tags)
        photometric = tifffile.PHOTOMETRIC(page.photometric).name
        floats = page.dtype is not None and page.dtype.kind == "f"
        if page.dtype is None or (not floats and (page.dtype.kind not in "ub" or page.dtype.itemsize > 2)):
            raise ValueError(
                f"it is a TIFF of {page.dtype or 'unknown'} samples; convert it to 8 or 16 bits, or to floats"
            )
        _check_colours(photometric, page.compression, tags)
        samples = page.asarray()
        if floats:
            samples = finite(samples.astype(np.float32))
        if samples.ndim == 2:
            samples = samples[..., None]
        elif page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            samples = np.moveaxis(samples, 0, -1)
        if photometric == "PALETTE":
            samples, colours = _looked_up(samples, page.colormap), 3
        else:
            samples = samples if floats else _to_whole_bytes(samples, page.bitspersample)
            colours = COLOURS[photometric]
        pixels, alpha = _split(samples, colours, [kind.name for kind in map(tifffile.EXTRASAMPLE, page.extrasamples)])
    top = white_of(pixels)
    if photometric == "MINISWHITE":
        pixels = top - pixels
    icc = tags.get(ICC_PROFILE)
    if photometric == "SEPARATED" and not floats:
        ink, black = top - pixels[..., :3].astype(np.uint32), top - pixels[..., 3:].astype(np.uint32)
        pixels, icc = ((ink * black + top // 2) // top).astype(pixels.dtype), None  # the profile describes inks
    return TIFF(np.ascontiguousarray(pixels), alpha, icc, int(tags.get(ORIENTATION, 1)), _metadata(path, tags))


def _check_colours(photometric: str, compression: int, tags: Mapping[int, Any]) -> None:
    """Refuse what the samples' own names do not make RGB of."""
    if photometric not in (*COLOURS, "PALETTE"):
        raise ValueError(f"it is a TIFF in {photometric}; convert it to grey or RGB")
    if photometric == "YCBCR" and compression not in JPEGS:
        raise ValueError("it is a TIFF in YCBCR that is not compressed as JPEG; convert it to grey or RGB")
    if photometric == "SEPARATED" and tags.get(INK_SET, CMYK) != CMYK:
        raise ValueError("it is a TIFF of inks other than CMYK; convert it to grey or RGB")


def _looked_up(samples: NDArray[Any], colormap: NDArray[Any]) -> NDArray[Any]:
    """The colours ``(H, W, 3)`` uint8 of a palette's entries ``(H, W, 1)``."""
    if samples.shape[2] > 1:
        raise ValueError(f"it is a TIFF of a palette and {samples.shape[2]} bands; convert it to RGB")
    palette = np.moveaxis(colormap, 0, -1)
    if palette.max() > 255:  # a map of 16 bits, as the format asks; libtiff reads those of 8 bits too
        palette = palette // 256
    colours: NDArray[Any] = palette[samples[..., 0]].astype(np.uint8)
    return colours


def write_tiff(
    path: Path,
    samples: NDArray[Any],
    grey: bool,
    alpha: bool,
    icc: bytes | None,
    metadata: ImageMetadata = NOTHING,
) -> None:
    """Write ``(H, W)`` or ``(H, W, C)`` uint8, uint16 or float32, alpha last; the metadata as they are."""
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
        byteorder="<",
        resolution=metadata.dpi,
        resolutionunit="INCH" if metadata.dpi else None,
    )
    if metadata.exif is not None or metadata.xmp is not None:
        _add_metadata(path, metadata)


def _metadata(path: Path, tags: dict[int, Any]) -> ImageMetadata:
    """EXIF and XMP of a file's first page."""
    xmp = tags.get(XMP)
    packet = bytes(xmp) if isinstance(xmp, (bytes, tuple)) else xmp.encode() if isinstance(xmp, str) else None
    try:
        with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            exif = read_exif(content)
    except (ValueError, OSError):  # a BigTIFF, whose directories are others
        return ImageMetadata(xmp=packet)
    picture = {tag: entry for tag, entry in exif.picture.items() if tag in KEPT_TAGS or tag == ORIENTATION}
    for tag in (DESCRIPTION, SOFTWARE):
        if tag in picture and picture[tag].value.startswith(OF_PROGRAMS):
            del picture[tag]
    says = set(picture) - {*RESOLUTION, ORIENTATION, YCBCR_POSITIONING} or exif.camera or exif.place
    block = write_exif(Exif(picture, exif.camera, exif.place))
    return ImageMetadata(block if says else None, packet, resolution_of(exif))


def _add_metadata(path: Path, metadata: ImageMetadata) -> None:
    """Write the first directory once more at the end of a file, with EXIF and XMP in it, and let the file begin there:
    tifffile writes no directories in directories.
    """
    with path.open("r+b") as file:
        with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            added = len(metadata.exif or b"") + len(metadata.xmp or b"")
            if content[:4] != b"II*\0" or len(content) + 2 * added > MAX_CLASSIC_BYTES:
                warnings.warn(f"{path}: TIFF of this size holds no EXIF and no XMP", ImageWarning, stacklevel=2)
                return
            stored = read_exif(content).picture
        exif = Exif({}, {}, {}) if metadata.exif is None else read_exif(metadata.exif)
        if metadata.xmp is not None:
            stored[XMP] = Entry(1, len(metadata.xmp), metadata.xmp)
        own = {tag: entry for tag, entry in exif.picture.items() if tag not in RESOLUTION}
        end = file.seek(0, 2)
        file.write(bytes(end % 2))
        file.write(directories(exif._replace(picture=own), end + end % 2, stored))
        file.seek(4)
        file.write(struct.pack("<I", end + end % 2))


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
        colour = straight_colour(colour, alpha)
    return colour, alpha
