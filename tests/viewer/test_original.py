"""A window has what its picture has: transparency, depth, grey, colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit.images.io import Picture, read_picture, to_pixels, to_tensor, write_picture
from implicitkit.images.transparency import fill_transparent
from implicitkit.viewer.darkroom import Darkroom, Named
from implicitkit.viewer.original import Original, alpha_of, as_picture, visible
from implicitkit.viewer.question import WHOLE_BOX, Damage, Layer, Question
from oracles.models import small_model

WIDE = ((b"cICP", bytes([12, 13, 0, 1])),)  # Display P3


def picture(channels: int = 3, bits: int = 8, alpha: bool = True, **of: object) -> Picture:
    random, kind = np.random.default_rng(1), np.uint8 if bits == 8 else np.uint16
    pixels = random.integers(0, 2**bits, (12, 16, channels)).astype(kind)
    veil = np.linspace(0, 2**bits - 1, 12 * 16).reshape(12, 16).astype(kind) if alpha else None
    return Picture(pixels, veil, **of)  # type: ignore[arg-type]


@pytest.fixture
def room(tmp_path: Path) -> Darkroom:
    write_picture(tmp_path / "a.png", picture())
    write_picture(tmp_path / "deep.png", picture(bits=16, alpha=False, colour_space=WIDE))
    write_picture(tmp_path / "grey.png", picture(1, 16))
    torch.manual_seed(0)
    files = [tmp_path / f"{name}.png" for name in ("a", "deep", "grey")]
    return Darkroom(files, [Named("m", small_model(skip="bilinear"))])


def ask(word: str, which: int = 0, damage: Damage | None = None, size: tuple[int, int] = (12, 16)) -> Question:
    return Question(which, Layer.parse(word, 1), damage or Damage(), WHOLE_BOX, size)


def test_a_screen_gets_transparency_and_models_the_colours_around_it(room: Darkroom) -> None:
    file = picture()
    for word in ("nearest", "bicubic", "original", "model-0"):
        shown = room.render(ask(word))
        assert np.array_equal(shown[..., 3], file.alpha), word
    assert file.alpha is not None
    seen = fill_transparent(file.rgb(), to_tensor(file.alpha[..., None]))
    assert torch.equal(room.seen(0, Damage()).image, seen)
    assert np.array_equal(room.render(ask("nearest"))[..., :3], to_pixels(seen))
    assert np.array_equal(shown[..., :3], to_pixels(room.models[0].model.encode(seen).render((12, 16))))


def test_low_resolution_and_blur_are_done_to_transparency_and_noise_is_not(room: Darkroom) -> None:
    file = picture()
    low = Damage(low=4, noise=40, holes=0.3)
    alpha = alpha_of(file, low.spec((12, 16)))
    assert alpha is not None and alpha.shape == (1, 3, 4)
    assert len(np.unique(room.render(ask("nearest", damage=low))[..., 3])) <= 12
    assert np.array_equal(room.render(ask("nearest", damage=Damage(noise=40)))[..., 3], file.alpha)
    assert np.array_equal(room.render(ask("original", damage=low))[..., 3], file.alpha)


def test_colours_are_true_on_the_screen_and_their_own_in_a_file(room: Darkroom) -> None:
    original = room.original(1)
    assert original.space is not None
    shown, saved = room.render(ask("nearest", 1)), room.save(ask("nearest", 1))
    assert np.array_equal(shown[..., :3], original.space.to_srgb(original.picture.pixels))
    assert np.array_equal(saved.pixels, original.picture.pixels) and saved.colour_space == WIDE and saved.bits == 16
    model = room.save(ask("model-0", 1))
    values = room.models[0].model.encode(original.image).render((12, 16))
    assert np.abs(model.pixels.astype(int) - to_pixels(values, 16)).max() <= 2
    assert original.facts() == "16 bits, Display P3, shown as sRGB"


def test_grey_stays_grey_until_something_brings_colours(room: Darkroom) -> None:
    shown = room.render(ask("model-0", 2))
    assert np.ptp(shown[..., :3].astype(int), axis=-1).max() == 0
    assert room.save(ask("model-0", 2)).is_grey
    noisy = ask("model-0", 2, Damage(noise=30))
    assert np.ptp(room.render(noisy)[..., :3].astype(int), axis=-1).max() > 0 and not room.save(noisy).is_grey
    assert room.original(2).facts() == "16 bits, grey, transparency"


def test_only_plain_pictures_are_read_and_written_by_the_short_line() -> None:
    assert Original(picture(alpha=False)).is_plain
    for other in (picture(), picture(bits=16, alpha=False), picture(1, alpha=False), picture(alpha=False, icc=b"x")):
        assert not Original(other).is_plain


def test_a_window_as_a_picture() -> None:
    file = picture(bits=16)
    window = as_picture(file, torch.rand(3, 5, 7), (-1, -1, 0, 0.5))
    assert window.pixels.shape == (5, 7, 3) and window.bits == 16
    assert window.alpha is not None and window.alpha.shape == (5, 7) and window.alpha.dtype == np.uint16
    assert visible(picture(1)).shape == (3, 12, 16)
    assert as_picture(picture(alpha=False), torch.rand(3, 2, 2), WHOLE_BOX).alpha is None


def test_what_is_saved_keeps_what_belongs_to_the_photograph(tmp_path: Path) -> None:
    ik.write_image(tmp_path / "a.png", torch.rand(3, 8, 8), metadata=ik.ImageMetadata(dpi=(300, 300)))
    room = Darkroom([tmp_path / "a.png"], [Named("m", small_model())])
    write_picture(tmp_path / "b.png", room.save(ask("nearest", size=(4, 4))))
    dpi = read_picture(tmp_path / "b.png").metadata.dpi
    assert dpi is not None and round(dpi[0]) == 300
