"""The page has a tab for each that is registered, and says what would bring the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

gr = pytest.importorskip("gradio")

import implicitkit as ik  # noqa: E402
from implicitkit.app.page import NO_INPAINTING, build_page  # noqa: E402
from implicitkit.app.session import Session  # noqa: E402


def shown(page: object) -> tuple[list[str], list[str]]:
    """The titles of the tabs, and the texts of the page."""
    blocks = page.blocks.values()
    return [b.label for b in blocks if isinstance(b, gr.Tab)], [b.value for b in blocks if isinstance(b, gr.Markdown)]


def test_without_a_plugin_the_second_tab_says_what_to_install(tmp_path: Path) -> None:
    page = asyncio.run(build_page(Session(tmp_path)))
    titles, texts = shown(page)
    assert titles == ["Upscale", "Inpaint"] and any(text in NO_INPAINTING or "pip install" in text for text in texts)
    assert page.analytics_enabled is False
    names = set(page.get_api_info()["named_endpoints"])
    assert names == {"/upscale"}


def test_a_plugins_tab_is_laid_out_and_one_that_fails_says_why(tmp_path: Path) -> None:
    class Plugin:
        @ik.hookimpl
        def register_tabs(self, register) -> None:
            register("hello_there", lambda session: gr.Markdown(f"from {session.folder.name}") and None)
            register("broken", lambda session: {}["lost"])

    plugin = ik.register_plugin(Plugin())
    try:
        titles, texts = shown(asyncio.run(build_page(Session(tmp_path / "place"))))
    finally:
        ik.unregister_plugin(plugin)
    assert titles == ["Upscale", "Inpaint", "Broken", "Hello there"] and "from place" in texts
    assert any(text.startswith("This tab failed: tab 'broken' of Plugin") and "lost" in text for text in texts)
