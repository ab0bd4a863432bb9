"""EXIF as bytes: what still holds of another picture made from a photograph, and nothing else.

A block is a TIFF file without pixels (EXIF 2.32, CIPA DC-008): directories of entries, one of which points to the
camera's own directory and one to the place's. Entries are copied byte by byte, in little-endian order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from mmap import mmap
from typing import NamedTuple

PREFIX = b"Exif\0\0"  # before the block in JPEG files
EXIF_IFD, GPS_IFD, YCBCR_POSITIONING = 0x8769, 0x8825, 0x0213
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 0x011A, 0x011B, 0x0128
WIDTH, HEIGHT = 0xA002, 0xA003
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
UNIT_BYTES = {5: 4, 10: 4}  # rationals are pairs: their halves are swapped one by one
KEPT_TAGS = {  # of the first directory: what describes the photograph, not how the file stores it
    *(0x010E, 0x010F, 0x0110, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, 0x0131, 0x0132, 0x013B, 0x013C),
    *(YCBCR_POSITIONING, 0x4746, 0x4749, 0x8298, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),
}
MAKER_NOTE, PADDING, OFFSET_SCHEMA, INTEROPERABILITY = 0x927C, 0xEA1C, 0xEA1D, 0xA005
STALE_TAGS = {  # of the camera's directory: in pixels of the stored picture, or per pixel of the sensor
    *(0x9214, 0xA214, 0xA20E, 0xA20F, 0xA210),
}
MAX_ENTRIES = 1000


class Entry(NamedTuple):
    """A value: its TIFF type, how many, and its bytes in little-endian order."""

    kind: int
    number: int
    value: bytes


Directory = dict[int, Entry]


class Exif(NamedTuple):
    """A block's directories: of the picture, of the camera, of the place."""

    picture: Directory
    camera: Directory
    place: Directory


def read_exif(block: bytes | mmap) -> Exif:
    """The directories of a block, with or without JPEG's prefix, or of a TIFF file; thumbnails are left out.

    Raises:
        ValueError: it is damaged.
    """
    block = block[len(PREFIX) :] if block[: len(PREFIX)] == PREFIX else block
    orders = {b"II*\0": "<", b"MM\0*": ">"}
    if block[:4] not in orders:
        raise ValueError("it does not begin as EXIF does")
    order = orders[block[:4]]
    try:
        picture = _read_directory(block, struct.unpack_from(f"{order}I", block, 4)[0], order)
        camera, place = (
            _read_directory(block, int.from_bytes(picture[tag].value[:4], "little"), order) if tag in picture else {}
            for tag in (EXIF_IFD, GPS_IFD)
        )
    except struct.error as error:
        raise ValueError(f"it ends too early ({error})") from None
    return Exif(picture, camera, place)


def fitted_exif(block: bytes, size: tuple[int, int], *, resized: bool = True, keep_gps: bool = False) -> bytes | None:
    """The block for an upright picture of ``size`` ``(H, W)`` made from the one it is of; None if nothing is left.

    It loses the orientation, which is applied, the thumbnail, the maker's note (a camera's secret format, whose
    pointers break when it moves, and in which many cameras repeat the place and serial numbers), what is measured in
    the old picture's pixels and, without ``keep_gps``, the place. The pixel dimensions become those of ``size``.

    Args:
        block: as it was read.
        size: of the new picture.
        resized: whether its pixels are not those of the old one.
        keep_gps: keep the place.

    Raises:
        ValueError: it is damaged.
    """
    exif = read_exif(block)
    picture = {tag: entry for tag, entry in exif.picture.items() if tag in KEPT_TAGS}
    if orientation_of(exif) >= 5 and X_RESOLUTION in picture and Y_RESOLUTION in picture:  # it lay on its side
        picture[X_RESOLUTION], picture[Y_RESOLUTION] = picture[Y_RESOLUTION], picture[X_RESOLUTION]
    left_out = {MAKER_NOTE, PADDING, OFFSET_SCHEMA, INTEROPERABILITY, *(STALE_TAGS if resized else ())}
    camera = {tag: entry for tag, entry in exif.camera.items() if tag not in left_out}
    if camera:
        camera |= {tag: Entry(4, 1, struct.pack("<I", n)) for tag, n in ((HEIGHT, size[0]), (WIDTH, size[1]))}
    place = exif.place if keep_gps else {}
    return write_exif(Exif(picture, camera, place)) if picture or camera or place else None


