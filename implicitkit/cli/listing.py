"""``implicitkit list``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from implicitkit.registry.registry import Entry

PARTS = ("encoders", "necks", "decoders", "degradations", "models", "losses", "metrics", "protocols")
KINDS = (*PARTS, "datasets", "optimisers", "schedules", "callbacks", "weights")
LISTED_KINDS = (*KINDS, "configs")
SINGULAR_FORMS = {"losses": "loss", "weights": "weight file"}
LOCAL_WEIGHTS = ("WEIGHTS: in the box", "WEIGHTS: here")
WILDCARDS = "*?["
LEAST_COLUMNS = 30  # for a summary that is folded


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help=f"One of: {', '.join(LISTED_KINDS)}; all of them if left out."),
    ] = None,
    names: Annotated[
        str | None, typer.Argument(metavar="[PATTERN]", help="A part of a name, or a pattern such as 'timm:*vit*'.")
    ] = None,
    pattern: Annotated[str | None, typer.Option(help="The same.")] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Only models with weights.")] = False,
) -> None:
    """List what can be found by name; mark models with weights.

    `implicitkit list lte` searches all kinds, `implicitkit info NAME` has a name's options.
    """
    from implicitkit.errors import UserError, nearest
    from implicitkit.registry import kinds

    pattern = names or pattern
    if kind is not None and (named := _kind(kind)) is None:
        if pattern is not None:
            raise UserError(f"unknown kind {kind!r}; it is one of {', '.join(LISTED_KINDS)}")
        kind, pattern = None, kind
    elif kind is not None:
        kind = named
    kinds.plugins.load()
    shown = [kind] if kind else ["models"] if pretrained else list(LISTED_KINDS)
    glob = _glob(pattern)
    lists = {name: _rows(name, glob, pretrained) for name in shown}
    if pattern and not any(lists.values()):
        everything = [row[0].split()[-1] for name in shown for row in _rows(name, None, pretrained)]
        near = nearest(pattern.strip("*").lower(), [*everything, *(() if kind else LISTED_KINDS)])
        where = f"{kind or 'what is registered'}"
        hint = f"; did you mean {near[0]!r}?" if near else f" (implicitkit list {kind or ''}".rstrip() + " shows all)"
        raise UserError(f"nothing in {where} matches {pattern!r}{hint}")
    for name, rows in lists.items():
        if rows or kind:
            typer.echo(f"{name}:")
        width = max(20, *(len(row[0]) for row in rows)) if rows else 0
        for label, summary, owner in rows:
            typer.echo(_fitted(f"  {label:<{width}} {summary}  [{owner}]", width + 3))


def _fitted(line: str, indent: int) -> str:
    """A line as it is, for what reads lines; on a terminal that is narrower, folded below its summary."""
    columns = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or len(line) <= columns or columns < indent + LEAST_COLUMNS:
        return line
    folds = textwrap.wrap(line[indent:], columns - indent, break_on_hyphens=False, break_long_words=False)
    return line[:indent] + f"\n{' ' * indent}".join(folds)


def _kind(word: str) -> str | None:
    """A kind's name, given in the plural or in the singular; None for another word."""
    plain = word.lower()
    return next(
        (kind for kind in LISTED_KINDS if plain in (kind, SINGULAR_FORMS.get(kind, kind.removesuffix("s")))), None
    )


def _glob(pattern: str | None) -> str | None:
    """A pattern as the registries read it; a bare word is looked for anywhere in a name."""
    if pattern is None or any(mark in pattern for mark in WILDCARDS):
        return pattern
    family, colon, name = pattern.rpartition(":")
    return f"{family}{colon}*{name if colon else name.replace('-', '_')}*"


def _rows(kind: str, glob: str | None, pretrained: bool) -> list[tuple[str, str, str]]:
    """What is printed of each entry: its name, its summary and its owner."""
    from implicitkit.registry import kinds
    from implicitkit.registry.configs import shipped_configs

    if kind == "configs":
        return [
            (f"{config.command} {config.name}", config.summary, str(config.owner))
            for config in shipped_configs()
            if fnmatchcase(config.name, glob or "*")
        ]
    entries = getattr(kinds, kind).entries(glob, **({"pretrained": True} if pretrained else {}))
    rows = [(entry, "; ".join(filter(None, (entry.summary, mark(kind, entry))))) for entry in entries]
    return [(entry.name, told, str(entry.owner)) for entry, told in rows]


def mark(kind: str, entry: Entry[Any]) -> str:
    """What is told of an entry behind its summary: of models and weight files, where the weights are."""
    return weights_of(entry) if kind == "models" else here_or_not(entry) if kind == "weights" else ""


def here_or_not(entry: Entry[Any]) -> str:
    """Where a known weight file is, in a few words."""
    from implicitkit.weights.fetching import is_here

    return LOCAL_WEIGHTS[1] if is_here(entry.name) else f"implicitkit weights get {entry.name}"


def weights_of(entry: Entry[Any]) -> str:
    """Where the weights of a named model are, in a few words."""
    if known := entry.metadata.get("known"):
        from implicitkit.weights.fetching import is_here

        return LOCAL_WEIGHTS[1] if is_here(known) else f"WEIGHTS: implicitkit weights get {known}"
    return LOCAL_WEIGHTS[0] if entry.metadata.get("pretrained") else "no weights"
