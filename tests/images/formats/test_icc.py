"""Colour spaces as sRGB, against the formulas of their standards."""

from __future__ import annotations

import struct

import imagecodecs
import numpy as np
from PIL import ImageCms

from implicitkit.images.formats.icc import PRIMARIES, Space, space_of
from implicitkit.images.formats.light import decode_srgb, encode_srgb
from implicitkit.images.picture import Picture


def matrix(chromaticities: tuple[float, ...]) -> np.ndarray:
    """RGB to XYZ (IEC 61966-2-1's way from the chromaticities)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in np.reshape(chromaticities, (4, 2))]).T
    white, primaries = columns[:, 0], columns[:, 1:]
    return primaries * np.linalg.solve(primaries, white)


def expected(values: np.ndarray, chromaticities: tuple[float, ...], gamma: float | None = None) -> np.ndarray:
    light = decode_srgb(values) if gamma is None else values**gamma
    across = np.linalg.solve(matrix(PRIMARIES[1]), matrix(chromaticities))
    return 255 * encode_srgb(np.clip(light @ across.T, 0, 1))


def colours(shape: tuple[int, ...] = (9, 11, 3)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)


def grey_or_rgb(channels: int = 3, **of: object) -> Picture:
    return Picture(np.zeros((2, 2, channels), np.uint8), **of)  # type: ignore[arg-type]


def test_a_png_that_names_display_p3_is_shown_in_true_colours() -> None:
    space = space_of(grey_or_rgb(colour_space=((b"cICP", bytes([12, 13, 0, 1])),)))
    assert space is not None and space.name == "Display P3"
    values = colours()
    assert np.abs(space.to_srgb(values) - expected(values / 65535, PRIMARIES[12])).max() <= 1
    rounded = (values >> 8).astype(np.uint8)
    assert np.abs(space.to_srgb(rounded) - expected(rounded / 255, PRIMARIES[12])).max() <= 1.5


def test_gamma_and_chromaticities_of_a_png() -> None:
    chromaticities = tuple(round(1e5 * n) for n in PRIMARIES[9])
    chunks = ((b"gAMA", struct.pack(">I", 55556)), (b"cHRM", struct.pack(">8I", *chromaticities)))
    space, values = space_of(grey_or_rgb(colour_space=chunks)), colours()
    assert space is not None
    assert np.abs(space.to_srgb(values) - expected(values / 65535, PRIMARIES[9], 1.8)).max() <= 2


def test_a_profile_of_grey_and_one_of_rgb() -> None:
    profile = bytes(imagecodecs.cms_profile("gray", whitepoint=(0.3457, 0.3585, 1.0), gamma=1.0))
    space, values = space_of(grey_or_rgb(1, icc=profile)), colours((4, 5, 1)).repeat(3, -1)
    assert space is not None and space.kind == "gray"
    assert np.abs(space.to_srgb(values) - 255 * encode_srgb(values / 65535)).max() <= 1
    assert space_of(grey_or_rgb(3, icc=profile)) is None  # it does not fit the samples
    rgb = space_of(grey_or_rgb(1, icc=wide()))
    assert isinstance(rgb, Space) and np.ptp(rgb.to_srgb(values).astype(int), axis=-1).max() <= 1  # grey stays grey


def wide() -> bytes:
    primaries = [n for k in range(2, 8, 2) for n in (*PRIMARIES[9][k : k + 2], 1.0)]
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329, 1.0), primaries=primaries, gamma=2.2))


def test_srgb_and_what_cannot_be_read_is_shown_as_it_is() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for icc in (
        None,
        srgb,
        b"no profile",
        wide()[:200],
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ):
        assert space_of(grey_or_rgb(icc=icc)) is None
    hdr = ((b"cICP", bytes([9, 16, 0, 1])),)  # PQ
    assert space_of(grey_or_rgb(colour_space=hdr)) is None
    no_colours = ((b"cHRM", struct.pack(">8I", *[0] * 8)),)
    assert space_of(grey_or_rgb(colour_space=no_colours)) is None
