"""The content of a weight file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weight file: enough to build a model and fill it (:func:`implicitkit.create.build_checkpoint`).

    Attributes:
        spec: the model's spec, without ``"decoder"`` for an encoder alone.
        tensors: the model's state dict, by our names.
        summary: how it was trained.
        license: terms of the weights, or nothing.
        frozen: parts that the file omits: path in the model -> ``{"source": ..., "sha256": ...}``, the source and the
            fingerprint of their weights.
        layout: the kind of file, in words.
        dropped: unused tensors of the file.
        origins: parts that come from other distributions: ``"decoder wave"`` -> ``"implicitkit-wave 0.1.0"``.
    """

    spec: dict[str, Any]
    tensors: Mapping[str, Tensor]
    summary: dict[str, Any] = field(default_factory=dict)
    license: str = ""
    frozen: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    layout: str = "native file"
    dropped: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
