"""The degradation contract: ``sample`` draws a record, ``apply`` replays it bit for bit."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from implicitkit.coordinates import Size
from implicitkit.images.io import check_values

Record = dict[str, Any]
"""The random numbers of one picture, as JSON can hold them; large random tensors as an int64 seed."""


@dataclass(frozen=True)
class Degraded:
    """The result of a degradation.

    Attributes:
        image: the degraded picture ``(C, *s)`` or ``(B, C, *s)``.
        mask: ``(1, *s)`` or ``(B, 1, *s)`` of the degraded picture's size; 1 where a pixel is missing.
        reference: the clean picture, cropped to the part that the degraded one covers.
        record: the record; a list of records for a batch.

    >>> import implicitkit as ik
    >>> degraded = ik.create_degradation("super_resolution", scale=2)(torch.rand(3, 9, 8))
    >>> degraded.image.shape, degraded.reference.shape, degraded.record["scale"]
    (torch.Size([3, 4, 4]), torch.Size([3, 8, 8]), [2.0, 2.0])
    """

    image: Tensor
    mask: Tensor
    reference: Tensor
    record: Record | list[Record]

    def __repr__(self) -> str:
        """Shapes; the record's random numbers are in ``record``."""
        shapes = (f"{name} {tuple(getattr(self, name).shape)}" for name in ("image", "mask", "reference"))
        records = len(self.record) if isinstance(self.record, list) else 1
        return f"Degraded({', '.join(shapes)}, {records} record{'' if records == 1 else 's'})"


@dataclass(frozen=True)
class Step:
    """One degradation's result for a batch that shares a record: picture, mask, and the pixels of the input that they
    cover.
    """

    image: Tensor
    mask: Tensor
    covered: Size


