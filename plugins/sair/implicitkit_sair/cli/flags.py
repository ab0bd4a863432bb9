"""``--set KEY=VALUE``, and each such key as a flag of its own: ``--dilate 2`` is ``--set dilate=2``."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
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
        switches = [name for name, field in keys.items() if field.annotation is bool]
        words = list(rewrite(args, list(keys), switches))
        known = {flag for parameter in self.params for flag in parameter.opts}
        refuse_misspelt(words, known, [f"--{name.replace('_', '-')}" for name in keys])
        return super().parse_args(ctx, words)


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
    """The words with flags of ``keys`` turned into ``--set``; those of ``switches`` need no value.

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
        if not name.startswith("--") or key not in keys:
            yield word
            continue
        if not equals and key in switches:
            value = rest.pop(0) if rest and rest[0].lower() in ("true", "false") else "true"
        elif not equals:
            if not rest:
                raise UserError(f"{name} needs a value")
            value = rest.pop(0)
        yield from ("--set", f"{key}={json.dumps(value, ensure_ascii=False)}")


def refuse_misspelt(words: Sequence[str], known: Collection[str], flags: Sequence[str]) -> None:
    """Raise :class:`UserError` if a word is none of the ``known`` options, but nearly one of ``flags``, of which the
    parser knows nothing and so cannot suggest them.

    >>> refuse_misspelt(["--dilat", "2"], ["--fill"], ["--dilate"])
    Traceback (most recent call last):
    implicitkit.errors.UserError: no such option: --dilat; did you mean --dilate?
    """
    for word in words:
        name = word.partition("=")[0]
        if word == "--":
            return
        if name.startswith("--") and name not in known and (near := get_close_matches(name, flags, 1, 0.75)):
            raise UserError(f"no such option: {name}; did you mean {near[0]}?")
