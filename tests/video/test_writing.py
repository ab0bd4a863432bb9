"""A film is enlarged with its times, colours, sound and orientation, and an interrupted run goes on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import implicitkit as ik
from implicitkit.images.io import Picture
from implicitkit.video.reading import read_clip, read_frames
from implicitkit.video.writing import SEGMENT, even, make_clip
from oracles.films import av, corners, film, sound_of, times_of

TIMES = [0, 24, 48, 60, 110, 134, 200, 201]  # not evenly spaced


def doubled(picture: Picture) -> Picture:
    return Picture(picture.pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_times_sound_and_pictures(tmp_path: Path, suffix: str) -> None:
    clip = read_clip(film(tmp_path / "a.mp4", TIMES))
    assert clip.size == (32, 48) and clip.frames == len(TIMES) and clip.time_base == Fraction(1, 600)
    seen: list[float] = []
    count = make_clip(clip, tmp_path / f"b{suffix}", (64, 96), doubled, progress=seen.append)
    assert count == len(TIMES) and seen[-1] == 1 and seen == sorted(seen)
    again = read_clip(tmp_path / f"b{suffix}")
    assert again.size == (64, 96)
    tick = 0.0006 if suffix == ".mkv" else 1e-6  # Matroska counts milliseconds
    after = np.array(times_of(again.path))
    start = after[0]  # Matroska has no time before zero: where sound begins before the film, both are moved
    assert start < 0.05 and (suffix == ".mkv" or start == 0)
    assert np.allclose(after - start, np.array(TIMES) / 600, atol=tick)
    before, after = sound_of(clip.path), sound_of(again.path)
    assert [content for _, content in before] == [content for _, content in after] and len(before) > 10
    assert np.allclose([t for t, _ in before], [t - start for t, _ in after], atol=2 * tick)
    for (_, _, small), (_, _, large) in zip(read_frames(clip), read_frames(again), strict=True):
        difference = doubled(small).pixels[4:-4, 4:-4].astype(int) - large.pixels[4:-4, 4:-4]
        assert np.abs(difference).mean() < 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", f"b{suffix}"]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_colours_come_out_as_they_went_in(tmp_path: Path, full: bool, matrix: int, pixels: str) -> None:
    clip = read_clip(film(tmp_path / "a.mp4", [0, 24], full=full, matrix=matrix, pixels=pixels))
    assert clip.colours.full == full and clip.colours.matrix == matrix and clip.bits == (16 if "10" in pixels else 8)
    *_, (_, _, picture) = read_frames(clip)
    top = 65535 if clip.bits == 16 else 255
    middles = picture.pixels[8::16, 12::24] / top * 255
    assert np.abs(middles - corners(brightness=0.75)[8::16, 12::24]).max() < 6
    make_clip(clip, tmp_path / "b.mp4", (64, 96), doubled)
    again = read_clip(tmp_path / "b.mp4")
    assert again.colours == clip.colours and again.bits == clip.bits
    *_, (_, _, large) = read_frames(again)
    assert np.abs(large.pixels[16::32, 24::48] / top * 255 - middles).max() < 4


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_film_that_lies_on_its_side_comes_upright(tmp_path: Path, rotation: int) -> None:
    clip = read_clip(film(tmp_path / "a.mp4", [0, 24], rotation=rotation, sound=False))
    expected = np.rot90(corners(brightness=0.5), rotation // 90)
    assert clip.size == expected.shape[:2]
    _, _, picture = next(read_frames(clip))
    assert np.abs(picture.pixels.astype(int) - expected)[::15, ::15].mean() < 8
    height, width = clip.size
    make_clip(clip, tmp_path / "b.mp4", (2 * height, 2 * width), doubled)
    again = read_clip(tmp_path / "b.mp4")
    assert again.size == (2 * height, 2 * width) and again.rotation == 0


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    times = [24 * k for k in range(2 * SEGMENT + 5)]
    clip = read_clip(film(tmp_path / "a.mp4", times))
    done: list[int] = []

    def stops(picture: Picture) -> Picture:
        done.append(1)
        if len(done) == SEGMENT + 10:
            raise KeyboardInterrupt
        return doubled(picture)

    with pytest.raises(KeyboardInterrupt):
        make_clip(clip, tmp_path / "b.mp4", (64, 96), stops, made_by="x")
    assert not (tmp_path / "b.mp4").exists() and (tmp_path / "b.mp4.parts").is_dir()
    done.clear()
    make_clip(clip, tmp_path / "b.mp4", (64, 96), lambda p: done.append(1) or doubled(p), made_by="x")
    assert len(done) == SEGMENT + 5  # the first stretch was kept
    make_clip(clip, tmp_path / "whole.mp4", (64, 96), doubled, made_by="x")
    assert np.allclose(times_of(tmp_path / "b.mp4"), np.array(times) / 600)
    with av.open(str(tmp_path / "b.mp4")) as one, av.open(str(tmp_path / "whole.mp4")) as other:
        frames = zip(one.decode(video=0), other.decode(video=0), strict=True)
        assert all(np.array_equal(a.to_ndarray(), b.to_ndarray()) for a, b in frames)
    with pytest.raises(KeyboardInterrupt):
        done.clear()
        make_clip(clip, tmp_path / "c.mp4", (64, 96), stops, made_by="x")
    done.clear()
    make_clip(clip, tmp_path / "c.mp4", (64, 96), lambda p: done.append(1) or doubled(p), made_by="another")
    assert len(done) == len(times)  # made by something else: nothing is used again


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    clip = read_clip(film(tmp_path / "a.mp4", [0, 24], sound=False))
    with pytest.raises(ik.ImageError, match=r"films are written as \.mp4"):
        make_clip(clip, tmp_path / "b.png", (64, 96), doubled)
    with_sound = read_clip(film(tmp_path / "sound.mp4", [0, 24]))
    with pytest.raises(ik.ImageError, match=r"b\.webm holds no sound of the kind aac, which is copied as it is; \.mkv"):
        make_clip(with_sound, tmp_path / "b.webm", (64, 96), doubled)
    (tmp_path / "b.mp4.parts").mkdir()
    with pytest.raises(ik.UserError, match=r"b\.mp4\.parts is in the way"):
        make_clip(clip, tmp_path / "b.mp4", (64, 96), doubled)
    assert even((271, 1)) == (272, 2)


@pytest.mark.parametrize("keep_gps", [False, True])
def test_date_and_title_stay_and_the_place_on_request(tmp_path: Path, keep_gps: bool) -> None:
    says = {"title": "holiday", "creation_time": "2024-05-06T07:08:09.000000Z", "location": "+48.0000+011.0000/"}
    clip = read_clip(film(tmp_path / "a.mp4", [0, 24], sound=False, says=says))
    make_clip(clip, tmp_path / "b.mp4", (64, 96), doubled, keep_gps=keep_gps)
    with av.open(str(tmp_path / "b.mp4")) as container:
        found = container.metadata
    assert found["title"] == "holiday" and found["creation_time"].startswith("2024-05-06T07:08:09")
    assert (b"loci" in (tmp_path / "b.mp4").read_bytes()) == ("location" in found) == keep_gps
