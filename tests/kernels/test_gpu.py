"""The GPU kernels against the plain path: on a card where there is one, in Triton's interpreter elsewhere."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import implicitkit as ik
from implicitkit import kernels as ways
from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.mlp import MLP
from implicitkit.kernels import gpu
from oracles import models as ensembles

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")

HERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SAME = {  # of the largest value: rounding of 24 bits, on a card TF32's 11; of 8; of 11
    torch.float32: 3e-3 if HERE.type == "cuda" else 2e-6,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the kernels that ran."""
    ran: set[str] = set()
    launched = gpu._launch

    def watched(name: str, *others: Any) -> Any:
        found = launched(name, *others)
        if found is not None:
            ran.add(name)
        return found

    monkeypatch.setattr(gpu, "_launch", watched)
    return ran


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card's convolutions are TF32 by default: an encoder's tiles would differ from the whole by 1e-4."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def made(decoder: str, case: str) -> ik.ImplicitModel:
    return ensembles.made(decoder, case, HERE)


def both(monkeypatch: pytest.MonkeyPatch, ask: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain path's answer in float32, and the kernel's with products in ``dtype``."""
    with ways.plain_path():
        expected = ask()
    monkeypatch.setattr(gpu, "dtype_for", lambda rows, widths: dtype)
    return expected, ask()


@pytest.mark.parametrize(("decoder", "case"), [*ensembles.CASES, *ensembles.MODULATED])
def test_a_grid_and_points_equal_the_plain_path(
    decoder: str, case: str, kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures = made(decoder, case), torch.rand(2, 3, 5, 7, device=HERE)
    expected, found = both(monkeypatch, lambda: ensembles.everywhere(model, pictures), torch.float32)
    assert kernels == {{"lte_plus": "lte", "lm_liif": "lmf"}.get(decoder, decoder)}
    assert (found - expected).abs().max() <= SAME[torch.float32] * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decoder", ["liif", "lte", "lmf"])
def test_narrow_numbers_stay_close(
    decoder: str, dtype: torch.dtype, kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, picture = made(decoder, "paper"), torch.rand(3, 6, 5, device=HERE)
    expected, found = both(monkeypatch, lambda: model.encode(picture).render((13, 8), clamp=False), dtype)
    difference = (found - expected).abs().max() / expected.abs().max()
    assert kernels and 0 < difference <= SAME[dtype]


def test_tiles_and_blocks_change_nothing(kernels: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = made("liif", "skip"), torch.rand(3, 40, 37, device=HERE)
    expected, found = both(
        monkeypatch, lambda: model.encode(picture, tile=16).render((30, 41), block=300), torch.float32
    )
    assert kernels and (found - expected).abs().max() <= SAME[torch.float32]


def test_a_cell_of_its_own_for_each_point_takes_the_plain_path(
    kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, coords, cells = made("liif", "paper"), torch.rand(9, 2, device=HERE), torch.rand(9, 2, device=HERE) / 9
    field = model.encode(torch.rand(3, 5, 5, device=HERE))
    expected, found = both(monkeypatch, lambda: field(coords, cells), torch.float32)
    assert not kernels and torch.equal(found, expected)


def test_a_subclass_with_a_network_of_its_own_is_asked_itself(
    kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubled(LIIF):
        def local(self, *arguments: Any) -> torch.Tensor:
            return 2 * super().local(*arguments)

    model = ik.ImplicitModel(made("liif", "paper").encoder, Doubled(8, hidden=[24])).eval().to(HERE)
    picture = torch.rand(3, 5, 5, device=HERE)
    expected, found = both(monkeypatch, lambda: model.encode(picture).render((9, 9), clamp=False), torch.float32)
    assert not kernels and torch.equal(found, expected)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.ReLU(), nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 3)],
        [nn.ReLU(), nn.Linear(16, 8), nn.Linear(8, 3)],
        [nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 3)],
    ],
    ids=["gelu", "two in a row", "a norm"],
)
def test_layers_that_the_kernel_does_not_know_take_the_plain_path(
    layers: list[nn.Module], kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = made("liif", "one layer behind")
    model.decoder.rest = MLP(*layers).to(HERE)
    picture = torch.rand(3, 4, 4, device=HERE)
    expected, found = both(monkeypatch, lambda: model.encode(picture).render((7, 7), clamp=False), torch.float32)
    assert not kernels and torch.equal(found, expected)


def test_what_is_no_number_stays_none(kernels: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = made("liif", "paper"), torch.rand(3, 5, 5, device=HERE)
    next(model.encoder.parameters()).data.fill_(float("nan"))  # every feature is
    monkeypatch.setattr(gpu, "dtype_for", lambda rows, widths: torch.float32)
    assert model.encode(picture).render((6, 6), clamp=False).isnan().all() and kernels


def test_new_weights_are_seen(kernels: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("liif", "paper")
    field = model.encode(torch.rand(3, 5, 5, device=HERE))
    monkeypatch.setattr(gpu, "dtype_for", lambda rows, widths: torch.float32)
    before = field.render((6, 6), clamp=False)
    with torch.no_grad():
        model.decoder.rest[-1].weight.zero_()
    assert not torch.equal(before, field.render((6, 6), clamp=False))


def test_points_that_serve_every_picture(kernels: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("liif", "paper")
    latent = model.encode(torch.rand(3, 3, 5, 6, device=HERE))._latents.whole
    coords, cell = torch.rand(1, 40, 2, device=HERE) * 2 - 1, torch.full((1, 1, 2), 0.1, device=HERE)

    @torch.no_grad()
    def ask() -> torch.Tensor:
        return ways.query(model.decoder, latent, coords, cell, {})

    expected, found = both(monkeypatch, ask, torch.float32)
    assert kernels and (found - expected).abs().max() <= SAME[torch.float32] * expected.abs().max()


class OnACard:
    """What :func:`gpu.dtype_for` asks of rows."""

    is_cuda, device = True, torch.device("cuda", 0)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A card with as much shared memory as an H100's, which need not be there."""
    properties = SimpleNamespace(shared_memory_per_block_optin=227 << 10, autocast=True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(gpu, "triton_there", lambda: True)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: properties.autocast)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda kind: torch.bfloat16)
    return properties


