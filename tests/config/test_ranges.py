"""Every number of a configuration has a range."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import implicitkit as ik
from implicitkit.config import ModelSpec, TrainConfig, validate
from implicitkit.config.comparison import CompareConfig
from implicitkit.config.ranges import USUAL_RANGE, out_of_range, range_of
from implicitkit.registry import kinds


def parts_of(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    for inner in typing.get_args(annotation):
        yield from parts_of(inner)


def numbers_in(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of a section's numbers."""
    for name, field in section.model_fields.items():
        for kind in parts_of(field.annotation):
            if kind in (int, float):
                yield (*path, name)
            elif isinstance(kind, type) and not isinstance(kind, types.GenericAlias) and issubclass(kind, BaseModel):
                if name == "conditions":  # models again
                    continue
                yield from numbers_in(kind, (*path, name))


@pytest.mark.parametrize("section", [TrainConfig, CompareConfig])
def test_every_number_has_a_range(section: type[BaseModel]) -> None:
    paths = set(numbers_in(section))
    assert len(paths) > 5
    assert {path for path in paths if range_of(path) == USUAL_RANGE} == set()


def test_every_count_of_a_part_has_a_range() -> None:
    """What makes a part larger; a factor is bounded by what all numbers are."""
    unbounded = set()
    for registry in (kinds.encoders, kinds.decoders):
        for entry in registry.entries():
            factory = entry.resolve()
            hints = typing.get_type_hints(factory.__init__ if isinstance(factory, type) else factory)
            names = registry.options(entry.name.replace("timm:", "timm:resnet18")) or []
            counts = {name for name in names if int in set(parts_of(hints.get(name)))}
            unbounded |= {name for name in counts if range_of([name]) == USUAL_RANGE}
    assert unbounded <= {"out_indices"}


def test_the_nearest_section_counts() -> None:
    assert range_of(["data", "window"]) != range_of(["model", "encoder", "window"])
    assert range_of(["optimiser", "parts", "encoder"]) == range_of(["optimiser", "parts"])


@pytest.mark.parametrize("number", [10**6, 10**19, 1e300, float("inf"), float("nan"), "1000000", "1e400", 10**400, -1])
def test_what_no_machine_can_serve_is_refused(number: Any) -> None:
    spec = {"encoder": {"name": "edsr", "blocks": number}, "decoder": "liif"}
    with pytest.raises(ik.ConfigError, match="encoder.blocks: should be a number from 0 to 512") as error:
        validate(ModelSpec, spec, "model")
    assert len(str(error.value)) < 200


def test_numbers_inside_lists_and_long_lists() -> None:
    assert list(out_of_range({"hidden": [64, 10**6]})) == [(("hidden", "1"), "a number from 0 to 16,384")]
    assert list(out_of_range({"hidden": [1] * 10_001})) == [(("hidden",), "a list of at most 10,000 entries")]
    assert list(out_of_range({"license": "1e99", "skip": True, "unknown": 1e9})) == []
    assert list(out_of_range({"unknown": 1e10}))
