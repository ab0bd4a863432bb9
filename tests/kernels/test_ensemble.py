"""The GPU kernels against the plain path: on a card where there is one, in Triton's interpreter elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.liif import LIIF
from implicitkit.kernels import launch

triton = pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")

SAME = {
    torch.float32: 2e-6,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}  # of the largest value; rounding of 24, 8 and 11 bits
LIIFS = {
    "paper": {"hidden": [24, 20]},
    "one layer behind": {"hidden": [16]},
    "nearest": {"hidden": [24, 20], "local_ensemble": False},
    "no cell, no unfolding": {"hidden": [20], "cell_decode": False, "feat_unfold": False},
    "skip": {"hidden": [33, 8], "skip": "bilinear"},
    "seven values": {"hidden": [24], "out_channels": 7},
}
LTES = {
    "paper": {"hidden": [24, 20], "basis": 40},
    "linear": {"hidden": [], "basis": 16},
    "nearest, no skip": {"hidden": [24], "local_ensemble": False, "skip": "none"},
}
CASES = [
    *(("liif", name) for name in LIIFS),
    *(("lte", name) for name in LTES),
    ("lte_plus", "paper"),
]


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the kernels that ran."""
    ran: set[str] = set()
    launched = launch._launch

    def watched(kernel: Any, *others: Any) -> Any:
        ran.add(kernel.__name__)
        return launched(kernel, *others)

    monkeypatch.setattr(launch, "_launch", watched)
    return ran


def made(decoder: str, case: str) -> ik.ImplicitModel:
    torch.manual_seed(1)
    settings = (LIIFS if decoder == "liif" else LTES)[case]
    encoder = ik.create_encoder("edsr", blocks=1, channels=8, res_scale=1.0)
    return ik.ImplicitModel(encoder, ik.create_decoder(decoder, in_channels=8, **settings)).eval().to(DEVICE)


def both(monkeypatch: pytest.MonkeyPatch, ask: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The plain path's answer in float32, and the kernel's with products in ``dtype``."""
    expected = ask()
    monkeypatch.setattr(launch, "dtype_for", lambda rows, widths: dtype)
    return expected, ask()


@pytest.mark.parametrize(("decoder", "case"), CASES)
def test_a_grid_and_points_equal_the_plain_path(
    decoder: str, case: str, kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures = made(decoder, case), torch.rand(2, 3, 5, 7, device=DEVICE)
    coords = torch.rand(2, 37, 2, device=DEVICE) * 2.2 - 1.1  # some outside

    def ask() -> torch.Tensor:
        field = model.encode(pictures)
        whole, box = field.render((9, 11), clamp=False), field.render((6, 5), (-0.3, 0.1, 0.9, 1.0), clamp=False)
        return torch.cat([whole.flatten(2), box.flatten(2), field(coords, 0.11).transpose(1, 2)], dim=-1)

    expected, found = both(monkeypatch, ask, torch.float32)
    assert kernels == {"liif" if decoder == "liif" else "lte"}
    assert (found - expected).abs().max() <= SAME[torch.float32] * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decoder", ["liif", "lte"])
def test_narrow_numbers_stay_close(
    decoder: str, dtype: torch.dtype, kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, picture = made(decoder, "paper"), torch.rand(3, 6, 5, device=DEVICE)
    expected, found = both(monkeypatch, lambda: model.encode(picture).render((13, 8), clamp=False), dtype)
    difference = (found - expected).abs().max() / expected.abs().max()
    assert kernels and 0 < difference <= SAME[dtype]


def test_tiles_and_blocks_change_nothing(kernels: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    model, picture = made("liif", "skip"), torch.rand(3, 40, 37, device=DEVICE)
    expected, found = both(
        monkeypatch, lambda: model.encode(picture, tile=16).render((30, 41), block=300), torch.float32
    )
    assert kernels and (found - expected).abs().max() <= 2e-6


def test_a_cell_of_its_own_for_each_point_takes_the_plain_path(
    kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, coords, cells = made("liif", "paper"), torch.rand(9, 2, device=DEVICE), torch.rand(9, 2, device=DEVICE) / 9
    field = model.encode(torch.rand(3, 5, 5, device=DEVICE))
    expected, found = both(monkeypatch, lambda: field(coords, cells), torch.float32)
    assert not kernels and torch.equal(found, expected)


def test_a_subclass_with_a_network_of_its_own_is_asked_itself(
    kernels: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubled(LIIF):
        def local(self, *arguments: Any) -> torch.Tensor:
            return 2 * super().local(*arguments)

    model = ik.ImplicitModel(made("liif", "paper").encoder, Doubled(8, hidden=[24])).eval().to(DEVICE)
    picture = torch.rand(3, 5, 5, device=DEVICE)
    expected, found = both(monkeypatch, lambda: model.encode(picture).render((9, 9), clamp=False), torch.float32)
    assert not kernels and torch.equal(found, expected)


def test_no_kernel_without_a_card_or_where_a_graph_is_kept() -> None:
    rows = torch.zeros(1, 4, 16)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert launch.dtype_for(rows, [16, 16]) is None


def test_padding_is_zeros_around_the_layers() -> None:
    layers = [torch.nn.Linear(6, 20), torch.nn.Linear(20, 3, bias=False)]
    packed = launch.pack(layers, torch.float32, blocks=2)
    assert packed.widths == (16, 32, 16)
    first, second, last = packed.weights.split([16 * 32, 16 * 32, 32 * 16])
    assert torch.equal(first.view(16, 32)[:3, :20], layers[0].weight.t()[:3])
    assert torch.equal(second.view(16, 32)[:3, :20], layers[0].weight.t()[3:])
    assert torch.equal(last.view(32, 16)[:20, :3], layers[1].weight.t())
    kept = sum(float(p.detach().abs().sum()) for layer in layers for p in layer.parameters())
    assert packed.weights.abs().sum() + packed.biases.abs().sum() == pytest.approx(kept)


@pytest.mark.parametrize(("capability", "shared"), [(90, 227 << 10)])  # 80 takes a minute
def test_the_published_sizes_compile_for_cards_that_are_not_here(capability: int, shared: int) -> None:
    here = Path(__file__).with_name("compile_ahead.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, str(here), str(capability)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, *_ in lines] == ["liif", "lte"]
    for _, takes, size, hopper in lines:
        assert int(takes) <= shared and int(size) > 1000 and (hopper == "True") == (capability == 90)
