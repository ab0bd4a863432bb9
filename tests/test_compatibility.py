"""What parts must agree on, and what a picture and a mask must be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.compatibility import as_batch, as_mask, check_parts
from oracles.models import small_model


def test_parts_are_built_ones() -> None:
    encoder, decoder = ik.create_encoder("edsr", blocks=1, channels=8), ik.create_decoder("liif", in_channels=8)
    with pytest.raises(ValueError, match=r"encoder is an ik\.Encoder, as ik\.create_encoder.* makes; received 'edsr'"):
        ik.ImplicitModel("edsr", "lte")
    with pytest.raises(ValueError, match="encoder is an ik.Encoder, .*; received LIIF"):
        ik.ImplicitModel(decoder, encoder)


def test_parts_that_do_not_fit_say_which_number_to_change() -> None:
    encoder, decoder = ik.create_encoder("edsr", blocks=1, channels=8), ik.create_decoder("liif", in_channels=8)
    check_parts(encoder, [], decoder, (), ("image",))
    with pytest.raises(ValueError, match="create the decoder with in_channels=8"):
        check_parts(encoder, [], ik.create_decoder("liif", in_channels=9), (), ("image",))
    with pytest.raises(ValueError, match="create the neck with in_channels=8"):
        check_parts(encoder, [ik.create_neck("thera_plus", in_channels=6)], decoder, (), ("image",))
    with pytest.raises(ValueError, match="EDSR is 1-dimensional, LIIF 2-dimensional; give both the same ndim"):
        check_parts(ik.create_encoder("edsr", blocks=1, channels=8, ndim=1), [], decoder, (), ("image",))
    with pytest.raises(ValueError, match="give the encoder mask_channels=1 with the input 'mask'"):
        check_parts(encoder, [], decoder, (), ("image", "mask"))


def test_a_picture_becomes_a_batch_in_float32() -> None:
    encoder = ik.create_encoder("edsr", blocks=1, channels=8)
    batch = as_batch(torch.rand(3, 4, 5, dtype=torch.float64), encoder, torch.device("cpu"))
    assert batch.shape == (1, 3, 4, 5) and batch.dtype == torch.float32
    assert as_mask(torch.zeros(1, 4, 5), batch.expand(2, -1, -1, -1)).shape == (2, 1, 4, 5)
    with pytest.raises(ValueError, match=r"takes a picture \(3, H, W\) or a batch of them; received \(1, 4, 5\)"):
        as_batch(torch.rand(1, 4, 5), encoder, torch.device("cpu"))
    with pytest.raises(ValueError, match="floating-point tensor in .*; received a torch.uint8 tensor"):
        as_batch(torch.zeros(3, 4, 5, dtype=torch.uint8), encoder, torch.device("cpu"))
    with pytest.raises(ValueError, match="their sizes must agree"):
        as_mask(torch.zeros(1, 4, 6), batch)


def test_a_mask_is_between_known_and_missing() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    model = ik.create_model({"encoder": encoder, "decoder": "nearest", "inputs": ["image", "mask"]})
    with pytest.raises(ValueError, match="received values from 0 to 255"):
        model.encode(torch.rand(3, 4, 4), torch.tensor([[[0.0, 255.0]] * 4]).repeat(1, 1, 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image.to("meta"), "a picture is a dense tensor; received a meta tensor, without values"),
        (lambda image: image.to_sparse(), r"received torch.sparse_coo \(.to_dense\(\) makes one\)"),
        (lambda image: image.mean(), r"takes a picture \(3, H, W\) or a batch of them; received \(\)"),
    ],
)
def test_what_is_no_picture_is_named(change: Any, words: str) -> None:
    model = small_model()
    with pytest.raises(ValueError, match=words):
        model.encode(change(torch.rand(3, 6, 7)))


def test_a_mask_that_makes_no_hole_is_refused() -> None:
    picture, mask = torch.rand(1, 3, 6, 7), torch.zeros(1, 6, 7)
    assert not as_mask(mask, picture).any()
    mask[0, 2:4] = 0.3
    with pytest.raises(ValueError, match="received values from 0 to 0.3"):
        as_mask(mask, picture)
    with pytest.raises(ValueError, match=r"a mask is a tensor .*; received ndarray"):
        as_mask(mask.numpy(), picture)
