"""``implicitkit weights``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def weights(
    action: Annotated[
        Literal["list", "get", "verify"],
        typer.Argument(help="list what is known; get files into the cache folder; verify those that are there."),
    ] = "list",
    names: Annotated[list[str] | None, typer.Argument(help="Names of the list (default: all).")] = None,
) -> None:
    """List, get and verify weight files that are known by name."""
    from implicitkit.registry.kinds import weights as registered

    chosen = [registered.find(name)[0].name for name in names or registered.names()]
    {"list": _list, "get": _get, "verify": _verify}[action](chosen)


def _list(names: list[str]) -> None:
    from implicitkit.weights.fetching import is_here, location
    from implicitkit.weights.known import known_file

    for name in names:
        known = known_file(name)
        state = f"here: {location(name)}" if is_here(name) else f"not here (implicitkit weights get {name})"
        typer.echo(f"{name}: {known.task}")
        typer.echo(f"  {known.size / 1e6:.1f} MB, {known.licence}{f'; {known.scores}' if known.scores else ''}")
        typer.echo(f"  sha256 {known.sha256}")
        for source in known.sources:
            typer.echo(f"  from {source.place}")
        typer.echo(f"  {state}")


def _get(names: list[str]) -> None:
    from implicitkit.errors import WeightsError
    from implicitkit.weights.fetching import fetch

    failed = []
    for name in names:
        try:
            typer.echo(fetch(name))
        except WeightsError as error:
            if len(names) == 1:
                raise
            typer.echo(str(error), err=True)
            failed.append(name)
    if failed:
        raise WeightsError(f"{len(failed)} of {len(names)} could not be had: {', '.join(failed)}")


def _verify(names: list[str]) -> None:
    from implicitkit.errors import WeightsError
    from implicitkit.weights.fetching import is_here, is_intact, location

    damaged = []
    for name in names:
        state = "not here" if not is_here(name) else "intact" if is_intact(name) else "DAMAGED"
        typer.echo(f"{name}: {state}")
        damaged += [f"{name} ({location(name)})"] if state == "DAMAGED" else []
    if damaged:
        raise WeightsError(
            f"not what they should be: {', '.join(damaged)}; `implicitkit weights get` fetches them again"
        )
