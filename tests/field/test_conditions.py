"""What a field of a model with conditions asks of them, and what it hands on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import implicitkit as ik
from oracles.models import Semantic, conditioned_model

pytestmark = pytest.mark.usefixtures("either_way")

EXACT = {"atol": 2e-6, "rtol": 0.0}  # float32 rounding of values of order 1


class Nested(Semantic):
    """A member that asks its condition while it prepares, where everything is batched."""

    def prepare(self, features, inputs, conditions):
        seen = conditions["semantic"].render(features.grid)
        assert len(seen) == len(features.map) == len(inputs.picture) and conditions["semantic"].image.ndim == 4
        return super().prepare(features, inputs, conditions)


def test_conditions_answer_as_their_field_does(photo: Tensor) -> None:
    """Unbatched for an unbatched picture, as a view that shares what was encoded; a decoder sees batches alone."""
    inner = conditioned_model()
    inner.decoder.output, inner.decoder.mix = "embedding", nn.Linear(14, 4)  # a condition with a condition
    model = ik.ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), Nested(), {"semantic": inner}).eval()
    calls: list[int] = []
    inner.encoder.register_forward_hook(lambda *_: calls.append(1))
    points = torch.rand(5, 2)
    one, batch = model.encode(photo), model.encode(photo[None])
    assert len(calls) == 2
    for field, leading in ((one, ()), (batch, (1,))):
        for read, width in (
            (field.conditions["semantic"], 4),
            (field.conditions["semantic"].conditions["semantic"], 4),
        ):
            assert read(points).shape == (*leading, 5, width) and read.render((3, 4)).shape == (*leading, width, 3, 4)
            assert read.image.shape == field.image.shape and read.batched == field.batched
    torch.testing.assert_close(one.conditions["semantic"](points), batch.conditions["semantic"](points)[0], **EXACT)
    alone = inner.encode(photo)
    torch.testing.assert_close(one.conditions["semantic"](points), alone(points), **EXACT)
    again = model.encode(photo, conditions=one.conditions)  # what one gets can be given
    assert len(calls) == 3 and torch.equal(again(points), one(points))
    with pytest.raises(ValueError, match="the condition 'semantic' is of 1 pictures, the image of 2"):
        model.encode(torch.stack([photo, photo]), conditions=one.conditions)


class Prepared(Semantic):
    """A member that reads its condition in ``prepare`` alone."""

    queried = ()

    def prepare(self, features, inputs, conditions):
        seen = conditions["semantic"].render(features.grid, clamp=False)
        return self.lay_out(features, torch.cat([features.map, seen], dim=1))

    def at_point(self, cell, conditions):
        assert conditions == {}
        return None

    def local(self, rows, offset, cell, point):
        return self.mix(torch.cat([rows[:, :8], offset, rows[:, 8:]], dim=-1))


def test_a_condition_that_is_not_queried_is_not_evaluated_at_the_points(
    photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    semantic = conditioned_model().conditions["semantic"]
    model = ik.ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), Prepared(), {"semantic": semantic})
    asked: list[int] = []
    finish = semantic.decoder.finish  # called by a kernel as well
    monkeypatch.setattr(semantic.decoder, "finish", lambda *a: asked.append(1) or finish(*a))
    field, points = model.encode(photo), torch.rand(7, 2)
    prepared = len(asked)
    assert prepared > 0
    field(points), field.render((9, 8))
    assert len(asked) == prepared

    everything = field.predict(points)
    assert len(asked) == prepared + 1
    torch.testing.assert_close(everything.conditions["semantic"][0], semantic.encode(photo)(points), **EXACT)
    asked.clear()
    nothing = field.predict(points, wanted=())
    assert nothing.conditions == {} and torch.equal(nothing.values, everything.values) and not asked
    loss = model(photo[None], points[None]).conditions["semantic"].sum()  # what a loss on a condition reads
    loss.backward()
    assert all(p.grad is not None for p in semantic.decoder.parameters())
    assert model(photo[None], points[None], wanted=()).conditions == {}
    with pytest.raises(ValueError, match=r"wanted are \['meaning'\]; the model reads \['semantic'\]"):
        field.predict(points, wanted=["meaning"])


def test_only_what_is_declared_can_be_queried() -> None:
    class Wrong(Semantic):
        conditions = ()
        queried = ("semantic",)

    with pytest.raises(ValueError, match=r"Wrong queries \['semantic'\], but declares the conditions none"):
        ik.ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), Wrong())
