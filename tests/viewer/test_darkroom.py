"""Fields are encoded once each, within bounds, and a window is the field's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import implicitkit as ik
from implicitkit.images.io import to_pixels
from implicitkit.viewer import darkroom
from implicitkit.viewer.darkroom import Darkroom, Named, Recent
from implicitkit.viewer.question import WHOLE_BOX, Box, Damage, Layer, Question
from implicitkit.viewer.turns import MovedOn
from implicitkit.viewer.windows import bicubic_window, nearest_window
from oracles.models import conditioned_model, small_model

BOX: Box = (-0.5, -0.25, 0.25, 0.75)


@pytest.fixture
def room(folder: Path) -> Darkroom:
    torch.manual_seed(0)
    models = [Named("one", small_model(skip="bilinear")), Named("two", conditioned_model())]
    return Darkroom([folder / "a.png", folder / "b.png"], models)


def ask(word: str, damage: Damage | None = None, picture: int = 0, box: Box = BOX) -> Question:
    return Question(picture, Layer.parse(word, 2), damage or Damage(), box, (30, 40))


def test_a_window_is_the_fields_own(room: Darkroom, folder: Path) -> None:
    field = room.models[0].model.encode(ik.read_image(folder / "a.png"))
    shown = room.render(ask("model-0"))
    assert shown.shape == (30, 40, 4)
    assert np.array_equal(shown[..., :3], to_pixels(field.render((30, 40), box=BOX)))


def test_damage_is_seen_by_models_and_by_what_they_are_compared_with(room: Darkroom, folder: Path) -> None:
    clean, damage = ik.read_image(folder / "b.png"), Damage(low=2, noise=20, seed=3)
    degradation = ik.create_degradation(damage.spec((41, 50)))
    seen = degradation(clean, torch.Generator().manual_seed(3)).image
    for word, expected in {
        "model-0": room.models[0].model.encode(seen).render((30, 40), box=BOX),
        "nearest": nearest_window(seen, (30, 40), BOX),
        "bicubic": bicubic_window(seen, (30, 40), BOX),
        "original": bicubic_window(clean, (30, 40), BOX),
    }.items():
        assert np.array_equal(room.render(ask(word, damage, 1))[..., :3], to_pixels(expected)), word
    other = room.render(ask("nearest", Damage(low=2, noise=20, seed=4), 1))
    assert not np.array_equal(other, room.render(ask("nearest", damage, 1)))


def test_each_field_is_encoded_once_and_the_oldest_goes(room: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[object] = []
    encode = ik.ImplicitModel.encode

    def watched(self, image, mask=None, **how):
        encoded.append(image)
        return encode(self, image, mask, **how)

    monkeypatch.setattr(ik.ImplicitModel, "encode", watched)
    for word in ("model-0", "model-0", "nearest", "bicubic", "model-0"):
        room.render(ask(word))
    assert len(encoded) == 1
    for noise in range(1, 2 * darkroom.MAX_FIELDS):
        room.render(ask("model-0", Damage(noise=noise)))
    assert len(encoded) == 2 * darkroom.MAX_FIELDS and len(room._fields) == darkroom.MAX_FIELDS
    room.render(ask("model-0", Damage(noise=2 * darkroom.MAX_FIELDS - 1)))
    assert len(encoded) == 2 * darkroom.MAX_FIELDS
    room.render(ask("model-0"))
    assert len(encoded) == 2 * darkroom.MAX_FIELDS + 1


def test_what_is_kept_is_bounded_by_weight_before_more_is_made() -> None:
    recent, held = Recent[str](10, 3.0), []
    for key in range(5):
        recent.get(key, lambda: held.append(len(recent)) or "x", 1.0)
    assert len(recent) == 3 and held == [0, 1, 2, 2, 2]  # room is made beforehand
    assert recent.get("large", lambda: "y", 100.0) == "y" and len(recent) == 1


def test_meaning_keeps_its_colours_while_one_zooms_and_degrades(room: Darkroom) -> None:
    whole = room.render(Question(0, Layer("meaning", 1), Damage(), WHOLE_BOX, (40, 40)))
    part = room.render(Question(0, Layer("meaning", 1), Damage(), (-1.0, -1.0, 0.0, 0.0), (20, 20)))
    assert np.abs(part.astype(int) - whole[:20, :20]).max() <= 1 and whole[..., :3].std() > 20
    fitted = room._colours.get((0, 1), lambda: None)
    room.render(ask("meaning-1", Damage(noise=30)))
    assert room._colours.get((0, 1), lambda: None) is fitted and fitted is not None
    assert room.has_meaning(1) and not room.has_meaning(0)
    with pytest.raises(ik.UserError, match="reads no semantic field"):
        room.render(ask("meaning-0"))


def test_a_view_that_has_moved_on_ends_between_blocks(room: Darkroom) -> None:
    class Mover:
        count = 0

        def check(self) -> None:
            self.count += 1
            if self.count > 2:
                raise MovedOn

    mover = Mover()
    with pytest.raises(MovedOn):
        room.render(Question(0, Layer("model"), Damage(), WHOLE_BOX, (600, 600)), mover)  # type: ignore[arg-type]
    assert mover.count == 3


def test_a_large_picture_is_read_in_tiles_that_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(darkroom, "choose_tile", lambda model, size: 16)
    ik.write_image(tmp_path / "large.png", torch.rand(3, 48, 64))
    room = Darkroom([tmp_path / "large.png"], [Named("m", small_model())])
    shown = room.render(Question(0, Layer("model"), Damage(), WHOLE_BOX, (24, 32)))
    field = room.field(0, 0, Damage())
    tiled = field._latents
    assert tiled.tiling is not None and len(tiled._cached) == 12
    whole = room.models[0].model.encode(room.original(0).image).render((24, 32))
    assert np.abs(shown[..., :3].astype(int) - to_pixels(whole)).max() <= 1


def test_a_file_that_is_no_picture_is_said(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("no")
    with pytest.raises(ik.UserError, match="no.png"):
        Darkroom([tmp_path / "no.png"], [Named("m", small_model())]).size(0)


@pytest.mark.slow
def test_memory_is_flat_over_a_thousand_views(room: Darkroom) -> None:
    process, rss = psutil.Process(), []
    for k in range(1000):
        shift = 0.4 * (k % 97) / 97
        damage = Damage(noise=k // 50)  # twenty fields, of which eight are kept
        room.render(Question(k % 2, Layer("model"), damage, (-0.5 + shift, -0.5, shift, 0.5), (60, 90)))
        if k >= 300 and k % 20 == 0:
            rss.append(process.memory_info().rss)
    assert max(rss[-10:]) - min(rss[:10]) < 32 << 20  # one view more each would be 60 MB of floats
