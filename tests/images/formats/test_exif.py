"""Blocks that arrive damaged or strange."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.Image import Exif

from implicitkit.images.formats.exif import fitted_exif, orientation_of, read_exif, resolution_of, write_exif


def pillows() -> bytes:
    tags = Exif()
    tags[0x010F], tags[0x0112], tags[0x011A], tags[0x011B], tags[0x0128] = "Maker", 8, 10.0, 20.0, 3
    tags.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a comment"
    return tags.tobytes()


def test_what_pillow_writes_is_read_and_written_again() -> None:
    exif = read_exif(pillows())
    assert orientation_of(exif) == 8 and exif.camera[0x9286].value.endswith(b"a comment")
    assert resolution_of(exif) == pytest.approx((25.4, 50.8))
    assert read_exif(write_exif(exif)) == read_exif(write_exif(read_exif(write_exif(exif))))
    again = Exif()
    again.load(fitted_exif(pillows(), (30, 40)) or b"")
    assert again[0x010F] == "Maker" and 0x0112 not in again and (again[0x011A], again[0x011B]) == (20.0, 10.0)
    assert again.get_ifd(0x8769)[0xA002] == 40


def test_nothing_that_is_worth_keeping_is_no_block() -> None:
    tags = Exif()
    tags[0x0112] = 3
    assert fitted_exif(tags.tobytes(), (4, 4)) is None
    assert resolution_of(read_exif(tags.tobytes())) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 120), st.sampled_from([b"II*\0", b"MM\0*"]))
def test_damage_is_a_value_error_or_nothing(noise: bytes, at: int, begin: bytes) -> None:
    for block in (begin + noise, pillows()[6:][:at] + noise + pillows()[6:][at:]):
        try:
            fitted_exif(block, (5, 5), keep_gps=True)
        except ValueError as error:
            assert "\n" not in str(error)


def test_a_directory_that_claims_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="a directory of 65535 entries"):
        read_exif(b"II*\0" + struct.pack("<IH", 8, 65535))
