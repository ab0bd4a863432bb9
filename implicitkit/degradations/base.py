"""The degradation contract: ``sample`` draws, ``apply`` does; a record replays bit for bit."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from implicitkit.coordinates import Size

Record = dict[str, Any]
"""What was drawn for one picture: JSON-able; large random tensors as an int64 seed, drawn on the CPU."""


@dataclass(frozen=True)
class Degraded:
    """What a degradation returns.

    Attributes:
        image: the degraded picture ``(C, *s)`` or ``(B, C, *s)``.
        mask: ``(1, *s)`` or ``(B, 1, *s)``, always of the degraded picture's size; 1 where a pixel is missing.
        reference: the clean picture, cropped to what the degraded one covers.
        record: what was drawn; a list of records for a batch.
    """

    image: Tensor
    mask: Tensor
    reference: Tensor
    record: Record | list[Record]


@dataclass(frozen=True)
class Step:
    """One degradation's effect on a batch whose pictures share a record: picture, mask, and the pixels of its input
    it covers.
    """

    image: Tensor
    mask: Tensor
    covered: Size


class Degradation:
    """Clean picture -> degraded picture, mask and record. It holds settings, never weights.

    A subclass writes :meth:`sample` (the only random step) and :meth:`degrade` (deterministic). Keys named in
    ``shared`` are taken from the first picture for a whole batch, because they decide its size.
    """

    shared: ClassVar[tuple[str, ...]] = ()
    spec: Any = None
    arguments: Mapping[str, Any] = {}
    """What the constructor was given, its defaults filled in."""

    def __new__(cls, *positional: Any, **named: Any) -> Any:
        """Note the arguments, so that :func:`repr` can tell them."""
        made = super().__new__(cls)
        try:
            given = inspect.signature(cls).bind(*positional, **named)
        except (TypeError, ValueError):  # the constructor says what is wrong; a copy is made without arguments
            return made
        given.apply_defaults()
        made.arguments = given.arguments
        return made

    def __repr__(self) -> str:
        """As Python: the class and its settings, but for those that are None."""
        settings = (f"{name}={value!r}" for name, value in self.arguments.items() if value is not None)
        return f"{type(self).__name__}({', '.join(settings)})"

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        """Draw what is random for one clean picture of ``shape`` ``(C, *S)``; a JSON-able mapping."""
        raise NotImplementedError(f"{type(self).__name__} does not implement sample()")

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        """Do to pictures ``(B, C, *S)`` with ``mask`` ``(B, 1, *S)`` what ``record`` says; on the picture's device."""
        raise NotImplementedError(f"{type(self).__name__} does not implement degrade()")

    def output_shape(self, shape: Sequence[int], record: Record) -> Size:
        """The shape ``(C, *s)`` of what becomes of a picture of ``shape``; a chain samples its next step with it."""
        return tuple(shape)

    def source_size(self, size: Sequence[int], record: Record) -> Size:
        """How large a clean picture must be for the degraded one to have ``size``; for cropping training pictures."""
        return tuple(size)

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Degraded:
        """Draw and apply.

        Args:
            image: ``(C, *S)`` or ``(B, C, *S)`` floating point in [0, 1].
            generator: source of randomness (default: torch's global one). One number is drawn per call; picture ``i``
                of a batch uses a seed made of it and ``i``, so a batch's first picture is degraded as it would be
                alone.
        """
        draw = int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else None))
        batched = image.ndim == 4
        shape = image.shape[1:] if batched else image.shape
        records = [self.sample(shape, seeded(draw, k)) for k in range(len(image) if batched else 1)]
        return self.apply(image, self.share(records) if batched else records[0])

    def share(self, records: list[Record]) -> list[Record]:
        """Make the records of a batch agree on what decides its size."""
        common = {key: records[0][key] for key in self.shared if key in records[0]}
        return [{**record, **common} for record in records]

    def apply(self, image: Tensor, record: Record | Sequence[Record]) -> Degraded:
        """Replay ``record`` (one for a picture; one for all, or one each, for a batch) on ``image``; the same bits
        every time.
        """
        if image.ndim not in (3, 4) or not image.is_floating_point():
            raise ValueError(
                f"a degradation takes a floating-point picture (C, H, W) or batch (B, C, H, W); received "
                f"{image.dtype} {tuple(image.shape)}"
            )
        if image.ndim == 3:
            if not isinstance(record, Mapping):
                raise ValueError("one picture takes one record; received a list")
            one = self._apply(image[None], record)
            return Degraded(one.image[0], one.mask[0], one.reference[0], dict(record))
        if isinstance(record, Mapping):
            return self._apply(image, record)
        if len(record) != len(image):
            raise ValueError(f"a batch of {len(image)} takes {len(image)} records; received {len(record)}")
        if all(r == record[0] for r in record):
            done = self._apply(image, record[0])
            return Degraded(done.image, done.mask, done.reference, list(record))
        each = [self._apply(image[k : k + 1], r) for k, r in enumerate(record)]
        return Degraded(
            torch.cat([d.image for d in each]),
            torch.cat([d.mask for d in each]),
            torch.cat([d.reference for d in each]),
            list(record),
        )

    def _apply(self, image: Tensor, record: Mapping[str, Any]) -> Degraded:
        step = self.degrade(image, image.new_zeros(len(image), 1, *image.shape[2:]), dict(record))
        return Degraded(step.image, step.mask, crop_to(image, step.covered), dict(record))


