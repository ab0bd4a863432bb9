"""Validation while training: the protocol over the pictures that are held out."""

from __future__ import annotations

import math

import pytest
import torch

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.degradations.base import seeded
from implicitkit.losses import WeightedLoss
from implicitkit.metrics import psnr_y
from implicitkit.training.validation import Validator, as_colours, at_scales, centre
from oracles import PHOTOS
from oracles.models import small_model

FILES = [PHOTOS / "chelsea.png", PHOTOS / "coffee.png"]


def validator(degradation: object, model: dict[str, object], **validation: object) -> Validator:
    settings = {"model": model, "data": {"folders": [str(PHOTOS)]}, "degradation": degradation, "steps": 1}
    config = validate(TrainConfig, {**settings, "output": "x", "validation": {"max_size": 48, **validation}}, "test")
    return Validator(FILES, config, WeightedLoss([{"name": "l1"}]))


def test_the_score_is_the_luma_on_whole_pictures() -> None:
    model = small_model(skip="bilinear")
    result = validator("super_resolution", model.spec, scales=[2, 3])(model)
    assert result.best == "psnr" and list(result.scores["psnr"]) == ["x2", "x3"]
    expected = []
    for k, file in enumerate(FILES):
        clean = centre(ik.read_image(file), 48)
        seen = ik.create_degradation({"name": "super_resolution", "scale": 3})(clean, generator=seeded(k))
        expected.append(psnr_y(model.encode(seen.image).render((48, 48)), seen.reference, shave=3))
    assert result.scores["psnr"]["x3"] == pytest.approx(sum(expected) / 2, abs=1e-6)
    assert result.picture.shape == (3, 48, 3 * 48)
    assert torch.equal(result.picture[:, :, 96:], centre(ik.read_image(FILES[0]), 48))


def test_an_embedding_is_scored_by_its_loss() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 3}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}}).eval()
    result = validator({"name": "noise", "sigma": 5}, model.spec)(model)
    assert result.best == "loss" and list(result.scores["loss"]) == ["all"] and math.isfinite(result.means["loss"])
    assert result.picture.shape == (3, 48, 3 * 48)


def test_a_picture_that_is_too_small_is_named() -> None:
    with pytest.raises(ik.DataError, match=r"chelsea\.png \(8×8 pixels\) is too small to validate on at scale 4"):
        validator("super_resolution", small_model().spec, max_size=8, scales=[4])


def test_every_task_fixes_one_scale() -> None:
    chain = [{"name": "super_resolution", "scale": [1, 4]}, {"name": "noise", "sigma": 5}]
    assert [(label, scale) for label, (scale, _) in at_scales(chain, [2, 4]).items()] == [("x2", 2), ("x4", 4)]
    assert list(at_scales({"name": "noise"}, [2, 4])) == ["all"]


def test_colours_fill_the_range() -> None:
    picture = as_colours(torch.rand(7, 5, 6))
    assert picture.shape == (3, 5, 6) and float(picture.min()) == 0 and float(picture.max()) == pytest.approx(1)


def test_options_of_the_questions() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "linf", "width": 8, "depth": 1}}).eval()
    each = [
        validator("super_resolution", model.spec, scales=[2], options=options)(model).scores["x2"]
        for options in ({}, {"temperature": 0.8}, {"temperature": 0.8, "seed": 1})
    ]
    assert len(set(each)) == 3
