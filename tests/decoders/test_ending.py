"""The way from a decoder's values to a picture's."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.ending import Ending
from implicitkit.kernels import basis, cpu

ENDING = Ending(0.25, 0.5, limited=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_the_formula_in_a_tensor_of_its_own(dtype: torch.dtype) -> None:
    values = (torch.randn(2, 3, 4, 5) * 4).to(dtype).requires_grad_(dtype == torch.float32)
    expected = (values.float() * 0.25 + 0.5).clamp(0, 1)
    ended = ENDING(values)
    assert ended.dtype == torch.float32 and torch.equal(ended, expected)
    assert ended.requires_grad == values.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(ENDING(values), expected)
        torch.testing.assert_close(Ending(0.25, 0.5)(values), values.float() * 0.25 + 0.5)
        same = Ending()(values)
    assert torch.equal(same, values.float()) and same.data_ptr() != values.data_ptr()


@torch.no_grad()
def test_goes_into_what_can_hold_it() -> None:
    values = torch.randn(2, 3, 4, 5)
    out = torch.empty(2, 3, 8, 9)[:, :, :4, :5]
    assert ENDING.into(out, values) is out
    torch.testing.assert_close(out, ENDING(values))
    for wrong in (None, torch.empty(2, 3, 4, 4), torch.empty(2, 3, 4, 5, dtype=torch.float64)):
        own = values.clone()
        assert ENDING.into(wrong, own) is own and torch.equal(own, out)


@pytest.mark.parametrize("decoder", ["liif", "thera"])
def test_kernels_write_to_the_canvas(decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 16}, "decoder": decoder}).eval()
    field = model.encode(torch.rand(3, 8, 9), precision="float32")
    like = torch.zeros(1)
    there = basis.basis_kernel() if decoder == "thera" else cpu.kernel_for(like, [model.decoder.rest[1]])
    if there is None:
        pytest.skip("no C compiler")
    expected, out, copies = field.render((16, 18)), torch.empty(3, 16, 18), []
    monkeypatch.setattr(torch.Tensor, "copy_", lambda *arguments: copies.append(arguments))
    assert field.render((16, 18), out=out) is out and not copies
    monkeypatch.undo()
    assert torch.equal(out, expected)
