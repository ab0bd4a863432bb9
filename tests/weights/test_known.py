"""The table of known files is complete, and says so where a name is not in it."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

import implicitkit as ik
from implicitkit.weights.known import FILES, KNOWN, KnownFile, known_file


@pytest.mark.parametrize("known", FILES, ids=lambda known: known.name)
def test_an_entry_says_everything(known: KnownFile) -> None:
    assert known.task and known.licence and known.size > 0 and re.fullmatch("[0-9a-f]{64}", known.sha256)
    for source in known.sources:
        assert re.match(r"https://|hf-hub:[^/]+/[^/]+/.|pypi:[^/=]+==[^/]+/[^/]+\.(whl|tar\.gz)/.", source.place)
        assert len(source.sha256) >= 8, "what is downloaded is checked"
        if source.convert:
            module, _, function = source.convert.partition(":")
            assert callable(getattr(import_module(module), function))


def test_names_and_files_are_unique() -> None:
    assert len(KNOWN) == len(FILES) == len({known.file for known in FILES})


def test_an_unknown_name() -> None:
    with pytest.raises(ik.WeightsError, match="did you mean lpips_alex"):
        known_file("lpips_ale")
