"""The contract of degradations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, Degraded, seeded

Spec = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]

PICTURE_SHAPE = (3, 29, 37)
ODD_SHAPES = ((1, 29, 37), (3, 31, 8), (3, 1, 1), (1, 1, 1), (3, 2, 5))


def check_degradation(spec: Spec, *, shapes: Sequence[Sequence[int]] = ODD_SHAPES, in_range: bool = True) -> None:
    """Check everything that a degradation promises.

    Args:
        spec: what ``create_degradation`` takes.
        shapes: shapes ``(C, H, W)`` to try; refusing one with a ``ValueError`` is allowed.
        in_range: whether the result stays in [0, 1].

    >>> check_degradation({"name": "noise", "sigma": 10}, shapes=[(3, 4, 5)])
    """
    degradation = create_degradation(spec)
    for check in CHECKS:
        check(degradation)
    check_shapes(degradation, shapes)
    if in_range:
        check_range(degradation)


def check_replay(degradation: Degradation) -> None:
    """A record survives JSON, and replays bit for bit: for a picture, for a batch, from another object."""
    for picture in (_picture(PICTURE_SHAPE), _batch()):
        first = degradation(picture, seeded(1))
        record = json.loads(json.dumps(first.record))
        assert record == first.record, f"the record changes when written as JSON: {first.record}"
        assert _equal(degradation.apply(picture, record), first), "replaying a record gives other bits"
        if degradation.spec is not None:
            again = create_degradation(json.loads(json.dumps(degradation.spec)))
            assert _equal(again.apply(picture, record), first), f"rebuilt from its spec, it differs: {degradation.spec}"


def check_seed(degradation: Degradation) -> None:
    """A seed gives the same sample alone and as the first of a batch, without torch's global random state."""
    batch = _batch()
    alone, together = degradation(batch[0], seeded(7)), degradation(batch, seeded(7))
    assert isinstance(together.record, list) and len(together.record) == len(batch), "a batch has one record each"
    assert alone.record == together.record[0], "alone, a picture's record differs from that of a batch's first"
    for name in ("image", "mask", "reference"):
        difference = (getattr(alone, name) - getattr(together, name)[0]).abs().max()
        # matrix products and convolutions may sum in another order for another batch size
        assert difference <= 1e-6, f"alone, a picture's {name} differs from that of a batch's first by {difference:.1e}"
    before = torch.get_rng_state()
    torch.manual_seed(11)
    assert _equal(degradation(batch, seeded(7)), together), "with its own generator, it depends on torch's global state"
    torch.set_rng_state(before)
    degradation(batch[0], seeded(7))
    assert torch.equal(torch.get_rng_state(), before), "with its own generator, it draws from torch's global one"


def check_types(degradation: Degradation) -> None:
    """The dtype stays, float32 and float64 agree, and the input does not change."""
    single, double = (_batch(dtype) for dtype in (torch.float32, torch.float64))
    records = degradation(single, seeded(2)).record
    results = []
    for batch in (single, double):
        before = batch.clone()
        degraded = degradation.apply(batch, records)
        assert torch.equal(batch, before), "the input was changed in place"
        dtypes = {degraded.image.dtype, degraded.mask.dtype, degraded.reference.dtype}
        assert dtypes == {batch.dtype}, f"a picture of {batch.dtype} becomes {dtypes}"
        results.append(degraded)
    assert torch.equal(results[0].mask, results[1].mask.float()), "the mask depends on the dtype"
    # a few values may round to another level
    difference = (results[0].image - results[1].image).abs().flatten().quantile(0.99)
    assert difference < 1e-4, f"float32 and float64 differ by {difference:.1e}"


