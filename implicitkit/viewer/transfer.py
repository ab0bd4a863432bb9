"""Pictures as bytes for a page."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from implicitkit.images.io import Picture, write_picture

FORMATS = {"raw": "application/octet-stream", "png": "image/png", "jpeg": "image/jpeg"}
"""How a view travels: ``raw`` is RGBA, 8 bits, row by row, as a canvas holds it."""
FAST_LEVEL = 1  # of PNG's compression
VIEW_QUALITY = 92
Pixels = NDArray[np.uint8]


def to_canvas(values: Tensor, canvas: Pixels | None = None) -> Pixels:
    """``(3, H, W)`` in [0, 1] as ``(H, W, 4)`` uint8, rounded as :func:`implicitkit.images.io.to_pixels` does.

    Args:
        values: the picture.
        canvas: where to write it (default: a new one).

    >>> to_canvas(torch.tensor([0.2, 1.0, 0.0]).view(3, 1, 1)).tolist()
    [[[51, 255, 0, 255]]]
    """
    if canvas is None:
        canvas = np.empty((*values.shape[1:], 4), dtype=np.uint8)
    rounded = values.detach().float().clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu()
    torch.from_numpy(canvas)[..., :3].copy_(rounded.movedim(0, -1))
    canvas[..., 3] = 255
    return canvas


def encode(canvas: Pixels, format: str) -> bytes:
    """``(H, W, 4)`` as the bytes of one of :data:`FORMATS`; JPEG has no alpha.

    >>> len(encode(np.zeros((2, 3, 4), np.uint8), "raw"))
    24
    """
    if format == "raw":
        return canvas.tobytes()
    import imagecodecs

    if format == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(canvas[..., :3]), level=VIEW_QUALITY))
    samples = canvas if canvas[..., 3].min() < 255 else np.ascontiguousarray(canvas[..., :3])
    return bytes(imagecodecs.png_encode(samples, level=FAST_LEVEL))


def as_file(picture: Picture) -> bytes:
    """A picture as the bytes of a PNG file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "view.png"
        write_picture(path, picture)
        return path.read_bytes()
