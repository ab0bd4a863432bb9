"""PNG by imagecodecs, which expands palettes, low depths and transparent colours, and holds no copy when it writes.

What it does not know is said by other chunks (PNG specification, third edition, W3C): the colour profile, the colour
space of files without one, the orientation.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMPRESSION_LEVEL = 4
FILTER_STRATEGY = 1  # zlib's strategy for rows that are differences: files are a tenth smaller
HEADER_BYTES = len(SIGNATURE) + 4 + 4 + 13 + 4  # bytes up to the end of the IHDR chunk: length, name, body, checksum
SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # colour type -> samples per pixel when decoded
MAX_PROFILE_BYTES = 64 << 20
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
    orientation: int
    """As EXIF numbers it, 1 to 8."""


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
    for name, body in _chunks(data):
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
    return PNG(imagecodecs.png_decode(data), icc, colour_space, _orientation(chunks.get(b"eXIf")))


def write_png(
    path: Path,
    pixels: NDArray[Any],
    alpha: NDArray[Any] | None = None,
    icc: bytes | None = None,
    colour_space: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Write a PNG file. Beside the pixels, memory holds up to twice the size of the file.

    Args:
        path: the file.
        pixels: ``(H, W, 1 or 3)`` uint8 or uint16.
        alpha: ``(H, W)`` of the same type, not premultiplied.
        icc: a colour profile's bytes.
        colour_space: chunks that name the colour space, where there is no profile.
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
        file.write(memoryview(encoded)[HEADER_BYTES:])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """All but the pixels, which are decoded elsewhere, and text, which may be long."""
    start = len(SIGNATURE)
    while start + 8 <= len(data):
        length, name = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        if name in (b"iCCP", b"sRGB", b"eXIf", b"acTL", *SRGB):
            yield name, data[start + 8 : start + 8 + length]
        start += length + 12


def _decompress(data: bytes) -> bytes:
    """A profile, whose size a file does not say: it may be made to fill the memory."""
    decompressor = zlib.decompressobj()
    profile = decompressor.decompress(data, MAX_PROFILE_BYTES)
    if decompressor.unconsumed_tail:
        raise ValueError(f"its colour profile has more than {MAX_PROFILE_BYTES >> 20} MiB")
    return profile


def _is_srgb(name: bytes, body: bytes) -> bool:
    """Whether a chunk says what is taken for granted, up to the last digits."""
    if len(body) != len(SRGB[name]):
        raise ValueError(f"its {name.decode()} chunk has {len(body)} bytes in place of {len(SRGB[name])}")
    if name == b"cICP":
        return body == SRGB[name]
    numbers = (np.frombuffer(chunk, ">u4").astype(float) for chunk in (body, SRGB[name]))
    return bool(np.abs(np.subtract(*numbers)).max() <= 50)


def _orientation(exif: bytes | None) -> int:
    if exif is None:
        return 1
    from PIL.Image import Exif

    tags = Exif()
    tags.load(exif)
    return int(tags.get(0x0112, 1))
