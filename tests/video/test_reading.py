"""Films that are damaged or no films."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

import implicitkit as ik
from implicitkit.video.reading import is_clip, read_clip, read_frames
from oracles.films import av, film


def test_what_is_no_film_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.mp4").write_text("no film at all")
    with pytest.raises(ik.ImageError, match=r"text\.mp4 is a text file, not a film"):
        read_clip(tmp_path / "text.mp4")
    (tmp_path / "damaged.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    with pytest.raises(ik.ImageError, match=r"damaged\.mp4 cannot be decoded"):
        read_clip(tmp_path / "damaged.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ik.ImageError, match=r"pipe\.mp4 is a pipe, not a file"):
        read_clip(tmp_path / "pipe.mp4")
    with pytest.raises(ik.ImageError, match="there is no file"):
        read_clip(tmp_path / "none.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=48000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 48000
        out.mux(tone.encode(silence))
        out.mux(tone.encode(None))
    with pytest.raises(ik.ImageError, match=r"sound\.mp4 holds no film"):
        read_clip(tmp_path / "sound.mp4")
    path = film(tmp_path / "a.mp4", [0, 24])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ik.ImageError, match=r"mp4 needs av, .*: pip install 'implicitkit\[video\]'$"):
        read_clip(path)


def test_frames_from_the_middle_on(tmp_path: Path) -> None:
    clip = read_clip(film(tmp_path / "a.mkv", [0, 24, 48, 72], sound=False))
    assert [time for time, _, _ in read_frames(clip, first=2)] == [80, 120] and is_clip(clip.path)  # milliseconds
