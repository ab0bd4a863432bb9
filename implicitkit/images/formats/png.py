"""PNG by imagecodecs, which expands palettes, low depths and transparent colours, and holds no copy when it writes.

What it does not know is said by other chunks (PNG specification, third edition, W3C): the colour profile, the colour
space of files without one, EXIF, XMP, the resolution and texts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from implicitkit.images.metadata import NOTHING, ImageMetadata

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMPRESSION_LEVEL = 4
FILTER_STRATEGY = 1  # zlib's strategy for rows that are differences: files are a tenth smaller
HEADER_BYTES = len(SIGNATURE) + 4 + 4 + 13 + 4  # bytes up to the end of the IHDR chunk: length, name, body, checksum
SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # colour type -> samples per pixel when decoded
MAX_PROFILE_BYTES = 64 << 20
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
MAX_TEXT_BYTES = 16 << 20
INCH = 0.0254  # metres
XMP = "XML:com.adobe.xmp"
RAW_EXIF = ("Raw profile type exif", "Raw profile type APP1")  # as ImageMagick wrote it before there was a chunk
SRGB = {
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": bytes([1, 13, 0, 1]),
}
"""The colour space that pictures are taken for where nothing is said."""

ColourSpace = tuple[tuple[bytes, bytes], ...]
"""Chunks that name a colour space other than sRGB: ``(name, body)``."""


class PNG(NamedTuple):
    """What a file holds."""

    samples: NDArray[Any]
    """``(H, W)`` or ``(H, W, 2 to 4)`` uint8 or uint16, alpha last."""
    icc: bytes | None
    colour_space: ColourSpace
    metadata: ImageMetadata
    """As the file has it, before its orientation is applied."""


def png_header(head: bytes) -> tuple[tuple[int, int], int]:
    """The size ``(W, H)`` and the bytes per decoded pixel, from the first 32 bytes of a file.

    Raises:
        ValueError: there is no header.
    """
    if len(head) < 26 or head[12:16] != b"IHDR":
        raise ValueError("the header is missing")
    width, height, depth, kind = struct.unpack(">IIBB", head[16:26])
    return (width, height), SAMPLES.get(kind, 4) * (2 if depth == 16 else 1)


def read_png(path: Path) -> PNG:
    """Decode a file; the first picture of an animation is refused, as the others would be lost.

    Raises:
        ValueError: the file is damaged, or an animation.
    """
    import imagecodecs

    data = path.read_bytes()
    chunks: dict[bytes, bytes] = {}
    texts: dict[str, str] = {}
    for name, body in _chunks(data):
        if name in TEXTS:
            texts.update(_text(name, body))
        else:
            chunks.setdefault(name, body)
    if b"acTL" in chunks and (frames := int.from_bytes(chunks[b"acTL"][:4], "big")) > 1:
        raise ValueError(f"it is an animation of {frames} pictures; save one of them")
    icc = None
    if b"iCCP" in chunks:
        icc = _decompress(chunks[b"iCCP"].partition(b"\0")[2][1:])
    ranked = ((b"cICP",), (b"iCCP",), (b"sRGB",), (b"gAMA", b"cHRM"))  # the first that is there counts
    counts = next((names for names in ranked if any(name in chunks for name in names)), ())
    named = ((name, chunks[name]) for name in counts if name in chunks and name in SRGB)
    colour_space = tuple((name, body) for name, body in named if not _is_srgb(name, body))
    return PNG(imagecodecs.png_decode(data), icc, colour_space, _metadata(chunks, texts))


def write_png(
    path: Path,
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None = None,
    icc: bytes | None = None,
    colour_space: Sequence[tuple[bytes, bytes]] = (),
    metadata: ImageMetadata = NOTHING,
) -> None:
    """Write a PNG file. Beside the pixels, memory holds up to twice the size of the file.

    Args:
        path: the file.
        pixels: ``(H, W, 1 or 3)`` uint8 or uint16.
        alpha: ``(H, W)`` of the same type, not premultiplied.
        icc: a colour profile's bytes.
        colour_space: chunks that name the colour space, where there is no profile.
        metadata: is written as it is.
    """
    import imagecodecs

    samples = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if samples.shape[2] == 1:  # the encoder rejects the strides of a view with a new axis
        samples = samples[..., 0]
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples), level=COMPRESSION_LEVEL, strategy=FILTER_STRATEGY)
    with path.open("wb") as file:
        file.write(encoded[:HEADER_BYTES])
        for name, body in colour_space:
            file.write(_chunk(name, body))
        if icc is not None:
            file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
        for name, body in _metadata_chunks(metadata):
            file.write(_chunk(name, body))
        file.write(memoryview(encoded)[HEADER_BYTES:])


def _metadata(chunks: Mapping[bytes, bytes], texts: dict[str, str]) -> ImageMetadata:
    """What the chunks say of the picture."""
    exif = chunks.get(b"eXIf")
    for name in RAW_EXIF:
        if exif is None and name in texts:
            exif = _raw_profile(texts[name])
    xmp, dpi = texts.pop(XMP, None), None
    if len(body := chunks.get(b"pHYs", b"")) == 9 and body[8] == 1:
        x, y = struct.unpack(">2I", body[:8])
        dpi = (x * INCH, y * INCH) if x and y else None
    return ImageMetadata(
        exif and exif.removeprefix(b"Exif\0\0"), None if xmp is None else xmp.encode(), dpi, tuple(texts.items())
    )


def _metadata_chunks(metadata: ImageMetadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.dpi is not None:
        yield b"pHYs", struct.pack(">2IB", *(max(1, min(round(n / INCH), 2**31 - 1)) for n in metadata.dpi), 1)
    if metadata.exif is not None:
        yield b"eXIf", metadata.exif
    texts = list(metadata.text)
    if metadata.xmp is not None:
        texts.append((XMP, metadata.xmp.decode("utf-8", "replace")))
    for keyword, text in texts:
        yield b"iTXt", keyword.encode("latin-1", "replace")[:79] + bytes(5) + text.encode()


def _text(name: bytes, body: bytes) -> dict[str, str]:
    """The keyword and the text of one chunk; nothing if it is damaged or very long."""
    key, found, rest = body.partition(b"\0")
    keyword = key.decode("latin-1")
    if not key or not found:
        return {}
    try:
        if name == b"tEXt":
            return {keyword: rest.decode("latin-1")}
        if name == b"zTXt":
            return {keyword: _decompress(rest[1:], MAX_TEXT_BYTES).decode("latin-1")}
        packed, (_, _, text) = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
        return {keyword: (_decompress(text, MAX_TEXT_BYTES) if packed else text).decode()}
    except (ValueError, zlib.error):
        return {}


def _raw_profile(text: str) -> bytes | None:
    """The bytes of a name, a length and hexadecimal digits."""
    try:
        return bytes.fromhex("".join(text.split()[2:]))
    except ValueError:
        return None


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All but the pixels, which are decoded elsewhere."""
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        length, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if name in (b"iCCP", b"sRGB", b"eXIf", b"acTL", b"pHYs", *TEXTS, *SRGB):
            yield name, data[start + 8 : start + 8 + length]
        start += length + 12


def _decompress(data: bytes, limit: int | None = None) -> bytes:
    """A profile or a text, whose size a file does not say: it may be made to fill the memory."""
    limit = MAX_PROFILE_BYTES if limit is None else limit
    decompressor = zlib.decompressobj()
    profile = decompressor.decompress(data, limit)
    if decompressor.unconsumed_tail:
        raise ValueError(f"its colour profile has more than {limit >> 20} MiB")
    return profile


def _is_srgb(name: bytes, body: bytes) -> bool:
    """Whether a chunk says what is taken for granted, up to the last digits."""
    if len(body) != len(SRGB[name]):
        raise ValueError(f"its {name.decode()} chunk has {len(body)} bytes in place of {len(SRGB[name])}")
    if name == b"cICP":
        return body == SRGB[name]
    numbers = (np.frombuffer(chunk, ">u4").astype(float) for chunk in (body, SRGB[name]))
    return bool(np.abs(np.subtract(*numbers)).max() <= 50)
