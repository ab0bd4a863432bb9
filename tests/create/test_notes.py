"""Notes on many pictures, said once."""

from __future__ import annotations

from implicitkit.create.notes import Note, summarise


def test_the_same_is_said_once_with_the_range_of_its_values() -> None:
    notes = [Note(f"{k}.png", "noise {}", 10.0 + k, "it grows") for k in range(5)] + [
        Note("a.jpg", "JPEG {}", 40, "so")
    ]
    assert summarise(notes) == [
        "note: 0.png, 1.png, 2.png and 2 more: noise 10 to 14; it grows",
        "note: a.jpg: JPEG 40; so",
    ]
    assert summarise([]) == []
