"""``--set KEY=VALUE``, and each such key as a flag of its own: ``--dilate 2`` is ``--set dilate=2``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand

from implicitkit import UserError


class Parser(TyperCommand):
    """A command whose keys of ``--set`` are read as flags too."""

    options: ClassVar[str]  # the class of `options` that lists the keys

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the words, then parse as usual."""
        from implicitkit_sair.cli import options

        keys = getattr(options, self.options).model_fields
        return super().parse_args(ctx, list(rewrite(args, list(keys))))


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


def rewrite(words: Sequence[str], keys: Sequence[str]) -> Iterator[str]:
    """The words with flags of ``keys`` turned into ``--set``.

    >>> list(rewrite(["a.png", "--text-weights", "clip.pt", "--force"], ["text_weights"]))
    ['a.png', '--set', 'text_weights="clip.pt"', '--force']
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if word == "--":
            yield from (word, *rest)
            return
        if not name.startswith("--") or key not in keys:
            yield word
            continue
        if not equals:
            if not rest:
                raise UserError(f"{name} needs a value")
            value = rest.pop(0)
        yield from ("--set", f"{key}={json.dumps(value, ensure_ascii=False)}")
