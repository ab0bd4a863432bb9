"""``implicitkit config-schema``."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def config_schema(
    comparison: Annotated[bool, typer.Option("--comparison", help="That of `implicitkit compare`.")] = False,
) -> None:
    """Print the JSON schema of a configuration.

    It is that of a training or of a comparison, for editors and for reading.
    """
    if comparison:
        from implicitkit.config.comparison import CompareConfig

        schema = CompareConfig.model_json_schema()
    else:
        from implicitkit.config import json_schema

        schema = json_schema()
    typer.echo(json.dumps(schema, indent=2))
