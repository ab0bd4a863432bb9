"""The plugin's sub-commands, imported without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from implicitkit_sair.cli.edit import edit
from implicitkit_sair.cli.flags import EditParser, InpaintParser, PretrainParser, SegmentParser
from implicitkit_sair.cli.inpaint import inpaint
from implicitkit_sair.cli.pretrain import pretrain_mae
from implicitkit_sair.cli.prototypes import make_prototypes
from implicitkit_sair.cli.segment import segment

if TYPE_CHECKING:
    import typer


def add_to(app: typer.Typer) -> None:
    """Add every sub-command to ``app``."""
    app.command("inpaint", cls=InpaintParser)(inpaint)
    app.command("edit", cls=EditParser)(edit)
    app.command("segment", cls=SegmentParser)(segment)
    app.command("pretrain-mae", cls=PretrainParser)(pretrain_mae)
    app.command("make-prototypes")(make_prototypes)
