"""Read and write pictures: PNG, JPEG, WebP, TIFF; RGB and grey; alpha; 8 and 16 bits; orientation and colour profile.

PNG is :mod:`implicitkit.images.png`'s, TIFF :mod:`implicitkit.images.tiff`'s, the rest Pillow's.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.devices import free_memory
from implicitkit.errors import ImageError as ImageError
from implicitkit.errors import UserError, first_line
from implicitkit.files import check_regular, describe_content, replacing
from implicitkit.images.png import SIGNATURE, ColourSpace, png_header, read_png, write_png
from implicitkit.images.tiff import MAGIC, read_tiff, tiff_size, write_tiff

if TYPE_CHECKING:
    from PIL import Image

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MAX_SIDES = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}  # pixels
USUAL_QUALITY = 95  # of JPEG and WebP
MIN_VALUE, MAX_VALUE = -1.0, 2.0  # beyond them, a picture in [0, 1] is not what is meant
_pillow_lock = threading.Lock()
Pixels = NDArray[Any]
"""uint8 or uint16."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: ``(H, W, C)`` uint8 or uint16, C = 1 (grey) or 3 (RGB).
        alpha: ``(H, W)`` of the same type (not premultiplied), or None.
        icc: the colour profile's bytes, carried over as they are.
        colour_space: where there is no profile, a PNG's chunks that name a space other than sRGB; PNG alone holds them.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    colour_space: ColourSpace = ()

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bits(self) -> int:
        """8 or 16 per channel."""
        return 8 * self.pixels.itemsize

    @property
    def is_grey(self) -> bool:
        """Whether there is one channel only."""
        return bool(self.pixels.shape[2] == 1)

    def samples(self) -> Pixels:
        """The samples of a file: ``(H, W)`` for grey without alpha, else ``(H, W, 2 to 4)`` with alpha last."""
        if self.alpha is None:
            return self.pixels[..., 0] if self.is_grey else self.pixels
        return np.concatenate([self.pixels, self.alpha[..., None]], axis=2)

    def colour(self) -> Tensor:
        """``(C, H, W)`` float32 in [0, 1]."""
        return to_tensor(self.pixels)

    def rgb(self) -> Tensor:
        """``(3, H, W)`` float32 in [0, 1]; grey is repeated."""
        return self.colour().expand(3, -1, -1).contiguous()


def to_tensor(pixels: Pixels) -> Tensor:
    """``(H, W, C)`` integers as ``(C, H, W)`` float32 in [0, 1].

    >>> to_tensor(np.array([[[255], [51]]], dtype=np.uint8))
    tensor([[[1.0000, 0.2000]]])
    """
    planes = np.array(np.moveaxis(pixels, -1, 0), order="C")  # before they become larger
    return torch.from_numpy(planes).to(torch.float32).div_(float(np.iinfo(pixels.dtype).max))


def to_pixels(image: Tensor, bits: int = 8) -> Pixels:
    """``(C, H, W)`` in [0, 1] as ``(H, W, C)`` integers, clamped and rounded.

    >>> to_pixels(torch.tensor([[[0.2, 1.7]]])).tolist()
    [[[51], [255]]]
    """
    top = 2**bits - 1
    values = image.detach().float().clamp(0, 1).mul(top).round().movedim(0, -1).cpu().numpy()
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def check_values(image: Tensor, what: str = "a picture") -> None:
    """Raise :class:`ValueError` unless ``image`` holds finite floats that may be meant as [0, 1].

    What lies a little outside, as a sum of waves or noise does, is let pass; 0 to 255 is not.
    """
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{what} is a floating-point tensor in [0, 1]; received {type(image).__name__} "
            "(implicitkit.images.to_tensor takes (H, W, C) arrays of 8 or 16 bits)"
        )
    if not image.is_floating_point():
        raise ValueError(f"{what} holds floats in [0, 1]; received {image.dtype} (image.float() / 255 for 8 bits)")
    if image.numel() == 0:
        return
    try:
        low, high = (float(end) for end in image.detach().aminmax())
    except RuntimeError:  # torch.func.vmap has many values in place of one
        return
    if not math.isfinite(low) or not math.isfinite(high):
        raise ValueError(
            f"{what} holds finite values in [0, 1]; received NaN or infinity (torch.nan_to_num removes them)"
        )
    if high > MAX_VALUE:
        raise ValueError(f"{what} holds values in [0, 1]; received up to {high:g} (divide 8-bit values by 255)")
    if low < MIN_VALUE:
        raise ValueError(
            f"{what} holds values in [0, 1]; received down to {low:g} (undo a normalisation: value * std + mean)"
        )


