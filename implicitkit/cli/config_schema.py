"""``implicitkit config-schema``."""

from __future__ import annotations

import json

import typer


def config_schema() -> None:
    """Print the JSON schema of a training configuration, for editors and for reading."""
    from implicitkit.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
