"""A film made of another, frame by frame, with its sound, times and colours; an interrupted run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from implicitkit.errors import ImageError
from implicitkit.files import replacing
from implicitkit.images.io import Picture
from implicitkit.video.reading import CLIPS, FULL_RANGE, Clip, av_library, opened, read_frames
from implicitkit.video.segments import Piece, Segments

SEGMENT = 48  # frames; each begins with one that needs no other
USUAL_QUALITY = 95
KEPT_TAGS = ("title", "creation_time", "artist", "copyright")
PLACES = ("location", "location-eng", "com.apple.quicktime.location.ISO6709")
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".avi": "avi"}
ENCODERS = {".webm": ("libvpx-vp9",), ".avi": ("mpeg4",)}
USUAL_ENCODERS = ("libx264", "mpeg4")
PIXELS_8, PIXELS_10 = "yuv420p", "yuv420p10le"


def check_clip(path: Path) -> None:
    """Raise :class:`ImageError` if a film is not written to ``path``."""
    if path.suffix.lower() not in CLIPS:
        raise ImageError(f"{path}: films are written as {', '.join(CLIPS)}; received {path.suffix or 'no suffix'!r}")
    av_library(path)


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The nearest size ``(H, W)`` of even numbers, as films with halved colour have.

    >>> even((271, 480)), even((1, 2))
    ((272, 480), (2, 2))
    """
    height, width = (max(2, 2 * round(n / 2)) for n in size)
    return height, width


def make_clip(
    clip: Clip,
    target: Path,
    size: tuple[int, int],
    change: Callable[[Picture], Picture],
    *,
    made_by: str = "",
    quality: int | None = None,
    keep_gps: bool = False,
    progress: Callable[[float], object] = lambda fraction: None,
) -> int:
    """Write the film of the changed frames of ``clip`` to ``target``; return how many there are.

    Each frame keeps its time, the film its colours (primaries, curve, matrix, range) and 8 or 10 bits; sound is copied
    as it is. Stretches of 48 frames are kept in the folder ``TARGET.parts`` until the film is whole, and are not made
    again.

    Args:
        clip: the film that is read.
        target: a new file.
        size: ``(H, W)`` of the changed frames, even numbers.
        change: makes the picture of ``size`` of a frame.
        made_by: what the changes depend on; parts that were made otherwise are not used.
        quality: 1 to 100 (default: 95).
        keep_gps: write where it was taken, too; date, title and author are always kept.
        progress: called with the part that is done, in [0, 1].

    Raises:
        ImageError: a frame cannot be decoded, or the file not be written.
    """
    check_clip(target)
    _check_sound(clip, target)
    stat = clip.path.stat()
    source = [str(clip.path.resolve()), stat.st_size, stat.st_mtime_ns]
    encoder = Encoder(clip, target, size, USUAL_QUALITY if quality is None else quality)
    parts = Segments(target, {"source": source, "size": size, "made_by": made_by, "encoder": encoder.name})
    number = parts.finished
    done = number * SEGMENT
    frames = read_frames(clip, done)
    progress(min(1.0, done / max(clip.frames, 1)))
    while stretch := list(islice(_changed(frames, change, clip, done, progress), SEGMENT)):
        parts.write(number, encoder.encode(stretch))
        number, done = number + 1, done + len(stretch)
        if len(stretch) < SEGMENT:
            break
    with replacing(target) as temporary:
        _join(clip, temporary, encoder, parts, KEPT_TAGS + (PLACES if keep_gps else ()))
    parts.remove()
    return done


def _check_sound(clip: Clip, target: Path) -> None:
    """Raise :class:`ImageError` if the target's format holds no such sound."""
    av = av_library(target)
    with opened(clip.path) as source, av.open(BytesIO(), "w", format=FORMATS[target.suffix.lower()]) as out:
        for stream in source.streams.audio:
            name = stream.codec_context.codec.canonical_name
            if name not in out.supported_codecs:
                text = f"{target} holds no sound of the kind {name}, which is copied as it is; .mkv holds all kinds"
                raise ImageError(text)


def _changed(
    frames: Iterator[tuple[int | None, int, Picture]],
    change: Callable[[Picture], Picture],
    clip: Clip,
    done: int,
    progress: Callable[[float], object],
) -> Iterator[tuple[int | None, int, Picture]]:
    """The frames as they become, not one more than is asked for."""
    for number, (time, duration, picture) in enumerate(frames, start=done + 1):
        yield time, duration, change(picture)
        progress(min(1.0, number / max(clip.frames, number)))


