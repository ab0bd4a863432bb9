"""timm's backbones as semantic encoders, with random weights and files made here, against slow plain versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from tiny_vit import DINO, SIR, TINY, VIT
from torch import Tensor

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.semantic.area import area_means
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.filling import FILLS
from implicitkit_sair.semantic.tokens import plain_tokens, run_blocks

REGISTERS: dict[str, Any] = {"name": "dense", "model": "vit_small_patch14_reg4_dinov2", "options": TINY}
EVA: dict[str, Any] = {"name": "dense", "model": "eva02_tiny_patch14_224", "options": TINY}
MIXED: dict[str, Any] = {"name": "dense", "model": "vit_small_patch16_rope_mixed_224", "options": TINY}
CNN: dict[str, Any] = {"name": "dense", "model": "resnet10t", "stage": 2}
SWIN: dict[str, Any] = {
    "name": "dense",
    "model": "swin_tiny_patch4_window7_224",
    "options": {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "stage": 1,
}
BEIT: dict[str, Any] = {"name": "dense", "model": "beit_base_patch16_224", "options": TINY}
PLAIN = [VIT, DINO, REGISTERS, EVA, MIXED]
IDS = ["vit", "dinov2", "registers", "eva", "mixed"]


def made(spec: dict[str, Any], **arguments: Any) -> Any:
    """The encoder, its network with no weight left at zero."""
    encoder = ik.create_encoder({**spec, **arguments}).eval()
    with torch.no_grad():
        for value in encoder.net.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    return encoder


def literally(net: Any, picture: Tensor, keep: Tensor, antialias: bool) -> Tensor:
    """The features of one picture ``(3, H, W)`` with all its patches but those of ``keep`` ``(rows, columns)`` gone:
    ``(kept, C)``, by timm's own modules, one after another, and positions resized as timm's function does.
    """
    from timm.layers import resample_abs_pos_embed

    rows, columns = keep.shape
    tokens = net.patch_embed.proj(picture[None]).flatten(2).transpose(1, 2)
    special = [token for token in (net.cls_token, net.reg_token) if token is not None]
    if net.pos_embed is not None:
        table = resample_abs_pos_embed(
            net.pos_embed,
            [rows, columns],
            list(net.patch_embed.grid_size),
            num_prefix_tokens=0 if net.no_embed_class else net.num_prefix_tokens,
            antialias=antialias,
        )
        if net.no_embed_class:
            tokens = torch.cat([*special, tokens + table], dim=1)
        else:
            tokens = torch.cat([*special, tokens], dim=1) + table
    else:
        tokens = torch.cat([*special, tokens], dim=1)
    before = net.num_prefix_tokens
    chosen = [*range(before), *(before + k for k in keep.flatten().nonzero()[:, 0].tolist())]
    tokens = net.norm_pre(tokens[:, chosen])
    rope = getattr(net, "rope", None) and net.rope.get_embed(shape=[rows, columns])[..., keep.flatten(), :]
    for k, block in enumerate(net.blocks):
        tokens = block(tokens) if rope is None else block(tokens, rope=rope[k] if rope.ndim > 2 else rope)
    return net.norm(tokens)[0, before:]


@pytest.mark.parametrize("spec", [*PLAIN, CNN, SWIN, BEIT], ids=[*IDS, "resnet", "swin", "beit"])
def test_contract(spec: dict[str, Any]) -> None:
    testing.check_encoder(spec)
    testing.check_encoder({**spec, "mask_channels": 1, "view": 1.3})


@pytest.mark.parametrize("spec", PLAIN, ids=IDS)
def test_contract_where_it_learns_and_drops(spec: dict[str, Any]) -> None:
    encoder = {**spec, "mask_channels": 1, "fill": "drop", "trainable": True, "layer": 1}
    model = {"encoder": encoder, "decoder": {"name": "liif", "hidden": [8]}, "inputs": ["image", "mask"]}
    testing.check_model(ik.create_model(model))


@torch.no_grad()
@pytest.mark.parametrize("spec", PLAIN, ids=IDS)
def test_at_its_own_size_it_is_what_timm_computes(spec: dict[str, Any]) -> None:
    encoder = made(spec)
    x = torch.rand(2, 3, 32, 32)
    own = encoder.net.forward_features(encoder.normalise(x))[:, encoder.net.num_prefix_tokens :]
    torch.testing.assert_close(encoder(x).map.flatten(2).transpose(1, 2), own, atol=1e-5, rtol=0)
    assert (encoder.stride, encoder.out_channels, encoder.radius, encoder.trainable) == (8, 48, None, False)


@torch.no_grad()
@pytest.mark.parametrize("spec", PLAIN, ids=IDS)
def test_another_size_and_what_is_dropped_against_the_plain_version(spec: dict[str, Any]) -> None:
    encoder = made(spec, fill="drop", mask_channels=1)
    dinov2 = spec is DINO  # whose authors alone do not antialias
    assert encoder.antialias is not dinov2
    x = torch.rand(4, 4, 24, 40)
    x[:, 3] = 0
    x[0, 3, :16, :24] = 1  # 6 of 15 patches
    x[1, 3, 8:, 16:] = 1  # 6 others
    x[2, 3, :, :37] = 1  # all but the last column: of its patches 5 of 8 pixels are missing
    keep = area_means(x[:, 3:], (3, 5))[:, 0] <= 0.5
    assert keep.flatten(1).sum(1).tolist() == [9, 9, 0, 15]
    keep[2, :, 4] = False
    found = encoder(x).map
    seen = encoder._without_holes(encoder.normalise(x))
    for k in (0, 1, 3):
        expected = torch.zeros(48, 3, 5)
        expected[:, keep[k]] = literally(encoder.net, seen[k], keep[k], antialias=not dinov2).T
        torch.testing.assert_close(found[k], expected, atol=2e-5, rtol=0)
    assert not found[2].any()


@torch.no_grad()
@pytest.mark.parametrize("spec", PLAIN, ids=IDS)
def test_a_mask_of_keys_gives_what_pictures_apart_give(spec: dict[str, Any]) -> None:
    """Other devices than a CPU run the whole batch, the shorter pictures' places to spare hidden from attention."""
    net = made(spec).net
    x, keep = torch.randn(3, 3, 32, 40), torch.rand(3, 4, 5) > 0.4
    kept = Kept.of(keep)
    assert kept is not None and kept.real is not None
    apart = plain_tokens(net, x, kept)
    keys = kept.keys(net.num_prefix_tokens)
    assert (
        keys is not None and keys.sum((1, 2, 3)).tolist() == (keep.flatten(1).sum(1) + net.num_prefix_tokens).tolist()
    )

    together = run_blocks(net, x, kept)
    torch.testing.assert_close(together.map(together.patches), apart.map(apart.patches), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_layer_is_what_its_block_gives_after_the_final_norm() -> None:
    encoder, whole = made({**VIT, "layer": 0}), made(VIT)
    assert len(encoder.net.blocks) == 1
    whole.net.load_state_dict({**whole.net.state_dict(), **encoder.net.state_dict()})
    x = torch.rand(1, 3, 32, 32)
    (own,) = whole.net.forward_intermediates(whole.normalise(x), indices=[0], norm=True, intermediates_only=True)
    torch.testing.assert_close(encoder(x).map, own, atol=1e-5, rtol=0)
    assert ik.create_encoder({**VIT, "layer": -3}).index == 0


@torch.no_grad()
@pytest.mark.parametrize(("stage", "stride", "channels"), [(0, 2, 64), (2, 8, 128), (-1, 32, 512)])
def test_a_stage_is_timms_map(stage: int, stride: int, channels: int) -> None:
    encoder = ik.create_encoder({**CNN, "stage": stage}).eval()
    assert (encoder.stride, encoder.out_channels) == (stride, channels)
    net = timm.create_model("resnet10t", features_only=True).eval()
    net.load_state_dict({**net.state_dict(), **encoder.net.state_dict()})
    x = torch.rand(2, 3, 64, 96)
    torch.testing.assert_close(encoder(x).map, net(encoder.normalise(x))[stage])


@torch.no_grad()
def test_a_view_enlarges_the_picture_and_keeps_the_grid() -> None:
    encoder = made(VIT, view=2.2)
    x = torch.rand(2, 3, 44, 31)
    features = encoder(x)
    cells = (round(44 * 2.2 / 8), round(31 * 2.2 / 8))
    assert features.map.shape == (2, 48, *cells) and features.extent == (44, 31) and encoder.stride == 4
    as_it_is = made(VIT)
    as_it_is.net.load_state_dict(encoder.net.state_dict())
    large = F.interpolate(x, [8 * n for n in cells], mode="bilinear")
    torch.testing.assert_close(features.map, as_it_is(large).map, atol=1e-5, rtol=0)
    limited = ik.create_encoder({**VIT, "view": 2.2, "largest": 48}).eval()
    assert limited(x).map.shape[2:] == (6, 4)
    assert ik.create_encoder({**VIT, "view": 0.5}).eval()(x).map.shape[2:] == (3, 2)
    assert ik.create_encoder({**VIT, "view": 30}).stride == 1


@torch.no_grad()
def test_a_view_with_sir_reads_the_mask_by_area() -> None:
    """88 pixels are 14 cells of 6.29: a cell's share of what is missing is its area's, at whole and half pixels."""
    model = ik.create_model(
        {"encoder": {**VIT, "view": 14 * 8 / 88, "fill": "drop"}, "decoder": SIR, "inputs": ["image", "mask"]}
    ).eval()
    picture, mask = torch.rand(3, 88, 88), torch.zeros(1, 88, 88)
    mask[:, 30:60, 20:70] = 1
    field = model.encode(picture, mask)
    assert field.render((40, 40)).shape == (48, 40, 40)
    hidden = torch.where(mask > 0, torch.nan, picture)
    assert torch.equal(model.encode(hidden, mask).render((9, 9)), field.render((9, 9)))


def test_area_means_are_integrals() -> None:
    x = torch.rand(1, 2, 11, 7, dtype=torch.float64)
    fine = F.interpolate(x, (11 * 3, 7 * 4), mode="nearest")
    expected = F.avg_pool2d(fine, (11, 7))
    torch.testing.assert_close(area_means(x, (3, 4)), expected.float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(area_means(x, (11, 1)), F.avg_pool2d(x, (1, 7)).float())


@torch.no_grad()
@pytest.mark.parametrize("spec", [VIT, EVA, CNN], ids=["vit", "eva", "resnet"])
@pytest.mark.parametrize("fill", FILLS)
def test_what_is_in_a_hole_does_not_matter(fill: str, spec: dict[str, Any]) -> None:
    if spec is CNN and fill == "drop":
        return
    encoder = made(spec, mask_channels=1, fill=fill, view=1.5)
    picture, mask = torch.rand(2, 3, 32, 40), torch.zeros(2, 1, 32, 40)
    mask[0, :, 8:24, 11:30], mask[1, :, :4] = 1, 1
    found = encoder(torch.cat([picture, mask], 1)).map
    nothing = torch.where(mask > 0, torch.nan, picture)
    assert torch.equal(encoder(torch.cat([nothing, mask], 1)).map, found) and found.isfinite().all()


def test_with_the_semantic_loss_and_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))
    encoder = {**VIT, "view": 1.7, "fill": "drop"}
    model = ik.create_model({"encoder": encoder, "decoder": SIR, "inputs": ["image", "mask"]}).train()
    mask = torch.zeros(2, 1, 30, 26)
    mask[..., 5:20, 8:20] = 1
    clean, coords = torch.rand(2, 3, 30, 26), torch.rand(2, 7, 2) * 2 - 1
    batch = {"reference": clean, "coords": coords, "image": clean, "mask": mask}
    values = []
    for cache in (False, True, True):
        loss = ik.create_loss({"name": "semantic", "cache": cache})
        loss.attach(model)
        values.append(loss(model(clean * (1 - mask), coords, mask=mask), batch))
    values[0].backward()
    assert all(p.grad is None for p in model.encoder.parameters()) and values[0] > 0
    assert values[0] == values[1] == values[2] and len(list((tmp_path / "features").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": 0}, "view is a positive number"),
        ({"view": -1.0}, "view is a positive number"),
        ({"drop_above": 1.0}, "drop_above is a share"),
        ({"fill": "grey"}, "'mean', 'zero', 'blur', 'harmonic', 'biharmonic' or 'drop'"),
        ({"layer": 3}, "has the layers 0 to 2, or -1 for the last; received 3"),
        ({"stage": 1}, "has 3 layers; choose one by layer: 2, say"),
        ({"largest": 7}, "largest is at least a patch, 8 pixels"),
        ({"model": "vit_tinny_patch16_224"}, "timm has no model 'vit_tinny_patch16_224'; did you mean"),
        ({"options": {"depht": 2}}, "timm cannot build 'vit_tiny_patch16_224'"),
        ({"weights": "none.pth"}, "there is no file none.pth"),
        ({"weights": "none.pth", "pretrained": True}, "takes the place of pretrained"),
        ({"model": "local-dir:/nowhere"}, "there is no folder /nowhere with timm's config.json"),
        ({"sha256": "00"}, "sha256 is of a file"),
        ({**CNN, "fill": "drop", "options": {}}, "'resnet10t' has none to leave out; use fill: blur"),
        ({**BEIT, "fill": "drop"}, "has none to leave out"),
        ({**CNN, "layer": 1, "stage": None, "options": {}}, "has 5 stages; choose one by stage: 4, say"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ik.UserError, ValueError)) as caught:
        ik.create_encoder({**VIT, **change})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_backbone_without_dense_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models.resnet import ResNet

    monkeypatch.delattr(ResNet, "forward_intermediates")
    with pytest.raises(ik.UserError, match=r"timm's 'resnet10t' has no dense features"):
        ik.create_encoder({"name": "dense", "model": "resnet10t"})
