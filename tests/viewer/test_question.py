"""What a page may ask is read word by word, and bounded."""

from __future__ import annotations

import pytest

import implicitkit as ik
from implicitkit.viewer.question import MAX_SAVED_PIXELS, WHOLE_BOX, Damage, Layer, Question, parse_box

ASKED = {"width": "30", "height": "20"}


def parse(**words: object) -> Question:
    return Question.parse(ASKED | {k: str(v) for k, v in words.items()}, pictures=2, models=2)


def test_the_words_become_a_question_and_the_defaults_are_the_whole_picture() -> None:
    assert parse() == Question(0, Layer("model", 0), Damage(), WHOLE_BOX, (20, 30))
    asked = parse(picture=1, layer="meaning-1", box="-0.5,-0.25,0,1e-1", noise=5, low=2, blur=0.5, holes=0.1, seed=7)
    assert asked.picture == 1 and asked.layer == Layer("meaning", 1) and asked.box == (-0.5, -0.25, 0.0, 0.1)
    assert asked.damage == Damage(blur=0.5, low=2.0, noise=5.0, holes=0.1, seed=7)


def test_a_seed_that_does_not_matter_makes_no_other_picture() -> None:
    assert parse(seed=7).damage == Damage() and parse(seed=7, blur=1).damage == parse(blur=1).damage
    assert parse(seed=7, noise=1).damage != parse(noise=1).damage


def test_damage_is_a_chain_of_degradations_that_covers_the_whole_picture() -> None:
    steps = Damage(blur=1, low=3, noise=10, holes=0.2).spec((31, 40))
    assert [step["name"] for step in steps] == ["blur", "super_resolution", "noise", "inpainting"]
    import torch

    degraded = ik.create_degradation(steps)(torch.rand(3, 31, 40))
    assert degraded.image.shape == (3, 10, 13) and degraded.reference.shape == (3, 31, 40)
    assert float(degraded.mask.mean()) == pytest.approx(0.2, abs=0.02)
    assert Damage(low=1000).spec((31, 40))[0]["size"] == [1, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"width": "0"}, "width is a number from 1 to 16384; received '0'"),
        ({"width": "x" * 500}, "width is a number"),
        ({"height": ""}, "height is a number .* received 'nothing'"),
        ({"width": "16000", "height": "16000"}, "at most 14.7 million pixels are rendered; received 16000×16000"),
        ({"width": "nan"}, "width is a number"),
        ({"width": "1e400"}, "width is a number"),
        ({"picture": "2"}, "picture is a number from 0 to 1"),
        ({"picture": "-1"}, "picture is a number"),
        ({"picture": "../../etc/passwd"}, "picture is a number"),
        ({"layer": "model-2"}, "layer is one of nearest, bicubic, original, model-0, model-1"),
        ({"layer": "model-²"}, "layer is one of"),
        ({"layer": "model-" + "9" * 5000}, "layer is one of"),
        ({"layer": "secret"}, "layer is one of"),
        ({"noise": "101"}, "noise is a number from 0 to 100"),
        ({"low": "0.5"}, "low is a number from 1 to 16"),
        ({"holes": "1"}, "holes is a number from 0 to 0.6"),
        ({"seed": "-1"}, "seed is a number"),
        ({"box": "0,0,1"}, "box is y0,x0,y1,x1, four numbers"),
        ({"box": "a,b,c,d"}, "four numbers"),
        ({"box": "0,0,nan,1"}, r"in \[-1, 1\]"),
        ({"box": "0,0,2,1"}, r"in \[-1, 1\]"),
        ({"box": "0.5,0,0.5,1"}, "y0 < y1"),
        ({"box": "0,0,1e-6,1"}, "too small for 30×20 pixels"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_one_line(words: dict[str, str], message: str) -> None:
    with pytest.raises(ik.UserError, match=message) as refused:
        parse(**words)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 200


def test_a_saved_picture_may_be_larger_than_a_screen() -> None:
    words = {"width": "8000", "height": "8000"}
    with pytest.raises(ik.UserError, match="at most 14.7"):
        Question.parse(words, pictures=1, models=1)
    assert Question.parse(words, pictures=1, models=1, most=MAX_SAVED_PIXELS).size == (8000, 8000)
    assert parse_box("-1,-1,1,1", (8000, 8000)) == WHOLE_BOX
