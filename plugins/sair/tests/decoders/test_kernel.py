"""AIR, SemLTE and SIR on the CPU kernel equal PyTorch's operators, block by block and at points."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_parts import EDSR, MODES, SEMANTIC

import implicitkit as ik
from implicitkit import kernels
from implicitkit.kernels import cpu
from implicitkit.kernels.cpu import CPUKernel

pytestmark = pytest.mark.skipif(not cpu.kernels(), reason="there is no CPU kernel here")


@pytest.fixture
def widths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many values per point each call of the kernel gave."""
    seen: list[int] = []
    run = CPUKernel._run

    def watched(self: CPUKernel, *arguments: Any) -> torch.Tensor:
        out = run(self, *arguments)
        seen.append(out.shape[-1])
        return out

    monkeypatch.setattr(CPUKernel, "_run", watched)
    return seen


@pytest.mark.parametrize("name", ["air", "sem_lte"])
@pytest.mark.parametrize("mode", MODES)
def test_a_decoder_that_reads_meaning_and_its_sir(mode: str, name: str, widths: list[int]) -> None:
    torch.manual_seed(4)
    decoder = {"name": name, "semantic_channels": 8, "projected": 4, "hidden": [12, 9], **MODES[mode]}
    spec = {"encoder": EDSR, "decoder": decoder, "conditions": {"semantic": SEMANTIC}, "inputs": ["image", "mask"]}
    model = ik.create_model(spec).eval()
    if model.decoder.injection.semantics == "text":
        model.decoder.injection.name_classes(F.normalize(torch.randn(3, 8), dim=1))
    pictures, masks = torch.rand(2, 3, 9, 10), (torch.rand(2, 1, 9, 10) > 0.7).float()
    coords = torch.rand(2, 41, 2) * 2.2 - 1.1

    def ask() -> torch.Tensor:
        field = model.encode(pictures, mask=masks)
        whole = field.render((21, 17), clamp=False, block=100)
        return torch.cat([whole.flatten(2), field(coords, 0.1).transpose(1, 2)], dim=2)

    with kernels.plain_path():
        expected = ask()
    assert not widths
    found = ask()
    colours = {3} if name == "air" or (mode != "embedding" and mode != "meaning alone") else set()  # see sem_lte.py
    assert {3, 5} >= set(widths) >= colours  # colours; SIR's values before they are expanded
    assert (5 in widths) == (model.decoder.injection.semantics != "none")
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


def test_embeddings_are_not_evaluated_in_large_blocks() -> None:
    wide = ik.create_model({"encoder": EDSR, "decoder": {"name": "sir", "out_channels": 512}}).eval()
    field = wide.encode(torch.rand(3, 8, 8))
    with torch.no_grad():
        assert not kernels.runs_in_large_blocks(wide.decoder, field.image, None)
    narrow = ik.create_model({"encoder": EDSR, "decoder": {"name": "sir", "out_channels": 5}}).eval()
    with torch.no_grad():
        assert kernels.runs_in_large_blocks(narrow.decoder, field.image, None)
