"""Whether the parts of a model fit each other, and whether a picture and its mask fit the model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from implicitkit.decoders.base import Decoder
from implicitkit.devices import is_recorded
from implicitkit.encoders.base import Encoder
from implicitkit.necks.base import Neck


def check_kinds(encoder: Any, decoder: Any) -> None:
    """Raise :class:`ValueError` if the parts are not built yet, or no parts at all."""
    for name, given, kind in (("encoder", encoder, Encoder), ("decoder", decoder, Decoder)):
        if not isinstance(given, kind):
            received = repr(given) if isinstance(given, (str, dict)) else type(given).__name__
            raise ValueError(f"{name} is an ik.{kind.__name__}, as ik.create_{name}() makes; received {received}")


def check_parts(
    encoder: Encoder, necks: Sequence[Neck], decoder: Decoder, conditions: Collection[str], inputs: Sequence[str]
) -> None:
    """Raise :class:`ValueError`, which says which number to change, if the parts of a model do not fit each other."""
    names = type(encoder).__name__, type(decoder).__name__
    if encoder.ndim != decoder.ndim:
        raise ValueError(
            f"{names[0]} is {encoder.ndim}-dimensional, {names[1]} {decoder.ndim}-dimensional; give both the same ndim"
        )
    if encoder.size_multiple % encoder.stride:
        raise ValueError(
            f"{names[0]} has stride {encoder.stride} and size_multiple {encoder.size_multiple}; "
            "size_multiple must be a multiple of the stride"
        )
    parts = [encoder, *necks, decoder]
    for giver, taker in pairwise(parts):
        kind = "decoder" if taker is decoder else "neck"
        if taker.ndim != encoder.ndim:
            raise ValueError(f"{type(taker).__name__} is a {kind} of {taker.ndim} dimensions, not {encoder.ndim}")
        if giver.out_channels != taker.in_channels:
            raise ValueError(
                f"{type(giver).__name__} gives {giver.out_channels} features per cell, {type(taker).__name__} "
                f"takes {taker.in_channels}; create the {kind} with in_channels={giver.out_channels}"
            )
    declared, given = set(decoder.conditions), set(conditions)
    if declared != given:
        drop, lack = ", ".join(sorted(given - declared)), ", ".join(sorted(declared - given))
        todo = [f"take {drop} out of the conditions"] * bool(drop) + [f"give {lack} as conditions"] * bool(lack)
        raise ValueError(
            f"{names[1]} reads the conditions {sorted(declared) or 'none'}; received {sorted(given) or 'none'}; "
            f"{' and '.join(todo)}, or choose another decoder"
        )
    if not set(decoder.queried) <= declared:
        raise ValueError(
            f"{names[1]} queries {sorted(decoder.queried)}, but declares the conditions {sorted(declared) or 'none'}"
        )
    unknown = set(inputs) - {"image", "mask"}
    if unknown or "image" not in inputs:
        raise ValueError(f"inputs are 'image', or 'image' and 'mask'; received {list(inputs)}")
    if ("mask" in inputs) != (encoder.mask_channels == 1):
        raise ValueError(
            f"inputs are {list(inputs)}, but {names[0]} has {encoder.mask_channels} mask channels; "
            "give the encoder mask_channels=1 with the input 'mask', 0 without"
        )


def as_batch(image: Tensor, encoder: Encoder, device: torch.device) -> Tensor:
    """``image`` as a float32 batch ``(B, C, *S)`` on ``device``.

    Raises:
        ValueError: it is no picture, or none for this encoder.

    >>> import implicitkit as ik
    >>> as_batch(torch.zeros(3, 4, 5), ik.create_encoder("edsr", blocks=1, channels=8), torch.device("cpu")).shape
    torch.Size([1, 3, 4, 5])
    """
    ndim, channels = encoder.ndim, encoder.in_channels
    if not isinstance(image, Tensor) or not image.is_floating_point():
        received = f"a {image.dtype} tensor" if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(
            "a picture is a floating-point tensor in [0, 1] (ik.read_image gives one, implicitkit.images.to_tensor "
            f"of an (H, W, C) array of 8 or 16 bits); received {received}"
        )
    without_values = image.is_meta and torch.device(device).type != "meta"
    if without_values or image.layout != torch.strided:
        kind = "a meta tensor, without values" if without_values else f"{image.layout} (.to_dense() makes one)"
        raise ValueError(f"a picture is a dense tensor; received {kind}")
    if image.ndim not in (ndim + 1, ndim + 2) or image.shape[-ndim - 1] != channels or 0 in image.shape:
        sizes = ", ".join(["H", "W"] if ndim == 2 else [f"S{k + 1}" for k in range(ndim)])
        last = image.ndim in (ndim + 1, ndim + 2) and image.shape[-1] == channels
        hint = f"; image.movedim(-1, -{ndim + 1}) puts the channels first" if last else ""
        raise ValueError(
            f"this model takes a picture ({channels}, {sizes}) or a batch of them; received {tuple(image.shape)}{hint}"
        )
    return image.reshape(-1, *image.shape[-ndim - 1 :]).to(device, torch.float32)


def as_mask(mask: Tensor, image: Tensor) -> Tensor:
    """``mask`` as a float32 batch ``(B, 1, *S)`` for the batch ``image``.

    Raises:
        ValueError: it is no tensor, its size is another, it holds values out of [0, 1], or all of them are at most 0.5
            though not all 0, so that nothing would be missing.
    """
    size = image.shape[2:]
    if not isinstance(mask, Tensor):
        raise ValueError(f"a mask is a tensor (torch.as_tensor makes one of an array); received {type(mask).__name__}")
    if mask.shape[-len(size) :] != size or mask.numel() not in (image[0, 0].numel(), image[:, 0].numel()):
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, the picture {tuple(image.shape)}; their sizes must agree"
        )
    mask = mask.to(image.device, torch.float32).reshape(-1, 1, *size)
    if is_recorded(mask):
        return mask.expand(len(image), -1, *size)
    try:
        low, high = (float(end) for end in mask.detach().aminmax())
    except RuntimeError:  # torch.func.vmap has many values in place of one
        low, high = 0.0, 1.0
    if not 0 <= low <= high <= 1 or 0 < high <= 0.5:
        raise ValueError(
            f"a mask is 1 where a pixel is missing and 0 where it is known; received values from {low:g} to {high:g}"
        )
    return mask.expand(len(image), -1, *size)
