"""JPEG artefacts."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from implicitkit.degradations.base import Degradation, Record, Step
from implicitkit.degradations.settings import Number, Range
from implicitkit.images.io import to_pixels, to_tensor

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
MAX_SIDE = 65535


class Jpeg(Degradation):
    """Writes the picture as JPEG and reads it back, through Pillow (libjpeg-turbo) in memory.

    The picture is grey (1 channel) or RGB (3), rounded to 8 bits and coded on the CPU. The gradient is the identity's
    (straight-through). The mask does not change.

    Args:
        quality: 1 to 100, libjpeg's scale; a number, or a range from which a whole number is drawn.
        subsampling: of the colour, ``"4:4:4"`` (none), ``"4:2:2"`` (halved horizontally) or ``"4:2:0"`` (both ways);
            also as 444, 422 or 420, since YAML reads an unquoted ``4:2:0`` as a time.

    >>> Jpeg(quality=[30, 90], subsampling=420)
    Jpeg(quality=[30, 90], subsampling=420)
    """

    def __init__(self, quality: Number = 75, subsampling: str | int = "4:2:0") -> None:
        self.quality = Range("quality", quality, 1, 100)
        text = str(subsampling)
        self.subsampling = text if ":" in text else ":".join(text)
        if self.subsampling not in SUBSAMPLINGS:
            raise ValueError(f"subsampling is one of {', '.join(SUBSAMPLINGS)}; received {subsampling!r}")

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        return {"name": "jpeg", "quality": round(self.quality.draw(generator))}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        size = tuple(image.shape[2:])
        if image.shape[1] not in (1, 3) or len(size) != 2 or max(size) > MAX_SIDE:
            raise ValueError(
                f"jpeg takes grey or RGB pictures (1 or 3 channels) of up to {MAX_SIDE} pixels a side; "
                f"received {tuple(image.shape[1:])}"
            )
        coded = torch.stack([self._through_codec(picture, record["quality"]) for picture in image]).to(image)
        if image.requires_grad:  # adds zero, with the identity's gradient
            coded = coded + (image - image.detach())
        return Step(coded, mask, size)

    def _through_codec(self, picture: Tensor, quality: int) -> Tensor:
        """``(C, H, W)`` in [0, 1] as float32 on the CPU, coded and decoded."""
        from PIL import Image

        pixels = to_pixels(picture)
        file = io.BytesIO()
        options = {} if pixels.shape[2] == 1 else {"subsampling": self.subsampling}
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
            file, "JPEG", quality=quality, **options
        )
        with Image.open(file) as decoded:
            return to_tensor(np.asarray(decoded).reshape(pixels.shape))
