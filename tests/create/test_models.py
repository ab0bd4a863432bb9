"""Models by name, by spec and from files: what is told to the parts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import implicitkit as ik
from implicitkit.create import load_encoder


def test_a_model_is_loaded_where_and_as_asked() -> None:
    model = ik.load_model("liif_small", device="cpu", dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16} and not model.training
    assert model.encode(torch.rand(3, 8, 8)).precision == "bfloat16"
    assert next(ik.load_model("liif_small", device=torch.device("cpu")).parameters()).dtype == torch.float32
    assert next(ik.load_model("fast", dtype="float16").parameters()).dtype == torch.float16
    for wrong in ("int8", "bfloat", torch.int8, 16):
        with pytest.raises(ValueError, match=r"dtype is torch\.float32, .*; received "):
            ik.load_model("fast", dtype=wrong)
    with pytest.raises(ik.UserError, match="the device 'tpu' cannot be used"):
        ik.load_model("liif_small", device="tpu")


def test_parts_are_told_the_widths_before_them() -> None:
    neck = {"name": "thera_plus", "blocks": [[6, 1]]}
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "neck": neck, "decoder": "liif"})
    assert model.necks[0].in_channels == 4 and model.necks[0].out_channels == 6 and model.decoder.in_channels == 6


def test_an_encoder_of_a_file_has_its_weights(tmp_path: Path) -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": "liif"})
    encoder = load_encoder(model.save(tmp_path / "m.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), model.encoder.parameters(), strict=True))


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ik.WeightsError, match="there is no file .*none.safetensors"):
        ik.load_model(tmp_path / "none.safetensors")
    with pytest.raises(ik.WeightsError, match="did you mean 'liif_small'"):
        ik.load_model("liif_smal")
    with pytest.raises(ValueError, match="a spec has no weights"):
        ik.create_model({"encoder": "edsr", "decoder": "liif"}, pretrained=True)


def test_what_is_no_file_of_weights_is_said(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.safetensors").touch()
    with pytest.raises(ik.WeightsError, match=r"run is a folder; name a file of weights in it \(last.safetensors\)"):
        ik.load_model(str(tmp_path / "run"))
    with pytest.raises(ik.WeightsError, match="is an address, not a file; download it first"):
        ik.load_model("https://example.org/x.pth")
