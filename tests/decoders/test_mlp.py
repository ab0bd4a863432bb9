"""The fused evaluation equals the layers one after the other."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import implicitkit as ik
from implicitkit.decoders import local_ensemble
from implicitkit.decoders.mlp import MLP, has_product
from oracles.reduced import DECODERS, ENCODERS


def one_by_one(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in layers:
        x = F.linear(x, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else x.clamp(min=0)
    return x


SHAPES = {
    "liif": [nn.ReLU(inplace=True), nn.Linear(16, 24), nn.ReLU(inplace=True), nn.Linear(24, 3)],
    "lte": [nn.Linear(16, 24), nn.ReLU(inplace=True), nn.Linear(24, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)],
    "no bias": [nn.Linear(16, 24, bias=False), nn.ReLU(), nn.Linear(24, 3, bias=False)],
    "one layer": [nn.Linear(16, 3)],
    "ends in a relu": [nn.Linear(16, 3), nn.ReLU()],
    "empty": [],
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("points", [0, 1, 37])
def test_values_are_those_of_the_layers(name: str, points: int) -> None:
    layers, x = MLP(*SHAPES[name]), torch.randn(points, 16)
    expected = one_by_one(layers, x)
    with torch.no_grad():
        torch.testing.assert_close(layers(x.clone()), expected)
    torch.testing.assert_close(layers(x.clone()), expected)


@pytest.mark.parametrize("name", SHAPES)
def test_bfloat16_is_autocasts(name: str) -> None:
    layers, x = MLP(*SHAPES[name]), torch.randn(37, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = layers(x.clone()), nn.Sequential(*layers)(x.clone())
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0.02)  # 8 bits of a value, rounded at other moments


def test_gradients_flow_where_they_are_wanted() -> None:
    layers = MLP(*SHAPES["liif"])
    layers(torch.randn(5, 16)).sum().backward()
    assert all(p.grad is not None for p in layers.parameters())


def test_other_number_formats_go_the_plain_way() -> None:
    assert not has_product(torch.float64) and not has_product(torch.float16)
    layers, x = MLP(*SHAPES["lte"]).double(), torch.randn(4, 16).double()
    with torch.no_grad():
        torch.testing.assert_close(layers(x), one_by_one(layers, x))


@pytest.mark.parametrize(("decoder", "batch"), [*itertools.product(["liif", "lte", "lmf"], [1, 3])])
def test_the_result_does_not_depend_on_how_many_points_are_evaluated_at_a_time(
    decoder: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ik.create_model({"encoder": ENCODERS["edsr"], "decoder": DECODERS[decoder]}).eval()
    picture = torch.rand(batch, 3, 8, 9)
    points, cells = torch.rand(batch, 70, 2) * 2 - 1, torch.rand(batch, 70, 2) * 0.2
    field = model.encode(picture)
    expected = field(points, cells), field(points, 0.1), field.render((13, 11))
    for size in (1, 4 * 16 * batch * 9, 1 << 30):
        monkeypatch.setattr(local_ensemble, "CACHE_BYTES", size)
        for ours, whole in zip(
            (field(points, cells), field(points, 0.1), field.render((13, 11))), expected, strict=True
        ):
            torch.testing.assert_close(ours, whole, atol=2e-6, rtol=0)


def test_multiplications_are_counted_as_those_of_the_layers() -> None:
    layers = MLP(*SHAPES["liif"])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layers(torch.randn(7, 16))
    assert counter.get_total_flops() == 2 * 7 * (16 * 24 + 24 * 3)


def test_weights_that_were_lent_are_those_that_count() -> None:
    layers, x = MLP(*SHAPES["lte"]), torch.randn(9, 16)
    lent = {name: torch.randn_like(p) for name, p in layers.named_parameters()}
    with torch.no_grad():
        own = layers(x.clone())
        torch.testing.assert_close(layers(x.clone()), own)
        others = torch.func.functional_call(layers, lent, (x.clone(),))
        layers.load_state_dict(lent)
    with torch.no_grad():
        torch.testing.assert_close(others, layers(x))


@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_a_decoder_compiles_in_one_piece(decoder: str) -> None:
    model = ik.create_model({"encoder": ENCODERS["edsr"], "decoder": DECODERS[decoder]}).eval()
    latent = model.encode(torch.rand(3, 8, 9))._latents.whole
    asked = latent, torch.rand(1, 20, 2), torch.full((1, 1, 2), 0.1), {}
    with torch.no_grad():
        compiled = torch.compile(model.decoder.query, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*asked), model.decoder.query(*asked))


def gradients(call, layers: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Of everything, and of the gradient's own size with respect to everything."""
    x = x.clone().requires_grad_()
    wanted = [x, *layers.parameters()]
    loss = call(x).float().square().sum()
    first = torch.autograd.grad(loss, wanted, create_graph=True, allow_unused=True)
    size = sum(g.float().square().sum() for g in first if g is not None)
    second = torch.autograd.grad(size, wanted, allow_unused=True) if size.requires_grad else ()
    plain = torch.autograd.grad(call(x).float().square().sum(), wanted, allow_unused=True)
    return [g.detach() for g in (*first, *second, *plain) if g is not None]


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "empty"])
def test_gradients_are_those_of_the_layers_once_and_twice(name: str) -> None:
    torch.manual_seed(3)
    layers, x = copy.deepcopy(MLP(*SHAPES[name])).float(), torch.randn(37, 16)
    expected = gradients(lambda x: one_by_one(layers, x), layers, x)
    found = gradients(lambda x: layers(x * 1), layers, x)  # its ReLU may work in place
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=1e-5)


