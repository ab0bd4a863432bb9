"""Pictures, models, and the fields that they make, each encoded once and kept within bounds."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from implicitkit.degradations.base import Degraded
from implicitkit.devices import free_memory
from implicitkit.errors import UserError
from implicitkit.field.field import Field
from implicitkit.field.latents import keep_tiles
from implicitkit.images.io import Picture, to_pixels
from implicitkit.images.upscale import choose_tile
from implicitkit.model import ImplicitModel
from implicitkit.viewer.meaning import Colours, semantic_field
from implicitkit.viewer.original import Original, alpha_of, as_window, stays_grey, window_of
from implicitkit.viewer.question import Damage, Question
from implicitkit.viewer.transfer import Pixels, to_canvas
from implicitkit.viewer.turns import Asker
from implicitkit.viewer.windows import bicubic_window, nearest_window

MAX_FIELDS, MAX_PICTURES, MAX_COLOURS = 8, 4, 64
PIXEL_BYTES = 2048  # that a latent keeps per pixel: features, and rows of the decoder's first layer
SHARE = 4  # of the free memory, one part is for fields
Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The values that were asked for last, within a number and a weight.

    >>> recent = Recent[int](2)
    >>> [recent.get(key, lambda: key * 10) for key in (1, 2, 3)], len(recent)
    ([10, 20, 30], 2)
    """

    def __init__(self, count: int, weight: float = float("inf")) -> None:
        self._count, self._room = count, weight
        self._values: OrderedDict[Hashable, tuple[Value, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], Value], weight: float = 0.0) -> Value:
        """The value of ``key``, made where it is not kept; others make room for it beforehand."""
        if key not in self._values:
            while self._values and (len(self) >= self._count or self._weight() + weight > self._room):
                self._values.popitem(last=False)
            self._values[key] = make(), weight
        self._values.move_to_end(key)
        return self._values[key][0]

    def _weight(self) -> float:
        return sum(weight for _, weight in self._values.values())


@dataclass(frozen=True)
class Named:
    """A model, and what it is called."""

    name: str
    model: ImplicitModel

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.model.parameters()).device


