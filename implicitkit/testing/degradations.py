"""The contract of a degradation, as checks that a plugin's tests call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from implicitkit.create import create_degradation
from implicitkit.degradations.base import Degradation, Degraded, seeded

Spec = str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]

SHAPE = (3, 29, 37)
ODD_SHAPES = ((1, 29, 37), (3, 31, 8), (3, 1, 1), (1, 1, 1), (3, 2, 5))


def check_degradation(spec: Spec, *, shapes: Sequence[Sequence[int]] = ODD_SHAPES, in_range: bool = True) -> None:
    """Everything that a degradation promises: the built-in ones pass it, and so should a plugin's.

    Args:
        spec: what ``create_degradation`` takes.
        shapes: shapes ``(C, H, W)`` to try; one that the degradation refuses with a ``ValueError`` counts as passed.
        in_range: whether the result stays in [0, 1].

    Raises:
        AssertionError: a promise is broken; the message says which.
    """
    degradation = create_degradation(spec)
    for check in CHECKS:
        check(degradation)
    check_shapes(degradation, shapes)
    if in_range:
        check_range(degradation)


def check_replay(degradation: Degradation) -> None:
    """A record survives JSON, and replays bit for bit: for a picture, for a batch, from another object."""
    for picture in (_picture(SHAPE), _batch()):
        seen = degradation(picture, seeded(1))
        record = json.loads(json.dumps(seen.record))
        assert record == seen.record, f"the record is not what JSON makes of it: {seen.record}"
        assert _same(degradation.apply(picture, record), seen), "replaying a record gives other bits"
        if degradation.spec is not None:
            again = create_degradation(json.loads(json.dumps(degradation.spec)))
            assert _same(again.apply(picture, record), seen), f"rebuilt from its spec, it differs: {degradation.spec}"


def check_seed(degradation: Degradation) -> None:
    """A seed gives the same sample alone and as the first of a batch; torch's global state is neither read nor set."""
    batch = _batch()
    alone, together = degradation(batch[0], seeded(7)), degradation(batch, seeded(7))
    assert isinstance(together.record, list) and len(together.record) == len(batch), "a batch has one record each"
    assert alone.record == together.record[0], "alone, a picture's record differs from that of a batch's first"
    for name in ("image", "mask", "reference"):
        difference = (getattr(alone, name) - getattr(together, name)[0]).abs().max()
        # matrix products and convolutions may add up in another order for another batch size
        assert difference <= 1e-6, f"alone, a picture's {name} differs from that of a batch's first by {difference:.1e}"
    before = torch.get_rng_state()
    torch.manual_seed(11)
    assert _same(degradation(batch, seeded(7)), together), "with its own generator, it depends on torch's global state"
    torch.set_rng_state(before)
    degradation(batch[0], seeded(7))
    assert torch.equal(torch.get_rng_state(), before), "with its own generator, it draws from torch's global one"


def check_types(degradation: Degradation) -> None:
    """The dtype is kept, float32 and float64 show the same, and the picture that came in is left as it was."""
    single, double = (_batch(dtype) for dtype in (torch.float32, torch.float64))
    records = degradation(single, seeded(2)).record
    made = {}
    for batch in (single, double):
        before = batch.clone()
        seen = made[batch.dtype] = degradation.apply(batch, records)
        assert torch.equal(batch, before), "the picture that came in was changed in place"
        kinds = {seen.image.dtype, seen.mask.dtype, seen.reference.dtype}
        assert kinds == {batch.dtype}, f"a picture of {batch.dtype} becomes {kinds}"
    assert torch.equal(made[torch.float32].mask, made[torch.float64].mask.float()), "the mask depends on the dtype"
    difference = (
        (made[torch.float32].image - made[torch.float64].image).abs().flatten().quantile(0.99)
    )  # rounding to levels may tip over in few places
    assert difference < 1e-4, f"float32 and float64 differ by {difference:.1e}"


