"""``implicitkit list``."""

from __future__ import annotations

from typing import Annotated

import typer

PARTS = ("encoders", "necks", "decoders", "degradations", "models", "losses", "metrics", "protocols")
KINDS = (*PARTS, "datasets", "optimisers", "schedules", "callbacks")
ALSO = (*KINDS, "configs")


def list_names(
    kind: Annotated[str | None, typer.Argument(help=f"One of: {', '.join(ALSO)}; all of them if left out.")] = None,
    names: Annotated[str | None, typer.Argument(metavar="[PATTERN]", help="e.g. '*edsr*' or 'timm:*vit*'.")] = None,
    pattern: Annotated[str | None, typer.Option(help="The same.")] = None,
    pretrained: Annotated[bool, typer.Option(help="Only models with weights.")] = False,
) -> None:
    """List registered names with their owners."""
    from implicitkit.errors import UserError
    from implicitkit.registry import kinds

    pattern = names or pattern
    if kind is not None and kind not in ALSO and any(mark in kind for mark in "*?[:"):
        kind, pattern = None, kind
    if kind is not None and kind not in ALSO:
        raise UserError(f"unknown kind {kind!r}; it is one of {', '.join(ALSO)}")
    kinds.plugins.load()
    shown = [kind] if kind else ["models"] if pretrained else list(ALSO)
    for name in shown:
        if name == "configs":
            list_configs(pattern)
            continue
        entries = getattr(kinds, name).entries(pattern, **({"pretrained": True} if pretrained else {}))
        if entries or kind:
            typer.echo(f"{name}:")
        for entry in entries:
            typer.echo(f"  {entry.name:<20} {entry.summary}  [{entry.owner}]")


def list_configs(pattern: str | None) -> None:
    """Print the configurations that are shipped, as the command that runs each."""
    from fnmatch import fnmatch

    from implicitkit.registry.configs import shipped_configs

    typer.echo("configs:")
    for config in shipped_configs():
        if fnmatch(config.name, pattern or "*"):
            typer.echo(f"  {f'{config.command} {config.name}':<32} {config.summary}  [{config.owner}]")
