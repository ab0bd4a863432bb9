"""Cut small PNG tiles out of folders of pictures, the most detailed of each picture first, up to a number of bytes.

    python -m benchmarks.cut_tiles OUT FOLDER... --size 192 --bytes 14e6 [--side 1600]

Each folder gets an equal share of the bytes, each of its pictures a tile in turn. With ``--side``, larger pictures are
shrunk to it and at least halved, which removes the traces of JPEG. Tiles are copied pixel by pixel. A picture that is
smaller than a tile is kept whole. A tile is a file's name, its row and column.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from implicitkit.images.folders import picture_files

Image.MAX_IMAGE_PIXELS = None
Pixels = NDArray[np.uint8]


def shrunk(picture: Image.Image, side: int | None) -> Image.Image:
    """``picture`` with its longer side at most ``side`` and at most half of what it was."""
    longest = max(picture.size)
    if side is None or longest <= side:
        return picture
    factor = min(side / longest, 0.5)
    return picture.resize([round(n * factor) for n in picture.size], Image.Resampling.BICUBIC)


def detail(pixels: Pixels) -> float:
    """The mean difference of neighbouring pixels, in 8-bit units; a tile's darkest and brightest parts add nothing."""
    grey = pixels.astype(np.float32).mean(2)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def tiles(file: Path, size: int, side: int | None) -> list[tuple[str, Pixels]]:
    """The tiles of a picture, named, the most detailed first."""
    with Image.open(file) as opened:
        pixels = np.asarray(shrunk(opened.convert("RGB"), side))
    height, width = pixels.shape[:2]
    rows, columns = (range(0, max(1, n - size + 1), size) for n in (height, width))
    cut = [(f"{file.stem}-{y}-{x}.png", pixels[y : y + size, x : x + size]) for y in rows for x in columns]
    return sorted(cut, key=lambda tile: -detail(tile[1]))


def in_turn(pictures: list[list[tuple[str, Pixels]]]) -> Iterator[tuple[str, Pixels]]:
    """The first tile of each picture, the second of each, and so on."""
    for k in range(max(map(len, pictures))):
        yield from (picture[k] for picture in pictures if k < len(picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--bytes", type=float, default=14e6)
    parser.add_argument("--side", type=int)
    arguments = parser.parse_args()
    for folder in arguments.folders:
        share, used, count = arguments.bytes / len(arguments.folders), 0, 0
        for name, pixels in in_turn([tiles(f, arguments.size, arguments.side) for f in picture_files([folder])]):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG", optimize=True)
            if used + file.tell() > share:
                break
            target = arguments.output / folder.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.getvalue())
            used, count = used + file.tell(), count + 1
        print(f"{folder}: {count} tiles, {used:,} bytes")


if __name__ == "__main__":
    main()
