"""What a training run needs of memory at the least, before it takes any: each number of a configuration has a range,
but several together may ask for more than there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from implicitkit.config import TrainConfig
from implicitkit.coordinates import Size, cell_size, grid
from implicitkit.devices import free_memory
from implicitkit.errors import ConfigError
from implicitkit.model import ImplicitModel

FLOAT = 4  # bytes
PREFETCHED_BATCHES = 2  # batches that a worker of PyTorch's loader holds
SIDE, POINTS = 32, 64  # of the trial
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Share:
    """A part of what is needed, and the two entries of the configuration that it is the product of."""

    needed: float
    entries: tuple[str, str]


def check_memory(
    model: ImplicitModel, config: TrainConfig, source: Size, device: torch.device, processes: int = 1
) -> None:
    """Raise if a step takes more memory than there is.

    Args:
        model: on ``device``.
        config: the whole run.
        source: the largest clean crop ``(H, W)`` that the degradation asks for.
        device: where it is trained.
        processes: that share a batch.

    Raises:
        ConfigError: the message names the two entries that ask for most.
    """
    inputs, points = config.data.patch**2, points_of(config, source)
    crops = max(1, config.batch // processes)
    pixel = FLOAT * (model.encoder.in_channels + 1)  # and the mask
    point = FLOAT * (model.ndim + model.decoder.out_channels)
    loaded = crops * (1 + PREFETCHED_BATCHES * config.data.workers)
    by_points = "data.points" if isinstance(config.data.points, int) else "data.window"
    scale = "data.patch" if source[0] * source[1] <= inputs else "the degradation's scale"
    host = [
        Share(loaded * inputs * pixel, ("batch", "data.patch")),
        Share(loaded * points * point, ("batch", by_points)),
        Share(source[0] * source[1] * 3 * (1 + FLOAT), ("data.patch", scale)),
    ]
    steps = max(1, crops // config.accumulate)
    per_pixel, per_point = kept_bytes(model) if sum(share.needed for share in host) < free_memory(CPU) else (0.0, 0.0)
    own = [
        Share(steps * inputs * per_pixel, ("batch", "data.patch")),
        Share(steps * points * per_point, ("batch", by_points)),
    ]
    for place, shares in ((CPU, host + own if device.type == "cpu" else host), (device, own)):
        needed, free = sum(share.needed for share in shares), free_memory(place)
        if needed > free:
            entries = dict.fromkeys(max(shares, key=lambda share: share.needed).entries)
            lower = " or ".join(f"{entry}{_value(config, entry)}" for entry in entries)
            raise ConfigError(
                f"a step takes {needed / 1e9:,.1f} GB of memory at least, {free / 1e9:,.1f} GB are free; lower {lower}"
            )


def points_of(config: TrainConfig, source: Size) -> int:
    """The points of a crop: those drawn, or all of a window."""
    if isinstance(config.data.points, int):
        return config.data.points
    return config.data.window**2 if config.data.window else source[0] * source[1]


def kept_bytes(model: ImplicitModel) -> tuple[float, float]:
    """Bytes that are kept for the gradient of each pixel of the input, and of each point, measured on small pictures.

    Zeros where the model does not take them; training finds out why.
    """
    try:
        small = _kept(model, SIDE, POINTS)
        pixel = (_kept(model, 2 * SIDE, POINTS) - small) / (3 * SIDE**2)
        point = (_kept(model, SIDE, 2 * POINTS) - small) / POINTS
    except Exception:  # of a plugin's part: it is named where it is used
        return 0.0, 0.0
    return max(0.0, pixel), max(0.0, point)


@contextmanager
def graph_bytes(model: nn.Module) -> Iterator[dict[int, int]]:
    """Address -> bytes of what is kept for the gradient inside: each piece of memory counts once, the model's own does
    not.

    >>> layer = nn.Linear(3, 4)
    >>> with graph_bytes(layer) as kept:
    ...     layer(torch.zeros(2, 3)).relu().sum()  # keeps its input and what the ReLU gives
    tensor(..., grad_fn=<SumBackward0>)
    >>> sum(kept.values())
    56
    """
    own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _kept(model: ImplicitModel, side: int, points: int) -> int:
    """Bytes of the graph of one picture of ``side`` pixels, at ``points`` points."""
    like = next(model.parameters())
    image = torch.full((1, model.encoder.in_channels, side, side), 0.5, device=like.device)
    mask = torch.zeros(1, 1, side, side, device=like.device) if model.takes_mask else None
    coords = grid((side, side), device=like.device)[None, :points]
    cell = cell_size((side, side), device=like.device)[None, None]
    training = model.training
    with torch.random.fork_rng(), graph_bytes(model) as kept:
        try:
            prediction = model.eval()(image, coords, cell, mask)
            del prediction
        finally:
            model.train(training)
    return sum(kept.values())


def _value(config: TrainConfig, entry: str) -> str:
    value: Any = config
    for key in entry.split("."):
        value = getattr(value, key, None)
    return f" ({value:,})" if isinstance(value, int) else ""
