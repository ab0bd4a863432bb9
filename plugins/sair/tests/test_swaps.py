"""docs/swaps.md is what the registries say, and every swap in it can be made."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def test_the_table_of_swaps_is_of_today() -> None:
    spec = importlib.util.spec_from_file_location("make_swaps", DOCS / "make_swaps.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = made.page()
    assert page == (DOCS / "swaps.md").read_text(encoding="utf-8"), "run python docs/make_swaps.py"
    assert page.count("| yes") == len(made.APPEARANCE) * len(made.DECODERS) * len(made.SEMANTIC)
