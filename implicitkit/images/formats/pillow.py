"""JPEG, WebP, AVIF, GIF and BMP by Pillow, HEIC by pillow-heif: pixels, colour profile and metadata."""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from implicitkit.errors import ImageError, MissingCodecError
from implicitkit.files import describe_content
from implicitkit.images.formats.exif import PREFIX
from implicitkit.images.metadata import ImageMetadata, ImageWarning, exif_orientation
from implicitkit.images.picture import Picture, Pixels, check_decodable, upright, without_alpha
from implicitkit.registry.extras import require

if TYPE_CHECKING:
    from PIL import Image

JPEG, HEIC = (".jpg", ".jpeg", ".jfif"), (".heic", ".heif")
USUAL_QUALITY = 95  # of JPEG, WebP and AVIF
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
MAX_SEGMENT = 65533  # bytes of a part of a JPEG file
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
READABLE_CONTENTS = tuple(  # as describe_content calls them
    f"{name} picture" for name in ("a PNG", "a JPEG", "a WebP", "an AVIF", "a HEIC", "a GIF", "a TIFF", "an OpenEXR")
)
_pillow_lock = threading.Lock()


def read_pillow(path: Path, head: bytes, readable: tuple[str, ...]) -> Picture:
    """Decode a file that begins with ``head``; ``readable`` are the suffixes to name where it is no picture."""
    from PIL import UnidentifiedImageError

    try:
        opened = open_pillow(path, head)
    except UnidentifiedImageError:
        raise ImageError(f"{path} is {_instead_of_a_picture(path, readable)}") from None
    with opened as image:
        check_decodable(path, image.size)
        if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:  # MPO: a JPEG with side views
            if image.format == "HEIF":  # a burst, or a film's cover: the first is the photograph
                warnings.warn(f"{path} holds {frames} pictures; the first is read", ImageWarning, stacklevel=3)
            else:
                raise ImageError(f"{path} is an animation of {frames} pictures; save one of them")
        if image.mode in ("F", "I") or image.mode.startswith("I;"):  # Pillow clips them at 255
            kind = "floats" if image.mode == "F" else "more than 8 bits"
            raise ImageError(f"{path} is {image.format} of {kind}, which is not supported; save it as PNG or TIFF")
        icc, metadata = image.info.get("icc_profile"), _metadata(image)
        orientation = exif_orientation(metadata.exif)
        if orientation == 1 and metadata.xmp is not None and (match := XMP_ORIENTATION.search(metadata.xmp)):
            orientation = int(match[1])
        samples = _deep_samples(path, image)
        if samples is None:
            samples = _samples(image)
            icc = None if image.mode == "CMYK" else icc  # it describes inks, the pixels are RGB from here on
    pixels, alpha = without_alpha(upright(samples, orientation))
    metadata = metadata.of_upright(pixels.shape[:2], orientation)
    return Picture(pixels, alpha, icc, metadata=metadata, lossless=_is_lossless(path, head))


def _instead_of_a_picture(path: Path, readable: tuple[str, ...]) -> str:
    """What a file is that no decoder takes: the formats are listed where another would have been one of them."""
    what = describe_content(path)
    if what in READABLE_CONTENTS:
        return f"{what} that cannot be decoded; it is damaged, or only a part of the file"
    if what is not None and path.suffix.lower() in readable:
        return f"{what}, whatever its name says" if "(" not in what else what
    return f"{what or 'not a picture'}; pictures are {', '.join(readable)} files"


def open_pillow(path: Path, head: bytes) -> Image.Image:
    """``Image.open``, HEIC too, without Pillow's fixed limit; :func:`check_decodable` compares with the free memory."""
    from PIL import Image

    if head[4:8] == b"ftyp":
        _check_codec(path, head)

    with _pillow_lock:  # the limit is a setting of the process
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def write_pillow(path: Path, picture: Picture, metadata: ImageMetadata, *, lossless: bool, quality: int) -> None:
    """Write a picture of 8 bits by the suffix of ``path``; ``lossless`` is of WebP, ``quality`` of the others too."""
    from PIL import Image

    image = Image.fromarray(picture.samples())
    options: dict[str, Any] = {"icc_profile": picture.icc} if picture.icc else {}
    suffix = path.suffix.lower()
    if metadata.exif is not None:
        options["exif"] = PREFIX + metadata.exif
    if suffix in JPEG:
        options |= {"format": "JPEG", "quality": quality, "subsampling": 0} | _jpeg_metadata(path, metadata)
    else:
        options |= {"xmp": metadata.xmp} if metadata.xmp is not None else {}
        if suffix == ".avif":
            options |= {"quality": quality, "subsampling": "4:4:4"}
        else:
            options |= {"lossless": True, "exact": True} if lossless else {"quality": quality}
    image.save(path, **options)


