"""``implicitkit plugins`` and ``implicitkit plugins new``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from implicitkit.errors import PluginError

plugins = typer.Typer(help="List plugins, and why one failed; or start a new one.")


@plugins.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="The tracebacks of those that failed.")] = False,
) -> None:
    """List plugins: name, version, what each provides, its loading time, and why one failed."""
    if context.invoked_subcommand is not None:
        return
    from implicitkit.registry.kinds import plugins as loaded

    failure: PluginError | None = None
    try:
        loaded.load()
    except PluginError as error:  # strict mode: list the plugins before raising
        failure = error
    if as_json:
        rows = [
            {
                "name": p.name,
                "distribution": p.owner.distribution,
                "version": p.owner.version,
                "source": p.source,
                "provides": p.provides,
                "seconds": round(p.seconds, 4),
                "error": p.error or None,
            }
            for p in loaded.loaded
        ]
        typer.echo(json.dumps(rows, indent=2))
    for plugin in [] if as_json else loaded.loaded:
        typer.echo(f"{plugin}, {plugin.source}, loaded in {plugin.seconds * 1000:.0f} ms")
        for kind, names in plugin.provides.items():
            if names:
                typer.echo(f"  {kind + ':':<12} {', '.join(names)}")
        if plugin.error:
            typer.echo(f"  FAILED, nothing of it is registered: {plugin.error}")
            if traceback:
                typer.echo(plugin.traceback)
    if failure is not None:
        raise failure


@plugins.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Its name, e.g. 'siren'; the project is implicitkit-siren.")],
    kind: Annotated[
        Literal["decoder", "encoder", "neck", "degradation", "loss", "metric", "dataset", "callback"],
        typer.Option(help="What it brings: the part that is written, and tested."),
    ] = "decoder",
    into: Annotated[Path, typer.Option(help="The folder in which to make the project's folder.")] = Path(),
) -> None:
    """Write a plugin project that installs and passes its tests.

    It holds a pyproject.toml, one part, its tests and a README.
    """
    from implicitkit.registry.scaffold import new_plugin

    folder = new_plugin(name, into, kind)
    typer.echo(f"wrote {folder}")
    typer.echo(f"try it:  pip install -e '{folder}[test]'  &&  python -m pytest {folder}  &&  implicitkit plugins")
