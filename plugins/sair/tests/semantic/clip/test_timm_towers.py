"""open_clip's towers of timm, with timm's smallest networks and random weights, one patch at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import implicitkit as ik
from implicitkit import testing
from implicitkit_sair.semantic.clip.text import encode_text
from implicitkit_sair.semantic.clip.timm_towers import dense_timm, pooled_timm, value_block
from implicitkit_sair.semantic.dropping import Kept
from implicitkit_sair.semantic.tokens import is_plain, run_blocks

TEXT = {"layers": 2, "width": 16, "heads": 2}


def config(model: str, size: int = 160, **vision: Any) -> dict[str, Any]:
    return {"embed_dim": 24, "vision_cfg": {"timm_model_name": model, "image_size": size, **vision}, "text_cfg": TEXT}


SIGLIP = config("test_vit3", timm_pool="map", timm_proj="none")
SIGLIP["embed_dim"] = 96  # the width of its trunk, as in SigLIP
SIGLIP["text_cfg"] = {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
PE = config("vit_pe_core_tiny_patch16_384", 384, timm_pool="map", timm_proj=None)
MOBILE = config("test_vit", timm_pool="token", timm_proj=None)
EVA = config("eva02_tiny_patch14_224", 224, timm_pool="token", timm_proj=None)
MEAN = config("test_vit2", timm_pool="avg", timm_proj="linear")
CONV = config("test_convnext", timm_pool="", timm_proj="linear")
MLP = config("test_convnext", timm_pool="", timm_proj="mlp")
RELATIVE = config("test_vit_relpos", timm_pool="", timm_proj="linear")
SWIN = config("swin_tiny_patch4_window7_224", 224, timm_pool="", timm_proj="linear")
ALL = {
    "map": SIGLIP,
    "map and class": PE,
    "token": MOBILE,
    "eva": EVA,
    "mean": MEAN,
    "convnext": CONV,
    "mlp": MLP,
    "relative": RELATIVE,
    "swin": SWIN,
}
PLAIN = {name: ALL[name] for name in ("map", "map and class", "token", "eva", "mean")}


def spec_of(model: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {"name": "clip", "model": model, **arguments}


def tower_of(model: dict[str, Any]) -> Any:
    """In double precision, with no weight left at zero."""
    net = ik.create_encoder(spec_of(model)).eval().net.double()
    with torch.no_grad():
        for value in net.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return net


@pytest.mark.parametrize("model", ALL.values(), ids=ALL)
def test_contract(model: dict[str, Any]) -> None:
    testing.check_encoder(spec_of(model))
    testing.check_encoder(spec_of(model, mask_channels=1, view=1.5, fill="drop" if model in PLAIN.values() else "blur"))


@pytest.mark.parametrize("model", [SIGLIP, MOBILE, EVA, MEAN, CONV], ids=["map", "token", "eva", "mean", "convnext"])
def test_where_it_learns_everything_that_it_reads_does(model: dict[str, Any]) -> None:
    testing.check_model(
        ik.create_model({"encoder": spec_of(model, trainable=True), "decoder": {"name": "liif", "hidden": [8]}})
    )


@torch.no_grad()
@pytest.mark.parametrize("model", ALL.values(), ids=ALL)
def test_a_patch_is_what_the_tower_says_of_it_alone(model: dict[str, Any]) -> None:
    """timm's own pooling and heads, given one token, or a map of one cell; the class token's last block by hand."""
    tower = tower_of(model)
    trunk = tower.trunk
    x = torch.randn(2, 3, *tower.image_size, dtype=torch.float64)
    found = dense_timm(tower, x)
    if model in (MOBILE, EVA):
        inputs: list[Tensor] = []
        handle = trunk.blocks[-1].register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        trunk.forward_features(x)
        handle.remove()
        tokens = trunk.norm(by_hand(trunk.blocks[-1], inputs[0]))
    else:
        tokens = trunk.forward_features(x)
    if tokens.ndim == 4:
        tokens = tokens if getattr(trunk, "output_fmt", "") == "NHWC" else tokens.movedim(1, -1)
        cells = [cell[None, None] for cell in tokens[0].flatten(0, 1)]
        cells = [
            cell[None] if getattr(trunk, "output_fmt", "") == "NHWC" else cell.reshape(1, -1, 1, 1) for cell in cells
        ]
    else:
        prefix = trunk.num_prefix_tokens
        cells = [token.expand(1, prefix + 1, -1) for token in tokens[0, prefix:]]
    for k in (0, 7, len(cells) - 1):
        expected = tower.head(trunk.forward_head(cells[k]))[0]
        torch.testing.assert_close(found[0].flatten(1)[:, k], expected, atol=1e-6, rtol=1e-5)
    assert found.shape[1] == model["embed_dim"] and found.shape[2] * found.shape[3] == len(cells)


def by_hand(block: Any, x: Tensor) -> Tensor:
    """The block with each token attending to itself alone, through the queries and keys all the same."""
    attention = block.attn
    own = torch.where(torch.eye(x.shape[1]).bool(), 0.0, -torch.inf).to(x)
    normed = block.norm1(x)
    attended = attention(normed, attn_mask=own)
    if hasattr(block, "ls1"):
        y = x + block.ls1(attended)
        return y + block.ls2(block.mlp(block.norm2(y)))
    y = x + (attended if block.gamma_1 is None else block.gamma_1 * attended)
    inner = block.mlp(block.norm2(y))
    return y + (inner if block.gamma_2 is None else block.gamma_2 * inner)


@torch.no_grad()
def test_the_value_path_of_evas_other_block() -> None:
    from timm.models.eva import EvaBlockPostNorm

    block: Any = EvaBlockPostNorm(24, 3).double()
    x = torch.randn(1, 5, 24, dtype=torch.float64)
    own = torch.where(torch.eye(5).bool(), 0.0, -torch.inf).to(x)
    torch.testing.assert_close(value_block(block, x), block(x, attn_mask=own))


@torch.no_grad()
@pytest.mark.parametrize("model", PLAIN.values(), ids=PLAIN)
def test_what_is_dropped_is_gone(model: dict[str, Any]) -> None:
    """Three pictures that keep differently many patches, against each alone without the others."""
    tower = tower_of(model)
    assert is_plain(tower.trunk)
    patch = int(tower.trunk.patch_embed.feat_ratio())
    x = torch.randn(3, 3, 3 * patch, 4 * patch, dtype=torch.float64)
    keep = torch.tensor([[1, 0, 1, 1] * 3, [0, 0, 1, 0] * 3, [1] * 12]).bool().unflatten(1, (3, 4))
    kept = Kept.of(keep)
    assert kept is not None
    found, pooled = dense_timm(tower, x, kept), pooled_timm(tower, x, kept)
    for k in range(3):
        alone = dense_timm(tower, x[k : k + 1], Kept.of(keep[k : k + 1]))
        torch.testing.assert_close(found[k], alone[0], atol=1e-6, rtol=1e-5)
        assert torch.equal(found[k].abs().sum(0) > 0, keep[k])
        tokens = run_blocks(tower.trunk, x[k : k + 1], Kept.of(keep[k : k + 1])).all
        expected = tower.head(tower.trunk.forward_head(tokens))[0]
        torch.testing.assert_close(pooled[k], expected, atol=1e-6, rtol=1e-5)
    native = torch.randn(1, 3, *tower.image_size, dtype=torch.float64)
    torch.testing.assert_close(pooled_timm(tower, native), tower(native))


@torch.no_grad()
def test_of_one_size_only_it_sees_the_picture_at_that() -> None:
    encoder = ik.create_encoder(spec_of(RELATIVE)).eval()
    seen: list[tuple[int, ...]] = []
    encoder.net.trunk.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    assert encoder.seen_size((32, 48)) == (160, 160) and encoder(torch.rand(1, 3, 32, 48)).map.shape[2:] == (2, 3)
    assert ik.create_encoder(spec_of(RELATIVE, view=1.0)).eval()(torch.rand(1, 3, 32, 48)).map.shape[2:] == (10, 10)


@torch.no_grad()
def test_a_file_of_both_towers(tmp_path: Path) -> None:
    """SigLIP's form: a text tower of its own, a bias of the logits, no QuickGELU to be told of."""
    torch.manual_seed(4)
    whole = open_clip.model.CustomTextCLIP(**SIGLIP, init_logit_bias=-10.0).eval()
    for value in whole.text.parameters():
        value.add_(0.1 * torch.randn(value.shape))
    save_file(whole.state_dict(), tmp_path / "siglip.safetensors")
    encoder = ik.create_encoder(spec_of(SIGLIP, pretrained=str(tmp_path / "siglip.safetensors"))).eval()
    x = torch.rand(1, 3, 160, 160)
    torch.testing.assert_close(encoder(x).pooled, whole.encode_image(encoder.normalise(x)))
    words = whole.encode_text(open_clip.SimpleTokenizer(context_length=77)(["sky"]), normalize=True)
    torch.testing.assert_close(encode_text(encoder, ["sky"], ["{}"]), words, atol=1e-5, rtol=0)

    sir = {"name": "sir", "reduced": 4, "hidden": [8]}
    model = ik.create_model({"encoder": encoder.spec, "decoder": sir}).eval()
    model.encoder.load_state_dict(encoder.state_dict())
    again = ik.load_model(model.save(tmp_path / "model.safetensors"))
    picture = torch.rand(3, 20, 30)
    assert torch.equal(again.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_mean_and_deviation_are_those_of_the_models_weights() -> None:
    from implicitkit_sair.semantic.clip.towers import recipe

    assert recipe("ViT-B-16-SigLIP", None, None).mean == (0.5, 0.5, 0.5)
    assert recipe("ViT-B-16", None, None).mean == tuple(open_clip.OPENAI_DATASET_MEAN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": MOBILE, "mode": "naclip"}, "is one of timm's, whose mode can only be maskclip; received 'naclip'"),
        ({"model": CONV, "fill": "drop"}, "the image tower of the given configuration has none to leave out"),
        ({"model": config("resnet10t", 176, timm_pool="abs_attn")}, "pools its cells by an attention of fixed size"),
        ({"model": config("no_such_vit")}, "open_clip cannot build the given configuration"),
    ],
)
def test_mistakes_are_one_readable_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ik.UserError, ValueError), match=message) as raised:
        ik.create_encoder({"name": "clip", **arguments})
    assert "\n" not in str(raised.value)