def check_avif(path: Path) -> None:
    """Raise :class:`ImageError` where this Pillow knows no AVIF."""
    from PIL import features

    if "avif" not in features.modules or not features.check("avif"):
        raise ImageError(f"{path} is AVIF, which Pillow 11.3 and newer read and write: pip install -U pillow")


def _check_codec(path: Path, head: bytes) -> None:
    """Make Pillow read HEIC, or say what is missing."""
    if head[8:12] in (b"avif", b"avis"):
        check_avif(path)
    elif head[8:12] in HEIF_BRANDS and b"avif" not in head:
        require("heif", str(path), error=MissingCodecError)
        import pillow_heif

        pillow_heif.register_heif_opener()


def _deep_samples(path: Path, image: Image.Image) -> Pixels | None:
    """The samples of a photograph of more than 8 bits, of which Pillow would keep 8, as ``(H, W, C)`` uint16."""
    if image.format == "HEIF" and max(image.info.get("bit_depth", 8), 8) > 8:
        import pillow_heif

        with_depth = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
        samples = np.asarray(with_depth[0])
        return samples if samples.ndim == 3 else samples[..., None]
    if image.format != "AVIF":
        return None
    data = path.read_bytes()
    setup = data.find(b"av1C")
    if setup < 0 or not data[setup + 6] & 0x40:  # high bit depth (AV1-ISOBMFF, 2.3)
        return None
    import imagecodecs

    top = 4095 if data[setup + 6] & 0x20 else 1023
    samples = imagecodecs.avif_decode(data)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return np.round(samples * (65535 / top)).astype(np.uint16)


def _metadata(image: Image.Image) -> ImageMetadata:
    """What the file says, before its orientation is applied."""
    exif, xmp, dpi = image.info.get("exif"), image.info.get("xmp"), None
    for marker, content in getattr(image, "applist", ()):  # of JPEG
        if xmp is None and marker == "APP1" and content.startswith(XMP_HEADER):
            xmp = content[len(XMP_HEADER) :]
    if image.info.get("jfif_unit") in (1, 2) or image.format in ("BMP", "DIB"):
        dpi = image.info.get("dpi")
    exif = exif.removeprefix(PREFIX) if exif else None
    xmp = xmp.encode() if isinstance(xmp, str) else xmp or None
    return ImageMetadata(exif, xmp, None if dpi is None else (float(dpi[0]), float(dpi[1])))


def _jpeg_metadata(path: Path, metadata: ImageMetadata) -> dict[str, Any]:
    """Pillow's options for the resolution and XMP; what no part of a JPEG file holds is left out."""
    options: dict[str, Any] = {}
    if metadata.dpi is not None:
        options["dpi"] = tuple(max(1, min(round(n), 65535)) for n in metadata.dpi)
    if metadata.exif is not None and len(PREFIX + metadata.exif) > MAX_SEGMENT:
        _warn_of_size(path, "EXIF", metadata.exif)
        options["exif"] = b""
    if metadata.xmp is not None:
        body = XMP_HEADER + metadata.xmp
        if len(body) > MAX_SEGMENT:
            _warn_of_size(path, "XMP", metadata.xmp)
        else:
            options["extra"] = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    return options


def _warn_of_size(path: Path, what: str, content: bytes) -> None:
    text = f"{path.name}: its {what} of {len(content) >> 10} KiB is left out, JPEG holds 64; .png and .tif hold it"
    warnings.warn(text, ImageWarning, stacklevel=4)


def _is_lossless(path: Path, head: bytes) -> bool:
    """Whether a file is a lossless WebP: its pixels are in a chunk of that name."""
    if head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return False
    with path.open("rb") as file:
        at, end = 12, path.stat().st_size
        while at + 8 <= end:
            file.seek(at)
            name, length = file.read(4), int.from_bytes(file.read(4), "little")
            if name in (b"VP8L", b"VP8 "):
                return name == b"VP8L"
            at += 8 + length + length % 2
    return False


def _samples(image: Image.Image) -> Pixels:
    """``(H, W, 1 to 4)`` uint8: grey or RGB, alpha last."""
    mode = image.mode
    transparent = "transparency" in image.info or mode in ("LA", "RGBA", "PA", "La", "RGBa")
    grey = mode in ("1", "L", "LA", "La")
    pixels = np.asarray(
        image.convert(
            {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, transparent]
        )
    )
    return pixels[..., None] if pixels.ndim == 2 else pixels