def check_mask(degradation: Degradation) -> None:
    """The mask has the degraded picture's size, is 0 or 1, and stays 1 where it was 1."""
    batch = _batch()
    degraded = degradation(batch, seeded(3))
    assert degraded.mask.shape == (len(batch), 1, *degraded.image.shape[2:]), (
        f"the mask of a degraded {tuple(degraded.image.shape)} is (B, 1, *S); it is {tuple(degraded.mask.shape)}"
    )
    assert ((degraded.mask == 0) | (degraded.mask == 1)).all(), "a mask is 0 or 1"
    record = degradation.sample(PICTURE_SHAPE, seeded(3))
    mask = degradation.degrade(batch[:1], batch.new_ones(1, 1, *PICTURE_SHAPE[1:]), record).mask
    assert (mask == 1).all(), "of a picture without known pixels, some are known afterwards"


def check_sizes(degradation: Degradation) -> None:
    """``output_shape`` and ``source_size`` are true, and the reference is the clean picture's top left."""
    picture = _picture(PICTURE_SHAPE)
    degraded = degradation(picture, seeded(4))
    record = degraded.record
    assert isinstance(record, dict)
    shape = tuple(degradation.output_shape(PICTURE_SHAPE, record))
    assert shape == tuple(degraded.image.shape), f"output_shape says {shape}, it is {tuple(degraded.image.shape)}"
    height, width = degraded.reference.shape[1:]
    corner = picture[:, :height, :width]
    assert torch.equal(degraded.reference, corner), "the reference is not the clean picture's top left"
    try:
        source = degradation.source_size((9, 7), record)
    except ValueError:  # a fixed output size
        return
    crop = degradation.apply(_picture((PICTURE_SHAPE[0], *source)), record)
    assert crop.image.shape[1:] == (9, 7), f"source_size says {source} for (9, 7); it gives {crop.image.shape[1:]}"


def check_shapes(degradation: Degradation, shapes: Sequence[Sequence[int]] = ODD_SHAPES) -> None:
    """Grey and colour, odd sizes and single pixels work, or raise a ``ValueError`` of one line."""
    for shape in shapes:
        try:
            image = degradation(_picture(shape), seeded(5)).image
        except ValueError as error:
            assert str(error) and "\n" not in str(error), f"{tuple(shape)} is refused without one clear line: {error!r}"
            continue
        assert image.shape[0] == shape[0], f"{tuple(shape)} becomes {tuple(image.shape)}"
        assert image.isfinite().all(), f"{tuple(shape)} becomes something that is not a number"


def check_range(degradation: Degradation) -> None:
    """The result is in [0, 1], for noise, black and white."""
    for picture in (_batch(), torch.zeros(2, *PICTURE_SHAPE), torch.ones(2, *PICTURE_SHAPE)):
        image = degradation(picture, seeded(6)).image
        low, high = float(image.min()), float(image.max())
        assert low >= 0 and high <= 1, f"the result leaves [0, 1]: {low} to {high}"


def check_devices(degradation: Degradation) -> None:
    """On a CUDA device, if there is one, a record gives the same as on the CPU, and the result stays there."""
    if not torch.cuda.is_available():
        return
    batch = _batch()
    cpu = degradation(batch, seeded(8))
    cuda = degradation.apply(batch.cuda(), cpu.record)
    assert {t.device.type for t in (cuda.image, cuda.mask, cuda.reference)} == {"cuda"}, "the result left the device"
    assert torch.equal(cuda.mask.cpu(), cpu.mask), "the mask depends on the device"
    difference = (cuda.image.cpu() - cpu.image).abs().flatten().quantile(0.99)
    assert difference < 1e-4, f"CUDA and CPU differ by {difference:.1e}"


CHECKS: tuple[Callable[[Degradation], None], ...] = (
    check_replay,
    check_seed,
    check_types,
    check_mask,
    check_sizes,
    check_devices,
)


def _picture(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A picture of 8-bit levels, always the same."""
    return torch.randint(256, tuple(shape), generator=seeded(0)).to(dtype) / 255


def _batch(dtype: torch.dtype = torch.float32) -> Tensor:
    return _picture((3, *PICTURE_SHAPE), dtype)


def _equal(a: Degraded, b: Degraded) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and torch.equal(a.reference, b.reference)
