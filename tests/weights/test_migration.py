"""A part whose arguments have changed their meaning translates the specs of older files."""

from __future__ import annotations

import pytest

from implicitkit.create import register_decoder, register_neck
from implicitkit.decoders import LIIF
from implicitkit.necks import Neck
from implicitkit.weights.migration import migrated


class Changed(LIIF):
    """What was ``wide: true`` is ``hidden: [64]`` today."""

    @classmethod
    def migrate(cls, spec: dict) -> dict:
        wide = spec.pop("wide", False)
        return {**spec, "hidden": [64]} if wide else spec


class Renamed(Neck):
    """What was ``depth`` is ``blocks``."""

    @classmethod
    def migrate(cls, spec: dict) -> dict:
        return {"blocks" if key == "depth" else key: value for key, value in spec.items()}


@pytest.fixture(autouse=True)
def registered() -> None:
    register_decoder("changed_example", Changed, replace=True)
    register_neck("renamed_example", Renamed, replace=True)


def test_each_part_of_each_model_is_translated() -> None:
    inner = {"encoder": "edsr", "decoder": {"name": "changed_example", "wide": True}}
    neck = {"name": "renamed_example", "depth": 2}
    old = {**inner, "neck": [neck, neck], "conditions": {"semantic": {**inner, "neck": neck}}, "scales": [1, 4]}
    new = {"name": "changed_example", "hidden": [64]}
    result = migrated(old)
    assert result["decoder"] == new and result["conditions"]["semantic"]["decoder"] == new
    assert result["neck"] == [{"name": "renamed_example", "blocks": 2}] * 2
    assert result["conditions"]["semantic"]["neck"] == {"name": "renamed_example", "blocks": 2}
    assert result["encoder"] == "edsr" and result["scales"] == [1, 4]
    assert old["decoder"] == {"name": "changed_example", "wide": True}  # the spec that was given stays


@pytest.mark.parametrize("decoder", ["no_such_decoder", {"name": "nor_this", "hidden": [8]}, {"hidden": [8]}, 3])
def test_what_cannot_be_found_is_left_to_who_builds_it(decoder: object) -> None:
    spec = {"encoder": "edsr", "decoder": decoder}
    assert migrated(spec) == spec
