"""Read and write pictures: PNG, JPEG, WebP, AVIF, HEIC, TIFF, EXR, GIF, BMP; RGB and grey; alpha; 8 and 16 bits and
floats; orientation, colour profile and what else belongs to a photograph.

:mod:`implicitkit.images.formats` has a module for each way of storing them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.errors import ImageError as ImageError
from implicitkit.errors import UserError, first_line
from implicitkit.files import check_regular, replacing
from implicitkit.images.formats import exr, pillow
from implicitkit.images.formats.png import SIGNATURE, png_header, read_png, write_png
from implicitkit.images.formats.tiff import MAGIC, read_tiff, tiff_size, write_tiff
from implicitkit.images.metadata import ImageMetadata, ImageWarning, exif_orientation
from implicitkit.images.picture import Picture as Picture
from implicitkit.images.picture import Pixels as Pixels
from implicitkit.images.picture import check_decodable, upright, without_alpha
from implicitkit.images.picture import check_values as check_values
from implicitkit.images.picture import to_8_bits as to_8_bits
from implicitkit.images.picture import to_pixels as to_pixels
from implicitkit.images.picture import to_tensor as to_tensor

WRITABLE = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".tif", ".tiff", ".exr")
READABLE = (*WRITABLE, *pillow.HEIC, ".bmp", ".gif")
DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".exr")  # hold more than 8 bits
FLOAT_SUFFIXES = (".tif", ".tiff", ".exr")  # hold values above 1
GREY = (0.1, 0.9)  # of white: between them, a mask's pixel is neither black nor white
MAX_CLIPPED = 0.5  # share of a float picture's values, in sRGB, that may be beyond black and white
MAX_SIDES = {**dict.fromkeys(pillow.JPEG, 65535), ".webp": 16383, ".avif": 32768}  # pixels


def read_mask(path: str | Path, hole: str = "white", threshold: float = 0.5, *, warn: bool = True) -> NDArray[np.bool_]:
    """A mask file as ``(H, W)``, True where pixels are missing.

    Pixels brighter than ``threshold`` of white are missing (``hole="black"``: all others). A file of the values 0 and 1
    is read as such, and one of a single colour whose transparency varies as its alpha. With ``warn``, an
    :class:`ImageWarning` says when most pixels are greys, neither black nor white, as in a photograph.

    Raises:
        ImageError: the file cannot be read, says two things by colour and alpha, or its pixels differ though all
            or none of them are brighter than the threshold.
    """
    picture = read_picture(path)
    values, top = picture.pixels.mean(-1), 2**picture.bits - 1
    if picture.alpha is not None and picture.alpha.min() < picture.alpha.max():
        if values.min() < values.max():
            raise ImageError(
                f"{path} is a mask with colours and transparency; save it in black and white, without alpha"
            )
        values = picture.alpha
    low, high = float(values.min()), float(values.max())
    if high == 1:
        top = 1
    bright: NDArray[np.bool_] = values > threshold * top
    if (low < high and bright.all()) or ((low < high or high > 1) and not bright.any()):
        which = "below" if bright.all() else "above"
        raise ImageError(
            f"{path} is a mask without a pixel {which} {threshold:g} of white: its values are {low:g} to {high:g} of "
            f"{top}; masks are black and white, or 0 and 1"
        )
    grey = (values > GREY[0] * top) & (values < GREY[1] * top)
    if warn and top > 1 and grey.mean() > 0.5 and values[grey].min() < values[grey].max():
        text = f"{path} is read as a mask, but {grey.mean():.0%} of it is neither black nor white"
        warnings.warn(text, ImageWarning, stacklevel=2)
    return bright if hole == "white" else ~bright


def read_image(path: str | Path, *, hdr: bool = False) -> Tensor:
    """A picture file as float32 ``(3, H, W)`` in [0, 1], upright; grey is repeated, alpha ignored.

    Args:
        path: the file.
        hdr: of float files (EXR, float TIFF), give the values as they are, which may exceed 1: EXR's are linear light.
            Without it they are made sRGB values and cut off at 0 and 1.

    Raises:
        ImageError: the file is missing, truncated or not a picture.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/grey.png", torch.full((1, 4, 6), 0.5))
    ...     read_image(f"{folder}/grey.png").shape
    torch.Size([3, 4, 6])
    """
    return read_picture(path, hdr=hdr).rgb()


def read_metadata(path: str | Path) -> ImageMetadata:
    """What a picture file says beside its pixels: EXIF, XMP, resolution, texts; for :func:`write_image`.

    Raises:
        ImageError: see :func:`read_image`.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/a.png", torch.rand(3, 4, 6), metadata=ImageMetadata(dpi=(300, 300)))
    ...     round(read_metadata(f"{folder}/a.png").dpi[0])
    300
    """
    return read_picture(path).metadata


def write_image(
    path: str | Path,
    image: Tensor,
    *,
    bits: int = 8,
    metadata: ImageMetadata | None = None,
    keep_gps: bool = False,
    keep_text: bool = False,
    hdr: bool = False,
) -> None:
    """Write ``(3, H, W)`` or ``(1, H, W)`` in [0, 1] to a file in the format of its suffix.

    Values a little outside of [0, 1], as networks give them, are clamped.

    Args:
        path: the file.
        image: the picture.
        bits: 8, or 16 for PNG and TIFF.
        metadata: of the photograph that it was made from; what still holds is written, see :class:`ImageMetadata`.
        keep_gps: write where it was taken, too.
        keep_text: write PNG's texts, too.
        hdr: any finite values, as floats to EXR (linear light) or TIFF.

    Raises:
        ImageError: the format cannot hold the picture.
        ValueError: the values are integers, not finite, or far outside of [0, 1].
        UserError: the file cannot be written.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.tif", torch.rand(3, 4, 6), bits=16)
    ...     read_picture(f"{folder}/noise.tif").bits
    16
    """
    path = Path(path)
    if hdr:
        check_floating(path)
        check_values(image, "a picture to write", highest=float("inf"))
    else:
        check_values(image, "a picture to write")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ImageError(f"a picture to write is (3, H, W) or (1, H, W); received {tuple(image.shape)}")
    if hdr:
        floats = image.detach().float().movedim(0, -1).cpu().numpy()
        picture = Picture(np.ascontiguousarray(floats), linear=path.suffix.lower() == ".exr")
    else:
        picture = Picture(to_pixels(image, 16 if path.suffix.lower() == ".exr" else bits))
    picture = replace(picture, metadata=metadata or ImageMetadata())
    write_picture(path, picture, keep_gps=keep_gps, keep_text=keep_text)


def read_picture(path: str | Path, *, hdr: bool = False) -> Picture:
    """A picture file with its depth, grey, alpha, profile and metadata.

    Args:
        path: the file.
        hdr: keep the floats of EXR and float TIFF; without it they become sRGB values of 16 bits, cut off at 0 and 1.

    Raises:
        ImageError: see :func:`read_image`; or most values of a float TIFF are outside of [0, 1], without ``hdr``.
    """
    path = Path(path)
    try:
        check_regular(path)
        with path.open("rb") as file:
            head = file.read(32)
    except UserError as error:
        raise ImageError(str(error)) from None
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:  # a ValueError: no path at all, as of a null character
        raise ImageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not head:
        raise ImageError(f"{path} is empty (0 bytes), not a picture")
    try:
        picture = _decode(path, head)
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(f"{path} cannot be read: {first_line(error)}") from error
    except Exception as error:  # decoders raise errors of every kind on damaged files
        raise ImageError(f"{path} cannot be decoded: {first_line(error)}") from error
    if hdr:
        return picture
    shown = picture.displayed()
    if shown.clipped > MAX_CLIPPED and not picture.linear:
        raise ImageError(
            f"{path} holds floats from {picture.pixels.min():.4g} to {picture.pixels.max():.4g}, most of them outside "
            "of [0, 1], black to white; divide them by what is white (255, 65535), or keep them as they are: upscale "
            "--hdr, hdr=True in Python"
        )
    return shown


def write_picture(
    path: str | Path,
    picture: Picture,
    *,
    lossless: bool | None = None,
    quality: int | None = None,
    keep_gps: bool = False,
    keep_text: bool = False,
    finish: Callable[[Path], object] | None = None,
) -> None:
    """Write a picture by its suffix, atomically, with what holds of its metadata. See :func:`write_image` for what is
    raised.

    Args:
        path: the file.
        picture: what to write.
        lossless: WebP without loss (default: as the picture's own file, unless ``quality`` is given).
        quality: 1 to 100, of JPEG, WebP and AVIF (default: 95).
        keep_gps: write where it was taken, too.
        keep_text: write PNG's texts, too.
        finish: called with the finished temporary file before it takes the place of ``path``.
    """
    path = Path(path)
    check_writable(path, picture.size, alpha=picture.alpha is not None)
    suffix = path.suffix.lower()
    if picture.is_float and suffix not in FLOAT_SUFFIXES:
        picture = picture.displayed()
    if picture.bits == 16 and suffix not in DEEP_SUFFIXES:
        alpha = None if picture.alpha is None else to_8_bits(picture.alpha)
        picture = replace(picture, pixels=to_8_bits(picture.pixels), alpha=alpha)
    space = picture.colour_space
    if any(suffix != ".png" and (suffix != ".exr" or name != exr.CHROMATICITIES) for name, _ in space):
        names = ", ".join(name.decode() for name, _ in space)
        raise ImageError(f"{path}: only PNG holds the colour space that the picture names ({names}); use .png")
    metadata = picture.metadata.fitted(picture.size, keep_gps=keep_gps, keep_text=keep_text, where=path.name)
    if lossless is None:
        lossless = picture.lossless and quality is None
    with replacing(path) as temporary:
        if suffix == ".png":
            write_png(temporary, picture.pixels, picture.alpha, picture.icc, space, metadata)
        elif suffix in (".tif", ".tiff"):
            stored = replace(picture, pixels=picture.values(), linear=False)
            write_tiff(temporary, stored.samples(), stored.is_grey, stored.alpha is not None, stored.icc, metadata)
        elif suffix == ".exr":
            alpha = None if picture.alpha is None else to_tensor(picture.alpha[..., None])[0].numpy()
            exr.write_exr(temporary, picture.light(), alpha, space, whole=picture.is_float)
        else:
            usual = pillow.USUAL_QUALITY if quality is None else quality
            pillow.write_pillow(temporary, picture, metadata, lossless=lossless, quality=usual)
        if finish is not None:
            finish(temporary)


def check_writable(path: Path, size: tuple[int, int], *, alpha: bool = False) -> None:
    """Raise :class:`ImageError` if the format of ``path`` cannot hold such a picture."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(f"{path}: pictures are written as {', '.join(WRITABLE)}; received {suffix or 'no suffix'!r}")
    if suffix == ".exr":
        exr.exr_library(path)
    if suffix == ".avif":
        pillow.check_avif(path)
    limit = MAX_SIDES.get(suffix)
    if limit and max(size) > limit:
        raise ImageError(
            f"{path}: {suffix[1:].upper()} holds at most {limit} pixels a side, the picture has "
            f"{size[1]}×{size[0]}; use .png"
        )
    if alpha and suffix in pillow.JPEG:
        raise ImageError(f"{path}: JPEG holds no transparency; use .png, .webp or .tif")


def check_floating(path: Path) -> None:
    """Raise :class:`ImageError` if the format of ``path`` holds no values above 1."""
    if path.suffix.lower() not in FLOAT_SUFFIXES:
        raise ImageError(f"{path}: values above 1 are kept in {' and '.join(FLOAT_SUFFIXES)}; received {path.suffix!r}")


def _decode(path: Path, head: bytes) -> Picture:
    if head.startswith(SIGNATURE):
        check_decodable(path, *png_header(head))
        png = read_png(path)
        samples = png.samples if png.samples.ndim == 3 else png.samples[..., None]
        orientation = exif_orientation(png.metadata.exif)
        pixels, alpha = without_alpha(upright(samples, orientation))
        metadata = png.metadata.of_upright(pixels.shape[:2], orientation)
        return Picture(pixels, alpha, png.icc, png.colour_space, metadata)
    if head[:4] in MAGIC:
        check_decodable(path, *tiff_size(path))
        tiff = read_tiff(path)
        alpha = None if tiff.alpha is None else upright(tiff.alpha[..., None], tiff.orientation)[..., 0]
        pixels = upright(tiff.pixels, tiff.orientation)
        metadata = tiff.metadata.of_upright(pixels.shape[:2], tiff.orientation)
        return Picture(pixels, alpha, tiff.icc, metadata=metadata)
    if head[:4] == exr.MAGIC:
        check_decodable(path, *exr.exr_size(path))
        light, alpha, space = exr.read_exr(path)
        return Picture(light, alpha, colour_space=space, linear=True)
    return pillow.read_pillow(path, head, READABLE)
