"""Pictures cut into squares: data to train and to test on, from a few photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from implicitkit.errors import UserError
from implicitkit.files import replacing_folder
from implicitkit.images.folders import picture_files
from implicitkit.images.io import read_image, write_image


def cut_squares(folders: Sequence[str | Path], target: Path, *, side: int, test_every: int) -> None:
    """Cut pictures into squares, in the order of files and rows: every ``test_every``-th into ``target/test``, the
    others into ``target/train``; no pixel is in both.

    Args:
        folders: pictures, searched recursively.
        target: the folder to make.
        side: of a square, pixels.
        test_every: how many squares there are to one for testing.

    Raises:
        DataError: a folder is missing or holds no pictures.
        UserError: no square is left for one of the two.
    """
    with replacing_folder(target) as temporary:
        for part in ("train", "test"):
            (temporary / part).mkdir()
        count = 0
        for file in picture_files(folders):
            picture = read_image(file)
            # the rest of a picture is shared out between its two ends
            rows, columns = (range(n % side // 2, n - side + 1, side) for n in picture.shape[1:])
            for top, left in ((top, left) for top in rows for left in columns):
                count += 1
                part = "train" if count % test_every else "test"
                square = picture[:, top : top + side, left : left + side]
                write_image(temporary / part / f"{file.stem}_{top}_{left}.png", square)
        if count < test_every:
            raise UserError(
                f"the pictures in {', '.join(map(str, folders))} give {count} squares of {side} pixels, and every "
                f"{test_every}th is for testing; make side smaller"
            )
