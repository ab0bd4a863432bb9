"""The page: a tab for each that is registered."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from implicitkit.app.session import KEPT_S, Session
from implicitkit.errors import PluginError, UserError, one_line, text_of
from implicitkit.registry.kinds import tabs

ADDRESS = re.compile(r"\s*[a-z]+://", re.IGNORECASE)
FIRST_TABS = ("upscale", "inpaint")
NO_INPAINTING = """Nothing here fills holes. A plugin brings this tab and the models for it:

    pip install implicitkit-sair

Then start `implicitkit app` again."""


async def build_page(session: Session) -> gr.Blocks:
    """The page of ``session``. Gradio asks for a running loop, and leaves one open where there is none.

    Raises:
        UserError: the models that were given cannot be loaded.

    >>> import asyncio
    >>> from pathlib import Path
    >>> page = asyncio.run(build_page(Session(Path("results"))))
    >>> page.analytics_enabled
    False
    """
    names = tabs.names()
    first = [name for name in FIRST_TABS if name in names or name == "inpaint"]
    with gr.Blocks(title="implicitkit", analytics_enabled=False, delete_cache=(600, int(KEPT_S))) as page:
        gr.Markdown("# implicitkit\nPictures as continuous functions. Everything is computed on this machine.")
        for name in [*first, *(name for name in names if name not in first)]:
            with gr.Tab(name.replace("_", " ").capitalize(), id=name):
                if name in names:
                    _lay_out(name, session)
                else:
                    gr.Markdown(NO_INPAINTING)
    page.queue(max_size=16, default_concurrency_limit=1)
    page.has_launched = True  # a page that is mounted is not, and Gradio then lets a request name any file
    for part in page.blocks.values():
        if isinstance(part, gr.components.Component):
            _refuse_addresses(part)
    return page


def _refuse_addresses(part: gr.components.Component) -> None:
    """Let no request have this machine fetch a file from another one."""
    move, move_later = part.move_resource_to_block_cache, part.async_move_resource_to_block_cache

    def check(path: Any) -> None:
        if path is not None and ADDRESS.match(str(path)):
            raise gr.Error("a picture is sent to this page, not fetched from an address", print_exception=False)

    def checked(path: Any) -> Any:
        check(path)
        return move(path)

    async def checked_later(path: Any) -> Any:
        check(path)
        return await move_later(path)

    part.move_resource_to_block_cache = checked
    part.async_move_resource_to_block_cache = checked_later


def _lay_out(name: str, session: Session) -> None:
    """One tab; of a plugin's that fails, the reason."""
    entry, first = tabs.find(name)
    try:
        tabs.build(entry, *first, session)  # type: ignore[arg-type]  # a session in the place of a name's tail
    except PluginError as error:
        gr.Markdown(f"This tab failed: {one_line(text_of(error))}")
    except UserError:
        raise
