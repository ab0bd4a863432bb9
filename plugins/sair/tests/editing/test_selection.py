"""Selecting by meaning, on semantics that are the colours themselves: the answer is known."""

from __future__ import annotations

import pytest
import torch
from semantics import COLOURS, NAMES, flag, semantic_model
from torch import Tensor

import implicitkit as ik
from implicitkit_sair.editing import selection
from implicitkit_sair.editing.selection import guided, otsu, select
from implicitkit_sair.segmentation.vocabulary import Vocabulary

CLASSES = Vocabulary(tuple(NAMES), COLOURS)


def two_reds() -> Tensor:
    """Blue, with a red square of 16 pixels at the top left and one at the bottom right."""
    picture = torch.zeros(3, 48, 64)
    picture[2] = 1
    for rows, columns in ((slice(4, 20), slice(4, 20)), (slice(28, 44), slice(40, 56))):
        picture[0, rows, columns], picture[2, rows, columns] = 1, 0
    return picture


def agreement(found: Tensor, truth: Tensor) -> float:
    """Intersection over union."""
    found, truth = found[0] > 0.5, truth > 0.5
    return float((found & truth).sum() / (found | truth).sum())


def test_like_a_point_selects_all_that_means_the_same() -> None:
    picture = two_reds()
    found = select(semantic_model(), picture, like=[(10, 10)])
    assert agreement(found.mask, picture[0]) > 0.85
    assert found.scores.shape == (48, 64) and found.mask.shape == (1, 48, 64)
    assert agreement(select(semantic_model(), picture, like=[(30, 2)]).mask, picture[2]) > 0.85


def test_connected_keeps_what_holds_the_point() -> None:
    picture = two_reds()
    found = select(semantic_model(), picture, like=[(50, 40)], connected=True)
    alone = picture[0].clone()
    alone[:24] = 0
    assert agreement(found.mask, alone) > 0.85


def test_unlike_draws_the_line_at_the_nearer_one() -> None:
    found = select(semantic_model(), flag(24, 48), like=[(4, 4)], unlike=[(24, 4)], refine=False)
    assert found.threshold == 0 and bool((found.mask[0, :, :14] == 1).all()) and not found.mask[0, :, 18:30].any()


def test_unlike_takes_from_what_like_selects() -> None:
    """A third colour that is like neither point goes to none, however near it is to the one that is meant."""
    picture = flag(24, 48)
    alone = select(semantic_model(), picture, like=[(4, 4)], refine=False)
    found = select(semantic_model(), picture, like=[(4, 4)], unlike=[(24, 4)], refine=False)
    assert bool((found.mask <= alone.mask).all()) and agreement(found.mask, picture[0]) > 0.8


def test_what_a_selection_encloses_belongs_to_it_where_it_is_small() -> None:
    mask = torch.zeros(60, 80, dtype=torch.bool)
    mask[10:40, 10:60] = True
    mask[15:18, 20:24] = mask[22:38, 30:50] = False  # 12 and 320 of 4,800
    closed = selection.without_islands(mask)
    assert bool(closed[15:18, 20:24].all()) and not closed[22:38, 30:50].any() and not closed[:10].any()


def test_an_example_says_what_is_meant_in_another_picture() -> None:
    example = flag(24, 48)
    found = select(semantic_model(), two_reds(), example=(example, example[:1]))
    assert agreement(found.mask, two_reds()[0]) > 0.85


def test_classes_select_what_is_nearest_to_them() -> None:
    found = select(semantic_model(), flag(24, 48), vocabulary=CLASSES, classes=["red", "Blue"], refine=False)
    assert agreement(found.mask, flag(24, 48)[0] + flag(24, 48)[2]) > 0.85


def test_a_sair_selects_by_the_semantics_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 8}
    inner = {"encoder": encoder, "decoder": {"name": "bilinear", "project": False}}
    sair = ik.create_model(
        {"encoder": encoder, "decoder": {"name": "air", "hidden": [8]}, "conditions": {"semantic": inner}}
    )
    found = select(sair, two_reds(), like=[(10, 10)])
    assert torch.equal(found.scores, select(sair.conditions["semantic"], two_reds(), like=[(10, 10)]).scores)
    monkeypatch.setattr(selection, "default_semantics", semantic_model)
    assert agreement(select(None, two_reds(), like=[(10, 10)]).mask, two_reds()[0]) > 0.85


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "one of the three; received 0"),
        ({"like": [(1, 1)], "classes": ["red"]}, "one of the three; received 2"),
        ({"unlike": [(1, 1)], "classes": ["red"]}, "unlike goes with like"),
        ({"like": [(64, 3)]}, "the point 64,3 lies outside of the picture, which has 64×48 pixels"),
        ({"like": [(-1, 3)]}, "the point -1,3 lies outside"),
        ({"like": [(1, 1)], "threshold": 3.0}, "nothing is selected: the scores run from .* take a lower threshold"),
        ({"like": [(1, 1)], "threshold": -3.0}, "everything is selected: .* take a higher threshold"),
        ({"classes": ["red"]}, "classes need a vocabulary"),
        ({"classes": ["mauve"], "vocabulary": CLASSES}, "there is no class 'mauve'"),
        ({"classes": ["red"], "vocabulary": Vocabulary(("red",), torch.ones(1, 5))}, "3 values per point, .* 5"),
        ({"classes": ["red"], "vocabulary": CLASSES, "connected": True}, "connected keeps .* there is none"),
        ({"example": (flag(8, 12), torch.zeros(1, 8, 12))}, "the example's mask covers all of its picture or nothing"),
        ({"example": (flag(8, 12), torch.zeros(1, 8, 11))}, "sizes must agree"),
    ],
)
def test_bad_requests_are_refused_in_one_line(asked: dict, message: str) -> None:
    with pytest.raises(ik.UserError, match=message):
        select(semantic_model(), two_reds(), **asked)


def test_a_model_without_meaning_is_refused() -> None:
    with pytest.raises(ik.UserError, match="meaning is read from a model whose decoder gives an embedding"):
        select(
            ik.create_model({"encoder": {"name": "edsr", "blocks": 1, "channels": 8}, "decoder": "liif"}),
            two_reds(),
            like=[(1, 1)],
        )


def test_otsu_divides_two_groups() -> None:
    values = torch.cat([torch.rand(500) * 0.2, 0.6 + torch.rand(100) * 0.4])
    assert 0.19 < otsu(values) < 0.61


def test_the_guided_filter_moves_a_border_to_that_of_the_picture() -> None:
    picture = torch.zeros(3, 40, 40)
    picture[:, :, 20:] = 1
    scores = torch.zeros(40, 40)
    scores[:, 17:] = 1  # three pixels too far
    found = guided(scores, picture, 8) > 0.5
    wrong = [int((x != (picture[0] > 0.5)).sum()) for x in (scores > 0.5, found)]
    assert wrong[1] < wrong[0] / 3
