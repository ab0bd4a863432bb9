"""The base of encoders, necks and decoders: trainable or frozen, the source of the weights, and the spec."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from implicitkit.printing import in_brackets, size_in_words


class Part(nn.Module):
    """An encoder, a neck or a decoder.

    Attributes:
        trainable: False: the part is frozen. A class sets the default, a spec overrides it (``{"name": ...,
            "trainable": true}``).
        source: where its weights are published (a hub id, a tag), or None. A saved file leaves out the weights of a
            frozen part with a source.
    """

    trainable: bool = True
    source: str | None = None
    _built_from: dict[str, Any] | None = None

    @property
    def spec(self) -> dict[str, Any] | None:
        """``{"name": ..., **arguments}``, from which to build this part again; None if it was not built by name.

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
        """Its registered name, or that of its class."""
        return type(self).__name__ if self._built_from is None else str(self._built_from["name"])

    def __repr__(self) -> str:
        """One line; ``nn.Module.__repr__(part)`` prints every layer.

        >>> import implicitkit as ik
        >>> ik.create_encoder("edsr", blocks=8, channels=32)
        EDSR(blocks=8, channels=32, 3 -> 32 channels, 0.16 M parameters)
        """
        settings = {key: value for key, value in (self._built_from or {}).items() if key not in ("name", "trainable")}
        channels = [getattr(self, side, "?") for side in ("in_channels", "out_channels")]
        more = [
            f"{channels[0]} -> {channels[1]} channels",
            size_in_words(sum(p.numel() for p in self.parameters())),
        ]
        return in_brackets(
            self, {k: v for k, v in settings.items() if k != "in_channels"}, *more, *["frozen"] * (not self.trainable)
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """As of any module; a layer that hides a method of its class, which would fail far from here, is refused.

        Raises:
            TypeError: it is such a layer.
        """
        if isinstance(value, nn.Module | nn.Parameter) and inspect.isfunction(getattr(type(self), name, None)):
            owner = next(cls.__name__ for cls in type(self).__mro__ if name in vars(cls))
            raise TypeError(
                f"{type(self).__name__}.{name} is a method, of {owner}, which this layer would hide; rename it"
            )
        super().__setattr__(name, value)

    def fold(self) -> Part:
        """Merge layers that are apart for training alone, in place; the part computes the same. Returns itself.

        Override it where there are such layers, and write the change into the spec.
        """
        return self

    def portable(self, spec: dict[str, Any]) -> dict[str, Any]:
        """``spec`` as a saved file holds it.

        Override it to drop arguments that only the first construction needs, such as the path of a weight file.
        """
        return spec

    @classmethod
    def migrate(cls, spec: dict[str, Any]) -> dict[str, Any]:
        """``spec`` of a saved file, perhaps an older one, as this class takes it; the counterpart of :meth:`portable`.

        Override it where an argument has changed its meaning, so that files keep theirs.
        """
        return spec
