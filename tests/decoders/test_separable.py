"""What is computed axis by axis on a grid is what it is one by one: LTE's waves, LIIF's first sums."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import implicitkit as ik
from implicitkit.decoders import liif, local_ensemble, lte, separable
from implicitkit.decoders.lte import LTE

pytestmark = pytest.mark.usefixtures("plain_path")

LARGE = 3e-6  # of float32 sums in another order, where angles reach tens of turns


NAMES = ("liif", "lte")


def model(name: str, **arguments: Any) -> ik.ImplicitModel:
    torch.manual_seed(2)
    encoder = ik.create_encoder("edsr", blocks=1, channels=8, res_scale=1.0)
    if name == "liif":
        decoder = ik.create_decoder("liif", in_channels=8, hidden=[12, 11], skip="bilinear", **arguments)
    else:
        decoder = ik.create_decoder("lte", in_channels=8, hidden=[12], basis=10, **arguments)
        with torch.no_grad():
            decoder.frequency.weight.mul_(20)
    return ik.ImplicitModel(encoder, decoder).eval()


def both(monkeypatch: pytest.MonkeyPatch, field: ik.Field, *arguments: Any, **more: Any) -> tuple[torch.Tensor, ...]:
    """The grid with neighbours one by one, and axis by axis whatever it costs."""
    pictures = []
    for share in (0.0, float("inf")):
        monkeypatch.setattr(separable, "WORTH", share)
        pictures.append(field.render(*arguments, clamp=False, **more))
    return tuple(pictures)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.tuples(*[st.integers(1, 23)] * 2),
    st.tuples(*[st.integers(1, 9)] * 2),
    st.integers(1, 3),
    st.booleans(),
)
def test_any_size_and_batch(
    name: str, size: tuple[int, int], shown: tuple[int, int], batch: int, ensemble: bool
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        field = model(name, local_ensemble=ensemble).encode(torch.rand(batch, 3, *shown))
        expected, found = both(monkeypatch, field, size)
    torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_box_tiles_and_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    field = model(name).encode(torch.rand(3, 40, 33), tile=16)
    expected, found = both(monkeypatch, field, (50, 61), (-0.7, -0.2, 0.4, 0.9), block=700)
    torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


def test_rows_wider_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ensemble, "CPU_CACHE", 4 * 12 * 30)
    field = model("liif").encode(torch.rand(2, 3, 9, 11))
    expected, found = both(monkeypatch, field, (40, 47))
    torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


def test_without_cells_or_hidden_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ({"hidden": [7], "cell_decode": False}, {"hidden": []}, {"hidden": [], "feat_unfold": False}):
        network = ik.ImplicitModel(model("liif").encoder, ik.create_decoder("liif", in_channels=8, **arguments)).eval()
        expected, found = both(monkeypatch, network.encode(torch.rand(3, 9, 11)), (40, 47))
        torch.testing.assert_close(found, expected, atol=LARGE, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_stays_as_close_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(name), torch.rand(3, 12, 12)
    exact = network.encode(picture).render((48, 48), clamp=False)
    errors = [
        (x - exact).square().mean().sqrt()
        for x in both(monkeypatch, network.encode(picture, precision="bfloat16"), (48, 48))
    ]
    assert 0 < errors[1] < 1.5 * errors[0]


@pytest.mark.parametrize(("name", "room", "what"), [("liif", liif, "GridSums"), ("lte", lte, "GridWaves")])
def test_it_is_taken_where_it_pays_and_not_where_a_graph_is_kept(
    name: str, room: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    usual = getattr(separable, what)

    def watched(*arguments: Any) -> Any:
        made.append(usual(*arguments))
        return made[-1]

    monkeypatch.setattr(room, what, watched)
    network, picture = model(name), torch.rand(3, 16, 16)
    network.encode(picture).render((6, 6))  # more entries than one by one
    network.encode(picture)(torch.rand(50, 2), 0.1)
    network.encode(picture, grad=True).render((64, 64))
    assert not made
    network.encode(picture).render((64, 64))
    assert made


def test_a_subclass_with_a_network_of_its_own_is_asked_itself() -> None:
    class Doubled(LTE):
        def local(self, *arguments: Any) -> torch.Tensor:
            return 2 * super().local(*arguments)

    plain = model("lte", skip="none")
    doubled = Doubled(8, hidden=[12], basis=10, skip="none")
    doubled.load_state_dict(plain.decoder.state_dict())
    picture = torch.rand(3, 9, 9)
    once = plain.encode(picture).render((40, 40), clamp=False) * 2 - 1
    twice = ik.ImplicitModel(plain.encoder, doubled).eval().encode(picture).render((40, 40), clamp=False) * 2 - 1
    torch.testing.assert_close(twice, 2 * once, atol=1e-5, rtol=0)


def test_another_activation_or_a_hook_is_honoured() -> None:
    network, picture = model("liif"), torch.rand(3, 9, 9)
    field = network.encode(picture)
    called: list[object] = []
    handle = network.decoder.rest.register_forward_hook(lambda *_: called.append(1))
    field.render((40, 40))
    assert called
    handle.remove()
    network.decoder.rest[0] = torch.nn.GELU()
    with_graph = network.encode(picture, grad=True).render((40, 40), clamp=False).detach()
    torch.testing.assert_close(network.encode(picture).render((40, 40), clamp=False), with_graph, atol=LARGE, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_encoded_and_rendered_under_different_precisions(name: str, dtype: torch.dtype) -> None:
    network, picture = model(name), torch.rand(3, 9, 9)
    exact = network.encode(picture).render((40, 40), clamp=False)
    with torch.autocast("cpu", dtype=dtype):
        low = network.encode(picture)
    torch.testing.assert_close(low.render((40, 40), clamp=False), exact, atol=2e-2, rtol=0)
    high = network.encode(picture)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(high.render((40, 40), clamp=False), exact, atol=2e-2, rtol=0)


def test_large_tables_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separable, "LARGEST", 1000)
    monkeypatch.setattr(liif, "GridSums", None)  # would fail if it were called
    model("liif").encode(torch.rand(3, 9, 9)).render((40, 40))
