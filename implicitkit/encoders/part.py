"""What every part of a model has: whether it learns, where its weights come from, and what it is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn


class Part(nn.Module):
    """An encoder or a decoder, as the model that is made of it sees it.

    Attributes:
        trainable: whether it learns with the rest of the model. A class with weights of its own may say False, and a
            spec may say either (``{"name": ..., "trainable": true}``).
        source: where anybody can get its weights (a hub id, a tag), or None. Those of a frozen part with a source are
            left out of a saved file.
    """

    trainable: bool = True
    source: str | None = None
    _built_from: dict[str, Any] | None = None

    @property
    def spec(self) -> dict[str, Any] | None:
        """``{"name": ..., **arguments}``: what builds this part again, or None if it was not built by name.

        >>> import implicitkit as ik
        >>> ik.create_decoder("liif", hidden=[64]).spec
        {'name': 'liif', 'hidden': [64]}
        """
        return None if self._built_from is None else self.portable(self._built_from)

    @spec.setter
    def spec(self, value: Mapping[str, Any]) -> None:
        self._built_from = dict(value)

    @property
    def title(self) -> str:
        """What a line of text calls it: the name that it was built by, or that of its class."""
        return type(self).__name__ if self._built_from is None else str(self._built_from["name"])

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """``spec`` as a saved file must hold it, by default as it is.

        A subclass overrides this to drop what only its first start needed, such as the path of a weight file: the
        weights are in the saved file itself.
        """
        return spec
