"""GSASR's files."""

import inspect

import pytest
import torch

import implicitkit as ik
from implicitkit.create import build_checkpoint
from implicitkit.decoders.gaussians.gsasr import GSASR
from implicitkit.weights.authors import recognise
from oracles.states import random_state


def pair() -> dict[str, dict[str, torch.Tensor]]:
    return {"encoder": random_state("gsasr-edsr-encoder"), "decoder": random_state("gsasr-decoder")}


def test_at_its_published_size() -> None:
    state = pair()
    checkpoint = recognise({part: {"params_ema": tensors} for part, tensors in state.items()}, "x")
    assert checkpoint.layout == "GSASR with EDSR (ChrisDud0257/GSASR)"
    model = build_checkpoint(checkpoint, "x")
    published = {name: p.default for name, p in inspect.signature(GSASR).parameters.items()}
    assert model.decoder.spec == {"name": "gsasr", **published}
    encoder, theirs = model.encoder, state["decoder"]
    assert (encoder.mean, encoder.std, encoder.long_skip, encoder.size_multiple) == (0.0, 1.0, False, 12)
    assert torch.equal(encoder.body[16].bias, state["encoder"]["conv_after_body.bias"])
    of = "gs_selfattn_blocks.5.blocks.3"
    layer = model.decoder.among[5].layers[3]
    assert torch.equal(layer.norm_told.weight, theirs[f"{of}.norm4.weight"])
    assert torch.equal(layer.told[0].weight, theirs[f"{of}.gs_cross_attn_scale.in_proj_weight"][360:])
    assert torch.equal(layer.attention.out.bias, theirs[f"{of}.gs_self_attn.proj.bias"])
    layer, of = model.decoder.cross[0].layers[1], "window_crossattn_blocks.0.blocks.1"
    assert torch.equal(layer.attention.index, theirs[f"{of}.window_cross_attn.relative_position_index"].long())
    assert torch.equal(layer.norm.bias, theirs[f"{of}.norm3.bias"])
    assert torch.equal(layer.mlp[2].weight, theirs[f"{of}.mlp_crossattn_feature.fc2.weight"])
    # every other tensor is without effect
    kept = sum(value.numel() for value in model.decoder.state_dict().values())
    layers = [key for key in theirs if key.endswith("in_proj_weight")]
    width = 180
    dead = len(layers) * (2 * width * width + 2 * width + 2 * width)  # queries, keys, and the queries' norm
    recomputed = sum(v.numel() for k, v in theirs.items() if "self_attn.relative_position_index" in k)
    assert kept + dead + recomputed == sum(value.numel() for value in theirs.values())


def test_places_of_a_table_that_is_not_there() -> None:
    state = pair()
    key = "window_crossattn_blocks.0.blocks.1.window_cross_attn.relative_position_index"
    state["decoder"][key] = torch.full_like(state["decoder"][key], 529)
    with pytest.raises(ik.WeightsError, match="relative_position_index names rows 529 to 529 of 529"):
        recognise(state, "x")


def test_the_encoder_alone_and_the_long_skip() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4)
    bare = ik.create_encoder("edsr", blocks=1, channels=4, long_skip=False)
    bare.load_state_dict(encoder.state_dict())
    picture = torch.rand(1, 3, 5, 6)
    shallow = encoder.head(encoder.normalise(picture))
    torch.testing.assert_close(encoder(picture).map - bare(picture).map, shallow, atol=1e-6, rtol=0)


def test_pictures_are_mirrored_to_whole_windows_without_their_border() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=4, size_multiple=4)
    picture = torch.rand(1, 3, 7, 8)
    whole = torch.cat([picture, picture[:, :, 5:6]], dim=2)
    features = encoder(picture)
    assert features.extent == (8, 8) and torch.equal(features.map, encoder(whole).map)
