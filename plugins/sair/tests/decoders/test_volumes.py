"""SIR and AIR on volumes: the same equations, with eight neighbours."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik

ENCODER = {"name": "edsr", "blocks": 1, "channels": 6, "in_channels": 1, "ndim": 3}


def volume_sair(**options: object) -> ik.ImplicitModel:
    semantic = {
        "encoder": ENCODER,
        "decoder": {"name": "sir", "reduced": 4, "hidden": [8], "residual": "bilinear", "global_token": True},
        "inputs": ["image", "mask"],
    }
    decoder = {"name": "air", "out_channels": 1, "hidden": [8], "projected": 3, "skip": "bilinear", **options}
    spec = {"encoder": ENCODER, "decoder": decoder, "conditions": {"semantic": semantic}, "inputs": ["image", "mask"]}
    return ik.create_model(spec)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"semantics": "embedding_at_point"},
        {"manner": "film"},
        {"semantics": "text", "prompts": ["bone", "air"]},
        {"semantics": "none"},
    ],
)
def test_a_volume_is_painted_at_any_size(options: dict) -> None:
    model = volume_sair(**options).eval()
    assert model.ndim == 3 and model.decoder.ndim == 3
    if options.get("prompts"):
        model.decoder.injection.name_classes(torch.eye(6)[:2])
    torch.nn.init.normal_(model.conditions["semantic"].decoder.expand.weight)
    volume, mask = torch.rand(2, 1, 6, 5, 4), (torch.rand(2, 1, 6, 5, 4) < 0.3).float()
    field = model.encode(volume, mask)
    large = field.render((11, 9, 8))
    assert large.shape == (2, 1, 11, 9, 8)
    points = torch.stack(torch.meshgrid(*(-1 + (2 * torch.arange(n) + 1) / n for n in (11, 9, 8)), indexing="ij"), -1)
    alone = field(points.reshape(-1, 3)).transpose(1, 2).reshape(large.shape)
    torch.testing.assert_close(alone.clamp(0, 1), large, atol=1e-5, rtol=0)
    assert field.conditions["semantic"].render((3, 3, 3)).shape == (2, 6, 3, 3, 3)


def test_every_parameter_learns_and_a_file_gives_the_same(tmp_path) -> None:
    model = volume_sair()
    torch.nn.init.normal_(model.conditions["semantic"].decoder.expand.weight)
    volume, mask = torch.rand(1, 1, 6, 5, 4), (torch.rand(1, 1, 6, 5, 4) < 0.3).float()
    prediction = model(volume, torch.rand(1, 30, 3) * 2 - 1, mask=mask)
    (prediction.values.square().sum() + prediction.conditions["semantic"].square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.ndim > 1)
    again = ik.load_model(model.save(tmp_path / "m.safetensors"))
    values = [m.eval().encode(volume, mask).render((7, 6, 5)) for m in (model, again)]
    assert torch.equal(*values)


def test_dimensions_that_do_not_agree_are_named() -> None:
    with pytest.raises(ValueError, match="sir takes ndim 1, 2 or 3; received 4"):
        ik.create_decoder("sir", ndim=4)
    with pytest.raises((ValueError, ik.UserError), match="dimension"):
        ik.ImplicitModel(ik.create_encoder(ENCODER), ik.create_decoder("sir", in_channels=6))
