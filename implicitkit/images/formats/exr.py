"""OpenEXR: linear light in floats, by the OpenEXR package."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from implicitkit.errors import MissingCodecError
from implicitkit.images.formats.light import Values, finite, straight_colour
from implicitkit.images.formats.png import SRGB, ColourSpace
from implicitkit.registry.extras import require

MAGIC = b"v/1\x01"
CHROMATICITIES = b"cHRM"  # PNG's name for them
CHANNEL_SETS = ("RGBA", "RGB", "Y", "YA")
MAX_HALF = 65504.0


def exr_library(path: Path) -> Any:
    """The OpenEXR package.

    Raises:
        MissingCodecError: it is not installed.
    """
    require("exr", str(path), error=MissingCodecError)
    import OpenEXR

    return OpenEXR


def exr_size(path: Path) -> tuple[tuple[int, int], int]:
    """The size ``(W, H)`` of the display window, and the bytes per pixel."""
    with exr_library(path).File(str(path), header_only=True) as file:
        header = dict(file.header())  # the file's own is emptied when it is closed
    (left, top), (right, bottom) = header["displayWindow"]
    return (int(right) - int(left) + 1, int(bottom) - int(top) + 1), 4 * len(header["channels"])


def read_exr(path: Path) -> tuple[Values, Values | None, ColourSpace]:
    """Colours ``(H, W, 1 or 3)`` float32, alpha ``(H, W)`` (not premultiplied) or None, and the primaries.

    The display window is shown; what of it has no data is black.

    Raises:
        ValueError: it holds several parts, or other channels than grey or RGB.
    """
    with exr_library(path).File(str(path)) as file:
        if len(file.parts) > 1:
            raise ValueError(f"it is an EXR of {len(file.parts)} parts; save one of them")
        header, channels = dict(file.header()), {name: channel.pixels for name, channel in file.channels().items()}
    name = next((name for name in CHANNEL_SETS if name in channels), None)
    if name is None:
        raise ValueError(f"it is an EXR of the channels {', '.join(channels)}; convert it to RGB or grey (Y)")
    pixels = channels[name]
    if not isinstance(pixels, np.ndarray) or pixels.dtype.kind != "f":
        raise ValueError("it is an EXR of integers or deep samples; convert it to half or float")
    samples = pixels.astype(np.float32)
    samples = finite(_in_display_window(samples if samples.ndim == 3 else samples[..., None], header))
    primaries = _to_chunk(header["chromaticities"]) if "chromaticities" in header else b""
    space = ((CHROMATICITIES, primaries),) if primaries and not _is_srgb(primaries) else ()
    alpha = None
    if samples.shape[2] in (2, 4):
        samples, alpha = samples[..., :-1], samples[..., -1]
    elif name == "Y" and "A" in channels:
        alpha = finite(_in_display_window(channels["A"].astype(np.float32)[..., None], header))[..., 0]
    if alpha is not None:
        samples = straight_colour(samples, np.clip(alpha, 0, 1))  # EXR stores colours premultiplied
    return np.ascontiguousarray(samples), None if alpha is None else np.ascontiguousarray(alpha), space


def write_exr(
    path: Path, light: Values, alpha: Values | None = None, space: ColourSpace = (), *, whole: bool = False
) -> None:
    """Write ``(H, W, 1 or 3)`` linear light as half floats, or as floats where ``whole`` or a half would overflow."""
    library = exr_library(path)
    samples = light.astype(np.float32)
    if alpha is not None:
        samples = np.concatenate([samples * alpha[..., None], alpha[..., None]], axis=2).astype(np.float32)
    if not whole and np.abs(samples).max(initial=0) <= MAX_HALF:
        samples = samples.astype(np.float16)
    channels = {"RGB" if samples.shape[2] == 3 else "RGBA": samples}
    if samples.shape[2] <= 2:
        channels = {name: np.ascontiguousarray(samples[..., k]) for k, name in enumerate("YA"[: samples.shape[2]])}
    header: dict[str, Any] = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    for name, body in space:
        if name == CHROMATICITIES:
            header["chromaticities"] = _from_chunk(body)
    with library.File(header, channels) as file:
        file.write(str(path))


def _in_display_window(samples: Values, header: dict[str, Any]) -> Values:
    """The samples of the data window where they lie in the display window."""
    (left, top), (right, bottom) = (tuple(map(int, corner)) for corner in header["displayWindow"])
    x, y = map(int, header["dataWindow"][0])
    if (left, top) == (x, y) and samples.shape[:2] == (bottom - top + 1, right - left + 1):
        return samples
    canvas = np.zeros((bottom - top + 1, right - left + 1, samples.shape[2]), samples.dtype)
    rows = slice(max(0, y - top), max(0, min(len(canvas), y - top + samples.shape[0])))
    columns = slice(max(0, x - left), max(0, min(canvas.shape[1], x - left + samples.shape[1])))
    part = samples[rows.start - (y - top) :, columns.start - (x - left) :]
    canvas[rows, columns] = part[: rows.stop - rows.start, : columns.stop - columns.start]
    return canvas


def _to_chunk(chromaticities: Any) -> bytes:
    """Red, green, blue, white as PNG orders them: white first, in 1/100,000."""
    numbers = [round(float(n) * 100000) for n in chromaticities]
    return struct.pack(">8I", *(max(0, n) for n in (*numbers[6:], *numbers[:6])))


def _from_chunk(body: bytes) -> tuple[float, ...]:
    numbers = [n / 100000 for n in struct.unpack(">8I", body)]
    return (*numbers[2:], *numbers[:2])


def _is_srgb(body: bytes) -> bool:
    usual = np.frombuffer(SRGB[CHROMATICITIES], ">u4").astype(float)
    return bool(np.abs(np.frombuffer(body, ">u4") - usual).max() <= 50)
