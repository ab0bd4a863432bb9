"""``--set KEY=VALUE`` and the flags that mean the same."""

from __future__ import annotations

import pytest

from implicitkit import UserError
from implicitkit.config import apply_settings, validate
from implicitkit_sair.cli.flags import rewrite
from implicitkit_sair.cli.options import Inpaint, PretrainMAE, Segment
from implicitkit_sair.training.pretrain import Settings


def settings_of(*words: str) -> list[str]:
    """What ``--set`` is given after flags were rewritten."""
    rest = list(rewrite(words, list(Segment.model_fields)))
    assert rest[::2] == ["--set"] * (len(rest) // 2)
    return rest[1::2]


@pytest.mark.parametrize("words", [("--opacity", "0.25"), ("--opacity=0.25",)])
def test_a_flag_is_a_setting(words: tuple[str, ...]) -> None:
    by_flag = validate(Segment, apply_settings({}, settings_of(*words)), "--set")
    assert by_flag == validate(Segment, apply_settings({}, ["opacity=0.25"]), "--set") == Segment(opacity=0.25)


@pytest.mark.parametrize("text", ["12", "a: b", "[x", "größe 😀.pt", 'say "so"', "null", "--odd"])
def test_a_flags_text_is_taken_as_it_is(text: str) -> None:
    chosen = validate(Segment, apply_settings({}, settings_of("--text-weights", text)), "--set")
    assert chosen.text_weights == text


@pytest.mark.parametrize("text", ["[20,0,30,0]", "20,0,30,0", "20 0 30 0"])
def test_margins_are_four_numbers(text: str) -> None:
    words = list(rewrite(["--margins", text], list(Inpaint.model_fields)))
    assert validate(Inpaint, apply_settings({}, words[1::2]), "--set").margins == (20, 0, 30, 0)
    assert validate(Inpaint, {"margins": [20, 0, 30, 0]}, "--set").margins == (20, 0, 30, 0)


def test_a_switch_needs_no_value() -> None:
    keys, switches = list(Inpaint.model_fields), ["mirror"]
    for words in (
        ["--mirror", "--model", "x"],
        ["--mirror", "true", "--model", "x"],
        ["--mirror=true", "--model", "x"],
    ):
        assert list(rewrite(words, keys, switches)) == ["--set", 'mirror="true"', "--model", "x"]
    assert list(rewrite(["--mirror", "false"], keys, switches)) == ["--set", 'mirror="false"']
    assert list(rewrite(["--mirror", "0"], keys, switches)) == ["--set", 'mirror="0"']
    assert list(rewrite(["--no-mirror", "a.png"], keys, switches)) == ["--set", 'mirror="false"', "a.png"]


def test_other_words_stay() -> None:
    words = ["a.png", "-o", "b.png", "--hole", "black", "--force", "--", "--opacity"]
    assert list(rewrite(words, list(Segment.model_fields))) == words
    words = ["no_mirror", "no-mirror", "mirror", "--no-tile", "--no-mirror=1"]  # files, and no switches
    assert list(rewrite(words, list(Inpaint.model_fields), ["mirror"])) == words


def test_a_flag_without_its_value() -> None:
    with pytest.raises(UserError, match="--text-weights needs a value"):
        list(rewrite(["--text-weights"], list(Segment.model_fields)))


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (Inpaint, "dilat=2", "did you mean 'dilate'"),
        (Inpaint, "dilate=-1", "dilate"),
        (Inpaint, "tile=0", "tile"),
        (Inpaint, "margins=[1, 2]", r"four numbers of pixels, \[LEFT, TOP, RIGHT, BOTTOM\]"),
        (Inpaint, "margins=[1, 2, 3, -4]", r"four numbers of pixels, \[LEFT, TOP, RIGHT, BOTTOM\]"),
        (Segment, "precision=float8", "precision"),
        (PretrainMAE, "width=wide", "width"),
    ],
)
def test_a_setting_that_is_none(kind: type, setting: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^--set: .*{message}") as raised:
        validate(kind, apply_settings({}, [setting]), "--set")
    assert "\n" not in str(raised.value)


def test_the_defaults_are_those_of_the_training() -> None:
    defaults = PretrainMAE().model_dump()
    assert defaults == {name: getattr(Settings(), name) for name in defaults}