def to_8_bits(pixels: Pixels) -> Pixels:
    """16-bit integers as the nearest 8-bit ones; 8-bit ones as they are."""
    return pixels if pixels.dtype == np.uint8 else np.round(pixels / 257).astype(np.uint8)


def read_mask(path: str | Path, hole: str = "white", threshold: float = 0.5) -> NDArray[np.bool_]:
    """A mask file as ``(H, W)``, True where pixels are missing.

    Pixels brighter than ``threshold`` of white are missing (``hole="black"``: all others). A file of the values 0 and 1
    is read as such, and one of a single colour whose transparency varies as its alpha.

    Raises:
        ImageError: the file cannot be read, says two things by colour and alpha, or no pixel of it is brighter than the
            threshold though it is not black.
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
    if (low < high or high > 1) and not bright.any():
        raise ImageError(
            f"{path} is a mask without a pixel above {threshold:g} of white: its values are {low:g} to {high:g} of "
            f"{top}; masks are black and white, or 0 and 1"
        )
    return bright if hole == "white" else ~bright


def read_image(path: str | Path) -> Tensor:
    """A picture file as float32 ``(3, H, W)`` in [0, 1], upright; grey is repeated, alpha ignored.

    Raises:
        ImageError: the file is missing, truncated or not a picture.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/grey.png", torch.full((1, 4, 6), 0.5))
    ...     read_image(f"{folder}/grey.png").shape
    torch.Size([3, 4, 6])
    """
    return read_picture(path).rgb()


def write_image(path: str | Path, image: Tensor, *, bits: int = 8) -> None:
    """Write ``(3, H, W)`` or ``(1, H, W)`` in [0, 1] to a file in the format of its suffix; ``bits=16`` needs PNG or
    TIFF.

    Values a little outside of [0, 1], as networks give them, are clamped.

    Raises:
        ImageError: the format cannot hold the picture.
        ValueError: the values are integers, not finite, or far outside of [0, 1].
        UserError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.tif", torch.rand(3, 4, 6), bits=16)
    ...     read_picture(f"{folder}/noise.tif").bits
    16
    """
    check_values(image, "a picture to write")
    if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
        raise ImageError(f"a picture to write is (3, H, W) or (1, H, W); received {tuple(image.shape)}")
    write_picture(path, Picture(to_pixels(image, bits)))


def read_picture(path: str | Path) -> Picture:
    """A picture file with its depth, grey, alpha and profile."""
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
        if head.startswith(SIGNATURE):
            check_decodable(path, *png_header(head))
            png = read_png(path)
            samples = png.samples if png.samples.ndim == 3 else png.samples[..., None]
            pixels, alpha = _without_alpha(_upright(samples, png.orientation))
            return Picture(pixels, alpha, png.icc, png.colour_space)
        if head[:4] in MAGIC:
            check_decodable(path, *tiff_size(path))
            tiff = read_tiff(path)
            alpha = None if tiff.alpha is None else _upright(tiff.alpha[..., None], tiff.orientation)[..., 0]
            return Picture(_upright(tiff.pixels, tiff.orientation), alpha, tiff.icc)
        return _read_pillow(path)
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError(f"{path} cannot be read: {first_line(error)}") from error
    except Exception as error:  # decoders raise errors of every kind on damaged files
        raise ImageError(f"{path} cannot be decoded: {first_line(error)}") from error


def write_picture(path: str | Path, picture: Picture, *, lossless: bool = False, quality: int | None = None) -> None:
    """Write a picture by its suffix, atomically; with ``lossless``, WebP without loss; else ``quality`` (1 to 100) is
    that of JPEG and WebP (default: 95). See :func:`write_image` for what is raised.
    """
    path = Path(path)
    check_writable(path, picture.size, alpha=picture.alpha is not None)
    suffix = path.suffix.lower()
    if picture.bits == 16 and suffix not in (".png", ".tif", ".tiff"):
        alpha = None if picture.alpha is None else to_8_bits(picture.alpha)
        picture = replace(picture, pixels=to_8_bits(picture.pixels), alpha=alpha)
    if picture.colour_space and suffix != ".png":
        names = ", ".join(name.decode() for name, _ in picture.colour_space)
        raise ImageError(f"{path}: only PNG holds the colour space that the picture names ({names}); use .png")
    with replacing(path) as temporary:
        if suffix == ".png":
            write_png(temporary, picture.pixels, picture.alpha, picture.icc, picture.colour_space)
        elif suffix in (".tif", ".tiff"):
            write_tiff(temporary, picture.samples(), picture.is_grey, picture.alpha is not None, picture.icc)
        else:
            _write_pillow(temporary, picture, lossless, USUAL_QUALITY if quality is None else quality)


def check_writable(path: Path, size: tuple[int, int], *, alpha: bool = False) -> None:
    """Raise :class:`ImageError` if the format of ``path`` cannot hold such a picture."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(f"{path}: pictures are written as {', '.join(WRITABLE)}; received {suffix or 'no suffix'!r}")
    limit = MAX_SIDES.get(suffix)
    if limit and max(size) > limit:
        raise ImageError(
            f"{path}: {suffix[1:].upper()} holds at most {limit} pixels a side, the picture has "
            f"{size[1]}×{size[0]}; use .png"
        )
    if alpha and suffix in (".jpg", ".jpeg"):
        raise ImageError(f"{path}: JPEG holds no transparency; use .png, .webp or .tif")


