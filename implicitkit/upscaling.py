"""Enlarge a picture in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from implicitkit.create import load_model
from implicitkit.images.io import read_image
from implicitkit.images.upscale import choose_tile
from implicitkit.model import ImplicitModel

DEFAULT_SCALE = 4.0


def upscale(
    image: Tensor | str | Path,
    scale: float | None = None,
    *,
    size: Sequence[int] | None = None,
    model: str | ImplicitModel = "liif_small",
    device: str | torch.device | None = None,
) -> Tensor:
    """A picture at another size.

    Args:
        image: ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1], or a picture file.
        scale: output pixels per pixel, any positive number (default: 4).
        size: instead of ``scale``: ``(H, W)``, any aspect.
        model: a model, or what :func:`implicitkit.load_model` takes.
        device: where to compute (default: where the model is); see :func:`implicitkit.load_model`.

    Returns:
        ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1], on the CPU. Large pictures are encoded in tiles.

    Raises:
        ValueError: the picture does not fit the model, or both ``scale`` and ``size`` are given.
        ImageError: the file cannot be read.

    >>> import implicitkit as ik
    >>> ik.upscale(torch.rand(3, 8, 6), 2.5).shape, ik.upscale(torch.rand(3, 8, 6), size=(9, 30)).shape
    (torch.Size([3, 20, 15]), torch.Size([3, 9, 30]))
    """
    if scale is not None and size is not None:
        raise ValueError(f"give scale or size; received scale={scale!r} and size={size!r}")
    network = model if isinstance(model, ImplicitModel) else load_model(model, device=device)
    if isinstance(model, ImplicitModel) and device is not None:
        network = network.to(device)
    picture = read_image(image) if isinstance(image, (str, Path)) else image
    batch, _ = network.check_inputs(picture, None)
    height, width = batch.shape[-2:]
    with torch.no_grad():
        field = network.encode(picture, tile=choose_tile(network, (height, width)))
        return field.render(size, scale=(DEFAULT_SCALE if scale is None else scale) if size is None else None).cpu()