def check_mask(degradation: Degradation) -> None:
    """The mask has the degraded picture's size, is 0 or 1, and keeps what was missing before."""
    batch = _batch()
    seen = degradation(batch, seeded(3))
    assert seen.mask.shape == (len(batch), 1, *seen.image.shape[2:]), (
        f"the mask of a degraded {tuple(seen.image.shape)} is (B, 1, *S); it is {tuple(seen.mask.shape)}"
    )
    assert ((seen.mask == 0) | (seen.mask == 1)).all(), "a mask is 0 or 1"
    record = degradation.sample(SHAPE, seeded(3))
    lost = degradation.degrade(batch[:1], batch.new_ones(1, 1, *SHAPE[1:]), record).mask
    assert (lost == 1).all(), "of a picture that is missing altogether, something is known afterwards"


def check_sizes(degradation: Degradation) -> None:
    """``output_shape`` is what comes out, ``source_size`` is enough to get it, the reference is the clean picture's
    top left.
    """
    picture = _picture(SHAPE)
    seen = degradation(picture, seeded(4))
    assert isinstance(seen.record, dict)
    promised = tuple(degradation.output_shape(SHAPE, seen.record))
    assert promised == tuple(seen.image.shape), f"output_shape says {promised}, it is {tuple(seen.image.shape)}"
    height, width = seen.reference.shape[1:]
    assert torch.equal(seen.reference, picture[:, :height, :width]), "the reference is not the clean picture's top left"
    try:
        source = degradation.source_size((9, 7), seen.record)
    except ValueError:  # a fixed output size cannot say
        return
    crop = degradation.apply(_picture((SHAPE[0], *source)), seen.record)
    assert crop.image.shape[1:] == (9, 7), f"source_size asks for {source} to get (9, 7), not {crop.image.shape[1:]}"


def check_shapes(degradation: Degradation, shapes: Sequence[Sequence[int]] = ODD_SHAPES) -> None:
    """Grey and colour, odd sizes and single pixels work, or are refused by a ``ValueError`` of one line."""
    for shape in shapes:
        try:
            seen = degradation(_picture(shape), seeded(5))
        except ValueError as error:
            assert str(error) and "\n" not in str(error), f"{tuple(shape)} is refused without one clear line: {error!r}"
            continue
        assert seen.image.shape[0] == shape[0], f"{tuple(shape)} becomes {tuple(seen.image.shape)}"
        assert seen.image.isfinite().all(), f"{tuple(shape)} becomes something that is not a number"


def check_range(degradation: Degradation) -> None:
    """The result is in [0, 1], for noise, black and white."""
    for picture in (_batch(), torch.zeros(2, *SHAPE), torch.ones(2, *SHAPE)):
        image = degradation(picture, seeded(6)).image
        low, high = float(image.min()), float(image.max())
        assert low >= 0 and high <= 1, f"the result leaves [0, 1]: {low} to {high}"


def check_devices(degradation: Degradation) -> None:
    """On a CUDA device, where there is one, a record gives what it gives on the CPU, and the result stays there."""
    if not torch.cuda.is_available():
        return
    batch = _batch()
    seen = degradation(batch, seeded(8))
    there = degradation.apply(batch.cuda(), seen.record)
    assert {t.device.type for t in (there.image, there.mask, there.reference)} == {"cuda"}, "the result left the device"
    assert torch.equal(there.mask.cpu(), seen.mask), "the mask depends on the device"
    difference = (there.image.cpu() - seen.image).abs().flatten().quantile(0.99)
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
    """A picture of whole 8-bit levels, the same every time."""
    return torch.randint(256, tuple(shape), generator=seeded(0)).to(dtype) / 255


def _batch(dtype: torch.dtype = torch.float32) -> Tensor:
    return _picture((3, *SHAPE), dtype)


def _same(a: Degraded, b: Degraded) -> bool:
    return torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and torch.equal(a.reference, b.reference)
