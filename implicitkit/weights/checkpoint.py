"""What a weight file holds, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weight file: enough to build a model and fill it (:func:`implicitkit.create.build_checkpoint`).

    Attributes:
        spec: the model's spec; it has no ``"decoder"`` if the file is of an encoder alone.
        tensors: the model's state dict, by our names.
        summary: how it was trained.
        license: terms of the weights, or nothing.
        frozen: parts that the file leaves out: their path in the model -> ``{"source": ..., "sha256": ...}``, where
            their weights come from and what their fingerprint must be.
        layout: what kind of file it is, in words.
        dropped: tensors of the file that do nothing and were left out.
    """

    spec: dict[str, Any]
    tensors: Mapping[str, Tensor]
    summary: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    frozen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    layout: str = "native file"
    dropped: tuple[str, ...] = ()