def orientation_of(exif: Exif) -> int:
    """As EXIF numbers it, 1 to 8."""
    entry = exif.picture.get(ORIENTATION)
    value = int.from_bytes(entry.value[:2], "little") if entry else 1
    return value if 1 <= value <= 8 else 1


def resolution_of(exif: Exif) -> tuple[float, float] | None:
    """Pixels per inch, ``(x, y)``, of the stored picture; None if it is not stated."""
    unit = exif.picture.get(RESOLUTION_UNIT)
    per_inch = {1: 0.0, 3: 2.54}.get(int.from_bytes(unit.value[:2], "little") if unit else 2, 1.0)
    values = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = exif.picture.get(tag)
        if entry is None or entry.kind != 5 or len(entry.value) < 8:
            return None
        above, below = struct.unpack("<2I", entry.value[:8])
        if not above or not below or not per_inch:
            return None
        values.append(per_inch * above / below)
    return values[0], values[1]


def write_exif(exif: Exif) -> bytes:
    """The block of three directories."""
    return struct.pack("<2sHI", b"II", 42, 8) + directories(exif, 8)


def directories(exif: Exif, start: int, before: Mapping[int, Entry] | None = None) -> bytes:
    """The directories as they stand in a file from its byte ``start`` on, the picture's first.

    Args:
        exif: the directories.
        start: where they begin; even.
        before: further entries of the picture's directory.
    """
    picture = dict(before or {}) | exif.picture
    pointers = [(tag, table) for tag, table in ((EXIF_IFD, exif.camera), (GPS_IFD, exif.place)) if table]
    picture |= {tag: Entry(4, 1, bytes(4)) for tag, _ in pointers}  # as long as they will be
    at, tables = start + len(_table(picture, start)), b""
    for tag, table in pointers:
        picture[tag] = Entry(4, 1, struct.pack("<I", at + len(tables)))
        tables += _table(table, at + len(tables))
    return _table(picture, start) + tables


def _table(entries: Directory, start: int) -> bytes:
    """A directory at ``start``, and the values that do not fit into it."""
    head, values = struct.pack("<H", len(entries)), b""
    values_at = start + 2 + 12 * len(entries) + 4
    for tag, (kind, count, value) in sorted(entries.items()):
        stored = value.ljust(4, b"\0")
        if len(value) > 4:
            stored = struct.pack("<I", values_at + len(values))
            values += value + b"\0" * (len(value) % 2)  # values begin at even places
        head += struct.pack("<HHI", tag, kind, count) + stored
    return head + bytes(4) + values


def _read_directory(block: bytes | mmap, start: int, order: str) -> Directory:
    (count,) = struct.unpack_from(f"{order}H", block, start)
    if count > MAX_ENTRIES:
        raise ValueError(f"a directory of {count} entries")
    entries: Directory = {}
    for k in range(count):
        at = start + 2 + 12 * k
        tag, kind, number = struct.unpack_from(f"{order}HHI", block, at)
        length = TYPE_BYTES.get(kind, 0) * number
        if not length:
            continue
        place = at + 8 if length <= 4 else struct.unpack_from(f"{order}I", block, at + 8)[0]
        value = block[place : place + length]
        if len(value) == length:  # else it is cut, as by a program that moved the block
            entries[tag] = Entry(kind, number, _little_endian(value, kind, order))
    return entries


def _little_endian(value: bytes, kind: int, order: str) -> bytes:
    unit = UNIT_BYTES.get(kind, TYPE_BYTES[kind])
    if order == "<" or unit == 1:
        return value
    return b"".join(value[k : k + unit][::-1] for k in range(0, len(value), unit))
