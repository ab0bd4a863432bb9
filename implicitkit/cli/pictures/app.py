"""``implicitkit app``."""

from __future__ import annotations

from typing import Annotated

import typer

from implicitkit.registry.extras import require


def app(
    model: Annotated[
        list[str] | None,
        typer.Option(help="A model's name or weight file to offer, beside those that are here; repeatable."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 7860,
    host: Annotated[str, typer.Option(help="Where to listen; only this machine reaches 127.0.0.1.")] = "127.0.0.1",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    max_upload: Annotated[float, typer.Option(min=0.001, help="Megabytes of a file.")] = 100.0,
    max_pixels: Annotated[float, typer.Option(min=0.001, help="Megapixels of a result.")] = 100.0,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Upscale and inpaint in a page of the browser.

    The page is served on this machine alone, without telemetry; Ctrl-C ends it.
    """
    require("app", "implicitkit app")

    from implicitkit.app.serving import LOOPBACK, serve
    from implicitkit.app.session import Limits
    from implicitkit.devices import choose_device

    if host not in LOOPBACK:
        typer.echo(f"warning: whoever reaches this machine at {host} can use the page; it has no password", err=True)

    def started(address: str) -> None:
        typer.echo(f"{address} (Ctrl-C ends it)")
        if show:
            typer.launch(address)

    limits = Limits(upload=max_upload, written=max_pixels)
    serve(tuple(model or ()), choose_device(device), limits, host, port, started)
