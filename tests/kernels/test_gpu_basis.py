"""The GPU kernels of basis decoders against the plain path: on a card where there is one, in the interpreter elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.coordinates import cell_size
from implicitkit.decoders.base import Inputs
from implicitkit.encoders.base import Features
from implicitkit.kernels import evaluate, gpu_basis, plain_path
from implicitkit.kernels.gpu_basis import GPUBasisKernel

pytest.importorskip("triton", reason="Triton comes with PyTorch where there may be a GPU")

HERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DECODERS = [
    {"name": "thera", "components": 32, "skip": "bilinear", "max_frequency": 2},
    {"name": "thera", "components": 5, "shift": [0.1, 0.2, 0.3]},
    {"name": "thera", "components": 16, "skip": "none", "out_channels": 7},
    {"name": "thera", "components": 9, "skip": "none", "out_channels": 1},
    {"name": "gb_lsr", "order": 6},
    {"name": "gb_lsr", "order": 16, "local_ensemble": False, "out_channels": 2},
    {"name": "ope", "max_frequency": 3},
    {"name": "ope", "max_frequency": 1, "local_ensemble": False},
]
SIZES = [(14, 18), (9, 7)]


@pytest.fixture(autouse=True)
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The kernels serve here as on a card; whether each call brought values."""
    found: list[bool] = []
    grid = GPUBasisKernel.grid

    def watched(*arguments: Any) -> torch.Tensor | None:
        values = grid(*arguments)
        if arguments[0].tile is None:  # not on trial
            found.append(values is not None)
        return values

    monkeypatch.setattr(GPUBasisKernel, "grid", watched)
    monkeypatch.setattr(evaluate, "_basis_kernel_for", lambda like: GPUBasisKernel())
    return found


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card's convolutions are TF32 by default: an encoder's tiles would differ from the whole by 1e-4."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def model(decoder: dict[str, Any]) -> ik.ImplicitModel:
    torch.manual_seed(0)
    encoder = {"name": "edsr", "blocks": 1, "channels": 12}
    made = ik.create_model({"encoder": encoder, "decoder": decoder}).eval()
    for name, parameter in made.decoder.named_parameters():
        if name.startswith("hyper"):
            parameter.data.mul_(8)  # as large as a trained model's
    return made.to(HERE)


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda d: f"{d['name']}-{d.get('out_channels', 3)}")
def test_equals_the_plain_path(decoder: dict[str, Any], calls: list[bool]) -> None:
    field = model(decoder).encode(torch.rand(2, 3, 7, 9).to(HERE))
    for size in SIZES:
        for box in (None, (-0.7, -0.3, 0.2, 0.9)):
            ours = field.render(size, box=box, clamp=False)
            with plain_path():
                expected = field.render(size, box=box, clamp=False)
            # the plain path takes the mean of equal offsets at integer scales: a few units in the last place of an angle
            assert float((ours - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert calls == [True] * (2 * len(SIZES))


def test_tiles_and_batches_of_lines_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for decoder in (DECODERS[0], DECODERS[6]):
        made, picture = model(decoder), torch.rand(3, 34, 12).to(HERE)
        with plain_path():
            expected = made.encode(picture).render((37, 15))
        monkeypatch.setattr(gpu_basis, "JOINED_BYTES", 1 << 16)
        for tile in (None, 32):
            assert float((made.encode(picture, tile=tile).render((37, 15)) - expected).abs().max()) <= 2e-5


@pytest.mark.parametrize("decoder", [DECODERS[0], DECODERS[6]], ids=lambda d: d["name"])
def test_narrow_precision_rounds_the_rows_alone(decoder: dict[str, Any], calls: list[bool]) -> None:
    field = model(decoder).encode(torch.rand(3, 6, 5).to(HERE), precision="bfloat16")
    ours = field.render((13, 8), clamp=False)
    with plain_path():
        expected = field.render((13, 8), clamp=False)
    assert calls and float((ours - expected).abs().max()) <= 1e-5 * max(1.0, float(expected.abs().max()))


@torch.no_grad()
def test_far_phases_and_coordinates_out_of_order() -> None:
    decoder = ik.create_decoder("thera", in_channels=4, components=3, skip="none").to(HERE)
    map = (torch.rand(1, 4, 5, 6) * 1e6).to(HERE)
    latent = decoder.prepare(Features(map, (5, 6)), Inputs(torch.zeros(1, 3, 5, 6).to(HERE)), {})
    lines = [torch.tensor([0.3, -0.9, 0.9, -0.2]).to(HERE), torch.tensor([0.8, -0.5, 0.1]).to(HERE)]
    cell = cell_size((9, 9))[None, None].to(HERE)
    ours = evaluate.query_grid(decoder, latent, lines, cell, {})
    with plain_path():
        expected = evaluate.query_grid(decoder, latent, lines, cell, {})
    assert float(expected.abs().max()) > 1e3
    assert float((ours - expected).abs().max() / expected.abs().max()) <= 1e-4  # sines of 1e5 radians in float32


def test_a_far_smaller_grid_joins_the_columns_of_its_pixels() -> None:
    for decoder in (DECODERS[0], DECODERS[6]):
        field = model(decoder).encode(torch.rand(3, 30, 40).to(HERE))
        ours = field.render((3, 4), clamp=False)
        with plain_path():
            assert float((ours - field.render((3, 4), clamp=False)).abs().max()) <= 1e-5


def test_steps_aside(calls: list[bool]) -> None:
    wide = model({"name": "thera", "components": 600, "skip": "none"})
    wide.encode(torch.rand(3, 6, 6).to(HERE)).render((12, 12))
    assert calls == [False], "more waves than a program holds"
    mean = model({"name": "gb_lsr", "order": 3, "local_ensemble": False, "average": True})
    mean.encode(torch.rand(3, 6, 6).to(HERE)).render((12, 12))
    assert calls == [False, False], "means over a pixel"
