"""Read and write pictures: PNG, JPEG, WebP, TIFF; RGB and grey; alpha; 8 and 16 bits; orientation and colour profile.

Pillow reads 8 bits; imagecodecs (PNG) and tifffile (TIFF) read 16-bit colour. imagecodecs writes every PNG
(:mod:`implicitkit.images.png`), since Pillow would copy the picture.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.errors import ImageError, first_line
from implicitkit.files import replacing
from implicitkit.images.png import SIGNATURE, write_png

if TYPE_CHECKING:
    from PIL import Image

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
MAX_SIDES = {".jpg": 65535, ".jpeg": 65535, ".webp": 16383}  # pixels
_pillow_lock = threading.Lock()
Pixels = NDArray[Any]
"""uint8 or uint16."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright.

    Attributes:
        pixels: ``(H, W, C)`` uint8 or uint16, C = 1 (grey) or 3 (RGB).
        alpha: ``(H, W)`` of the same type (not premultiplied), or None.
        icc: the colour profile's bytes.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None

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


def to_8_bits(pixels: Pixels) -> Pixels:
    """16-bit integers as the nearest 8-bit ones; 8-bit ones as they are."""
    return pixels if pixels.dtype == np.uint8 else np.round(pixels / 257).astype(np.uint8)


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

    Raises:
        ImageError: the format cannot hold the picture.
        UserError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_image(f"{folder}/noise.tif", torch.rand(3, 4, 6), bits=16)
    ...     read_picture(f"{folder}/noise.tif").bits
    16
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ImageError(f"a picture to write is (3, H, W) or (1, H, W); received {tuple(image.shape)}")
    write_picture(path, Picture(to_pixels(image, bits)))


