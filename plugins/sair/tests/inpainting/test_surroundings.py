"""Crops around holes: every hole in one, large pictures at the model's own size, the solver at full size."""

from __future__ import annotations

import pytest
import torch
from painters import disc, picture, small_painter

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.errors import UserError
from implicitkit.images.filling import fill_holes
from implicitkit_sair.inpainting import painting
from implicitkit_sair.inpainting.painting import blend, grow, inpaint
from implicitkit_sair.inpainting.surroundings import REACH, _near_holes, crops_around, paint_crop, trained_view


def at_the_solver(patch: int = 32, whole: bool = False) -> ik.ImplicitModel:
    decoder = {"name": "liif", "hidden": [8], "skip": "harmonic"}
    model = ik.create_model(
        {"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder, "inputs": ["image", "mask"]}
    ).eval()
    model.training_summary = {"data": {"patch": patch, "whole": whole}}
    return model


def test_every_missing_pixel_is_in_one_crop() -> None:
    hole = torch.rand(150, 210, generator=seeded(0)) < 0.01
    hole[40:90, 100:160] = True
    owned = torch.zeros(150, 210, dtype=torch.int)
    for crop in crops_around(hole, 48):
        assert crop.own.shape == owned[crop.window].shape and min(crop.own.shape) >= 48
        owned[crop.window] += crop.own
    assert torch.equal(owned, hole.int())


def test_a_large_hole_has_half_of_its_size_around_it() -> None:
    hole = torch.zeros(400, 400, dtype=torch.bool)
    hole[150:250, 180:230] = True
    (crop,) = crops_around(hole, 32)
    assert (crop.rows, crop.columns) == (slice(100, 300), slice(105, 305))


@pytest.mark.parametrize("whole", [False, True])
def test_a_new_model_is_the_solver_at_any_size(whole: bool) -> None:
    clean = picture(90, 120)
    mask = torch.zeros(1, 90, 120)
    mask[:, 20:30, 30:60] = mask[:, 70:74, 100:120] = 1
    solved = fill_holes(clean[None], mask[None], "harmonic")[0]
    model = at_the_solver(whole=whole)
    painted = inpaint(model, clean, mask)
    assert torch.allclose(painted, solved, atol=5e-3)  # a crop does not see everything
    assert torch.equal(torch.where(mask > 0.5, 0.0, painted), torch.where(mask > 0.5, 0.0, clean))
    assert torch.allclose(inpaint(model, torch.stack([clean, clean]), mask)[1], painted, atol=1e-6)


def test_a_crop_is_seen_at_the_trained_size() -> None:
    model, seen = at_the_solver(patch=32, whole=True), []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[2:])))
    inpaint(model, picture(64, 128), disc(64, 128))
    assert seen == [(16, 32)]
    inpaint(model, picture(64, 128), disc(64, 128), view=0)
    assert seen[1] == (64, 128)
    assert trained_view(model) == (32, True) and trained_view(small_painter()) == (None, False)


def test_a_model_without_a_solver_is_enlarged_as_it_is() -> None:
    model = small_painter()
    values = paint_crop(model, picture(60, 60), disc(60, 60), 20)
    assert values.shape == (3, 60, 60) and bool(values.isfinite().all())


def test_a_shrunk_crop_is_painted_as_the_field_renders_it() -> None:
    model, clean, mask = small_painter(), picture(60, 40), disc(60, 40)
    field = model.encode(clean, mask)
    near = _near_holes(field, mask)
    assert torch.allclose(torch.where(mask > 0.5, near, 0), field.render((60, 40), clamp=False) * mask, atol=1e-5)
    assert bool((near[:, :10] == 0).all())


def test_a_large_picture_costs_what_its_hole_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = small_painter(), []
    model.training_summary = {"data": {"patch": 16, "whole": True}}
    monkeypatch.setattr(painting, "paint_crop", lambda m, part, k, view, **how: seen.append(part.shape[1:]) or part + 1)
    mask = torch.zeros(1, 150, 200)
    mask[:, 60:66, 70:75] = 1
    for painter in (model, "biharmonic"):
        whole = inpaint(painter, picture(150, 200), mask)
        assert torch.equal(torch.where(mask > 0.5, 0, whole), torch.where(mask > 0.5, 0, picture(150, 200)))
    assert seen == [(REACH * 16, REACH * 16)]


def test_a_solver_in_crops_is_the_solver_of_the_whole() -> None:
    clean, mask = picture(300, 700), torch.zeros(1, 300, 700)
    mask[:, 20:30, 40:60] = mask[:, 200:204, 600:650] = 1
    assert torch.allclose(
        inpaint("biharmonic", clean, mask), fill_holes(clean[None], mask[None], "biharmonic")[0], atol=1e-5
    )
    with pytest.raises(ValueError, match="the solvers are biharmonic, harmonic and patches; received 'telea'"):
        inpaint("telea", clean, mask)


def test_holes_grow_and_fade() -> None:
    clean, mask = picture(20, 20), torch.zeros(1, 20, 20)
    mask[:, 8:12, 8:12] = 1
    assert int(grow(mask > 0.5, 2).sum()) == 8 * 8 and grow(mask > 0.5, 0).sum() == 16
    mixed = blend(clean, torch.ones_like(clean), mask > 0.5, feather=3)
    assert bool((mixed[:, 8:12, 8:12] == 1).all()) and torch.equal(mixed[:, :5], clean[:, :5])
    ramp = (mixed - clean)[0, 10, 4:9] / (1 - clean)[0, 10, 4:9]
    assert torch.allclose(ramp, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]), atol=1e-6)
    for wrong in ({"dilate": -1}, {"feather": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} is a number of pixels, at least 0; received -1"):
            inpaint(small_painter(), clean, mask, **wrong)


@pytest.mark.parametrize("view", [0, 24])
def test_the_mirrored_pictures_answer_is_averaged_in(view: int) -> None:
    clean, mask, model = picture(40, 56), disc(40, 56), small_painter()
    own = inpaint(model, clean, mask, view=view)
    other = inpaint(model, clean.flip(-1), mask.flip(-1), view=view).flip(-1)
    both = inpaint(model, clean, mask, view=view, mirror=True)
    assert not torch.allclose(own, other, atol=1e-4)
    assert torch.allclose(both, (own + other) / 2, atol=1e-6)
    assert torch.equal(inpaint("harmonic", clean, mask, mirror=True), inpaint("harmonic", clean, mask))


def test_a_model_of_another_task_is_refused() -> None:
    model = small_painter()
    model.training_summary = {"degradation": [{"name": "noise", "sigma": 25}]}
    with pytest.raises(UserError, match="was trained to undo noise, not to fill holes"):
        inpaint(model, picture(20, 20), disc(20, 20))