class Chain(Degradation):
    """Several degradations, one after the other; each sees the previous one's picture and mask."""

    def __init__(self, steps: Sequence[Degradation]) -> None:
        if not steps:
            raise ValueError("a chain needs at least one degradation")
        self.steps = list(steps)
        self.spec = [step.spec for step in self.steps]

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        draw = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        drawn: list[Record] = []
        for k, step in enumerate(self.steps):
            drawn.append(step.sample(shape, seeded(draw, k)))
            shape = step.output_shape(shape, drawn[-1])
        return {"steps": drawn}

    def output_shape(self, shape: Sequence[int], record: Record) -> Size:
        for step, drawn in zip(self.steps, self._drawn(record), strict=True):
            shape = step.output_shape(shape, drawn)
        return tuple(shape)

    def share(self, records: list[Record]) -> list[Record]:
        per_step = [step.share([r["steps"][k] for r in records]) for k, step in enumerate(self.steps)]
        return [{"steps": list(steps)} for steps in zip(*per_step, strict=True)]

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        covered = tuple(image.shape[2:])
        for step, drawn in zip(self.steps, self._drawn(record), strict=True):
            before = image.shape[2:]
            done = step.degrade(image, mask, drawn)
            # what a step covers of its own input, in pixels of the first picture
            covered = tuple(round(c * part / n) for c, part, n in zip(covered, done.covered, before, strict=True))
            image, mask = done.image, done.mask
        return Step(image, mask, covered)

    def source_size(self, size: Sequence[int], record: Record) -> Size:
        for step, drawn in zip(reversed(self.steps), reversed(self._drawn(record)), strict=True):
            size = step.source_size(size, drawn)
        return tuple(size)

    def _drawn(self, record: Record) -> list[Record]:
        """The steps' records; a record of another chain is refused."""
        drawn = record.get("steps")
        if not isinstance(drawn, list) or len(drawn) != len(self.steps):
            raise ValueError(f"a chain of {len(self.steps)} takes a record with as many steps; received {record!r}")
        return drawn


def crop_to(image: Tensor, size: Sequence[int]) -> Tensor:
    """The top left part of ``image`` ``(B, C, *S)``."""
    return image[(slice(None), slice(None), *(slice(0, n) for n in size))]


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator whose seed is a hash of ``numbers``: independent streams for neighbouring numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number drawn uniformly from ``[low, high)``."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device))
