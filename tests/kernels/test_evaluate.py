"""When a kernel serves, and when the decoder is asked itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

import implicitkit as ik
from implicitkit import kernels
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.mlp import MLP
from implicitkit.field import sampler
from implicitkit.kernels.pool import MAX_WORKERS
from oracles.kernel import apart, both, needs_compiler
from oracles.models import made, small_model

SAME = 2e-6  # of the largest value: rounding of 24 bits

pytestmark = needs_compiler


def test_points_that_serve_every_picture(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("liif", "paper")
    latent = model.encode(torch.rand(3, 3, 5, 6))._latents.whole
    coords, cell = torch.rand(1, 40, 2) * 2 - 1, torch.full((1, 1, 2), 0.1)
    with torch.no_grad():
        expected, found = both(lambda: kernels.query(model.decoder, latent, coords, cell, {}))
    assert ran and apart(found, expected) <= SAME


class Doubled(LIIF):
    def local(self, *arguments: Any) -> torch.Tensor:
        return 2 * super().local(*arguments)


def own_network(model: ik.ImplicitModel) -> ik.ImplicitModel:
    return ik.ImplicitModel(model.encoder, Doubled(8, hidden=[24])).eval()


def hooked(model: ik.ImplicitModel) -> ik.ImplicitModel:
    model.decoder.rest[1].register_forward_hook(lambda module, inputs, output: output + 1)
    return model


def hooked_whole(model: ik.ImplicitModel) -> ik.ImplicitModel:
    model.decoder.rest.register_forward_hook(lambda module, inputs, output: output + 1)
    return model


def other_layers(*layers: nn.Module) -> Callable[[ik.ImplicitModel], ik.ImplicitModel]:
    def change(model: ik.ImplicitModel) -> ik.ImplicitModel:
        model.decoder.rest = MLP(*layers)
        return model

    return change


@pytest.mark.parametrize(
    "change",
    [
        own_network,
        hooked,
        hooked_whole,
        other_layers(nn.ReLU(), nn.Linear(24, 8), nn.GELU(), nn.Linear(8, 3)),
        other_layers(nn.ReLU(), nn.Linear(24, 8), nn.Linear(8, 3)),
        other_layers(nn.ReLU(), nn.Linear(24, 3), nn.ReLU()),
        other_layers(nn.ReLU(), nn.LayerNorm(24), nn.Linear(24, 3)),
    ],
    ids=["a subclass", "a hook", "a hook on all", "gelu", "two in a row", "a ReLU last", "a norm"],
)
def test_what_it_does_not_know_takes_the_plain_path(
    change: Callable[[ik.ImplicitModel], ik.ImplicitModel], ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, picture = change(made("liif", "paper")), torch.rand(3, 4, 4)
    expected, found = both(lambda: model.encode(picture).render((7, 7), clamp=False))
    assert not ran and torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of vmap itself
def test_who_looks_on_or_wants_a_graph_gets_the_plain_path(ran: list[str]) -> None:
    model, picture, coords = made("liif", "paper"), torch.rand(3, 5, 5), torch.rand(9, 2)
    field = model.encode(picture)
    with FlopCounterMode(display=False) as counter:
        field(coords, 0.1)
    assert counter.get_total_flops() > 0
    model.encode(picture, grad=True)(coords, 0.1).sum().backward()
    assert model.decoder.rest[1].weight.grad is not None
    field(coords, torch.rand(9, 2) / 9)  # a cell for each point
    with torch.autocast("cpu", dtype=torch.float16):
        field(coords, 0.1)
    with torch.autograd.forward_ad.dual_level():
        twin = torch.autograd.forward_ad.make_dual(coords, torch.ones_like(coords))
        model.encode(picture, grad=True)(twin, 0.1)
    torch.func.vmap(lambda points: field(points, 0.1))(coords[None])
    assert not ran
    with torch.no_grad():
        assert kernels.runs_in_large_blocks(model.decoder, picture, None)
        for narrow in (
            model.double(),
            model.bfloat16(),
        ):  # the latter is multiplied in float32 by some, without autocast
            assert not kernels.runs_in_large_blocks(narrow.decoder, picture, None)


def test_blocks_are_large_where_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("liif", "paper")
    one, batch = model.encode(torch.rand(3, 5, 5))._sampler, model.encode(torch.rand(4, 3, 5, 5))._sampler
    monkeypatch.setattr(sampler, "free_memory", lambda device: 10**15)
    large = sampler.CPU_KERNEL_BLOCK * torch.get_num_threads()  # so that a block takes as long on any number of them
    with torch.no_grad():
        assert one.block(None) == one.block(torch.zeros(1, 1, 2)) == large and batch.block(None) == large // 4
        plain = sampler.CPU_BLOCK * min(torch.get_num_threads(), MAX_WORKERS)
        assert one.block(torch.zeros(1, 5, 2)) == batch.block(torch.zeros(4, 1, 2)) == plain


def hooked(modules: Sequence[nn.Module]) -> tuple[list[str], list[Any]]:
    """What the hooks of ``modules`` have seen, and their handles."""
    seen: list[str] = []

    def note(module: nn.Module, given: Any, result: Any) -> None:
        seen.append(type(module).__name__)

    return seen, [module.register_forward_hook(note) for module in modules]


@pytest.mark.parametrize("name", ["liif", "lte", "lte_plus", "metasr", "lmf", "linf", "thera", "srno"])
def test_hooks_fire_on_the_model_its_encoder_its_decoder_and_every_layer(name: str) -> None:
    """With them the decoder takes the plain path, and the values stay."""
    if name not in ik.list_decoders():
        pytest.skip(f"there is no {name}")
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": name}).eval()
    picture = torch.rand(3, 9, 8)
    expected = model.encode(picture).render((15, 13), clamp=False)
    points = torch.rand(5, 2) - 0.5
    at_points = model.encode(picture)(points, 0.1)
    seen, handles = hooked([model, model.encoder, model.decoder])
    field = model.encode(picture)
    assert seen == ["EDSR", "ImplicitModel"]
    torch.testing.assert_close(field.render((15, 13), clamp=False), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(field(points, 0.1), at_points, atol=1e-5, rtol=1e-5)
    assert set(seen[2:]) == {type(model.decoder).__name__}
    for handle in handles:
        handle.remove()
    layers = [m for m in model.decoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if name in ("metasr", "lmf"):  # one of their layers is computed in parts, docs/concepts.md
        layers.remove(model.decoder.matrix if name == "metasr" else model.decoder.first)
    for layer in layers:
        seen, (handle,) = hooked([layer])
        values = model.encode(picture).render((15, 13), clamp=False)
        assert seen, layer
        torch.testing.assert_close(values, expected, atol=2e-5, rtol=1e-5)
        handle.remove()
    torch.testing.assert_close(model.encode(picture).render((15, 13), clamp=False), expected)


@pytest.mark.parametrize("width", [24, 72])  # 72: as many as the first layer's neighbourhoods have numbers
def test_a_hook_that_comes_or_goes_after_encoding(width: int) -> None:
    decoder = {"name": "liif", "hidden": [width, 8]}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": decoder}).eval()
    picture = torch.rand(3, 9, 8)
    before = model.encode(picture)
    expected = before.render((15, 13), clamp=False)
    _, (handle,) = hooked([model.decoder.first])
    during = model.encode(picture)
    torch.testing.assert_close(before.render((15, 13), clamp=False), expected, atol=1e-5, rtol=1e-5)
    handle.remove()
    torch.testing.assert_close(during.render((15, 13), clamp=False), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["liif", "lte", "metasr", "lmf"])
def test_pruned_layers_stay_pruned_through_training(name: str) -> None:
    """Pruning masks a weight in a hook before each call; the values are those of the masked weights, on any path."""
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": name})
    layers = [m for m in model.decoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        prune.l1_unstructured(layer, "weight", amount=0.5)
    picture, coords = torch.rand(1, 3, 9, 8), torch.rand(1, 40, 2) - 0.5
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(picture, coords, torch.full((1, 1, 2), 0.1)).values.sum().backward()
    optimiser.step()
    pruned = model.eval().encode(picture).render((15, 13), clamp=False)
    for layer in layers:
        prune.remove(layer, "weight")
        assert float((layer.weight == 0).double().mean()) >= 0.49
    torch.testing.assert_close(model.encode(picture).render((15, 13), clamp=False), pruned, atol=1e-4, rtol=1e-4)


def test_hooks_of_all_modules_fire() -> None:
    """As profilers register them."""
    model = small_model()
    seen: list[str] = []
    handle = register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        model.encode(torch.rand(3, 9, 8)).render((15, 13))
    finally:
        handle.remove()
    assert {"ImplicitModel", "EDSR", "LIIF", "Conv2d", "Linear", "ReLU"} <= set(seen)


def test_a_decoder_that_was_compiled_in_place_is_called() -> None:
    model, picture = small_model(), torch.rand(3, 8, 8)
    expected, calls = model.encode(picture).render((12, 12)), []

    def compiled(*arguments):  # what decoder.compile() sets; the compiler itself takes half a minute
        calls.append(arguments)
        return model.decoder._call_impl(*arguments)

    model.decoder._compiled_call_impl = compiled
    torch.testing.assert_close(model.encode(picture).render((12, 12)), expected, atol=1e-5, rtol=1e-5)
    assert calls