class Darkroom:
    """What is rendered, by one thread.

    Args:
        pictures: files.
        models: map RGB to RGB.

    >>> import implicitkit as ik
    >>> from implicitkit.files import PHOTO
    >>> from implicitkit.viewer.question import Layer
    >>> room = Darkroom([PHOTO], [Named("liif_small", ik.load_model("liif_small"))])
    >>> question = Question(0, Layer("nearest"), Damage(noise=10), (-0.1, -0.1, 0.1, 0.1), (4, 6))
    >>> room.render(question).shape
    (4, 6, 4)
    """

    def __init__(self, pictures: Sequence[Path], models: Sequence[Named]) -> None:
        self.pictures, self.models = list(pictures), list(models)
        self._room = free_memory(models[0].device) / SHARE
        self._originals: Recent[Original] = Recent(MAX_PICTURES, self._room)
        self._degraded: Recent[Degraded] = Recent(MAX_PICTURES, self._room)
        self._alphas: Recent[Tensor | None] = Recent(MAX_PICTURES, self._room)
        self._fields: Recent[Field] = Recent(MAX_FIELDS, self._room)
        self._colours: Recent[Colours | None] = Recent(MAX_COLOURS)

    def size(self, picture: int) -> tuple[int, int]:
        """The picture's ``(H, W)``."""
        return self.original(picture).picture.size

    def original(self, picture: int) -> Original:
        """A picture as it is in its file.

        Raises:
            ImageError: the file cannot be read.
        """
        return self._originals.get(picture, lambda: Original.read(self.pictures[picture]))

    def seen(self, picture: int, damage: Damage) -> Degraded:
        """A picture as a model gets to see it: the same for the same ``damage``."""
        clean = self.original(picture).image
        spec = damage.spec((clean.shape[1], clean.shape[2]))
        if not spec:
            return Degraded(clean, clean.new_zeros(1, *clean.shape[1:]), clean, {})
        from implicitkit.create import create_degradation

        def degrade() -> Degraded:
            return create_degradation(spec)(clean, torch.Generator().manual_seed(damage.seed))

        return self._degraded.get((picture, damage), degrade, 16.0 * clean[0].numel())

    def field(self, picture: int, model: int, damage: Damage) -> Field:
        """A picture as a function, encoded when it is first asked for."""
        seen, named = self.seen(picture, damage), self.models[model]
        height, width = seen.image.shape[1:]
        tile = choose_tile(named.model, (height, width))

        def encode() -> Field:
            mask = seen.mask if named.model.takes_mask else None
            field = named.model.encode(seen.image, mask, tile=tile)
            if tile is not None:
                keep_tiles(field, max(2, int(self._room / PIXEL_BYTES) // (tile + 2 * (named.model.sight or 0)) ** 2))
            return field

        return self._fields.get((picture, model, damage), encode, PIXEL_BYTES * height * width)

    def has_meaning(self, model: int) -> bool:
        """Whether the model reads a semantic field."""
        return _reads_meaning(self.models[model].model)

    def render(self, question: Question, asker: Asker | None = None) -> Pixels:
        """What a screen shows: ``(H, W, 4)``, 8 bits, sRGB, not premultiplied.

        Raises:
            MovedOn: of the ``asker``, between two blocks.
            UserError: the picture cannot be read, or the model has no semantic field.
        """
        import numpy as np

        kind, box, size = question.layer.kind, question.box, question.size
        original, spec = self.original(question.picture), self._spec(question)
        canvas = np.empty((*size, 4), dtype=np.uint8)
        for part, values in self._blocks(question, asker):
            to_canvas(values if kind == "meaning" else original.screen(values, spec), canvas[part])
        key = (question.picture, *(repr(step) for step in spec))
        alpha = self._alphas.get(key, lambda: alpha_of(original.picture, spec), 4.0 * math.prod(original.picture.size))
        if alpha is not None:
            canvas[..., 3] = to_pixels(window_of(alpha, size, box, nearest=kind == "nearest"))[..., 0]
        return canvas

    def save(self, question: Question, asker: Asker | None = None) -> Picture:
        """What a file holds: with the depth, transparency, colour profile and metadata of the picture.

        Raises:
            UserError: see :meth:`render`.
        """
        import numpy as np

        original, spec = self.original(question.picture), self._spec(question)
        if question.layer.kind == "meaning":  # its colours are ours, and sRGB
            shown = self.render(question, asker)
            return Picture(np.ascontiguousarray(shown[..., :3]))
        canvas: Any = None
        grey, bits = stays_grey(original.picture, spec), original.picture.bits
        for part, values in self._blocks(question, asker):
            pixels = to_pixels(values.mean(0, keepdim=True) if grey else values, bits)
            if canvas is None:
                canvas = np.empty((*question.size, pixels.shape[2]), dtype=pixels.dtype)
            canvas[part] = pixels
        return as_window(original.picture, canvas, question.box, spec, nearest=question.layer.kind == "nearest")

    def _spec(self, question: Question) -> list[dict[str, Any]]:
        return [] if question.layer.kind == "original" else question.damage.spec(self.size(question.picture))

    def _blocks(self, question: Question, asker: Asker | None) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
        """Parts of the window, and their values ``(3, h, w)`` in the picture's own colours (of meaning, in sRGB)."""
        if asker is not None:
            asker.check()
        kind, box, size = question.layer.kind, question.box, question.size
        if kind not in ("model", "meaning"):
            image = self.original(question.picture).image
            if kind != "original":
                image = self.seen(question.picture, question.damage).image
            window = nearest_window if kind == "nearest" else bicubic_window
            yield (slice(None), slice(None)), window(image, size, box)
            return
        field = self.field(question.picture, question.layer.model, question.damage)
        colours = None
        if kind == "meaning":
            field, colours = self._semantic(field), self._fitted(question)
        for part, values in field.blocks(size, box):
            yield part, values[0] if colours is None else colours(values[0])
            if asker is not None:
                asker.check()

    def _fitted(self, question: Question) -> Colours:
        """Colours of the picture without damage, so that they stay when it is switched."""
        picture, model = question.picture, question.layer.model

        def fit() -> Colours:
            return Colours.fit(self._semantic(self.field(picture, model, Damage())))

        colours = self._colours.get((picture, model), fit)
        assert colours is not None
        return colours

    def _semantic(self, field: Field) -> Field:
        semantic = semantic_field(field)
        if semantic is None:
            raise UserError("this model reads no semantic field; sair_faces, of implicitkit-sair, does")
        return semantic


def _reads_meaning(model: ImplicitModel) -> bool:
    return any(c.decoder.output == "embedding" or _reads_meaning(c) for c in model.conditions.values())