class Degradation:
    """Clean picture -> degraded picture, mask and record; without weights.

    A subclass writes :meth:`sample` (the only random step) and :meth:`degrade` (deterministic). A batch takes the keys
    in ``shared`` from its first picture's record, as they decide its size.

    >>> class Darker(Degradation):
    ...     def sample(self, shape, generator):
    ...         return {"factor": uniform(0.5, 1, generator)}
    ...     def degrade(self, image, mask, record):
    ...         return Step(record["factor"] * image, mask, image.shape[2:])
    >>> degraded = Darker()(torch.rand(3, 4, 4), seeded(0))
    >>> torch.equal(Darker().apply(degraded.reference, degraded.record).image, degraded.image)
    True
    """

    shared: ClassVar[tuple[str, ...]] = ()
    ndim: int = 2
    """2 for pictures ``(C, H, W)``, 3 for volumes ``(C, D, H, W)``, where a subclass takes them."""
    spec: Any = None
    arguments: Mapping[str, Any] = {}
    """The constructor's arguments, defaults included."""

    def __new__(cls, *positional: Any, **named: Any) -> Any:
        """Store the arguments for :func:`repr`."""
        degradation = super().__new__(cls)
        try:
            given = inspect.signature(cls).bind(*positional, **named)
        except (TypeError, ValueError):  # the constructor will raise; copy() passes no arguments
            return degradation
        given.apply_defaults()
        degradation.arguments = given.arguments
        return degradation

    def __repr__(self) -> str:
        """The class and its settings, without those that are None."""
        settings = (f"{name}={value!r}" for name, value in self.arguments.items() if value is not None)
        return f"{type(self).__name__}({', '.join(settings)})"

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        """Draw the record of one clean picture of ``shape`` ``(C, *S)``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement sample()")

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        """Degrade pictures ``(B, C, *S)`` with ``mask`` ``(B, 1, *S)`` by ``record``, on the picture's device."""
        raise NotImplementedError(f"{type(self).__name__} does not implement degrade()")

    def output_shape(self, shape: Sequence[int], record: Record) -> Size:
        """The shape ``(C, *s)`` of the degraded picture; a chain samples its next step with it."""
        return tuple(shape)

    def source_size(self, size: Sequence[int], record: Record) -> Size:
        """The size of the clean picture for a degraded one of ``size``; training crops by it."""
        return tuple(size)

    def __call__(self, image: Tensor, generator: torch.Generator | None = None) -> Degraded:
        """Draw and apply.

        Args:
            image: ``(C, *S)`` or ``(B, C, *S)`` floating point in [0, 1].
            generator: source of randomness (default: torch's global one). A call draws one number; picture ``i`` of a
                batch has a seed made of it and ``i``, so a batch's first picture is degraded as it would be alone.
        """
        self._check_tensor(image)
        draw = int(torch.randint(2**62, (), generator=generator, device=generator.device if generator else None))
        batched = image.ndim == self.ndim + 2
        shape = image.shape[1:] if batched else image.shape
        records = [self.sample(shape, seeded(draw, k)) for k in range(len(image) if batched else 1)]
        return self.apply(image, self.share(records) if batched else records[0])

    def share(self, records: list[Record]) -> list[Record]:
        """Make the records of a batch agree on the keys that decide its size."""
        common = {key: records[0][key] for key in self.shared if key in records[0]}
        return [{**record, **common} for record in records]

    @staticmethod
    def _check_tensor(image: object) -> None:
        """Raise ValueError for what is no tensor."""
        if not isinstance(image, Tensor):
            kind = type(image).__name__
            raise ValueError(f"a degradation takes a floating-point tensor (ik.read_image gives one); received {kind}")

    def apply(self, image: Tensor, record: Record | Sequence[Record]) -> Degraded:
        """Replay ``record`` (for a batch one for all, or one each) on ``image``, bit for bit."""
        self._check_tensor(image)
        if image.ndim not in (self.ndim + 1, self.ndim + 2) or not image.is_floating_point():
            what, axes = ("picture", "H, W") if self.ndim == 2 else ("volume", "D, H, W")
            hint = "; ndim=3 takes volumes" if image.ndim == 5 and self.ndim == 2 else ""
            raise ValueError(
                f"a degradation takes a floating-point {what} (C, {axes}) or batch (B, C, {axes}); received "
                f"{image.dtype} {tuple(image.shape)}{hint}"
            )
        check_values(image, "a clean picture")
        if image.ndim == self.ndim + 1:
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
    """Several degradations, one after the other; each gets the previous one's picture and mask.

    >>> import implicitkit as ik
    >>> chain = ik.create_degradation([{"name": "blur", "sigma": 1}, {"name": "jpeg", "quality": 50}])
    >>> [step["name"] for step in chain(torch.rand(3, 8, 8)).record["steps"]]
    ['blur', 'jpeg']
    """

    def __init__(self, steps: Sequence[Degradation]) -> None:
        if not steps:
            raise ValueError("a chain needs at least one degradation")
        self.steps = list(steps)
        dimensions = {step.ndim for step in steps}
        if len(dimensions) != 1:
            raise ValueError(f"the steps of a chain have one ndim; received {[step.ndim for step in steps]}")
        self.ndim = dimensions.pop()
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
            # from pixels of the step's input to pixels of the first picture
            covered = tuple(round(c * part / n) for c, part, n in zip(covered, done.covered, before, strict=True))
            image, mask = done.image, done.mask
        return Step(image, mask, covered)

    def source_size(self, size: Sequence[int], record: Record) -> Size:
        for step, drawn in zip(reversed(self.steps), reversed(self._drawn(record)), strict=True):
            size = step.source_size(size, drawn)
        return tuple(size)

    def _drawn(self, record: Record) -> list[Record]:
        """The steps' records."""
        drawn = record.get("steps")
        if not isinstance(drawn, list) or len(drawn) != len(self.steps):
            raise ValueError(f"a chain of {len(self.steps)} takes a record with as many steps; received {record!r}")
        return drawn


def check_ndim(name: str, ndim: int) -> int:
    """``ndim``, 2 or 3; else a ``ValueError`` that names the degradation."""
    if ndim not in (2, 3):
        raise ValueError(f"{name} takes ndim 2 (pictures) or 3 (volumes); received {ndim}")
    return ndim


def crop_to(image: Tensor, size: Sequence[int]) -> Tensor:
    """The top left part of ``image`` ``(B, C, *S)``."""
    return image[(slice(None), slice(None), *(slice(0, n) for n in size))]


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator whose seed is a hash of ``numbers``: independent streams for neighbouring numbers.

    >>> torch.equal(torch.rand(2, generator=seeded(0, 1)), torch.rand(2, generator=seeded(0, 1)))
    True
    """
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number drawn uniformly from ``[low, high)``."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64, device=generator.device))
