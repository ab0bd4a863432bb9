"""The curves, against their definitions."""

from __future__ import annotations

import numpy as np

from implicitkit.images.formats.light import compress, decode_srgb, encode_srgb, expand, straight_colour

LIGHT = np.concatenate([-np.geomspace(10, 1e-6, 40), [0.0], np.geomspace(1e-6, 1000, 80)])


def test_the_curves_are_undone_by_their_inverses() -> None:
    assert np.allclose(decode_srgb(encode_srgb(LIGHT)), LIGHT, rtol=1e-9)
    assert np.allclose(expand(compress(LIGHT, 1000.0), 1000.0), LIGHT, rtol=1e-9)
    assert compress(LIGHT, 1000.0).max() == 1


def test_srgb_as_the_standard_has_it() -> None:
    for value in np.linspace(0, 1, 50):
        expected = value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        assert abs(decode_srgb(np.array(value)) - expected) < 1e-12


def test_premultiplied_floats() -> None:
    colour = np.array([[[1.0, 0.5], [3.0, 0.0]]], np.float32)
    alpha = np.array([[0.5, 0.0]], np.float32)
    assert straight_colour(colour, alpha).tolist() == [[[2.0, 1.0], [0.0, 0.0]]]
