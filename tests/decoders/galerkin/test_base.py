"""Attention over all points of a question."""

import pytest
import torch

import implicitkit as ik

ENCODER = {"name": "edsr", "blocks": 0, "channels": 8}


def model_of(name: str) -> ik.ImplicitModel:
    return ik.create_model({"encoder": ENCODER, "decoder": {"name": name, "width": 8, "heads": 2}}).eval()


@pytest.mark.parametrize("name", ["srno", "hiif"])
def test_blocks_give_one_answer_and_fewer_points_another(name: str) -> None:
    field = model_of(name).encode(torch.rand(2, 3, 7, 6))
    whole = field.render((20, 15), clamp=False)
    torch.testing.assert_close(field.render((20, 15), clamp=False, block=17), whole, atol=1e-5, rtol=0)
    points = torch.rand(2, 40, 2) * 2 - 1
    assert (field(points, 0.1)[:, :9] - field(points[:, :9], 0.1)).abs().max() > 1e-6


def test_a_picture_in_tiles_and_a_query_without_a_question_are_refused() -> None:
    model = model_of("srno")
    assert model.sight is None
    with pytest.raises(ValueError, match="SRNO sees the whole picture at once"):
        model.encode(torch.rand(3, 8, 8), tile=4)
    latent = model.encode(torch.rand(1, 3, 8, 8))._latents.whole
    with pytest.raises(ValueError, match=r"call begin\(\) before query"):
        model.decoder.query(latent, torch.zeros(1, 1, 2), torch.full((1, 1, 2), 0.1), {})


def test_no_points_no_values() -> None:
    assert model_of("hiif").encode(torch.rand(3, 8, 8))(torch.zeros(0, 2), 0.1).shape == (0, 3)


@pytest.mark.parametrize("name", ["srno", "hiif"])
def test_a_single_point_is_refused_and_a_single_pixel_is_not(name: str) -> None:
    field = model_of(name).encode(torch.rand(3, 8, 8))
    with pytest.raises(ValueError, match=f"{name} sums over all points of a question"):
        field(torch.zeros(2), 0.1)
    assert field.render((1, 1)).shape == (3, 1, 1) and field(torch.zeros(2, 2), 0.1).shape == (2, 3)
