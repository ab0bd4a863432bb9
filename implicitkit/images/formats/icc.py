"""Colours of a picture's own space as sRGB, for screens: by Little CMS, relative colorimetric, as browsers do it.

The space is said by an ICC profile, or by a PNG's chunks (third edition, W3C): gAMA, cHRM, and those cICP (ITU-T H.273)
whose transfer is no HDR.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicitkit.images.formats.light import decode_srgb
from implicitkit.images.formats.png import SRGB, ColourSpace
from implicitkit.images.picture import Picture

Chromaticities = tuple[float, ...]
"""x and y of white, red, green and blue."""
D65 = (0.3127, 0.3290)
PRIMARIES: dict[int, Chromaticities] = {
    1: (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    9: (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
NAMES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
SRGB_TRANSFERS = (1, 6, 13, 14, 15)  # BT.709's camera curve is shown by the screen's, as browsers do
CURVE_POINTS = 4096
SPACES = {b"RGB ": "rgb", b"GRAY": "gray"}
TEST_SIDE = 9  # points a side of the cube at which a space is compared with sRGB


@dataclass(frozen=True)
class Space:
    """A colour space other than sRGB.

    Attributes:
        profile: the ICC profile's bytes.
        kind: ``rgb`` or ``gray``.
        name: what it calls itself; empty: nothing.
    """

    profile: bytes
    kind: str
    name: str

    def to_srgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """``(H, W, 3)`` of 8 or 16 bits as sRGB of 8 bits; colours that sRGB lacks are cut off.

        >>> chunk = struct.pack(">I", 100_000)  # linear light
        >>> space = space_of(Picture(np.zeros((1, 1, 3), np.uint8), colour_space=((b"gAMA", chunk),)))
        >>> space.to_srgb(np.full((1, 1, 3), 32768, np.uint16)).tolist()
        [[[188, 188, 188]]]
        """
        import imagecodecs

        samples: Any = values
        if self.kind == "gray":
            samples = np.ascontiguousarray(values[..., 1])
        shown: NDArray[np.uint8] = imagecodecs.cms_transform(
            samples,
            self.profile,
            _srgb(),
            colorspace=self.kind,
            outcolorspace="rgb",
            outdtype=np.uint8,
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
            # of 16 bits, Little CMS makes a table that is up to 15 levels of 8 bits off; 8 bits are exact as they are
            flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE if samples.dtype == np.uint16 else 0,
        )
        return shown


def space_of(picture: Picture) -> Space | None:
    """The colour space of a picture; None if that is sRGB up to a level of 8 bits, or cannot be read.

    >>> space_of(Picture(np.zeros((1, 1, 3), np.uint8))) is None
    True
    """
    space = _of_profile(picture) if picture.icc is not None else _of_chunks(picture.colour_space)
    if space is None:
        return None
    side = np.linspace(0, 255, TEST_SIDE).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(1, -1, 3)
    if space.kind == "gray":
        cube = np.repeat(cube[..., :1], 3, -1)
    try:
        shown = space.to_srgb(cube)
    except Exception:  # a damaged profile: the picture is shown as one without
        return None
    return None if np.abs(shown - cube.astype(int)).max() <= 1 else space


def _of_profile(picture: Picture) -> Space | None:
    profile = picture.icc or b""
    kind = SPACES.get(profile[16:20])
    if kind is None or (kind == "gray" and not picture.is_grey):
        return None
    return Space(profile, kind, _description(profile))


def _of_chunks(chunks: ColourSpace) -> Space | None:
    named = dict(chunks)
    if (code := named.get(b"cICP")) is not None:
        primaries, transfer = PRIMARIES.get(code[0]), code[1]
        if primaries is None or not (transfer in GAMMAS or transfer in SRGB_TRANSFERS):
            return None
        return Space(_profile(primaries, GAMMAS.get(transfer)), "rgb", NAMES.get(code[0], ""))
    if not named:
        return None
    chromaticities = tuple(n / 1e5 for n in struct.unpack(">8I", named.get(b"cHRM", SRGB[b"cHRM"])))
    power = struct.unpack(">I", named[b"gAMA"])[0] if b"gAMA" in named else 0
    try:
        return Space(_profile(chromaticities, 1e5 / power if power else None), "rgb", "")
    except Exception:  # chromaticities of no real colours
        return None


def _profile(chromaticities: Chromaticities, gamma: float | None) -> bytes:
    """An ICC profile; ``gamma`` None: sRGB's curve."""
    import imagecodecs

    white, colours = chromaticities[:2], chromaticities[2:]
    primaries = [n for k in range(0, 6, 2) for n in (*colours[k : k + 2], 1.0)]
    curve: dict[str, Any] = {"gamma": gamma}
    if gamma is None:
        curve = {"transferfunction": decode_srgb(np.linspace(0, 1, CURVE_POINTS, dtype=np.float32))}
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=(*white, 1.0), primaries=primaries, **curve))


@cache
def _srgb() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


def _description(profile: bytes) -> str:
    import io

    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()[:80]
    except Exception:  # a name is not worth an error
        return ""
