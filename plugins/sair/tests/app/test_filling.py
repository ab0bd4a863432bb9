"""The inpainting tab fills as the commands do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from editing.test_selection import two_reds
from painters import disc, picture, small_painter
from semantics import semantic_model

import implicitkit as ik
from implicitkit.app import Limits, Session
from implicitkit.images import Picture, read_picture, to_pixels, write_picture
from implicitkit_sair.app import filling
from implicitkit_sair.app.filling import fill, has_words, mask_of, mean_same, painters, points, semantics


@pytest.fixture
def deep() -> Picture:
    """A smooth picture of 16 bits with alpha and a profile's bytes."""
    return Picture(to_pixels(picture(30, 36), 16), np.full((30, 36), 60000, np.uint16), b"profile")


def test_the_answer_is_that_of_the_command(run, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", picture(30, 36))
    ik.write_image(tmp_path / "m.png", disc(30, 36))
    assert run("inpaint", tmp_path / "a.png", tmp_path / "m.png", "-o", tmp_path / "cli.png", "--dilate", 1).code == 0
    (answer,) = fill(Session(tmp_path), read_picture(tmp_path / "a.png"), disc(30, 36), dilate=1)
    assert np.array_equal(answer.picture.pixels, read_picture(tmp_path / "cli.png").pixels)
    assert "sair_faces" in answer.name or "harmonic" in answer.name
    assert answer.why.startswith(f"{answer.name}: ")


def test_depth_alpha_profile_and_known_pixels_are_kept(deep: Picture, tmp_path: Path) -> None:
    (answer,) = fill(Session(tmp_path), deep, disc(30, 36), model="biharmonic")
    known = disc(30, 36)[0].numpy() < 0.5
    assert answer.picture.bits == 16 and answer.picture.icc == b"profile" and answer.why == ""
    assert np.array_equal(answer.picture.pixels[known], deep.pixels[known])
    assert np.array_equal(answer.picture.alpha, deep.alpha)


def test_margins_paint_beyond_the_picture_and_a_mask_may_then_be_empty(deep: Picture, tmp_path: Path) -> None:
    (answer,) = fill(Session(tmp_path), deep, torch.zeros(1, 30, 36), model="harmonic", margins=(1, 2, 3, 4))
    assert answer.picture.size == (36, 40)
    assert np.array_equal(answer.picture.pixels[2:32, 1:37], deep.pixels)
    assert answer.picture.pixels[0].max() > 0  # painted, not left black
    with pytest.raises(ik.UserError, match="this page makes at most"):
        fill(Session(tmp_path, limits=Limits(written=0.002)), deep, torch.zeros(1, 30, 36), margins=(0, 0, 0, 500))
    with pytest.raises(ik.DataError, match="has no hole"):
        fill(Session(tmp_path), deep, torch.zeros(1, 30, 36))


def test_every_models_answer_is_named(tmp_path: Path) -> None:
    small_painter().save(tmp_path / "mine.safetensors")
    session = Session(tmp_path, (str(tmp_path / "mine.safetensors"), "liif_small"))
    names = painters(session)
    assert names[0] == str(tmp_path / "mine.safetensors") and names[-3:] == ["biharmonic", "harmonic", "patches"]
    assert "liif_small" not in names and "sair_faces" in names
    answers = fill(session, Picture(to_pixels(picture(24, 20))), disc(24, 20), every=True)
    assert [answer.name for answer in answers] == names
    assert not np.array_equal(answers[0].picture.pixels, answers[-1].picture.pixels)


def test_a_click_and_words_select_what_means_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(filling, "default_semantics", semantic_model)
    session, given = Session(tmp_path), Picture(to_pixels(two_reds()))
    mask = mean_same(session, given, filling.DINOV2, like="10,10 50,40", grow=0)
    red = two_reds()[0] > 0.5
    assert (mask[0].bool() == red).float().mean() > 0.9
    with pytest.raises(ik.UserError, match="click what is to go, or say it in words"):
        mean_same(session, given, filling.DINOV2)
    with pytest.raises(ik.UserError):
        mean_same(session, given, filling.DINOV2, words="red")  # these encoders have none
    assert not has_words(session, filling.DINOV2) and not has_words(session, "sair_faces")
    assert "sair_faces" in semantics(session)


def test_words_select_where_the_encoder_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from implicitkit_sair.segmentation.vocabulary import Vocabulary

    def reads(encoder: object, names: list[str], *_: object, **__: object) -> Vocabulary:
        told = {"red": [1.0, 0, 0], "sky": [0, 0, 1.0]}
        return Vocabulary(tuple(names), torch.tensor([told.get(name, [0.0, 1, 0]) for name in names]))

    monkeypatch.setattr(filling, "choose_vocabulary", reads)
    monkeypatch.setattr(filling, "default_semantics", semantic_model)
    mask = mean_same(
        Session(tmp_path), Picture(to_pixels(two_reds())), filling.DINOV2, words=["Red", " red"][1], grow=0
    )
    assert (mask[0].bool() == (two_reds()[0] > 0.5)).float().mean() > 0.9


def test_brush_file_and_selection_add_up(tmp_path: Path) -> None:
    layer = np.zeros((10, 12, 4), np.uint8)
    layer[:5, :6] = 255  # drawn at half the size
    write_picture(tmp_path / "m.png", Picture(to_pixels(disc(20, 24))))
    selected = torch.zeros(1, 20, 24)
    selected[:, -1] = 1
    mask = mask_of((20, 24), drawn=[layer], file=tmp_path / "m.png", selected=selected)
    expected = torch.maximum(disc(20, 24), selected)
    expected[:, :10, :12] = 1
    assert torch.equal(mask, expected)
    with pytest.raises(
        ik.UserError, match=r"the mask has 24×20 pixels, the picture 25×20; their sizes must be the same"
    ):
        mask_of((20, 25), file=tmp_path / "m.png")


def test_points_are_pixels() -> None:
    assert points(" 1,2  3.5, 4 ") == [(1.0, 2.0), (3.5, 4.0)] and points("") == []
    with pytest.raises(ik.UserError, match="points are x,y in pixels"):
        points("1;2")
