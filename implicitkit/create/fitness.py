"""Whether a model was trained for a request: its scale, and the noise and compression of the picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implicitkit.create.notes import Note

if TYPE_CHECKING:
    from pathlib import Path

    from implicitkit.images.io import Picture
    from implicitkit.model import ImplicitModel

TOLERANCE = 1.01  # of a scale: sizes are whole pixels
MAX_NOISE = 10.0  # of 255: a photograph's own texture measures up to 9; see docs/quickstart.md for what noise costs
MIN_JPEG_QUALITY = 85  # JPEG quality below which a model for clean pictures sharpens blocks (docs/quickstart.md)


@dataclass(frozen=True)
class Request:
    """What is asked of a model: magnification, noise of the picture (of 255) and its JPEG quality (None: no JPEG)."""

    scale: float
    noise: float = 0.0
    quality: int | None = None

    @classmethod
    def of(cls, source: Path, picture: Picture, size: tuple[int, int]) -> Request:
        """The request to render a picture that was read from ``source`` at ``size`` ``(H, W)``."""
        from implicitkit.images.survey import jpeg_quality, noise_level

        scale = ((size[0] * size[1]) / (picture.size[0] * picture.size[1])) ** 0.5
        return cls(scale, noise_level(picture.displayed().pixels), jpeg_quality(source))


@dataclass(frozen=True)
class Training:
    """What a model was trained on.

    Attributes:
        scales: the magnifications; None: not stated.
        noise: the largest sigma, of 255.
        quality: the lowest JPEG quality; None: no JPEG.
        enlarges: whether it was trained to enlarge.
    """

    scales: tuple[float, float] | None = None
    noise: float = 0.0
    quality: float | None = None
    enlarges: bool = True

    @classmethod
    def of(cls, scales: Any, summary: Mapping[str, Any]) -> Training:
        """From a model's ``scales`` and its training summary.

        >>> steps = [{"name": "super_resolution"}, {"name": "noise", "sigma": [0, 30]}, {"name": "jpeg", "quality": 40}]
        >>> Training.of([1, 4], {"degradation": steps})
        Training(scales=(1.0, 4.0), noise=30.0, quality=40.0, enlarges=True)
        """
        steps = [step for step in summary.get("degradation") or [] if isinstance(step, Mapping)]
        names = [step.get("name") for step in steps]
        noise = [max(_ends(step.get("sigma", 25.0))) for step in steps if step.get("name") == "noise"]
        quality = [min(_ends(step.get("quality", 75))) for step in steps if step.get("name") == "jpeg"]
        ends = None if scales is None else (float(min(scales)), float(max(scales)))
        return cls(ends, max(noise, default=0.0), min(quality, default=None), "super_resolution" in names or not steps)

    def covers_scale(self, request: Request) -> bool:
        """Whether the scale is within the trained ones, or between them and ×1."""
        if self.scales is None:
            return True
        return min(1.0, self.scales[0]) / TOLERANCE <= request.scale <= self.scales[1] * TOLERANCE

    def covers_noise(self, request: Request) -> bool:
        """Whether the picture has no more noise than those of the training."""
        return request.noise < max(MAX_NOISE, 1.25 * self.noise)

    def covers_quality(self, request: Request) -> bool:
        """Whether the picture is not compressed more than those of the training."""
        return request.quality is None or request.quality >= min(MIN_JPEG_QUALITY, self.quality or MIN_JPEG_QUALITY)

    def covers(self, request: Request) -> bool:
        """Whether scale, noise and quality are all covered."""
        return self.covers_scale(request) and self.covers_noise(request) and self.covers_quality(request)

    def distance(self, request: Request) -> tuple[int, float]:
        """How far a request is beyond the training: in how many respects, then by noise and compression together.

        >>> Training(noise=8, quality=40).distance(Request(2, noise=20, quality=30))
        (2, 0.22)
        """
        covered = self.covers_scale(request), self.covers_noise(request), self.covers_quality(request)
        noise = 0.0 if covered[1] else (request.noise - self.noise) / 100
        lowest = MIN_JPEG_QUALITY if self.quality is None else self.quality
        compression = 0.0 if covered[2] or request.quality is None else (lowest - request.quality) / 100
        return covered.count(False), round(noise + compression, 4)


def judge(model: ImplicitModel, name: str, picture: str, request: Request) -> list[Note]:
    """What goes beyond the training of ``model``; with the name of one that was trained for it, if there is one.

    Args:
        model: the model.
        name: what it is called.
        picture: the picture's name.
        request: what is asked.
    """
    training = Training.of(model.scales, model.training_summary)
    if training.covers(request):
        return []
    end = _advice(name, training, request)
    notes = []
    if training.scales is not None and not training.covers_scale(request):
        low, high = training.scales
        trained = f"{name} was trained for ×{low:g} to ×{high:g}"
        if request.scale < 1:
            trained += " and reads points, no means of pixels; what shrinks pictures fits better"
            notes.append(Note(picture, "shrunk to ×{}", request.scale, trained))
        else:
            notes.append(Note(picture, "magnified ×{}", request.scale, f"{trained}; {end}"))
    if not training.covers_noise(request):
        extent = f"up to sigma {training.noise:g}" if training.noise else "on pictures without noise"
        notes.append(Note(picture, "noise of sigma {} (of 255)", request.noise, f"{name} was trained {extent}; {end}"))
    if request.quality is not None and not training.covers_quality(request):
        extent = f"down to quality {training.quality:g}" if training.quality else "on pictures without such compression"
        text = f"{name} was trained {extent} and sharpens its blocks; {end}"
        notes.append(Note(picture, "JPEG of quality {}", request.quality, text))
    return notes


def _advice(name: str, training: Training, request: Request) -> str:
    """The model that was trained for ``request``; or else the one whose training is nearest, if it is nearer."""
    others = [(other, trained) for other, trained in pretrained() if other != name]
    if fits := next((other for other, trained in others if trained.covers(request)), None):
        return f"--model {fits} was trained for it"
    nearest = min(others, key=lambda pair: pair[1].distance(request), default=None)
    if nearest is None or not nearest[1].distance(request) < training.distance(request):
        return "no model here was trained for it"
    return f"--model {nearest[0]} fits better, though it was not trained for as much"


def pretrained() -> Iterator[tuple[str, Training]]:
    """Named models whose weights are here and that enlarge pictures, with what they were trained on, by the headers of
    their files.
    """
    from implicitkit.errors import UserError
    from implicitkit.registry.kinds import models, shipped_file
    from implicitkit.weights.native import read_metadata

    for entry in models.entries(pretrained=True):
        with suppress(UserError, OSError, ValueError, AttributeError, TypeError):  # a broken file of a plugin
            metadata = read_metadata(shipped_file(entry))
            spec, summary = json.loads(metadata["spec"]), json.loads(metadata.get("training") or "{}")
            training = Training.of(spec.get("scales"), summary)
            if training.enlarges and training.scales is not None:
                yield entry.name, training


def _ends(value: Any) -> list[float]:
    """A number, or the ends of a range."""
    return [float(v) for v in value] if isinstance(value, Iterable) and not isinstance(value, str) else [float(value)]
