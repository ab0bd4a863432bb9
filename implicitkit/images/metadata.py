"""What belongs to a photograph beside its pixels and its colour: EXIF, XMP, resolution, text."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

from implicitkit.images.formats.exif import fitted_exif, orientation_of, read_exif, resolution_of
from implicitkit.images.formats.xmp import fitted_xmp

HIDDEN = ("XML:com.adobe.xmp", "Raw profile type")  # texts that are XMP or EXIF by another way, place included


class ImageWarning(UserWarning):
    """Something that belongs to a picture is not kept; its pixels are as they should be.

    >>> import warnings
    >>> warnings.simplefilter("ignore", ImageWarning)  # where it does not matter
    """


@dataclass(frozen=True)
class ImageMetadata:
    """What a file says of its picture, as it says it.

    :func:`implicitkit.write_image` writes what still holds: without the orientation, which is applied, thumbnails and
    the maker's note, with the size of the new picture; where it was taken with ``keep_gps=True``, text with
    ``keep_text=True``.

    Attributes:
        exif: a block of EXIF, as TIFF begins it (``II`` or ``MM``).
        xmp: a packet of XMP, UTF-8.
        dpi: pixels per inch, ``(x, y)``, of the upright picture.
        text: PNG's texts, ``(keyword, text)``.
        size: the upright picture's ``(H, W)``.

    >>> ImageMetadata(dpi=(300.0, 300.0), text=(("Title", "a cat"),)).fitted((8, 6))
    ImageMetadata(dpi=(300.0, 300.0), text=(), size=(8, 6))
    """

    exif: bytes | None = field(default=None, repr=False)
    xmp: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    text: tuple[tuple[str, str], ...] = ()
    size: tuple[int, int] | None = None

    def fitted(
        self, size: tuple[int, int], *, keep_gps: bool = False, keep_text: bool = False, where: str | Path = "a picture"
    ) -> ImageMetadata:
        """What of it holds of a picture of ``size`` ``(H, W)`` that was made from this one.

        What cannot be read is left out, with an :class:`ImageWarning` that names ``where``.
        """
        exif = xmp = None
        if self.exif is not None:
            try:
                exif = fitted_exif(self.exif, size, resized=self.size != size, keep_gps=keep_gps)
            except ValueError as error:
                warnings.warn(f"{where}: its EXIF is damaged and left out: {error}", ImageWarning, stacklevel=2)
        if self.xmp is not None:
            try:
                xmp = fitted_xmp(self.xmp, size, self.size, keep_gps=keep_gps)
            except ValueError as error:
                warnings.warn(f"{where}: its XMP is left out: {error}", ImageWarning, stacklevel=2)
        text = tuple((key, value) for key, value in self.text if not key.startswith(HIDDEN)) if keep_text else ()
        return ImageMetadata(exif, xmp, self.dpi, text, size)

    def of_upright(self, size: tuple[int, int], orientation: int) -> ImageMetadata:
        """As read from a file that stores the picture of ``size`` ``(H, W)`` in an EXIF ``orientation``."""
        dpi = self.dpi
        if dpi is None and self.exif is not None:
            try:
                dpi = resolution_of(read_exif(self.exif))
            except ValueError:  # said when it is written
                dpi = None
        if dpi is not None and not all(math.isfinite(n) and n > 0 for n in dpi):
            dpi = None
        if dpi is not None and orientation >= 5:
            dpi = dpi[1], dpi[0]
        return replace(self, dpi=dpi, size=size)


NOTHING = ImageMetadata()


def exif_orientation(block: bytes | None) -> int:
    """The orientation of a block of EXIF, 1 to 8; 1 if there is none or it is damaged.

    >>> exif_orientation(None)
    1
    """
    if block is None:
        return 1
    try:
        return orientation_of(read_exif(block))
    except ValueError:
        return 1
