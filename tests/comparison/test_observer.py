"""Watching a model while a protocol scores it."""

from __future__ import annotations

import gc
import math
import weakref

import numpy as np
import torch
from support import small_model

from implicitkit.comparison.observer import Kept, Observer
from implicitkit.images.io import to_pixels


def test_a_watched_model_answers_as_before_and_is_itself_again() -> None:
    model, image = small_model(), torch.rand(3, 12, 14)
    before = model.encode(image).render((24, 28))
    observer = Observer(model)
    with observer.watching():
        field = model.encode(image)
        assert torch.equal(field.render((24, 28)), before)
        field.render((3, 3))  # a second look at the same field counts no second time
        model.encode(image, tile=8, precision="float32").render((6, 6))
    assert "encode" not in vars(model) and torch.equal(model.encode(image).render((24, 28)), before)
    assert len(observer.seconds) == 2 and all(s > 0 for s in observer.seconds)
    assert observer.first is not None and observer.first.size == (24, 28) and observer.first.mask is None


def test_a_field_that_nobody_holds_is_freed_at_once() -> None:
    model = small_model()
    gc.disable()  # a cycle would keep its features until the collector comes by
    try:
        with Observer(model).watching():
            field = model.encode(torch.rand(3, 8, 8))
            field.render((8, 8))
            alive = weakref.ref(field)
            del field
            assert alive() is None
    finally:
        gc.enable()


def test_kept_pictures_have_a_number() -> None:
    model, image, truth = small_model(), torch.rand(3, 6, 7), torch.rand(3, 12, 14)
    observer = Observer(model, keep=True)
    metric = Kept(observer)
    with observer.watching():
        assert math.isnan(metric(truth, truth))  # the trivial method's: the model has not been asked
        prediction = model.encode(image).render((12, 14))
        assert metric(prediction, truth) == 0
        assert math.isnan(metric(truth, truth))  # that of the next picture
        model.encode(image).render((12, 14))
        assert metric(prediction, truth) == 1
    shown = observer.shown[0]
    assert np.array_equal(shown.seen, to_pixels(image)) and shown.full == (12, 14)
    assert np.array_equal(shown.prediction, to_pixels(prediction)) and np.array_equal(shown.truth, to_pixels(truth))


def test_there_is_a_limit_to_what_is_kept(monkeypatch) -> None:
    monkeypatch.setattr("implicitkit.comparison.observer.LIMIT", 1200)
    truth, found = torch.rand(3, 10, 10), []
    for keep in (True, False):
        observer = Observer(small_model(), keep=keep)
        with observer.watching():
            for _ in range(4):
                observer.model.encode(truth).render((10, 10))
                found.append(observer.see(truth, truth))  # 900 bytes each: there is room for two
    assert found[:2] == [0, 1] and all(map(math.isnan, found[2:])) and observer.shown == []
