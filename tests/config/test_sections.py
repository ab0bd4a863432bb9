"""Sections and parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from implicitkit.config.sections import LossSpec, PartSpec, Strict


class Folders(Strict):
    folders: list[Path]


def test_home_is_home() -> None:
    assert Folders(folders=["~/a", "b"]).folders == [Path.home() / "a", Path("b")]
    with pytest.raises(ValidationError):
        Folders(folders=[], more=1)


def test_a_name_is_a_part() -> None:
    assert PartSpec.model_validate("edsr").as_dict() == {"name": "edsr"}
    assert LossSpec.model_validate({"name": "l1", "hole_weight": 6}).as_dict() == {
        "name": "l1",
        "weight": 1.0,
        "hole_weight": 6,
    }
