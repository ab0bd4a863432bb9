"""What a layout of another repository says: the keys of an encoder, a neck or a decoder, and our names for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]
Rules = Sequence[tuple[str, str]]
"""Pairs: a regular expression for a key's beginning, and its replacement; the first match counts."""
Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
ChangeOfDecoder = Callable[[dict[str, Tensor], int], dict[str, Tensor]]
"""Of the tensors and the encoder's features per cell."""


def same(tensors: dict[str, Tensor], features: int = 0) -> dict[str, Tensor]:
    """The tensors as they are."""
    return tensors


def no_rules(tensors: Tensors) -> Rules:
    """All names are ours already."""
    return ()


def as_linear(tensors: dict[str, Tensor], features: int = 0) -> dict[str, Tensor]:
    """1x1 convolutions as linear layers.

    >>> import torch
    >>> as_linear({"a": torch.zeros(4, 3, 1, 1), "b": torch.zeros(4, 3, 3, 3)})["a"].shape
    torch.Size([4, 3])
    """
    return {key: v.flatten(1) if v.ndim == 4 and v.shape[2:] == (1, 1) else v for key, v in tensors.items()}


@dataclass(frozen=True)
class EncoderLayout:
    """An encoder as a repository stores it (keys without ``encoder.``)."""

    title: str
    sign: str
    """A key that no other encoder has."""
    keys: str
    """Its keys, for error messages."""
    rules: Callable[[Tensors], Rules]
    spec: Callable[[Tensors, Mapping[str, Any]], dict[str, Any]]
    """From the tensors, by our names, and the file's arguments."""
    features: str
    """The entry of the spec that is the number of features per cell."""
    unused: Callable[[Tensors], str] = lambda tensors: "(?!)"
    """A pattern of the keys that are left out, for these tensors; by default of none."""
    after: Change = same
    """Changes the renamed tensors into ours."""


@dataclass(frozen=True)
class NeckLayout:
    """A neck as a repository stores it (keys without ``refine.``)."""

    sign: str
    rules: Callable[[Tensors], Rules]
    spec: Callable[[Tensors], dict[str, Any]]
    after: Change = same


@dataclass(frozen=True)
class DecoderLayout:
    """A decoder as a repository stores it."""

    title: str
    registered: tuple[str, ...]
    """Its names in the file, if any."""
    sign: Callable[[Tensors], bool]
    """Whether all tensors of a file, the encoder's included, are of this decoder."""
    keys: str
    rules: Callable[[Tensors], Rules]
    spec: Callable[[Tensors, Mapping[str, Any], int], dict[str, Any]]
    """From the tensors, by our names, the file's arguments and the features per cell."""
    authors: str = "yinboc/liif"
    """The repository."""
    after: ChangeOfDecoder = same
    """Changes the renamed tensors into ours."""
    encoder: Mapping[str, Any] = field(default_factory=dict)
    """Entries of the encoder's spec that differ from those of its layout: how these authors normalise pictures."""
    scales: tuple[float, float] = (1, 4)
    """The magnifications that it was trained on."""
    fitted: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = lambda encoder, decoder: encoder
    """The encoder's spec, given the decoder's."""


def renamed(tensors: Tensors, rules: Rules) -> dict[str, Tensor]:
    """The tensors by our names; a key that no rule matches keeps its name."""

    def ours(key: str) -> str:
        for pattern, replacement in rules:
            if match := re.match(pattern, key):
                return match.expand(replacement) + key[match.end() :]
        return key

    return {ours(key): value for key, value in tensors.items()}


def numbers(tensors: Tensors, pattern: str) -> list[int]:
    """The sorted numbers in the first group of ``pattern`` over all matching keys.

    >>> numbers({"body.0.weight": None, "body.2.weight": None}, "body[.]([0-9]+)[.]weight")
    [0, 2]
    """
    return sorted({int(match[1]) for key in tensors if (match := re.fullmatch(pattern, key))})
