"""CiaoSR against the authors' outputs, and its local part."""

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.joint.ciaosr import CiaoSR, NonLocal
from oracles.models import assert_all_ways_agree
from oracles.parts import BAR, errors


def model_of(**decoder: object) -> ik.ImplicitModel:
    small = {"name": "ciaosr", "hidden": [8], **decoder}
    return ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": small}).eval()


def test_equals_the_authors() -> None:
    assert max(errors("ciaosr")) < BAR


def test_the_local_part_alone_works_in_tiles() -> None:
    assert_all_ways_agree(model_of(non_local=False), 1e-5)


def test_the_non_local_part_refuses_tiles() -> None:
    with pytest.raises(ValueError, match="CiaoSR sees the whole picture at once, so it cannot encode in tiles"):
        model_of().encode(torch.rand(3, 9, 9), tile=4)


def test_each_patch_is_made_of_what_looks_like_it() -> None:
    """A step by step version of the attention for one cell."""
    attention, map = NonLocal(4), torch.randn(1, 4, 6, 8)
    made = []
    attention.down.register_forward_pre_hook(lambda _, inputs: made.append(inputs[0]))
    attention(map)
    padded = torch.nn.functional.pad(attention.wanted(map), (1, 1, 1, 1))
    half = torch.nn.functional.pad(attention.offered(torch.nn.functional.avg_pool2d(map, 2)), (1, 1, 1, 1))
    content = torch.nn.functional.pad(attention.content(map), (2, 2, 2, 2))
    canvas = torch.zeros(1, 4, 2 * 6 + 4, 2 * 8 + 4)
    for y in range(6):
        for x in range(8):
            patch, scores = padded[..., y : y + 3, x : x + 3], []
            for i in range(3):
                for j in range(4):
                    other = half[..., i : i + 3, j : j + 3]
                    scores.append(10 * (patch * other / other.norm().clamp_min(1e-4)).sum())
            shares = torch.stack(scores).softmax(0).unflatten(0, (3, 4))
            for i in range(3):
                for j in range(4):
                    own = content[..., 2 * i : 2 * i + 6, 2 * j : 2 * j + 6]
                    canvas[..., 2 * y : 2 * y + 6, 2 * x : 2 * x + 6] += shares[i, j] * own
    torch.testing.assert_close(made[0], canvas[..., 2:-2, 2:-2], atol=1e-4, rtol=0)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="hidden=\\[0\\]"):
        CiaoSR(hidden=[0])
