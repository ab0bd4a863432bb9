"""Writing PNG band by band, so that a picture is never held a second time (PNG specification, third edition, W3C)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}  # samples per pixel -> grey, grey + alpha, RGB, RGBA (table 8)
BAND = 1 << 20  # bytes filtered and compressed at a time
LEVEL = 4
Bytes = NDArray[np.uint8]


def write_png(path: Path, pixels: NDArray[Any], alpha: NDArray[Any] | None = None, icc: bytes | None = None) -> None:
    """Write ``(H, W, 1 or 3)`` uint8 or uint16 pixels, with ``(H, W)`` alpha of the same type and a colour profile."""
    height, width, channels = pixels.shape
    samples = channels + (alpha is not None)
    depth = 8 * pixels.itemsize
    with path.open("wb") as file:
        file.write(SIGNATURE)
        _chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPE[samples], 0, 0, 0))
        if icc is not None:
            _chunk(file, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
        packer = zlib.compressobj(LEVEL, memLevel=9, strategy=zlib.Z_FILTERED)
        above = np.zeros(width * samples * pixels.itemsize, np.uint8)
        step = max(1, BAND // len(above))
        for start in range(0, height, step):
            band = _rows(pixels[start : start + step], None if alpha is None else alpha[start : start + step])
            _data(file, packer.compress(_filtered(band, above, samples * pixels.itemsize)))
            above = band[-1]
        _data(file, packer.flush())
        _chunk(file, b"IEND", b"")


def _rows(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> Bytes:
    """The samples of some rows as the file has them: alpha last, the high byte first."""
    if alpha is not None:
        pixels = np.concatenate([pixels, alpha[..., None]], axis=2)
    ordered = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    return ordered.view(np.uint8).reshape(len(pixels), -1)


def _filtered(rows: Bytes, before: Bytes, pixel: int) -> bytes:
    """Each row behind the number of its filter: whichever leaves the smallest differences (section 12.7)."""
    above = np.concatenate([before[None], rows[:-1]])
    left, corner = (np.pad(values, ((0, 0), (pixel, 0)))[:, :-pixel] for values in (rows, above))
    average = (left >> 1) + (above >> 1) + (left & above & 1)  # of two bytes, without a carry
    candidates = [rows, rows - left, rows - above, rows - average, rows - _paeth(left, above, corner)]
    sizes = [np.minimum(values, -values).sum(axis=1, dtype=np.int64) for values in candidates]
    chosen = np.argmin(sizes, axis=0)
    result = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
    result[:, 0] = chosen
    for number, values in enumerate(candidates):
        result[chosen == number, 1:] = values[chosen == number]
    return result.tobytes()


def _paeth(left: Bytes, above: Bytes, corner: Bytes) -> Bytes:
    """Whichever neighbour is nearest to ``left + above - corner`` (section 9.4)."""
    a, b, c = (values.astype(np.int16) for values in (left, above, corner))
    to_left, to_above, to_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, nearest)


def _data(file: IO[bytes], packed: bytes) -> None:
    if packed:
        _chunk(file, b"IDAT", packed)


def _chunk(file: IO[bytes], kind: bytes, body: bytes) -> None:
    file.write(struct.pack(">I", len(body)) + kind)
    file.write(body)
    file.write(struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))))
