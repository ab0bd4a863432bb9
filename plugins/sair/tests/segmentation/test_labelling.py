"""Scores and labels of every pixel against literal versions."""

from __future__ import annotations

import pytest
import torch
from semantics import COLOURS, NAMES, flag, saved_semantics
from semantics import semantic_model as colours_model

import implicitkit as ik
from implicitkit.coordinates import grid
from implicitkit.errors import UserError
from implicitkit_sair.segmentation.labelling import before_completion, segment, semantic_field, semantic_model


def literal_scores(field: ik.Field, embeddings: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cosine at every pixel centre, one by one."""
    values = field(grid(size))
    rows = [[float(v @ e / (v.norm() * e.norm())) for v in values] for e in embeddings]
    return torch.tensor(rows).reshape(len(embeddings), *size)


@pytest.mark.parametrize("size", [(16, 24), (5, 7), (30, 31)])
def test_labels_and_scores_are_the_literal_ones(size: tuple[int, int]) -> None:
    field = saved_semantics().encode(flag(11, 13))
    embeddings = torch.randn(4, 6) * 3
    labels, scores = segment(field, ["a", "b", "c", "d"], size, embeddings=embeddings)
    assert labels.shape == size and labels.dtype == torch.int64 and scores.shape == (4, *size)
    expected = literal_scores(field, embeddings, size)
    assert (scores - expected).abs().max() < 1e-6
    assert torch.equal(labels, scores.argmax(0))


def test_stripes_have_their_colours() -> None:
    labels, scores = segment(colours_model().encode(flag()), NAMES, (16, 24), embeddings=5 * COLOURS)
    inner = [labels[:, 8 * k + 2 : 8 * k + 6] for k in range(3)]  # off the seams, which interpolation mixes
    assert all(bool((part == k).all()) for k, part in enumerate(inner))
    assert scores[0, 8, 2] == 1 and scores[1, 8, 2] == 0


def test_a_batch_and_a_window() -> None:
    pictures = torch.stack([flag(), flag().flip(2)])
    together = segment(colours_model().encode(pictures), NAMES, (9, 10), embeddings=COLOURS)
    assert together.labels.shape == (2, 9, 10) and together.scores.shape == (2, 3, 9, 10)
    alone = segment(colours_model().encode(pictures[1]), NAMES, (9, 10), embeddings=COLOURS)
    assert torch.equal(together.labels[1], alone.labels)
    left = segment(colours_model().encode(flag()), NAMES, (4, 4), box=(-1, -1, 1, -0.5), embeddings=COLOURS)
    assert bool((left.labels == 0).all())


def test_before_completion_is_the_encoders_own_map_interpolated() -> None:
    model = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 1, "channels": 6, "res_scale": 1.0, "mask_channels": 1},
            "decoder": {"name": "bilinear", "project": False},
            "inputs": ["image", "mask"],
        }
    ).eval()
    picture, mask = flag(), torch.zeros(1, 16, 24)
    mask[:, 4:9, 5:12] = 1
    shown = torch.where(mask > 0.5, 0.5, picture)
    features = model.encoder(torch.cat([shown, mask])[None]).map
    raw = before_completion(model.encode(picture, mask)).render((33, 20))
    expected = torch.nn.functional.interpolate(
        torch.nn.functional.pad(features, (1, 1, 1, 1), mode="replicate"), scale_factor=1
    )
    coords = grid((33, 20)) * torch.tensor([16 / 18, 24 / 26])  # in the padded map
    sampled = torch.nn.functional.grid_sample(expected, coords.flip(-1)[None, None], align_corners=False)
    assert (raw.flatten(1) - sampled[0, :, 0]).abs().max() < 1e-5
    twin = before_completion(model.encode(picture[None], mask[None])).render((33, 20))
    assert torch.equal(twin[0], raw)


def test_meaning_is_found_where_it_is() -> None:
    semantics, encoder = saved_semantics(), {"name": "edsr", "blocks": 1, "channels": 4}
    assert semantic_model(semantics) is semantics
    painter = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [4]}})
    with pytest.raises(UserError, match="gives an embedding"):
        semantic_field(painter.encode(flag()))
    with pytest.raises(UserError, match="no condition 'meaning'"):
        semantic_field(painter.encode(flag()), "meaning")

    class Reads(ik.Decoder):
        in_channels, conditions, uses_cell = 4, ("semantic",), False

        def prepare(self, features, inputs, conditions):
            return None

        def query(self, latent, coords, cell, conditions):
            return conditions["semantic"][..., :3]

    both = ik.ImplicitModel(ik.create_encoder(encoder), Reads(), {"semantic": semantics})
    field = both.encode(flag())
    assert semantic_model(both) is semantics and semantic_field(field) is field.conditions["semantic"]
    direct = segment(semantics.encode(flag()), ["a", "b"], (6, 6), embeddings=torch.eye(6)[:2])
    assert torch.equal(segment(field, ["a", "b"], (6, 6), embeddings=torch.eye(6)[:2]).scores, direct.scores)


def test_what_segment_refuses() -> None:
    field = colours_model().encode(flag())
    with pytest.raises(UserError, match="3 values per point, the classes' embeddings 5"):
        segment(field, ["a", "b"], (4, 4), embeddings=torch.rand(2, 5))
    with pytest.raises(ValueError, match=r"2 classes take embeddings \(2, D\); received \(3, 3\)"):
        segment(field, ["a", "b"], (4, 4), embeddings=COLOURS)
    for names, message in (
        ([], "one or more"),
        (["a", "A"], "more than once"),
        ("sky", "are a list"),
        ([" "], "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            segment(field, names, (4, 4), embeddings=torch.rand(len(names), 3))
    with pytest.raises(ValueError, match="finite vector other than zero"):
        segment(field, NAMES, (4, 4), embeddings=torch.zeros(3, 3))
    with pytest.raises(ValueError, match="only a clip encoder has words; received Colours"):
        segment(field, NAMES, (4, 4))


# ---------------------------------------------------------------------------- vocabularies