def test_when_the_kernels_serve(card: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Any = OnACard()
    published = [256, 256, 256, 256, 3]
    with torch.no_grad():
        assert gpu.dtype_for(rows, published) == torch.bfloat16
        assert gpu.dtype_for(torch.zeros(1, 4, 16), published) is None  # not on a card
        assert gpu.dtype_for(rows, [256]) is None  # no layer behind the first
        assert gpu.dtype_for(rows, [1024, 1024, 3]) is None  # two MiB for a layer
        card.shared_memory_per_block_optin = 100 << 10
        assert gpu.dtype_for(rows, published) is None
        card.shared_memory_per_block_optin, card.autocast = 227 << 10, False
        assert gpu.dtype_for(rows, [64, 64, 3]) is None  # float32 is exact
        monkeypatch.setattr(gpu, "tf32_allowed", lambda: True)
        assert gpu.dtype_for(rows, [64, 64, 3]) == torch.float32


def test_narrow_layers_are_multiplied_exactly_without_tf32(card: SimpleNamespace) -> None:
    rows: Any = OnACard()
    card.autocast = False
    narrow, wide = [nn.Linear(16, 16), nn.Linear(16, 3)], [nn.Linear(64, 64), nn.Linear(64, 3)]
    assert gpu.kernel_for(rows, narrow, 16) == gpu.GPUKernel(torch.float32, exact=True)
    assert gpu.kernel_for(rows, wide, 64) is None
    card.autocast = True
    assert gpu.kernel_for(rows, narrow, 16) == gpu.GPUKernel(torch.bfloat16)


def test_tf32_is_read_whichever_way_it_was_allowed() -> None:
    assert not gpu.tf32_allowed()
    try:
        torch.set_float32_matmul_precision("high")
        assert gpu.tf32_allowed()
        torch.set_float32_matmul_precision("highest")
        assert not gpu.tf32_allowed()
        torch.backends.cuda.matmul.allow_tf32 = True
        assert gpu.tf32_allowed()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
    assert not gpu.tf32_allowed()


def test_kernels_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLICITKIT_KERNELS", "0")
    gpu.triton_there.cache_clear()
    assert not gpu.triton_there()
    monkeypatch.undo()
    gpu.triton_there.cache_clear()
    assert gpu.triton_there()


def test_padding_is_zeros_around_the_layers() -> None:
    layers = [torch.nn.Linear(6, 20), torch.nn.Linear(20, 3, bias=False)]
    packed = gpu.pack(layers, torch.float32, blocks=2)
    assert packed.widths == (16, 32, 16)
    first, second, last = packed.weights.split([16 * 32, 16 * 32, 32 * 16])
    assert torch.equal(first.view(16, 32)[:3, :20], layers[0].weight.t()[:3])
    assert torch.equal(second.view(16, 32)[:3, :20], layers[0].weight.t()[3:])
    assert torch.equal(last.view(32, 16)[:20, :3], layers[1].weight.t())
    kept = sum(float(p.detach().abs().sum()) for layer in layers for p in layer.parameters())
    assert packed.weights.abs().sum() + packed.biases.abs().sum() == pytest.approx(kept)
