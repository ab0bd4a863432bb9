"""The options that commands which write pictures share."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import pytest
import typer

from implicitkit.cli.pictures.options import Outputs, OutputSize, check_hdr, with_outputs
from implicitkit.errors import UserError

SWITCHES = ("keep_gps", "keep_text", "recursive", "skip_existing")


def test_a_command_has_the_options_of_the_table_and_gets_them_as_one() -> None:
    @with_outputs
    def command(pictures: list[Path], size: Annotated[int, typer.Option(help="Of it.")] = 3, *, outputs: Outputs):
        """What it does."""
        return pictures, size, outputs

    names = list(inspect.signature(command).parameters)
    assert names == ["pictures", "size", "format", "quality", "name", *SWITCHES, "force"]
    assert list(inspect.signature(inspect.unwrap(command)).parameters) == ["pictures", "size", "outputs"]
    given = dict.fromkeys(("format", "quality", "name"), None) | dict.fromkeys(SWITCHES, False)
    assert command(pictures=[], size=4, force=True, **given) == ([], 4, Outputs(force=True))
    assert command.__doc__ == "What it does."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "--format is png, jpg, webp, avif, tif or exr; received 'gif'"),
        ({"skip_existing": True, "force": True}, "give --skip-existing or --force, not both"),
        ({"name": "{size}"}, "--name takes {name}, {label}, {model}, {number}; received '{size}'"),
        ({"name": "{name"}, "--name takes {name}, "),
        ({"name": "large"}, "--name needs {name} or {number}, or all results would have one name; received 'large'"),
        ({"name": "../{name}"}, "--name is a file's name without folder and suffix"),
        ({"name": " "}, "--name is a file's name"),
    ],
)
def test_what_cannot_be_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError) as refused:
        Outputs(**options)
    assert message in str(refused.value)


def test_one_file_has_its_own_name_and_format() -> None:
    Outputs(format="jpg").check_file(Path("a.JPEG"))
    with pytest.raises(UserError, match=r"--format png contradicts --output a\.jpg"):
        Outputs(format="png").check_file(Path("a.jpg"))
    with pytest.raises(UserError, match="--name names results in a folder"):
        Outputs(name="{name}").check_file(Path("a.jpg"))


def test_quality_needs_a_format_that_has_one() -> None:
    Outputs(quality=70).check_quality([Path("a.png"), Path("b.JPG")])
    with pytest.raises(UserError, match=r"--quality is of JPEG, WebP and AVIF; the results are \.png, \.tif"):
        Outputs(quality=70).check_quality([Path("a.png"), Path("b.tif")])


def test_names_hold_no_folder_whatever_the_fields_are() -> None:
    assert Outputs(name="{label}-{name}").file_name("x", name="a", label="x4:x/4") == "x4_x_4-a"


def test_what_is_done_is_all_there(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.touch()
    assert Outputs(skip_existing=True).is_done([a]) and not Outputs(skip_existing=True).is_done([a, b])
    assert not Outputs().is_done([a])


def test_a_size_is_said_in_one_way() -> None:
    assert OutputSize().enlargement().of((3, 5)) == (12, 20)
    assert OutputSize(size="30x10").enlargement().of((10, 30)) == (10, 30)
    for options, message in (
        ({"scale": 2.0, "width": 5}, "give one of --scale, --size, or --width and --height"),
        ({"fit": True, "crop": True}, "give one of --fit, --crop and --stretch; received --fit and --crop"),
        ({"fit": True, "scale": 2.0}, "--fit goes with a box"),
        ({"width": 0}, "--width is a positive number of pixels; received 0"),
        ({"scale": 0.0}, "--scale is a positive number up to 1e"),
    ):
        with pytest.raises(UserError, match=message):
            OutputSize(**options).enlargement()


def test_values_above_1_need_a_file_that_holds_them() -> None:
    check_hdr([Path("a.exr"), Path("b.TIF")])
    with pytest.raises(UserError, match=r"--hdr keeps values above 1, which \.tif and \.tiff and \.exr hold; b\.png"):
        check_hdr([Path("a.exr"), Path("b.png")])
