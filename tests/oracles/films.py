"""Small films with sound, by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV, the extra video, is not installed")
COLOURS = np.array([[230, 40, 40], [40, 200, 60], [50, 60, 220], [200, 200, 200]], np.uint8)


def corners(height: int = 32, width: int = 48, brightness: float = 1.0) -> np.ndarray:
    """Red, green, blue and grey: top left, top right, bottom left, bottom right."""
    picture = COLOURS.reshape(2, 2, 3).repeat(height // 2, 0).repeat(width // 2, 1)
    return (picture * brightness).astype(np.uint8)


def film(
    path: Path,
    times: list[int],
    time_base: Fraction = Fraction(1, 600),
    *,
    sound: bool = True,
    full: bool = False,
    matrix: int = 1,
    pixels: str = "yuv420p",
    rotation: int = 0,
    says: dict[str, str] | None = None,
) -> Path:
    """A film of :func:`corners` that become brighter, one frame at each of ``times``, and a tone."""
    with av.open(str(path), "w", options={"video_track_timescale": "600"} if path.suffix == ".mp4" else {}) as out:
        out.metadata.update(says or {})
        stream = out.add_stream("libx264", rate=25, options={"crf": "4", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, pixels
        stream.codec_context.time_base = stream.time_base = time_base
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 1 + full, matrix, 1, 1
        if rotation:
            stream.set_display_rotation(rotation)
        tone = out.add_stream("aac", rate=48000, layout="mono") if sound else None
        for k, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(corners(brightness=0.5 + 0.5 * k / len(times)), format="rgb24")
            frame = frame.reformat(
                format=pixels, src_color_range=2, dst_color_range=1 + full, dst_colorspace={1: 1, 6: 5}[matrix]
            )
            frame.pts, frame.time_base = time, time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            seconds = float(times[-1] * time_base) + 0.04
            samples = np.sin(np.arange(int(48000 * seconds)) * 0.06).astype(np.float32)
            for start in range(0, len(samples) - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024].copy(), "fltp", "mono")
                frame.sample_rate, frame.pts = 48000, start
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path


def sound_of(path: Path) -> list[tuple[float, bytes]]:
    """The packets of the sound, each with its time in seconds."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.size]
        return [(round(float(p.pts * p.time_base), 5), bytes(p)) for p in packets]


def times_of(path: Path) -> list[float]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]
