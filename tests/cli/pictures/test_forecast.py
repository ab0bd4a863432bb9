"""How long a run will take, by a trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from implicitkit.cli.pictures import forecast
from implicitkit.cli.pictures.forecast import announce, estimate, picture_sizes
from implicitkit.images.io import Picture, write_picture

PICTURE = Picture(np.zeros((300, 400, 3), dtype=np.uint8), np.zeros((300, 400), dtype=np.uint8))
SIZES = [((300, 400), (1200, 1600))] * 50


@pytest.fixture
def enlarge(monkeypatch: pytest.MonkeyPatch):
    """Takes a microsecond for an output pixel, and a second more the first time."""
    now, tried = [0.0], []
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])

    def work(picture: Picture, size: tuple[int, int]) -> None:
        now[0] += size[0] * size[1] * 1e-6 + (not tried)
        tried.append((picture.size, size))

    work.tried = tried
    return work


def test_a_trial_tells_the_time_of_all(enlarge) -> None:
    assert estimate(PICTURE, SIZES, enlarge) == pytest.approx(50 * 1.92, rel=1e-6)
    assert enlarge.tried == [((96, 96), (384, 384))] * 2
    assert estimate(PICTURE, [((300, 400), (75, 100))] * 2000, enlarge) == pytest.approx(2000 * 7.5e-3, rel=1e-6)


def test_a_trial_stays_small_at_any_scale(enlarge) -> None:
    estimate(PICTURE, [((300, 400), (30000, 40000))], enlarge)
    (before, after), *_ = enlarge.tried
    assert before == (8, 8) and after == (632, 632)


def test_a_trial_of_eight_pixels_is_not_magnified_more_than_enough(enlarge) -> None:
    seconds = estimate(PICTURE, [((300, 400), (1_200_000, 1_600_000))], enlarge)
    (before, after), *_ = enlarge.tried
    assert before == (8, 8) and max(after) <= 633 and seconds == pytest.approx(1.92e6, rel=0.01)


def test_what_is_soon_done_is_not_tried(enlarge, capsys: pytest.CaptureFixture[str]) -> None:
    announce(PICTURE, SIZES[:1], enlarge)
    assert enlarge.tried == [] and capsys.readouterr().err == ""


def test_long_work_is_announced_with_its_size(enlarge, capsys: pytest.CaptureFixture[str]) -> None:
    announce(PICTURE, SIZES, enlarge)
    announce(PICTURE, SIZES, enlarge, processes=2)
    announce(PICTURE, [((300, 400), (9000, 12000))], enlarge)
    assert capsys.readouterr().err.splitlines() == [
        "50 pictures, 96 megapixels: about 96 s",
        "50 pictures, 96 megapixels: about 48 s",
        "12000×9000, 108 megapixels: about 2 min",
    ]


def test_sizes_come_from_headers(tmp_path: Path) -> None:
    opaque = Picture(PICTURE.pixels)
    files = [tmp_path / name for name in ("a.png", "b.jpg", "c.webp", "d.tif", "e.png", "none.png")]
    for file in files[:4]:
        write_picture(file, opaque)
    files[4].write_bytes(files[0].read_bytes()[:20])
    assert picture_sizes(files) == [(300, 400)] * 4 + [None, None]
