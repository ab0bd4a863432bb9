"""A film's frames as upright pictures, by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from implicitkit.errors import ImageError, MissingCodecError, UserError, first_line
from implicitkit.files import describe_content
from implicitkit.images.io import Picture
from implicitkit.registry.extras import require

CLIPS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
UNSPECIFIED = 2  # of primaries, curve and matrix (ITU-T H.273)
BT709, BT601 = 1, 6
HD_LINES = 720  # from which players take BT.709 for granted
FULL_RANGE = 2
MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # of H.273, as swscale numbers them


@dataclass(frozen=True)
class Colours:
    """What the numbers of a film mean, as ITU-T H.273 numbers it.

    Attributes:
        matrix: from RGB to luma and chroma; stated even where the film does not, by its size, as players guess it.
        primaries: the colours of red, green and blue.
        curve: from light to values.
        full: whether values use all of 0 to 255, not 16 to 235.
    """

    matrix: int
    primaries: int
    curve: int
    full: bool

    @property
    def swscale(self) -> int:
        """The matrix as swscale numbers it."""
        return MATRICES.get(self.matrix, MATRICES[BT709])


@dataclass(frozen=True)
class Clip:
    """What a film's file says.

    Attributes:
        path: the file.
        size: ``(H, W)``, upright.
        frames: how many, as far as it is known before they are read; else 0.
        rate: frames a second, on average.
        time_base: seconds per unit of the frames' times.
        pixels: FFmpeg's name of how they are stored.
        bits: 8, or 16 for 10 and 12 bits.
        rotation: degrees, counter-clockwise, by which a frame is turned to be upright.
        colours: what the values mean.
        others: streams that are neither its film nor sound, by their kind.
    """

    path: Path
    size: tuple[int, int]
    frames: int
    rate: Fraction
    time_base: Fraction
    pixels: str
    bits: int
    rotation: int
    colours: Colours
    others: tuple[str, ...] = ()


def is_clip(path: Path) -> bool:
    """Whether a file is a film, by its suffix.

    >>> is_clip(Path("holiday.MP4")), is_clip(Path("cat.png"))
    (True, False)
    """
    return path.suffix.lower() in CLIPS


def av_library(path: Path) -> Any:
    """PyAV.

    Raises:
        MissingCodecError: it is not installed.
    """
    require("video", str(path), error=MissingCodecError)
    import av

    return av


FILMS = ("a video", "a GIF picture", "an AVIF picture", "a WebP picture")  # by their first bytes, what may be one


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """PyAV's container of a file.

    Raises:
        ImageError: it is missing, damaged or holds no film.
    """
    av = av_library(path)
    if not path.exists():
        raise ImageError(f"there is no file {path}")
    try:
        what = describe_content(path)
    except UserError as error:  # a pipe, which nobody may write to
        raise ImageError(str(error)) from None
    if what is not None and what not in FILMS:
        raise ImageError(f"{path} is {what}, not a film")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageError(f"{path} holds no film")
            yield container
    except av.FFmpegError as error:
        raise ImageError(f"{path} cannot be decoded: {first_line(error)}") from error


def read_clip(path: Path) -> Clip:
    """What a film's file says, and its first frame.

    Raises:
        ImageError: it cannot be read.
    """
    with opened(path) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream), None)
        if frame is None:
            raise ImageError(f"{path} holds no frames")
        rotation = round(getattr(frame, "rotation", 0) / 90) * 90 % 360
        size = (frame.height, frame.width) if rotation in (0, 180) else (frame.width, frame.height)
        rate = Fraction(stream.average_rate or stream.base_rate or 25)
        length = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        others = tuple(s.type for s in container.streams if s.type not in ("video", "audio"))
        more = ("film",) * (len(container.streams.video) - 1)
        return Clip(
            path=path,
            size=size,
            frames=stream.frames or round(length * rate),
            rate=rate,
            time_base=Fraction(stream.time_base),
            pixels=frame.format.name,
            bits=8 if max(part.bits for part in frame.format.components) <= 8 else 16,
            rotation=rotation,
            colours=_colours(frame),
            others=others + more,
        )


def read_frames(clip: Clip, first: int = 0) -> Iterator[tuple[int | None, int, Picture]]:
    """Yield time, duration (both in units of the clip's time base; 0: not stated) and picture of each frame from the
    ``first``-th on, in the order in which they are shown.

    Raises:
        ImageError: a frame cannot be decoded.
    """
    with opened(clip.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in enumerate(container.decode(stream)):
            if number >= first:
                yield frame.pts, int(getattr(frame, "duration", 0) or 0), _picture(frame, clip)


def _picture(frame: Any, clip: Clip) -> Picture:
    name = "rgb24" if clip.bits == 8 else "rgb48le"
    how = {"src_colorspace": clip.colours.swscale, "src_color_range": FULL_RANGE if clip.colours.full else 1}
    pixels = frame.reformat(format=name, dst_color_range=FULL_RANGE, **how).to_ndarray()
    return Picture(np.ascontiguousarray(np.rot90(pixels, clip.rotation // 90)))


def _colours(frame: Any) -> Colours:
    matrix = int(frame.colorspace)
    if matrix == UNSPECIFIED:
        matrix = BT709 if frame.height >= HD_LINES else BT601
    full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
    return Colours(matrix, int(frame.color_primaries), int(frame.color_trc), full)