def test_gradients_under_autocast_are_bfloat16s() -> None:
    torch.manual_seed(3)
    layers, x = copy.deepcopy(MLP(*SHAPES["lte"])).float(), torch.randn(200, 16, requires_grad=True)
    exact = torch.autograd.grad(layers(x).square().sum(), [x, *layers.parameters()])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = layers(x).float().square().sum()
    for ours, theirs in zip(torch.autograd.grad(loss, [x, *layers.parameters()]), exact, strict=True):
        assert ours.dtype == torch.float32 and 0 < float((ours - theirs).norm() / theirs.norm()) < 0.05


class Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.mark.parametrize("graph", [True, False])
def test_what_is_hooked_or_has_a_forward_of_its_own_is_called(graph: bool) -> None:
    torch.manual_seed(3)
    own, seen = Doubled(16, 8), []
    watched, last = nn.Linear(8, 8), nn.Linear(8, 3)
    layers = MLP(own, nn.ReLU(), watched, nn.ReLU(), last)
    watched.register_forward_hook(lambda module, inputs, output: seen.append("forward") or output + 1)
    last.register_full_backward_hook(lambda module, of_inputs, of_outputs: seen.append("backward"))
    x = torch.randn(9, 16)
    with torch.set_grad_enabled(graph):
        found = layers(x)
    expected = F.linear(
        (F.linear((2 * F.linear(x, own.weight, own.bias)).relu(), watched.weight, watched.bias) + 1).relu(),
        last.weight,
        last.bias,
    )
    torch.testing.assert_close(found, expected)
    if graph:
        found.sum().backward()
    assert seen == ["forward", "backward"][: 1 + graph]


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of tracing itself
@pytest.mark.parametrize("graph", [True, False])
def test_it_can_be_traced(graph: bool) -> None:
    torch.manual_seed(3)
    layers, x = copy.deepcopy(MLP(*SHAPES["lte"])).float(), torch.randn(9, 16)
    with torch.set_grad_enabled(graph):
        traced = torch.jit.trace(layers, (x,))
        kinds = {node.kind() for node in traced.inlined_graph.nodes()}
        assert "aten::linear" in kinds and not any("Python" in kind or "mkldnn" in kind for kind in kinds)
        torch.testing.assert_close(traced(x), one_by_one(layers, x))
