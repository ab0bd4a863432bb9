"""The faces of the study: the middle 88x88 pixels of CelebA's 89x109 thumbnails (or of any folder), losslessly.

python plugins/sair/studies/crop_faces.py FACES/train data/faces/train
python plugins/sair/studies/crop_faces.py FACES/test data/faces/test
"""

from __future__ import annotations

import argparse
from pathlib import Path

import implicitkit as ik
from implicitkit.images import picture_files


def main() -> None:
    """Crop one folder into another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of faces")
    parser.add_argument("target", type=Path, help="folder for the crops, new")
    parser.add_argument("--side", type=int, default=88, help="pixels")
    arguments = parser.parse_args()
    side = arguments.side
    arguments.target.mkdir(parents=True)
    for file in picture_files([arguments.source]):
        picture = ik.read_image(file)
        top, left = ((n - side) // 2 for n in picture.shape[1:])
        if min(top, left) < 0:
            raise SystemExit(f"{file} has {picture.shape[2]}×{picture.shape[1]} pixels, fewer than {side} a side")
        ik.write_image(arguments.target / f"{file.stem}.png", picture[:, top : top + side, left : left + side])


if __name__ == "__main__":
    main()
