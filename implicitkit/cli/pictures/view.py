"""``implicitkit view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from implicitkit.cli.inputs import find_pictures
from implicitkit.errors import UserError
from implicitkit.registry.extras import require

DEFAULT_MODEL, DEFAULT_PORT, MAX_MODELS = "fast", 8765, 8


def view(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE...", help="Pictures, or folders of pictures.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's name, a file or a hub id; repeatable, to compare. [default: fast]"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(help="Address to listen at; others than this one can be reached.")] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Zoom into pictures without end, in the browser.

    Each view is one window of the picture as a function, rendered at the screen's resolution; a
    slider and a lens compare it with nearest, bicubic and other models. docs/view.md has the keys.
    """
    sources = find_pictures(pictures, with_results=True)
    names = list(dict.fromkeys(model or [DEFAULT_MODEL]))
    if len(names) > MAX_MODELS:
        raise UserError(f"at most {MAX_MODELS} models are compared; received {len(names)}")
    require("app", "implicitkit view", ["starlette", "uvicorn"])

    from implicitkit.create import load_model
    from implicitkit.devices import choose_device
    from implicitkit.viewer.darkroom import Darkroom, Named
    from implicitkit.viewer.running import listen, serve

    with listen(host, port) as listener:  # before the models are loaded
        where = choose_device(device)
        models = [Named(name, load_model(name).to(where)) for name in names]
        for named in models:
            network = named.model
            if network.encoder.in_channels != 3 or network.decoder.out_channels != 3 or network.ndim != 2:
                raise UserError(f"{named.name} does not map RGB pictures to RGB pictures, so there is nothing to see")
        room = Darkroom(sources, models)
        room.size(0)  # a bad file fails now
        serve(room, listener, host, browse=not no_browser, say=typer.echo)
    typer.echo("ended")
