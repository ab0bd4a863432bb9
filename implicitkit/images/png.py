"""Write PNG files: imagecodecs encodes, we insert the colour profile (PNG specification, third edition, W3C)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMPRESSION_LEVEL = 4
FILTER_STRATEGY = 1  # zlib's Z_FILTERED: files are a tenth smaller
HEADER_BYTES = len(SIGNATURE) + 4 + 4 + 13 + 4  # with the IHDR chunk: length, name, body, checksum


def write_png(path: Path, pixels: NDArray[Any], alpha: NDArray[Any] | None = None, icc: bytes | None = None) -> None:
    """Write a PNG file, with up to twice its size in memory besides the pixels.

    Args:
        path: the file.
        pixels: ``(H, W, 1 or 3)`` uint8 or uint16.
        alpha: ``(H, W)`` of the same type, not premultiplied.
        icc: a colour profile's bytes.
    """
    import imagecodecs

    samples = pixels if alpha is None else np.concatenate([pixels, alpha[..., None]], axis=2)
    if samples.shape[2] == 1:  # the encoder rejects the strides of a view with a new axis
        samples = samples[..., 0]
    encoded = imagecodecs.png_encode(np.ascontiguousarray(samples), level=COMPRESSION_LEVEL, strategy=FILTER_STRATEGY)
    with path.open("wb") as file:
        file.write(encoded[:HEADER_BYTES])
        if icc is not None:
            file.write(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
        file.write(memoryview(encoded)[HEADER_BYTES:])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
