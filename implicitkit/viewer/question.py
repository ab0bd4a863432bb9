"""What a page may ask for, and the bounds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from implicitkit.errors import UserError

Box = tuple[float, float, float, float]
WHOLE_BOX: Box = (-1.0, -1.0, 1.0, 1.0)
MAX_SIDE = 16384
MAX_VIEW_PIXELS = 5120 * 2880  # the largest screens
MAX_SAVED_PIXELS = 64_000_000
MIN_CELL = 1e-6  # of an output pixel; coordinates are float32, whose steps near 1 are 6e-8
PLAIN_LAYERS = ("nearest", "bicubic", "original")


class Bound(NamedTuple):
    """The ends of a number, and its step in the page."""

    low: float
    high: float
    step: float


BOUNDS = {
    "blur": Bound(0, 10, 0.1),
    "low": Bound(1, 16, 0.5),
    "noise": Bound(0, 100, 1),
    "holes": Bound(0, 0.6, 0.01),
    "seed": Bound(0, 2**31 - 1, 1),
}


@dataclass(frozen=True)
class Damage:
    """What is done to the picture before a model sees it, in this order; the defaults do nothing.

    Attributes:
        blur: sigma of a gaussian, pixels.
        low: the factor by which the picture is shrunk, bicubically.
        noise: sigma of gaussian noise, in 8-bit units.
        holes: the fraction of the pixels that irregular strokes remove.
        seed: of noise and holes.

    >>> Damage(noise=25).spec((60, 80))
    [{'name': 'noise', 'sigma': 25.0}]
    """

    blur: float = 0.0
    low: float = 1.0
    noise: float = 0.0
    holes: float = 0.0
    seed: int = 0

    @classmethod
    def parse(cls, words: Mapping[str, str]) -> Damage:
        """From the words of a request.

        Raises:
            UserError: one is no number, or out of its bounds.
        """
        blur, low, noise, holes, seed = (
            number(words, f.name, *BOUNDS[f.name][:2], default=f.default) for f in fields(cls)
        )
        damage = cls(blur, low, noise, holes, int(seed))
        return damage if damage.is_random else replace(damage, seed=0)

    @property
    def is_random(self) -> bool:
        """Whether the seed matters."""
        return bool(self.noise or self.holes)

    def spec(self, size: tuple[int, int]) -> list[dict[str, Any]]:
        """The steps for :func:`implicitkit.create_degradation`, of a picture of ``size`` ``(H, W)``; empty: none."""
        steps: list[dict[str, Any]] = []
        if self.blur:
            steps.append({"name": "blur", "sigma": self.blur})
        if self.low > 1:  # a size, not a factor: the small picture then covers the whole one
            steps.append({"name": "super_resolution", "size": [max(1, round(n / self.low)) for n in size]})
        if self.noise:
            steps.append({"name": "noise", "sigma": float(self.noise)})
        if self.holes:
            steps.append({"name": "inpainting", "kind": "strokes", "ratio": self.holes})
        return steps


class Layer(NamedTuple):
    """What is shown of a picture: ``nearest``, ``bicubic``, ``original``, ``model-0``, ``meaning-0``."""

    kind: str
    model: int = 0

    @classmethod
    def parse(cls, word: str, models: int) -> Layer:
        """From the word of a request.

        Raises:
            UserError: there is no such layer, or no such model.
        """
        kind, _, digits = word.partition("-")
        if word in PLAIN_LAYERS:
            return cls(word)
        if kind in ("model", "meaning") and digits.isascii() and digits.isdigit() and int(digits[:6]) < models:
            return cls(kind, int(digits[:6]))
        known = ", ".join((*PLAIN_LAYERS, *(f"model-{k}" for k in range(models))))
        raise UserError(f"layer is one of {known}, or meaning- and a number; received {word[:40]!r}")


@dataclass(frozen=True)
class Question:
    """One window of one layer of one picture.

    Attributes:
        picture: its number.
        layer: what is shown.
        damage: what is done to the picture first.
        box: the window ``(y0, x0, y1, x1)`` of ``[-1, 1]^2``.
        size: pixels ``(H, W)``.
    """

    picture: int
    layer: Layer
    damage: Damage
    box: Box
    size: tuple[int, int]

    @classmethod
    def parse(cls, words: Mapping[str, str], *, pictures: int, models: int, most: int = MAX_VIEW_PIXELS) -> Question:
        """From the words of a request: ``picture``, ``layer``, ``box``, ``width``, ``height``, and :class:`Damage`'s.

        Args:
            words: of the request.
            pictures: how many there are.
            models: how many there are.
            most: pixels that may be asked for.

        Raises:
            UserError: a word is missing, is not what it should be, or asks for too much.
        """
        size = tuple(int(number(words, side, 1, MAX_SIDE)) for side in ("height", "width"))
        if size[0] * size[1] > most:
            raise UserError(f"at most {most / 1e6:.1f} million pixels are rendered; received {size[1]}×{size[0]}")
        return cls(
            int(number(words, "picture", 0, pictures - 1, default=0)),
            Layer.parse(words.get("layer", "model-0"), models),
            Damage.parse(words),
            parse_box(words.get("box", "-1,-1,1,1"), (size[0], size[1])),
            (size[0], size[1]),
        )


def parse_box(text: str, size: tuple[int, int]) -> Box:
    """``"y0,x0,y1,x1"`` as numbers; an output pixel of ``size`` ``(H, W)`` may not be smaller than float32 can tell.

    Raises:
        UserError: it is no such window.

    >>> parse_box("-0.5,-1,0.5,1", (10, 20))
    (-0.5, -1.0, 0.5, 1.0)
    """
    try:
        y0, x0, y1, x1 = box = tuple(float(part) for part in text[:200].split(","))
    except ValueError:
        raise UserError(f"box is y0,x0,y1,x1, four numbers; received {text[:80]!r}") from None
    if not all(math.isfinite(end) and -1 <= end <= 1 for end in box) or y0 >= y1 or x0 >= x1:
        raise UserError(f"box is y0,x0,y1,x1 in [-1, 1] with y0 < y1 and x0 < x1; received {text[:80]!r}")
    if min((y1 - y0) / size[0], (x1 - x0) / size[1]) < MIN_CELL:
        raise UserError(f"the box is too small for {size[1]}×{size[0]} pixels: coordinates are float32; zoom out")
    return (y0, x0, y1, x1)


def number(words: Mapping[str, str], name: str, low: float, high: float, *, default: Any = None) -> float:
    """A number of a request, within its bounds.

    Raises:
        UserError: it is missing without a ``default``, no number, or out of bounds.
    """
    text = words.get(name)
    if text is None and default is not None:
        return float(default)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise UserError(f"{name} is a number from {low:g} to {high:g}; received {(text or 'nothing')[:40]!r}")
    return value
