"""Whole files, tiny: pictures of every kind that is read, weights, a run's configuration."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file, save

from oracles.models import small_model

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CONFIG: dict[str, Any] = {
    "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [8]}},
    "data": {"folders": ["pictures"], "patch": 8, "points": 16},
    "degradation": {"name": "super_resolution", "scale": [1, 2]},
    "output": "run",
    "steps": 1,
    "batch": 1,
}
SPEC = {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [8]}}


def pixels(height: int = 9, width: int = 11, bands: int = 3) -> np.ndarray:
    """``(H, W, bands)`` uint8, not symmetric in any way."""
    y, x, c = np.mgrid[0:height, 0:width, 0:bands]
    return (x * 7 + y * 19 + c * 50).astype(np.uint8) % 251


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, body: bytes, *extra: bytes) -> bytes:
    """A PNG file of any header, with the compressed rows ``body``."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        SIGNATURE + chunk(b"IHDR", head) + b"".join(extra) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    )


def _pillow(image: np.ndarray, suffix: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(
        out, format={"jpg": "JPEG", "webp": "WEBP", "bmp": "BMP", "png": "PNG"}[suffix], **options
    )
    return out.getvalue()


def _tiff(image: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    tifffile.imwrite(out, image, metadata=None, **options)
    return out.getvalue()


def pictures() -> dict[str, bytes]:
    """Name -> content of whole pictures; all can be upscaled."""
    rgb, grey = pixels(), pixels(bands=1)[..., 0]
    deep = rgb.astype(np.uint16) * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep.astype(">u2"))
    return {
        "rgb.png": _pillow(rgb, "png"),
        "grey.png": _pillow(grey, "png"),
        "alpha.png": _pillow(np.dstack([rgb, grey]), "png"),
        "deep.png": png(11, 9, 16, 2, rows, chunk(b"gAMA", struct.pack(">I", 100_000))),
        "profile.png": png(11, 9, 16, 2, rows, chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"profile" * 30))),
        "rgb.jpg": _pillow(rgb, "jpg"),
        "grey.jpg": _pillow(grey, "jpg"),
        "rgb.webp": _pillow(rgb, "webp"),
        "lossless.webp": _pillow(np.dstack([rgb, grey]), "webp", lossless=True),
        "rgb.bmp": _pillow(rgb, "bmp"),
        "rgb.tif": _tiff(rgb, photometric="rgb"),
        "deep.tif": _tiff(deep, photometric="rgb", compression="zlib"),
        "planes.tif": _tiff(np.moveaxis(rgb, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
        "grey.tif": _tiff(grey, photometric="minisblack", bigtiff=True, byteorder=">"),
        "lzw.tif": _tiff(rgb, photometric="rgb", compression="lzw", predictor=True, tile=(16, 16)),
    }


def large_picture() -> bytes:
    """A PNG of 18×24 pixels, enough for a crop of the configuration."""
    return _pillow(pixels(18, 24), "png")


def weights(folder: Path) -> dict[str, bytes]:
    """A native file and torch's own, of the same small model; ``folder`` holds them for a moment."""
    native = folder / "tiny.safetensors"
    small_model(4, 1, (8,)).save(native)
    content = {"tiny.safetensors": native.read_bytes(), "tiny.pth": pickled(load_file(native))}
    native.unlink()
    return content


def pickled(content: Any) -> bytes:
    """What ``torch.save`` writes."""
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def native(tensors: dict[str, torch.Tensor], **metadata: str) -> bytes:
    """A native file of any tensors and metadata."""
    import json

    return save(tensors, {"format": "implicitkit", "format_version": "1", "spec": json.dumps(SPEC), **metadata})


def tensors(change: Any = lambda value: value) -> dict[str, torch.Tensor]:
    """The tensors of the small model, the first one changed."""
    state = {name: value.clone().contiguous() for name, value in small_model(4, 1, (8,)).state_dict().items()}
    first = next(iter(state))
    return {**state, first: change(state[first])}