class Encoder:
    """How the frames of a film are encoded: without reference to later ones, so that stretches can be joined."""

    def __init__(self, clip: Clip, target: Path, size: tuple[int, int], quality: int) -> None:
        av = self.av = av_library(target)
        names = ENCODERS.get(target.suffix.lower(), USUAL_ENCODERS)
        available = [name for name in names if name in av.codecs_available]
        if not available:
            raise ImageError(f"{target}: PyAV was built without {' and '.join(names)}; choose another suffix")
        self.codec, self.clip, self.size = available[0], clip, size
        deep = clip.bits > 8 and any(f.name == PIXELS_10 for f in av.Codec(self.codec, "w").video_formats or ())
        self.pixels = PIXELS_10 if deep else PIXELS_8
        self.options = self._options(quality)
        self.last = -1  # time of the last frame
        self.name = [self.codec, self.pixels, self.options]

    def prepare(self, context: Any) -> None:
        """Set up a codec context, or a stream's."""
        clip, colours = self.clip, self.clip.colours
        context.height, context.width = self.size
        context.pix_fmt, context.options = self.pixels, dict(self.options)
        context.time_base, context.framerate = clip.time_base, clip.rate
        context.max_b_frames = 0
        context.gop_size = SEGMENT
        context.color_range = FULL_RANGE if colours.full else 1
        context.colorspace, context.color_primaries = colours.matrix, colours.primaries
        context.color_trc = colours.curve
        context.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: what stretches have in common stands in the file's head

    def encode(self, stretch: list[tuple[int | None, int, Picture]]) -> list[Piece]:
        """The encoded frames of a stretch."""
        context = self.av.CodecContext.create(self.codec, "w")
        self.prepare(context)
        durations: dict[int, int] = {}
        packets: list[Any] = []
        for time, duration, picture in stretch:
            frame = self._frame(picture)
            frame.pts = self.last = self.last + 1 if time is None else max(time, self.last + 1)
            durations[frame.pts] = duration
            packets += context.encode(frame)
        packets += context.encode(None)
        return [Piece(p.pts, durations.get(p.pts, 0), bool(p.is_keyframe), bytes(p)) for p in packets]

    def _frame(self, picture: Picture) -> Any:
        if picture.size != self.size:
            raise ValueError(f"a frame became {picture.size}, not {self.size}")
        deep = picture.bits > 8
        pixels = np.ascontiguousarray(picture.pixels.repeat(3, 2) if picture.is_grey else picture.pixels)
        frame = self.av.VideoFrame.from_ndarray(pixels, format="rgb48le" if deep else "rgb24")
        colours = self.clip.colours
        made = frame.reformat(
            format=self.pixels,
            src_color_range=FULL_RANGE,
            dst_color_range=FULL_RANGE if colours.full else 1,
            dst_colorspace=colours.swscale,
        )
        made.time_base = self.clip.time_base
        return made

    def _options(self, quality: int) -> dict[str, str]:
        """The encoder's own: x264's and VP9's constant quality (lower is better), MPEG-4's quantiser."""
        if self.codec == "mpeg4":
            return {"qscale": str(max(1, round(31 - 0.3 * quality))), "flags": "+qscale"}
        crf = str(round(51 - 0.37 * quality))
        if self.codec == "libvpx-vp9":
            return {"crf": crf, "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0"}
        return {"crf": crf, "preset": "medium", "bf": "0", "forced-idr": "1"}


def _join(clip: Clip, path: Path, encoder: Encoder, parts: Segments, kept: tuple[str, ...]) -> None:
    """Write all stretches, the sound of the film as it is, and what is ``kept`` of what the film says of itself."""
    av = encoder.av
    rate = clip.rate.limit_denominator(1_000_000)
    # the clock of MP4 and MOV ticks as the film's does, so that no time is rounded
    clock = {"video_track_timescale": str(clip.time_base.denominator)} if clip.time_base.numerator == 1 else {}
    options = clock if path.suffix.lower() in (".mp4", ".m4v", ".mov") else {}
    with opened(clip.path) as source, av.open(str(path), "w", options=options) as out:
        film = out.add_stream(encoder.codec, rate=rate)
        encoder.prepare(film.codec_context)
        film.time_base = clip.time_base
        sounds = {stream.index: out.add_stream_from_template(stream) for stream in source.streams.audio}
        out.metadata.update({k: v for k, v in source.metadata.items() if k in kept})
        sound = _sound_packets(source, sounds)
        waiting = next(sound, None)
        for number in range(parts.finished):
            for piece in parts.read(number):
                while waiting is not None and waiting.dts * waiting.time_base <= piece.time * clip.time_base:
                    out.mux_one(waiting)
                    waiting = next(sound, None)
                out.mux_one(_packet(av, piece, film, clip.time_base))
        while waiting is not None:
            out.mux_one(waiting)
            waiting = next(sound, None)


def _sound_packets(source: Any, sounds: dict[int, Any]) -> Iterator[Any]:
    if not sounds:
        return
    for packet in source.demux(*source.streams.audio):
        if packet.dts is not None:
            packet.stream = sounds[packet.stream_index]
            yield packet


def _packet(av: Any, piece: Piece, stream: Any, time_base: Fraction) -> Any:
    packet = av.Packet(piece.content)
    packet.stream, packet.time_base = stream, time_base
    packet.pts = packet.dts = piece.time
    packet.is_keyframe = piece.is_key
    if piece.duration:
        packet.duration = piece.duration
    return packet
