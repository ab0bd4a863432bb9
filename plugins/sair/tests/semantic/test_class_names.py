"""The classes of two data sets, by name."""

from __future__ import annotations

import pytest

import implicitkit as ik
from implicitkit_sair.cli.meaning import parse_classes
from implicitkit_sair.decoders.air import AIR
from implicitkit_sair.segmentation.vocabulary import check_names, find_names
from implicitkit_sair.semantic.class_names import CLASS_LISTS, named_classes


def test_the_lists_have_as_many_different_names_as_the_data_sets_have_classes() -> None:
    assert {name: len(names) for name, names in CLASS_LISTS.items()} == {"celebamask_hq": 19, "ade20k": 150}
    for names in CLASS_LISTS.values():
        check_names(names)
    ade = CLASS_LISTS["ade20k"]  # places in the benchmark's table, counted from 1 there
    assert [ade[k - 1] for k in (1, 3, 10, 13, 22, 44, 101, 150)] == [
        *("wall", "sky", "grass", "person", "water", "signboard", "poster", "flag")
    ]


def test_a_list_is_found_by_its_name_wherever_classes_are_asked_for() -> None:
    ade, faces = (list(CLASS_LISTS[name]) for name in ("ade20k", "celebamask_hq"))
    assert named_classes("no such set") is None
    assert parse_classes("ADE20K") == find_names("ade20k") == ade
    assert parse_classes("CelebAMask-HQ") == faces
    assert parse_classes("sky, ade20k") == ["sky", "ade20k"]
    assert AIR(semantics="text", prompts="celebamask_hq").injection.prompts == faces
    with pytest.raises(ik.DataError, match="no list of classes 'coco'; there are celebamask_hq, ade20k, and text"):
        find_names("coco")
