"""How the words of `implicitkit evaluate` are read, in every spelling that was ever documented."""

from __future__ import annotations

import pytest

from implicitkit.cli.evaluate import rewrite
from implicitkit.config import apply_settings
from implicitkit.errors import UserError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--scales 2 3 4 6", ["--scales", "2 3 4 6"]),
        ("--scales 2,3.5 -o r.json", ["--scales", "2,3.5", "-o", "r.json"]),
        ("--scales=2 3 --force", ["--scales", "2 3", "--force"]),
        ("--bins 0-20 20-40 --metrics psnr ssim", ["--bins", "0-20 20-40", "--metrics", "psnr ssim"]),
        ("--data DIR --scales", ["--data", "DIR", "--scales"]),
        ("--size 128 --seed=3", ["--set", "size=128", "--set", "seed=3"]),
        ("--truncate --paste", ["--set", "truncate=true", "--set", "paste=true"]),
        ("--size -1", ["--set", "size=-1"]),
        ("--set size=3 --model m", ["--set", "size=3", "--model", "m"]),
    ],
)
def test_lists_are_joined_and_flags_become_settings(words: str, expected: list[str]) -> None:
    assert list(rewrite(words.split())) == expected


def test_paths_are_taken_as_they_are() -> None:
    for path in ("1e3", "a: b", "[x]", "masks #2", "true"):
        for flag, key in (("--masks", "masks"), ("--lpips-weights", "lpips_weights")):
            _, setting = rewrite([flag, path])
            assert apply_settings({}, [setting]) == {key: path}


def test_a_flag_without_its_value_is_said() -> None:
    with pytest.raises(UserError, match="--masks needs a value"):
        list(rewrite(["--masks"]))
