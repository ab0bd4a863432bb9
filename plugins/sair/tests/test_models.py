"""The named models: what they are made of, and their controls."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair import models

NAMES = ("sair_clip_vit_b16", "sair_clip_vit_b16_control", "sair_small", "sair_small_control")


def reduced(name: str) -> dict[str, Any]:
    """The named model's spec with every width cut down; what is composed with what stays."""
    spec = copy.deepcopy(getattr(models, name)())
    semantic = spec["conditions"]["semantic"]
    if "clip" in name:
        spec["encoder"].update(widths=[6, 8, 10], blocks=1, channels=8)
        vision = {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
        text = {"context_length": 8, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1}
        semantic["encoder"].update(model={"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}, pretrained=None)
        spec["decoder"].update(semantic_channels=12)
    else:
        spec["encoder"].update(blocks=1, channels=8)
        semantic["encoder"].update(patch=4, width=16, depth=1, heads=2)
        spec["decoder"].update(semantic_channels=16)
    spec["decoder"].update(hidden=[8], projected=4)
    semantic["decoder"].update(hidden=[8], reduced=6)
    return spec


@pytest.mark.parametrize("name", NAMES)
def test_it_is_registered_and_keeps_the_contract(name: str) -> None:
    assert name in ik.list_models("sair*")
    model = ik.create_model(reduced(name))
    semantic = model.conditions["semantic"]
    assert not any(p.requires_grad for p in semantic.encoder.parameters())
    if name.endswith("control"):  # no gradient reaches what meaning would have come in by
        testing.models.check_queries(
            model.eval(), torch.rand(2, 3, 21, 18), (torch.rand(2, 1, 21, 18) < 0.3).float(), 1e-4
        )
        testing.models.check_round_trip(model, torch.rand(2, 3, 9, 8), None)
    else:
        testing.check_model(model)


@pytest.mark.parametrize("name", ["sair_clip_vit_b16", "sair_small"])
def test_the_control_has_the_same_parameters_and_no_meaning(name: str) -> None:
    model, control = ik.create_model(reduced(name)), ik.create_model(reduced(f"{name}_control"))
    shapes = [{key: value.shape for key, value in m.state_dict().items()} for m in (model, control)]
    assert shapes[0] == shapes[1]
    control.load_state_dict(model.state_dict())
    picture, mask = torch.rand(3, 12, 12), torch.zeros(1, 12, 12)
    mask[:, 3:8, 2:7] = 1
    before = [m.encode(picture, mask, passes=1).render((12, 12), clamp=False) for m in (model, control)]
    for m in (model, control):
        torch.nn.init.normal_(m.conditions["semantic"].decoder.expand.bias)
    after = [m.encode(picture, mask, passes=1).render((12, 12), clamp=False) for m in (model, control)]
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_info_tells_both_fields(run) -> None:
    told = run("info", "sair_small")
    assert told.code == 0, told.err
    rows = dict(line.split(":", 1) for line in told.out.splitlines())
    assert '"name": "edsr"' in rows["encoder"] and '"name": "air"' in rows["decoder"]
    assert '"name": "mae_small"' in rows["semantic encoder"] and "(3,596,352 parameters, frozen)" in told.out
    assert '"name": "sir"' in rows["semantic decoder"] and "frozen" not in rows["semantic decoder"]
    assert rows["weights"].strip() == "none (random)" and "passes" not in rows


def test_full_sizes() -> None:
    """Built on the meta device: shapes, no weights."""
    spec = models.sair_clip_vit_b16()
    count = lambda m: sum(p.numel() for p in m.parameters())  # noqa: E731
    with torch.device("meta"):
        paper, small = ik.create_model(spec), ik.create_model("sair_small")
    semantic = paper.conditions["semantic"]
    assert (semantic.encoder.out_channels, semantic.encoder.stride, semantic.decoder.out_channels) == (512, 16, 512)
    assert 85_000_000 < count(semantic.encoder) < 87_000_000
    assert (paper.encoder.out_channels, paper.passes, paper.inputs) == (64, 1, ("image", "mask"))
    assert count(small.conditions["semantic"].encoder) < 6_000_000
    trained = sum(p.numel() for p in small.parameters() if p.requires_grad)
    assert 500_000 < trained < 1_500_000


@pytest.mark.parametrize("name", ["sair_clip_vit_b16", "sair_small"])
def test_the_semantic_field_does_not_see_into_the_hole(name: str) -> None:
    model = ik.create_model(reduced(name)).conditions["semantic"]
    picture, mask = torch.rand(3, 16, 16), torch.zeros(1, 16, 16)
    mask[:, :8, :8] = 1
    other = torch.where(mask > 0, torch.rand(3, 16, 16), picture)
    assert torch.equal(model.encode(picture, mask).render((7, 9)), model.encode(other, mask).render((7, 9)))


def test_the_width_of_the_meaning_must_fit() -> None:
    spec = reduced("sair_small")
    spec["decoder"]["semantic_channels"] = 11
    with pytest.raises(ValueError, match=r"11.*16|16.*11"):
        ik.create_model(spec)
    with pytest.raises(ValueError, match=r"AIR reads the conditions \['semantic'\]; received none"):
        ik.create_model({key: value for key, value in reduced("sair_small").items() if key != "conditions"})
