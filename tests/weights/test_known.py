"""The known files are complete, and what they name exists."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

import implicitkit as ik
from implicitkit.weights.known import known_file

OURS = [
    "dinov2_vits14",
    "efficientnet_lite0",
    "efficientnet_lite2",
    "liif_edsr_baseline",
    "lpips_alex",
    "lpips_squeeze",
    "lpips_vgg",
]


@pytest.mark.parametrize("name", OURS)
def test_an_entry_says_everything(name: str) -> None:
    known = known_file(name)
    assert known.task and known.licence and known.size > 0 and re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", known.sha256)
    for source in known.sources:
        assert re.match(r"https://|hf-hub:[^/]+/[^/]+/.|pypi:[^/=]+==[^/]+/[^/]+\.(whl|tar\.gz)/.", source.place)
        assert len(source.sha256) >= 8 or source.place.startswith("hf-hub:"), "what is downloaded is checked"
        if source.convert:
            module, _, function = source.convert.partition(":")
            assert callable(getattr(import_module(module), function))


def test_names_and_files_are_unique() -> None:
    assert ik.list_weights() == OURS and len({known_file(name).file for name in OURS}) == len(OURS)


def test_an_unknown_name() -> None:
    with pytest.raises(ik.UnknownNameError, match="did you mean 'lpips_alex'"):
        known_file("lpips_ale")
