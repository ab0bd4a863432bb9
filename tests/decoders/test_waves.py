"""Sines and cosines computed axis by axis give the waves that they give one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import implicitkit as ik
from implicitkit.decoders import lte, waves
from implicitkit.decoders.lte import LTE

LARGE = 3e-6  # of float32 sums in another order, where angles reach tens of turns


def model(**arguments: Any) -> ik.ImplicitModel:
    torch.manual_seed(2)
    encoder = ik.create_encoder("edsr", blocks=1, channels=8, res_scale=1.0)
    decoder = ik.create_decoder("lte", in_channels=8, hidden=[12], basis=10, **arguments)
    with torch.no_grad():
        decoder.frequency.weight.mul_(20)
    return ik.ImplicitModel(encoder, decoder).eval()


def both(monkeypatch: pytest.MonkeyPatch, field: ik.Field, *arguments: Any, **more: Any) -> tuple[torch.Tensor, ...]:
    """The grid with waves one by one, and axis by axis whatever it costs."""
    pictures = []
    for share in (0.0, float("inf")):
        monkeypatch.setattr(waves, "WORTH", share)
        pictures.append(field.render(*arguments, clamp=False, **more))
    return tuple(pictures)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(1, 23)] * 2), st.tuples(*[st.integers(1, 9)] * 2), st.integers(1, 3), st.booleans())
def test_any_size_and_batch(size: tuple[int, int], shown: tuple[int, int], batch: int, ensemble: bool) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        field = model(local_ensemble=ensemble).encode(torch.rand(batch, 3, *shown))
        expected, found = both(monkeypatch, field, size)
    torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


def test_a_box_tiles_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    field = model().encode(torch.rand(3, 40, 33), tile=16)
    expected, found = both(monkeypatch, field, (50, 61), (-0.7, -0.2, 0.4, 0.9), block=700)
    torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


def test_bfloat16_stays_as_close_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), torch.rand(3, 12, 12)
    exact = network.encode(picture).render((48, 48), clamp=False)
    errors = [
        (x - exact).square().mean().sqrt()
        for x in both(monkeypatch, network.encode(picture, precision="bfloat16"), (48, 48))
    ]
    assert 0 < errors[1] < 1.5 * errors[0]


def test_it_is_taken_where_it_pays_and_not_where_a_graph_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Watched(waves.GridWaves):
        def __init__(self, *arguments: Any) -> None:
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(lte, "GridWaves", Watched)
    network, picture = model(), torch.rand(3, 16, 16)
    network.encode(picture).render((16, 16))  # as many sines as one by one
    network.encode(picture)(torch.rand(50, 2), 0.1)
    network.encode(picture, grad=True).render((64, 64))
    assert not made
    network.encode(picture).render((64, 64))
    assert made


def test_a_subclass_with_a_network_of_its_own_is_asked_itself() -> None:
    class Doubled(LTE):
        def local(self, *arguments: Any) -> torch.Tensor:
            return 2 * super().local(*arguments)

    plain = model(skip="none")
    doubled = Doubled(8, hidden=[12], basis=10, skip="none")
    doubled.load_state_dict(plain.decoder.state_dict())
    picture = torch.rand(3, 9, 9)
    once = plain.encode(picture).render((40, 40), clamp=False) * 2 - 1
    twice = ik.ImplicitModel(plain.encoder, doubled).eval().encode(picture).render((40, 40), clamp=False) * 2 - 1
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=0)
