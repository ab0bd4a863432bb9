"""Filling holes: what the model sees, what comes back, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from painters import disc, picture, small_painter

import implicitkit as ik
from implicitkit import Field
from implicitkit.errors import DataError, ImageError, UserError
from implicitkit.images.io import Picture, write_picture
from implicitkit_sair.inpainting.painting import (
    SOLVERS,
    blend,
    check_mask,
    grow,
    inpaint,
    inpaint_picture,
    read_mask,
)


def test_known_pixels_are_put_back_and_holes_are_the_models() -> None:
    model, clean, mask = small_painter(), picture(13, 17), disc(13, 17)
    pasted, raw = inpaint(model, clean, mask), inpaint(model, clean, mask, raw=True)
    hole = mask[0] > 0.5
    assert torch.equal(pasted[:, ~hole], clean[:, ~hole])
    assert torch.equal(pasted[:, hole], raw[:, hole])
    expected = model.encode(torch.where(mask > 0.5, 0.5, clean), mask).render((13, 17))
    assert torch.equal(raw, expected)
    assert (raw[:, ~hole] - clean[:, ~hole]).abs().max() > 1e-3  # the model's own, not the picture's


def test_what_is_under_the_hole_is_never_seen() -> None:
    model, clean, mask = small_painter(), picture(12, 12), disc(12, 12)
    other = torch.where(mask > 0.5, torch.rand(3, 12, 12), clean)
    for fill in (None, 0.2, (0.1, 0.5, 0.9), "mean", "noise"):
        assert torch.equal(inpaint(model, clean, mask, fill=fill), inpaint(model, other, mask, fill=fill))


def test_a_batch_is_its_pictures_one_by_one() -> None:
    model = small_painter()
    pictures, masks = torch.stack([picture(9, 11), 1 - picture(9, 11)]), torch.stack([disc(9, 11), 1 - disc(9, 11)])
    together = inpaint(model, pictures, masks, fill="mean")
    for k in range(2):
        assert torch.allclose(together[k], inpaint(model, pictures[k], masks[k], fill="mean"), atol=1e-6)
    assert torch.equal(inpaint(model, pictures, masks[0])[1], inpaint(model, pictures, masks[[0, 0]])[1])


def test_a_second_pass_sees_the_first_ones_output() -> None:
    clean, mask = picture(10, 10), disc(10, 10)
    once, twice = (inpaint(small_painter(), clean, mask, passes=n, raw=True) for n in (1, 2))
    second = Field(small_painter(), once, mask)  # as it is: what was painted is to be seen
    assert torch.equal(twice, second.render((10, 10)))
    assert torch.equal(twice, inpaint(small_painter(passes=2), clean, mask, raw=True))  # the model's own number


def test_the_fill_is_what_the_model_was_trained_with() -> None:
    model = small_painter()
    assert model.hole_fill == 0.5
    model.training_summary = {"degradation": [{"name": "inpainting", "fill": "mean"}, {"name": "noise", "sigma": 3}]}
    assert model.hole_fill == "mean"
    clean, mask = picture(8, 8), disc(8, 8)
    assert torch.equal(inpaint(model, clean, mask), inpaint(model, clean, mask, fill="mean"))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_files_known_integers_come_back(bits: int, channels: int, alpha: bool) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    random = np.random.default_rng(0)
    pixels = random.integers(0, 2**bits, (14, 15, channels)).astype(kind)
    given = Picture(pixels, random.integers(0, 2**bits, (14, 15)).astype(kind) if alpha else None, b"profile")
    mask = disc(14, 15)
    result = inpaint_picture(small_painter(), given, mask)
    known = mask[0].numpy() < 0.5
    assert result.pixels.dtype == kind and result.pixels.shape == pixels.shape and result.icc == b"profile"
    assert np.array_equal(result.pixels[known], pixels[known])
    assert not np.array_equal(result.pixels[~known], pixels[~known])
    assert (result.alpha is None) if not alpha else np.array_equal(result.alpha, given.alpha)
    raw = inpaint_picture(small_painter(), given, mask, raw=True)
    assert np.array_equal(raw.pixels[~known], result.pixels[~known])
    assert not np.array_equal(raw.pixels[known], pixels[known])


def test_neither_the_hole_nor_what_is_transparent_is_seen_in_a_file() -> None:
    mask = disc(12, 12)
    hidden = np.zeros((12, 12), dtype=bool)
    hidden[:, :3] = True
    hole = mask[0].numpy() > 0.5
    pixels = np.round(picture(12, 12).movedim(0, -1).numpy() * 255).astype(np.uint8)
    other = np.where((hidden | hole)[..., None], 255 - pixels, pixels)
    alpha = np.where(hidden, 0, 255).astype(np.uint8)
    first, second = (inpaint_picture(small_painter(), Picture(p, alpha), mask) for p in (pixels, other))
    assert np.array_equal(first.pixels[hole], second.pixels[hole])


@pytest.mark.filterwarnings("ignore:.*neither black nor white")
def test_masks_from_files(tmp_path: Path) -> None:
    values = np.array([[0, 100, 127, 128, 200, 255]], dtype=np.uint8)
    write_picture(tmp_path / "m.png", Picture(values[..., None]))
    assert read_mask(tmp_path / "m.png").tolist() == [[[0, 0, 0, 1, 1, 1]]]
    assert read_mask(tmp_path / "m.png", "black").tolist() == [[[1, 1, 1, 0, 0, 0]]]
    assert read_mask(tmp_path / "m.png", threshold=0.75).tolist() == [[[0, 0, 0, 0, 1, 1]]]
    assert read_mask(tmp_path / "m.png", "black", threshold=0.0).tolist() == [[[1, 0, 0, 0, 0, 0]]]
    write_picture(tmp_path / "deep.png", Picture(values.astype(np.uint16)[..., None] * 257))
    assert torch.equal(read_mask(tmp_path / "deep.png"), read_mask(tmp_path / "m.png"))
    write_picture(tmp_path / "alpha.png", Picture(values[..., None], np.full((1, 6), 255, np.uint8)))
    assert torch.equal(read_mask(tmp_path / "alpha.png"), read_mask(tmp_path / "m.png"))
    write_picture(tmp_path / "unclear.png", Picture(values[..., None], values))
    with pytest.raises(ImageError, match="colours and transparency"):
        read_mask(tmp_path / "unclear.png")
    for wrong in ({"hole": "grey"}, {"threshold": 1.0}, {"threshold": float("nan")}):
        with pytest.raises(ValueError, match="received"):
            read_mask(tmp_path / "m.png", **wrong)


def test_a_mask_that_grows_over_the_whole_picture_is_refused() -> None:
    image, mask = torch.rand(3, 8, 8), torch.zeros(1, 8, 8)
    mask[0, 4, 4] = 1
    assert check_mask(image, mask, dilate=2).sum() == 25
    for model in SOLVERS:
        with pytest.raises(DataError, match="is all hole once it is grown by 5 pixels"):
            inpaint(model, image, mask, dilate=5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (disc(8, 9), "the mask has 9×8 pixels, the picture 8×8"),
        (torch.zeros(1, 8, 8), "has no hole"),
        (torch.ones(1, 8, 8), "is all hole"),
        (torch.stack([disc(8, 8), torch.zeros(1, 8, 8)]), r"received \(2, 1, 8, 8\) for a picture of \(3, 8, 8\)"),
        (disc(8, 8)[0], r"received \(8, 8\)"),
        (disc(8, 8).expand(3, -1, -1), r"received \(3, 8, 8\)"),
    ],
)
def test_masks_that_do_not_fit(mask: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        inpaint(small_painter(), picture(8, 8), mask)


def test_one_empty_mask_of_a_batch_is_enough() -> None:
    masks = torch.stack([disc(8, 8), torch.zeros(1, 8, 8)])
    with pytest.raises(DataError, match="has no hole"):
        inpaint(small_painter(), picture(8, 8).expand(2, -1, -1, -1), masks)


def test_models_that_cannot() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    blind = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [4]}})
    with pytest.raises(UserError, match="takes no mask"):
        inpaint(blind, picture(8, 8), disc(8, 8))
    semantic = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}})
    with pytest.raises(UserError, match="does not map RGB pictures to RGB pictures"):
        inpaint(semantic, picture(8, 8), disc(8, 8))


def test_holes_grow_and_fade_as_far_as_asked_and_no_longer_than_the_picture() -> None:
    """Against a window moved over each pixel; a length of millions of pixels takes no longer than the picture's."""
    hole = torch.zeros(1, 12, 17, dtype=torch.bool)
    hole[0, 4:6, 7] = hole[0, 11, 0] = True
    for pixels in (1, 3, 20, 10**8):
        expected = torch.zeros_like(hole)
        for y, x in hole[0].nonzero().tolist():
            expected[0, max(0, y - pixels) : y + pixels + 1, max(0, x - pixels) : x + pixels + 1] = True
        assert torch.equal(grow(hole, pixels), expected)
    image, painted = torch.zeros(3, 12, 17), torch.ones(3, 12, 17)
    for feather in (2, 5):
        weights = [hole.double(), *(grow(hole, k).double() * (1 - k / (feather + 1)) for k in range(1, feather + 1))]
        ramp = torch.stack(weights).amax(0).expand(3, -1, -1)
        assert torch.allclose(blend(image, painted, hole, feather).double(), ramp, atol=1e-6)
    assert blend(image, painted, hole, 10**8).min() > 0.999
