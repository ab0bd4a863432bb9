"""The plugin's sub-commands, imported without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicitkit_sair.cli.inpaint import inpaint
from implicitkit_sair.cli.segment import segment
from implicitkit_sair.training.pretrain import pretrain_mae
from implicitkit_sair.training.prototypes import make_prototypes

if TYPE_CHECKING:
    import typer


def add_to(app: typer.Typer) -> None:
    """Add every sub-command to ``app``."""
    app.command("inpaint")(inpaint)
    app.command("segment")(segment)
    app.command("pretrain-mae")(pretrain_mae)
    app.command("make-prototypes")(make_prototypes)
