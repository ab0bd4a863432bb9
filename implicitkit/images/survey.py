"""What a picture shows at little cost: its size by its header, its noise, the quality of its JPEG compression."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from implicitkit.images.formats import exr, pillow
from implicitkit.images.formats.png import SIGNATURE, png_header
from implicitkit.images.formats.tiff import MAGIC, tiff_size
from implicitkit.images.io import Pixels

LUMA_50 = (  # the luma table of the JPEG standard at quality 50 (ITU-T T.81, table K.1), in the file's zigzag order
    *(16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51),
    *(61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77),
    *(113, 121, 112, 100, 120, 92, 101, 103, 99),
)
WINDOW = 1536  # pixels a side that are looked at
BLOCK = 16  # pixels a side, of the blocks of which the flattest tell the noise
MAX_FLAT_SHARE = 0.2  # the share of blocks that are flat in nearly every photograph


def stored_size(path: Path) -> tuple[int, int] | None:
    """``(H, W)`` as a file's header has it, before its orientation; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
        if head.startswith(SIGNATURE):
            width, height = png_header(head)[0]
        elif head[:4] in MAGIC:
            width, height = tiff_size(path)[0]
        elif head[:4] == exr.MAGIC:
            width, height = exr.exr_size(path)[0]
        else:
            with pillow.open_pillow(path, head) as image:
                width, height = image.size
    except Exception:  # decoders raise errors of every kind on damaged files; reading it says which
        return None
    return height, width


def jpeg_quality(path: Path) -> int | None:
    """The quality, 1 to 100, at which a file was compressed as JPEG, by its luma table; None for other files.

    It inverts the scaling of the standard's table that libjpeg and most cameras use.
    """
    from PIL import Image

    try:
        with path.open("rb") as file:
            if file.read(3) != b"\xff\xd8\xff":
                return None
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None)
    except Exception:  # reading it says what is wrong
        return None
    if not tables or len(tables.get(0, ())) != 64:
        return None
    percent = 100.0 * int(sum(tables[0])) / sum(LUMA_50)
    return max(1, min(100, round(5000 / percent if percent > 100 else 100 - percent / 2)))


def noise_level(pixels: Pixels) -> float:
    """The standard deviation of a picture's noise, of 255, by its flattest parts.

    The picture is filtered by ``[[1, -2, 1], [-2, 4, -2], [1, -2, 1]]``, which removes what is smooth (Immerkaer, Fast
    noise variance estimation, 1996); the median over blocks that are flat excludes edges and texture. Blocks that touch
    black or white do not count. Noise that was blurred, or compressed away, is not seen.

    Args:
        pixels: ``(H, W, C)`` uint8 or uint16.

    Returns:
        At least 0; 0 if the picture is too small or has no flat block.

    >>> noise_level(np.full((64, 64, 1), 90, dtype=np.uint8))
    0.0
    """
    grid = _blocks(pixels)
    if grid is None:
        return 0.0
    responses, means = grid
    usable = responses[(means > 12) & (means < 243)]
    if usable.size < 8:
        return 0.0
    return float(np.quantile(usable, MAX_FLAT_SHARE))


def _blocks(pixels: Pixels) -> tuple[np.ndarray, np.ndarray] | None:
    """The estimate of each block, of 255, and its mean."""
    top, left = (max(0, (n - WINDOW) // 2) for n in pixels.shape[:2])
    window = pixels[top : top + WINDOW, left : left + WINDOW, pixels.shape[2] // 2].astype(np.float32)
    window *= 255.0 / np.iinfo(pixels.dtype).max
    rows, columns = ((n - 2) // BLOCK for n in window.shape)
    if rows < 1 or columns < 1:
        return None
    across = window[:, :-2] - 2 * window[:, 1:-1] + window[:, 2:]
    response = np.abs(across[:-2] - 2 * across[1:-1] + across[2:])

    def averaged(values: np.ndarray) -> np.ndarray:
        cut = values[: rows * BLOCK, : columns * BLOCK]
        return np.asarray(cut.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)))

    return averaged(response) * float(np.sqrt(np.pi / 2) / 6), averaged(window[1:-1, 1:-1])
