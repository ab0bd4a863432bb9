"""What a model was trained for, and what it is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import implicitkit as ik
from implicitkit.create import fitness
from implicitkit.create.fitness import Request, Training, judge
from implicitkit.create.notes import summarise
from implicitkit.images.io import read_picture
from oracles import PHOTOS
from oracles.models import small_model

CLEAN = Training((1.2, 4.0))
ROBUST = Training((1.0, 8.0), noise=25.0, quality=40)


@pytest.mark.parametrize(
    ("request_", "clean", "robust"),
    [
        (Request(4.0), True, True),
        (Request(1.0), True, True),  # between the trained scales and no magnification
        (Request(4.03), True, True),  # rounded to whole pixels
        (Request(4.2), False, True),
        (Request(0.5), False, False),
        (Request(2.0, noise=9.0), True, True),  # a photograph's own texture
        (Request(2.0, noise=15.0), False, True),
        (Request(2.0, noise=50.0), False, False),
        (Request(2.0, quality=90), True, True),
        (Request(2.0, quality=75), False, True),
        (Request(2.0, quality=20), False, False),
    ],
)
def test_what_a_training_covers(request_: Request, clean: bool, robust: bool) -> None:
    assert (CLEAN.covers(request_), ROBUST.covers(request_)) == (clean, robust)
    assert Training().covers_scale(request_)  # not stated


def test_a_training_is_read_from_its_summary() -> None:
    steps = ["blur", {"name": "noise", "sigma": 10}, {"name": "noise"}, {"name": "jpeg", "quality": [30, 95]}]
    assert Training.of((1, 4), {"degradation": steps}) == Training((1.0, 4.0), 25.0, 30.0, enlarges=False)
    assert Training.of(None, {}) == Training()


@pytest.fixture
def model() -> ik.ImplicitModel:
    built = small_model()
    built.scales = (1.2, 4.0)
    return built


def test_what_goes_beyond_is_said_with_a_model_that_fits(model, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Request(6.0, noise=15.3, quality=60)
    monkeypatch.setattr(fitness, "pretrained", lambda: iter([("mine", CLEAN)]))
    assert summarise(judge(model, "mine", "a.jpg", request)) == [
        "note: a.jpg: magnified ×6; mine was trained for ×1.2 to ×4; no model here was trained for it",
        "note: a.jpg: noise of sigma 15.3 (of 255); mine was trained on pictures without noise; no model here was "
        "trained for it",
        "note: a.jpg: JPEG of quality 60; mine was trained on pictures without such compression and sharpens its "
        "blocks; no model here was trained for it",
    ]
    monkeypatch.setattr(fitness, "pretrained", lambda: iter([("mine", CLEAN), ("robust", ROBUST)]))
    assert all(note.so.endswith("--model robust was trained for it") for note in judge(model, "mine", "a", request))
    assert judge(model, "mine", "a", Request(3.0)) == []


def test_of_none_that_fits_the_nearest_is_named(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "pretrained", lambda: iter([("mine", CLEAN), ("robust", ROBUST)]))
    for request in (Request(2.0, quality=20), Request(2.0, noise=60)):
        (note,) = judge(model, "mine", "a.jpg", request)
        assert note.so.endswith("--model robust fits better, though it was not trained for as much")
    (note,) = judge(model, "mine", "a.jpg", Request(0.5))
    assert summarise([note]) == [
        "note: a.jpg: shrunk to ×0.5; mine was trained for ×1.2 to ×4 and reads points, no means of pixels; what shrinks "
        "pictures fits better"
    ]
    (note,) = judge(model, "mine", "a.jpg", Request(90.0))  # beyond both
    assert note.so.endswith("no model here was trained for it")


def test_the_models_in_the_box_say_what_they_were_trained_on() -> None:
    assert dict(fitness.pretrained())["liif_small"] == Training((1.2, 4.0))


def test_a_request_is_measured_on_the_picture(tmp_path: Path) -> None:
    photo = read_picture(PHOTOS / "chelsea.png").pixels[:200, :300]
    noise = np.random.default_rng(0).normal(0, 20, photo.shape)
    Image.fromarray((photo + noise).clip(0, 255).astype(np.uint8)).save(tmp_path / "noisy.png")
    Image.fromarray(photo).save(tmp_path / "q60.jpg", quality=60)
    noisy, compressed = tmp_path / "noisy.png", tmp_path / "q60.jpg"
    request = Request.of(noisy, read_picture(noisy), (400, 600))
    assert request.scale == 2 and 15 < request.noise < 25 and request.quality is None
    request = Request.of(compressed, read_picture(compressed), (300, 450))
    assert request.scale == 1.5 and request.noise < 5 and request.quality == 60
