"""``--set KEY=VALUE``, and each such key as a flag of its own: ``--dilate 2`` is ``--set dilate=2``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

from typer.core import TyperCommand

from implicitkit import UserError

BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")  # as pydantic reads them
NEAR = 0.75  # of get_close_matches


class Parser(TyperCommand):
    """A command whose keys of ``--set`` are read as flags too."""

    options: ClassVar[str]  # the class of `options` that lists the keys

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the words, then parse as usual."""
        from implicitkit_sair.cli import options

        keys = getattr(options, self.options).model_fields
        switches = [name for name, field in keys.items() if field.annotation is bool]
        words = list(rewrite(args, list(keys), switches))
        try:
            return super().parse_args(ctx, words)
        except Exception as error:
            if type(error).__name__ == "NoSuchOption":  # of Click, or of Typer's copy of it
                suggest(error, [f"--{name.replace('_', '-')}" for name in keys])
            raise


class InpaintParser(Parser):
    """The parser of ``inpaint``."""

    options = "Inpaint"


class EditParser(Parser):
    """The parser of ``edit``."""

    options = "Edit"


class SegmentParser(Parser):
    """The parser of ``segment``."""

    options = "Segment"


class PretrainParser(Parser):
    """The parser of ``pretrain-mae``."""

    options = "PretrainMAE"


def rewrite(words: Sequence[str], keys: Sequence[str], switches: Sequence[str] = ()) -> Iterator[str]:
    """The words with flags of ``keys`` turned into ``--set``; those of ``switches`` need no value, and ``--no-KEY``
    turns them off.

    >>> list(rewrite(["a.png", "--text-weights", "clip.pt", "--force"], ["text_weights"]))
    ['a.png', '--set', 'text_weights="clip.pt"', '--force']
    >>> list(rewrite(["--mirror", "a.png"], ["mirror"], ["mirror"]))
    ['--set', 'mirror="true"', 'a.png']
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if word == "--":
            yield from (word, *rest)
            return
        switch = key.removeprefix("no_")
        if not name.startswith("--") or (key not in keys and (equals or switch not in switches)):
            yield word
            continue
        if key not in keys:
            yield from ("--set", f'{switch}="false"')
            continue
        if not equals and key in switches:
            value = rest.pop(0) if rest and rest[0].lower() in BOOLEANS else "true"
        elif not equals:
            if not rest:
                raise UserError(f"{name} needs a value")
            value = rest.pop(0)
        yield from ("--set", f"{key}={json.dumps(value, ensure_ascii=False)}")


def suggest(error: Any, flags: Sequence[str]) -> None:
    """Add those of ``flags`` that are nearly the option which the parser does not know to what it suggests."""
    near = get_close_matches(error.option_name, flags, cutoff=NEAR)
    error.possibilities = sorted({*(error.possibilities or []), *near})
