"""Enlarge a picture in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from implicitkit.create import load_model
from implicitkit.images.io import read_image, to_tensor
from implicitkit.images.upscale import choose_tile
from implicitkit.model import ImplicitModel

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SCALE = 4.0
LEVELS = (np.uint8, np.uint16)


def upscale(
    image: Tensor | str | Path | np.ndarray[Any, Any] | Image,
    scale: float | None = None,
    *,
    size: Sequence[int] | None = None,
    model: str | ImplicitModel = "fast",
    device: str | torch.device | None = None,
) -> Tensor:
    """A picture at another size.

    Args:
        image: ``(3, H, W)`` or ``(B, 3, H, W)`` in [0, 1]; or a picture file, a PIL image, or an array ``(H, W, 3)``
            or ``(H, W)`` of 8 or 16 bits or of floats in [0, 1].
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
    picture = read_image(image) if isinstance(image, (str, Path)) else as_tensor(image)
    batch, _ = network.check_inputs(picture, None)
    height, width = batch.shape[-2:]
    with torch.no_grad():
        field = network.encode(picture, tile=choose_tile(network, (height, width)))
        return field.render(size, scale=(DEFAULT_SCALE if scale is None else scale) if size is None else None).cpu()


def as_tensor(picture: Any) -> Any:
    """A PIL image, or an array ``(H, W, 3)`` or ``(H, W)`` of integers or of floats in [0, 1], as float32
    ``(3, H, W)``; all else as it is.

    Raises:
        ValueError: the array is of another shape or type, or the PIL image has no 8 bits.

    >>> as_tensor(np.full((2, 3), 51, np.uint8)).shape
    torch.Size([3, 2, 3])
    """
    if hasattr(picture, "getbands") and hasattr(picture, "convert"):  # PIL's, which need not be imported for that
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"a PIL image of mode {picture.mode} has no 8 bits; pass np.asarray(image) or its file")
        picture = np.asarray(picture.convert("RGB"))
    if not isinstance(picture, np.ndarray):
        return picture
    grey = picture.ndim == 2
    numbers = picture.dtype in LEVELS or picture.dtype.kind == "f"
    if not numbers or not (grey or (picture.ndim == 3 and picture.shape[2] == 3)):
        raise ValueError(
            "an array is (H, W, 3) or (H, W) of 8 or 16 bits or of floats in [0, 1], a tensor (3, H, W) of floats; "
            f"received {picture.dtype} {picture.shape}"
        )
    return to_tensor(np.repeat(picture[..., None], 3, axis=2) if grey else picture)
