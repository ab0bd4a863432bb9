"""The rarer options of the sub-commands, given as ``--set KEY=VALUE``, with their types and defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from implicitkit.config import Strict
from implicitkit_sair.training.pretrain import Settings


class Inpaint(Strict):
    """Of ``inpaint``; lengths are pixels."""

    threshold: float = 0.5
    """White is what is brighter than this, of 1."""
    view: int | None = Field(None, ge=0)
    """The side at which the model sees a crop around a hole; 0: the whole picture as it is; None: as in training."""
    dilate: int = Field(0, ge=0)
    """Grow the holes by so many pixels."""
    feather: int = Field(0, ge=0)
    """Fade into the picture over so many pixels around a hole."""
    mirror: bool = False
    """Average with what the model paints into the mirrored picture; twice the time."""
    tile: int | None = Field(None, ge=1)
    """Encode in tiles of so many pixels."""
    margins: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Paint so many pixels beyond the picture: left, top, right and bottom."""

    @field_validator("margins", mode="before")
    @classmethod
    def _numbers(cls, given: Any) -> Any:
        words = given.strip("[]() ").replace(",", " ").split() if isinstance(given, str) else given
        if isinstance(words, (list, tuple)) and len(words) == 4 and all(str(word).isdecimal() for word in words):
            return tuple(int(word) for word in words)
        raise ValueError("give four numbers of pixels, [LEFT, TOP, RIGHT, BOTTOM]")


class Segment(Strict):
    """Of ``segment``."""

    threshold: float = 0.5
    """White is what is brighter than this, of 1."""
    size: str | None = None
    """WIDTHxHEIGHT of the result; None: the picture's."""
    embeddings: Path | None = None
    """Embeddings made elsewhere: ``.npy`` or ``.safetensors``, a row for each class."""
    names: Path | None = None
    """What its rows are called, one per line; the classes are chosen among them."""
    templates: str | None = None
    """Sentences with ``{}`` for a class's name, one per line, averaged; or ``clip`` or ``maskclip``."""
    text_weights: str | None = None
    """Where the text tower is, if the model's file has none: a tag, hub id or file."""
    opacity: float = Field(0.55, ge=0, le=1)
    """Of the colours."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"


class Edit(Strict):
    """Of ``edit``; lengths are pixels."""

    threshold: float | None = None
    """Selected is what scores higher; None: see ``select``."""
    connected: bool = False
    """Only what hangs together with a point of ``--like``."""
    refine: bool = True
    """Let the borders follow those of the picture."""
    grow: int = Field(8, ge=0)
    """Grow the selection by so many pixels."""
    feather: int = Field(2, ge=0)
    """Fade into the picture over so many pixels."""
    mask: Path | None = None
    """Write what is filled here."""
    keep_gps: bool = False
    """Keep where a photograph was taken."""
    embeddings: Path | None = None
    """As of ``segment``; also what ``--to`` is looked up in."""
    names: Path | None = None
    """As of ``segment``."""
    templates: str | None = None
    """As of ``segment``."""
    text_weights: str | None = None
    """As of ``segment``."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"


class PretrainMAE(Strict):
    """Of ``pretrain-mae``: the network, and what few change about its training."""

    patch: int = Settings.patch
    width: int = Settings.width
    depth: int = Settings.depth
    heads: int = Settings.heads
    out_channels: int | None = Settings.out_channels
    scale: float = Settings.scale
    hidden: float = Settings.hidden
    log_every: int = Settings.log_every
    checkpoint_every: int = Settings.checkpoint_every
