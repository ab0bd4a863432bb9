"""Notes on many pictures, said once."""

from __future__ import annotations

import numpy as np

from implicitkit.create.notes import Note, notes_of_range, summarise
from implicitkit.images.io import Picture


def test_the_same_is_said_once_with_the_range_of_its_values() -> None:
    notes = [Note(f"{k}.png", "noise {}", 10.0 + k, "it grows") for k in range(5)] + [
        Note("a.jpg", "JPEG {}", 40, "so")
    ]
    assert summarise(notes) == [
        "note: 0.png, 1.png, 2.png and 2 more: noise 10 to 14; it grows",
        "note: a.jpg: JPEG 40; so",
    ]
    assert summarise([]) == []


def test_what_was_cut_off_is_said() -> None:
    bright = Picture(np.array([[[0.5], [2.0]]], dtype=np.float32)).displayed()
    (line,) = summarise(notes_of_range("sky.exr", bright))
    assert line.startswith("note: sky.exr: 50 % of the values are outside [0, 1]; they are cut off; upscale --hdr")
    assert notes_of_range("a.png", Picture(np.zeros((1, 1, 1), np.uint8))) == []
