"""What the tabs of the page share: limits, models loaded once, results that go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.app.session import KEPT_S, Limits, Session


def test_files_and_pictures_beyond_the_limits_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", torch.rand(3, 40, 50))
    assert Session(tmp_path).read(tmp_path / "a.png").size == (40, 50)
    small = Session(tmp_path, limits=Limits(read=0.001))
    with pytest.raises(ik.ImageError, match=r"a\.png has 0 megapixels; this page takes at most 0\.001"):
        small.read(tmp_path / "a.png")
    with pytest.raises(ik.ImageError, match=r"a\.png has 0 MB; this page takes at most 0\.001 MB"):
        Session(tmp_path, limits=Limits(upload=0.001)).read(tmp_path / "a.png")
    with pytest.raises(ik.UserError, match="there is no picture yet"):
        small.read(None)


def test_a_model_is_loaded_once_and_offered_first_where_it_fits(tmp_path: Path) -> None:
    session = Session(tmp_path, ("liif_small",))
    assert session.load("liif_small") is session.load("liif_small")
    assert session.choices(["other", "liif_small"]) == ["liif_small", "other"]
    assert session.choices(["other"], lambda model: model.takes_mask) == ["other"]


def test_results_of_an_hour_ago_are_deleted(tmp_path: Path) -> None:
    session = Session(tmp_path / "results")
    old, new = session.demo(), session.demo()
    os.utime(old.parent, (time.time() - KEPT_S - 1,) * 2)
    latest = session.demo()
    assert not old.exists() and new.exists() and latest.name == "astronaut.png"
