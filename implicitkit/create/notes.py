"""What is to be said of pictures that are worked on; of many, the same is said once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from implicitkit.images.io import Picture

MAX_SHOWN = 3


class Note(NamedTuple):
    """Something worth knowing of one picture.

    Attributes:
        picture: its name.
        what: what was seen, with ``{}`` for the value: ``"noise of sigma {} (of 255)"``.
        value: the value.
        so: what follows from it.
    """

    picture: str
    what: str
    value: float
    so: str


def summarise(notes: Sequence[Note]) -> list[str]:
    """A line for each thing that was seen.

    >>> summarise([Note("a.png", "noise {}", 15.2, "it grows"), Note("b.png", "noise {}", 9, "it grows")])
    ['note: a.png, b.png: noise 9 to 15.2; it grows']
    """
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in notes:
        groups.setdefault((note.what, note.so), []).append(note)
    lines = []
    for (what, so), group in groups.items():
        names = ", ".join(note.picture for note in group[:MAX_SHOWN])
        more = f" and {len(group) - MAX_SHOWN} more" if len(group) > MAX_SHOWN else ""
        low, high = (f"{end(note.value for note in group):.3g}" for end in (min, max))
        value = low if low == high else f"{low} to {high}"
        lines.append(f"note: {names}{more}: {what.format(value)}; {so}")
    return lines


def notes_of_range(name: str, picture: Picture) -> list[Note]:
    """What of a float picture was cut off, if anything was."""
    if not picture.clipped:
        return []
    so = "they are cut off; upscale --hdr keeps them, in .exr and .tif"
    return [Note(name, "{} % of the values are outside [0, 1]", 100 * picture.clipped, so)]
