"""The upscaling tab gives what the command line gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gradio")

import implicitkit as ik
from implicitkit.app.session import Limits, Session
from implicitkit.app.upscaling import enlargement, enlarges, upscale
from implicitkit.images.io import Picture, read_picture, write_picture


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A picture of 16 bits with alpha and a profile."""
    draw = np.random.default_rng(0)
    pixels, alpha = draw.integers(0, 65536, (14, 18, 3)), draw.integers(1, 65536, (14, 18))
    write_picture(tmp_path / "deep.png", Picture(pixels.astype(np.uint16), alpha.astype(np.uint16), _profile()))
    return tmp_path / "deep.png"


def _profile() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_the_file_is_that_of_the_command_line(run, deep: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    done = upscale(Session(tmp_path / "r"), deep, "fast", enlargement("factor", 2.5, None, None, "fit"), shares.append)
    assert run("upscale", deep, "-o", tmp_path / "cli.png", "--scale", "2.5").code == 0
    ours, theirs = read_picture(done.file), read_picture(tmp_path / "cli.png")
    assert ours.bits == 16 and ours.icc and ours.icc == theirs.icc == read_picture(deep).icc
    assert np.array_equal(ours.pixels, theirs.pixels) and np.array_equal(ours.alpha, theirs.alpha)
    assert done.file.name == "deep_x2.5.png" and "18×14 to 45×35, 16 bits" in done.text
    assert shares[-1] == 1.0 and read_picture(done.slider[0]).size == read_picture(done.slider[1]).size == (35, 45)


def test_what_goes_beyond_the_training_is_said(deep: Path, tmp_path: Path) -> None:
    done = upscale(Session(tmp_path), deep, "liif_small", enlargement("factor", 9, None, None, "fit"))
    assert "magnified ×9" in done.text


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        (("factor", None, None, None), "the factor is a positive number up to 64; received None"),
        (("factor", 65, None, None), "the factor is a positive number up to 64; received 65"),
        (("size", 4, None, None), "the width and the height are positive numbers of pixels; received None and None"),
        (("size", 4, -3, 5), "the width and the height are positive numbers of pixels; received -3 and 5"),
    ],
)
def test_sizes_that_make_no_sense_are_one_line(asked: tuple, line: str) -> None:
    with pytest.raises(ik.UserError) as raised:
        enlargement(*asked, "fit")
    assert str(raised.value) == line


def test_a_box_of_another_aspect_is_fitted_cropped_or_stretched() -> None:
    sizes = [enlargement("size", 4, 40, 40, aspect).of((10, 20)) for aspect in ("fit", "crop", "stretch")]
    assert sizes == [(20, 40), (40, 40), (40, 40)]


def test_a_result_beyond_the_limit_is_refused_before_a_model_is_loaded(deep: Path, tmp_path: Path) -> None:
    session = Session(tmp_path, limits=Limits(written=0.001))
    with pytest.raises(ik.UserError, match="this page makes at most 0.001, ask for a smaller size"):
        upscale(session, deep, "no_such_model", enlargement("factor", 4, None, None, "fit"))


def test_only_models_that_need_a_picture_alone_are_offered() -> None:
    assert enlarges(ik.load_model("liif_small"))
    masked = {"encoder": {"name": "edsr", "blocks": 1, "channels": 8, "mask_channels": 1}, "decoder": "bilinear"}
    assert not enlarges(ik.create_model({**masked, "inputs": ["image", "mask"]}))