def read_picture(path: str | Path) -> Picture:
    """A picture file with its depth, grey, alpha and profile."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}") from None
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}") from None
    if not head:
        raise ImageError(f"{path} is empty (0 bytes), not a picture")
    try:
        if head.startswith(SIGNATURE) and head[24:25] == b"\x10":
            return _read_png16(path)
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            deep = _read_tiff16(path)
            if deep is not None:
                return deep
        return _read_pillow(path)
    except ImageError:
        raise
    except Exception as error:  # decoders raise many kinds
        raise ImageError(f"{path} cannot be decoded: {first_line(error)}") from error


def write_picture(path: str | Path, picture: Picture) -> None:
    """Write a picture in the format of the suffix, atomically; raises as :func:`write_image`."""
    path = Path(path)
    check_writable(path, picture.size, alpha=picture.alpha is not None)
    suffix = path.suffix.lower()
    if picture.bits == 16 and suffix not in (".png", ".tif", ".tiff"):
        alpha = None if picture.alpha is None else to_8_bits(picture.alpha)
        picture = replace(picture, pixels=to_8_bits(picture.pixels), alpha=alpha)
    with replacing(path) as temporary:
        if suffix == ".png":
            write_png(temporary, picture.pixels, picture.alpha, picture.icc)
        elif picture.bits == 8:
            _write_pillow(temporary, picture)
        else:
            _write_tiff16(temporary, picture)


def check_writable(path: Path, size: tuple[int, int], *, alpha: bool = False) -> None:
    """Raise :class:`ImageError` if the format of ``path`` cannot hold such a picture."""
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ImageError(f"{path}: pictures are written as {', '.join(WRITABLE)}; received {suffix or 'no suffix'!r}")
    limit = MAX_SIDES.get(suffix)
    if limit and max(size) > limit:
        raise ImageError(
            f"{path}: {suffix[1:].upper()} holds at most {limit} pixels a side, the picture has "
            f"{size[0]}×{size[1]}; use .png"
        )
    if alpha and suffix in (".jpg", ".jpeg"):
        raise ImageError(f"{path}: JPEG holds no transparency; use .png, .webp or .tif")


def _read_pillow(path: Path) -> Picture:
    from PIL import ImageOps, UnidentifiedImageError

    try:
        opened = _open_any_size(path)
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a picture in a format that can be read") from None
    with opened as image:
        check_decodable(path, image.size)
        if 0 in image.size:
            raise ImageError(f"{path} has no pixels ({image.size[0]}×{image.size[1]})")
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


def check_decodable(path: Path, size: tuple[int, int]) -> None:
    """Raise :class:`ImageError` if a picture of ``size`` as 8-bit and as float32 RGB does not fit into memory."""
    import psutil

    needed, free = size[0] * size[1] * (4 + 3 * 4), psutil.virtual_memory().available
    if needed > free:
        raise ImageError(
            f"{path} has {size[0]}×{size[1]} pixels; {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} free"
        )


def _from_pillow(image: Image.Image, icc: bytes | None) -> Picture:
    mode = image.mode
    if mode.startswith("I;16"):
        return Picture(np.asarray(image).astype(np.uint16)[..., None], icc=icc)
    transparent = "transparency" in image.info or mode in ("LA", "RGBA", "PA", "La", "RGBa")
    grey = mode in ("1", "L", "LA", "La")
    if mode in ("I", "F"):
        raise ImageError(f"pictures with 32 bits per channel are not read (mode {mode}); convert to 8 or 16 bits")
    if mode == "CMYK":
        icc = None  # it describes inks, and the pixels become RGB
    pixels = np.asarray(image.convert(("L" if grey else "RGB") + "A" * transparent))
    return _split_alpha(pixels[..., None] if pixels.ndim == 2 else pixels, icc)


def _write_pillow(path: Path, picture: Picture) -> None:
    from PIL import Image

    image = Image.fromarray(picture.samples())
    options: dict[str, Any] = {"icc_profile": picture.icc} if picture.icc else {}
    match path.suffix.lower():
        case ".jpg" | ".jpeg":
            options |= {"quality": 95, "subsampling": 0}
        case ".webp":
            options |= {"quality": 95}
        case _:
            options |= {"compression": "tiff_deflate"}
    image.save(path, **options)


def _read_png16(path: Path) -> Picture:
    import imagecodecs

    pixels = imagecodecs.png_decode(path.read_bytes())
    with _open_any_size(path) as image:
        icc, orientation = image.info.get("icc_profile"), image.getexif().get(0x0112, 1)
    return _split_alpha(_upright(pixels if pixels.ndim == 3 else pixels[..., None], orientation), icc)


def _read_tiff16(path: Path) -> Picture | None:
    """The first page of a TIFF if it has 9 to 16 bits per sample, else None."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if page.dtype != np.uint16 or page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return None
        colours = {
            tifffile.PHOTOMETRIC.MINISBLACK: 1,
            tifffile.PHOTOMETRIC.MINISWHITE: 1,
            tifffile.PHOTOMETRIC.RGB: 3,
        }.get(tifffile.PHOTOMETRIC(page.photometric))
        if colours is None:
            raise ImageError(
                f"{path} is a 16-bit TIFF in {tifffile.PHOTOMETRIC(page.photometric).name}; convert it to grey or RGB"
            )
        pixels = page.asarray()
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        elif page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim != 3 or pixels.shape[2] < colours:
            raise ImageError(f"{path} is a TIFF of shape {page.shape}; a grey or RGB picture is needed")
        top = 2**page.bitspersample - 1
        if top < 65535:  # 10, 12 or 14 bits in 16
            pixels = np.round(pixels * (65535 / top)).astype(np.uint16)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            pixels = 65535 - pixels
        tags = {tag.code: tag.value for tag in page.tags}
        pixels = _upright(pixels, int(tags.get(274, 1)))
        colour, alpha = pixels[..., :colours], None
        kinds = page.extrasamples
        if kinds and kinds[0] in (tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA):
            alpha = np.ascontiguousarray(pixels[..., colours])
            if kinds[0] == tifffile.EXTRASAMPLE.ASSOCALPHA:  # stored premultiplied
                straight = colour / np.maximum(alpha, 1)[..., None].astype(np.float64) * 65535
                colour = np.clip(np.round(straight), 0, 65535).astype(np.uint16)
        return Picture(np.ascontiguousarray(colour), alpha, tags.get(34675))


def _write_tiff16(path: Path, picture: Picture) -> None:
    import tifffile

    tifffile.imwrite(
        path,
        picture.samples(),
        photometric="minisblack" if picture.is_grey else "rgb",
        extrasamples=None if picture.alpha is None else ["unassalpha"],
        planarconfig="contig",
        compression="zlib",
        iccprofile=picture.icc,
        metadata=None,
    )


def _split_alpha(pixels: Pixels, icc: bytes | None) -> Picture:
    if pixels.shape[2] in (2, 4):
        return Picture(np.ascontiguousarray(pixels[..., :-1]), np.ascontiguousarray(pixels[..., -1]), icc)
    return Picture(np.ascontiguousarray(pixels), icc=icc)


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (1 to 8) on ``(H, W, C)``."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]
