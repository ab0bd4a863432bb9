"""Painting with given meaning."""

from __future__ import annotations

import pytest
import torch
from painters import disc, picture, small_painter
from small_parts import EDSR, SEMANTIC

import implicitkit as ik
from implicitkit_sair import inpaint
from implicitkit_sair.inpainting.meaning import given_meaning, part_of


@pytest.fixture(params=["embedding", "embedding_at_point"])
def sair(request: pytest.FixtureRequest) -> ik.ImplicitModel:
    decoder = {"name": "air", "hidden": [12], "projected": 4, "semantics": request.param}
    spec = {"encoder": EDSR, "decoder": decoder, "conditions": {"semantic": SEMANTIC}, "inputs": ["image", "mask"]}
    return ik.create_model(spec).eval()


def test_the_other_pictures_meaning_is_read(sair: ik.ImplicitModel) -> None:
    image, mask, other = picture(20, 24), disc(20, 24), torch.rand(3, 40, 30)
    own = inpaint(sair, image, mask)
    assert torch.equal(inpaint(sair, image, mask, meaning=None), own)
    found = inpaint(sair, image, mask, meaning=other)
    known = (mask < 0.5).expand_as(image)
    assert torch.equal(found[known], image[known]) and not torch.allclose(found, own)
    laid = torch.nn.functional.interpolate(other[None], (20, 24), mode="bilinear", antialias=True)[0]
    field = {"semantic": sair.conditions["semantic"].encode(laid)}
    by_hand = sair.encode(image, mask, conditions=field).render((20, 24))
    torch.testing.assert_close(found, torch.where(mask > 0.5, by_hand, image))


def test_one_embedding_is_the_meaning_everywhere(sair: ik.ImplicitModel) -> None:
    image, mask = picture(20, 24), disc(20, 24)
    embedding = torch.randn(8)
    (field,) = given_meaning(sair, embedding, image, mask).values()
    values = field(torch.rand(5, 2) * 2 - 1)
    assert torch.equal(values, values[:1].expand(5, -1))
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(values[0], embedding, dim=0), torch.tensor(1.0))
    own = sair.conditions["semantic"].encode(image, mask).render((2, 3)).norm(dim=0).mean()
    torch.testing.assert_close(values[0].norm(), own)
    batch = inpaint(sair, torch.stack([image, image]), mask, meaning=embedding)
    torch.testing.assert_close(batch[1], inpaint(sair, image, mask, meaning=embedding))


def test_meaning_that_does_not_fit_is_refused(sair: ik.ImplicitModel) -> None:
    image, mask = picture(20, 24), disc(20, 24)
    with pytest.raises(ik.UserError, match="the meaning given has 5 values per point, the model reads 8"):
        inpaint(sair, image, mask, meaning=torch.ones(5))
    with pytest.raises(ik.UserError, match="the model reads no semantic field, .* \\(edsr -> bilinear\\)"):
        inpaint(small_painter(), image, mask, meaning=torch.ones(5))


def test_a_crop_gets_the_part_of_the_picture_that_lies_over_it(sair: ik.ImplicitModel) -> None:
    other = torch.arange(60 * 90).reshape(1, 60, 90).float()
    window = (slice(10, 20), slice(0, 30))
    assert torch.equal(part_of(other, window, (30, 45)), other[:, 20:40, :60])
    assert (
        torch.equal(part_of(torch.ones(8), window, (30, 45)), torch.ones(8)) and part_of(None, window, (1, 1)) is None
    )
    image, mask = picture(60, 64), torch.zeros(1, 60, 64)
    mask[:, 5:12, 6:14] = 1
    found = [inpaint(sair, image, mask, view=32, meaning=m) for m in (None, torch.rand(3, 60, 64))]
    assert not torch.equal(*found)