# ---------------------------------------------------------------------------- JPEG, WebP, BMP


def _read_pillow(path: Path) -> Picture:
    from PIL import ImageOps, UnidentifiedImageError

    try:
        opened = _open_any_size(path)
    except UnidentifiedImageError:
        what = describe_content(path)
        raise ImageError(f"{path} is {what or 'not a picture'}; pictures are {', '.join(READABLE)} files") from None
    with opened as image:
        check_decodable(path, image.size)
        if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:  # MPO: a JPEG with side views
            raise ImageError(f"{path} is an animation of {frames} pictures; save one of them")
        if image.mode in ("F", "I") or image.mode.startswith("I;"):  # Pillow clips them at 255
            kind = "floats" if image.mode == "F" else "more than 8 bits"
            raise ImageError(f"{path} is {image.format} of {kind}, which is not supported; save it as PNG or TIFF")
        icc = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
        return _from_pillow(upright, icc)


def _open_any_size(path: Path) -> Image.Image:
    """``Image.open`` without Pillow's fixed limit; :func:`check_decodable` compares with the free memory."""
    from PIL import Image

    with _pillow_lock:  # the limit is a setting of the process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def check_decodable(path: Path, size: tuple[int, int], pixel_bytes: int = 4) -> None:
    """Raise :class:`ImageError` if a picture of ``size`` has no pixels, or does not fit into memory: the bytes that are
    decoded, and float32 RGB.
    """
    if 0 in size:
        raise ImageError(f"{path} has no pixels ({size[1]}×{size[0]})")
    needed, free = size[0] * size[1] * (pixel_bytes + 3 * 4), free_memory(torch.device("cpu"))
    if needed > free:
        raise ImageError(
            f"{path} has {size[1]}×{size[0]} pixels; {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} free"
        )


def _from_pillow(image: Image.Image, icc: bytes | None) -> Picture:
    mode = image.mode
    transparent = "transparency" in image.info or mode in ("LA", "RGBA", "PA", "La", "RGBa")
    grey = mode in ("1", "L", "LA", "La")
    if mode == "CMYK":
        icc = None  # the profile describes inks, the pixels are RGB from here on
    pixels = np.asarray(
        image.convert(
            {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, transparent]
        )
    )
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Picture(*_without_alpha(pixels), icc)


def _write_pillow(path: Path, picture: Picture, lossless: bool, quality: int) -> None:
    from PIL import Image

    image = Image.fromarray(picture.samples())
    options: dict[str, Any] = {"icc_profile": picture.icc} if picture.icc else {}
    match path.suffix.lower():
        case ".jpg" | ".jpeg":
            options |= {"quality": quality, "subsampling": 0}
        case ".webp":
            options |= {"lossless": True, "exact": True} if lossless else {"quality": quality}
    image.save(path, **options)


def _without_alpha(samples: Pixels) -> tuple[Pixels, Pixels | None]:
    """``(H, W, 1 to 4)`` as colours and what is last of two or four."""
    if samples.shape[2] in (2, 4):
        return np.ascontiguousarray(samples[..., :-1]), np.ascontiguousarray(samples[..., -1])
    return np.ascontiguousarray(samples), None


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (1 to 8) on ``(H, W, C)``."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]
