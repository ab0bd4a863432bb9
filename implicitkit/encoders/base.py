"""The encoder contract: from a picture to a feature map and the extent it covers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from implicitkit.coordinates import Size, mirrored
from implicitkit.devices import constants, keep_freed_memory
from implicitkit.encoders.part import Part

STRIP_BYTES = 1 << 20  # of a map's strip: a few of them fit in the cache, and threads have enough to share


@dataclass(frozen=True)
class Features:
    """A feature map, and where it lies on the extent of the (padded) picture.

    ``map`` is ``(B, D, *cells)``, ``extent`` the padded picture's size in pixels. The map of a tile begins at cell
    ``origin`` of a whole ``grid``; by default the map is whole.

    >>> Features(torch.zeros(1, 8, 4, 6), extent=(16, 24)).grid
    (4, 6)
    """

    map: Tensor
    extent: Size
    origin: Size = ()
    grid: Size = ()

    def __post_init__(self) -> None:
        cells = tuple(self.map.shape[2:])
        object.__setattr__(self, "grid", self.grid or cells)
        object.__setattr__(self, "origin", self.origin or (0,) * len(cells))

    def __repr__(self) -> str:
        """The shape of the map, and what it covers."""
        return f"Features({tuple(self.map.shape)}, of {'×'.join(map(str, self.extent))} pixels)"


class Encoder(Part):
    """A picture ``(B, in_channels + mask_channels, *S)`` -> :class:`Features`.

    A subclass sets the attributes below and writes :meth:`extract`. The base class checks the input, normalises the
    picture channels (not the mask's) and pads at the bottom and right to ``size_multiple``.

    ``repeat_border`` says how it mirrors there: with the border itself first, or without.

    ``radius`` is how far, in pixels, an input pixel can change a feature; ``None``: everywhere, so that the encoder
    cannot encode in tiles.

    >>> class Grey(Encoder):
    ...     out_channels = 1
    ...     def extract(self, x):
    ...         return x.mean(1, keepdim=True)
    >>> Grey()(torch.rand(1, 3, 5, 7)).map.shape
    torch.Size([1, 1, 5, 7])
    """

    in_channels: int = 3
    mask_channels: int = 0
    out_channels: int
    stride: int = 1
    size_multiple: int = 1
    repeat_border: bool = True
    radius: int | None = None
    ndim: int = 2
    mean: Sequence[float] | float = 0.5
    std: Sequence[float] | float = 0.5

    def extract(self, x: Tensor) -> Tensor:
        """Normalised, padded input ``(B, C, *S)`` -> map ``(B, out_channels, *S/stride)``."""
        raise NotImplementedError(f"{type(self).__name__} does not implement extract()")

    def forward(self, x: Tensor) -> Features:
        """Encode ``x`` ``(B, in_channels + mask_channels, *S)``, picture channels in [0, 1], masks after them."""
        channels = self.in_channels + self.mask_channels
        if x.ndim != self.ndim + 2 or x.shape[1] != channels:
            sizes = ", ".join(f"S{k + 1}" for k in range(self.ndim))
            raise ValueError(f"{type(self).__name__} takes (B, {channels}, {sizes}); received shape {tuple(x.shape)}")
        x = pad_to_multiple(self.normalise(x), self.size_multiple, self.repeat_border)
        map = self.extract(x)
        if any(cells * self.stride != n for cells, n in zip(map.shape[2:], x.shape[2:], strict=True)):
            raise ValueError(
                f"{type(self).__name__} declares stride {self.stride}, but makes {tuple(map.shape[2:])} cells of "
                f"{tuple(x.shape[2:])} pixels; correct its stride or size_multiple"
            )
        return Features(map, extent=tuple(x.shape[2:]))

    def normalise(self, x: Tensor) -> Tensor:
        """``(x - mean) / std`` on the picture channels; mask channels stay as they are."""
        picture, mask = x[:, : self.in_channels], x[:, self.in_channels :]
        picture = (picture - self._per_channel(self.mean, x)) / self._per_channel(self.std, x)
        return torch.cat([picture, mask], dim=1) if self.mask_channels else picture

    @property
    def receptive_field(self) -> int | str:
        """Width in pixels, or ``"global"``."""
        return "global" if self.radius is None else 2 * self.radius + 1

    def _per_channel(self, value: Sequence[float] | float, like: Tensor) -> Tensor:
        tensor = constants(value, like.dtype, like.device)
        return tensor.reshape(-1, *(1,) * self.ndim) if tensor.ndim else tensor


def checked_normalisation(
    name: str, mean: float | Sequence[float], std: float | Sequence[float], channels: int
) -> tuple[float | Sequence[float], float | Sequence[float]]:
    """``mean`` and ``std``, if they are numbers, or one per channel, and no deviation is 0.

    Raises:
        ValueError: they are not; the message begins with ``name``.

    >>> checked_normalisation("edsr", 0.5, [0.5, 0.4, 0.5], 3)
    (0.5, [0.5, 0.4, 0.5])
    """
    fit = all(isinstance(value, int | float) or len(value) == channels for value in (mean, std))
    if not fit or min([std] if isinstance(std, int | float) else std) <= 0:
        raise ValueError(
            f"{name} takes mean and std > 0, a number or one for each of {channels} channels; received mean={mean}, "
            f"std={std}"
        )
    return mean, std


def pad_to_multiple(x: Tensor, multiple: int, repeat_border: bool = True) -> Tensor:
    """Pad ``(B, C, *S)`` at the end of each axis to the next multiple by mirroring, as often as needed.

    >>> three = torch.arange(3.0).reshape(1, 1, 3)
    >>> pad_to_multiple(three, 4), pad_to_multiple(three, 4, repeat_border=False)
    (tensor([[[0., 1., 2., 2.]]]), tensor([[[0., 1., 2., 1.]]]))
    """
    for axis in range(2, x.ndim):
        n = x.shape[axis]
        missing = -n % multiple
        if missing:
            index = torch.arange(n + missing, device=x.device)
            if repeat_border:
                index = mirrored(index, n)
            else:
                period = max(1, 2 * n - 2)
                index = torch.minimum(index % period, (period - index % period) % period)
            x = x.index_select(axis, index)
    return x


def for_convolutions(x: Tensor) -> Tensor:
    """``x`` ``(B, C, H, W)`` in the fastest memory format for convolutions: ``torch.channels_last`` on a CPU, and on a
    GPU in 16 bits.

    Values and shape stay. On other devices, in other dimensions, and under ``compile`` or ``torch.func`` it returns
    ``x``.
    """
    narrow = x.is_cuda and (x.dtype.itemsize == 2 or torch.is_autocast_enabled("cuda"))
    if not (narrow or x.device.type == "cpu") or x.ndim != 4 or torch.compiler.is_compiling() or not _is_there(x):
        return x
    if not x.is_cuda:
        keep_freed_memory()
    return x.contiguous(memory_format=torch.channels_last)


def _is_there(x: Tensor) -> bool:
    """Whether ``x`` has a memory of its own; vmap of ``torch.func`` knows no memory formats."""
    try:
        x.data_ptr()
    except RuntimeError:
        return False
    return True


def in_strips(call: Callable[..., Tensor], *maps: Tensor, out: Tensor | None = None) -> Tensor:
    """``call(*maps)``, for a function of every pixel alone and maps ``(B, C, H, W)`` of one size.

    On a CPU, without a graph, it is called for some lines at a time: what it makes on the way stays in the cache. The
    result may be written to ``out``, also one of the maps.

    >>> x = torch.rand(1, 8, 300, 300).contiguous(memory_format=torch.channels_last)
    >>> with torch.no_grad():
    ...     torch.equal(in_strips(lambda a: a.exp() - 1, x), x.exp() - 1)
    True
    """
    first = maps[0]
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if first.device.type != "cpu" or torch.is_grad_enabled() or traced or not all(map(_is_there, maps)):
        return call(*maps)
    if not first.is_contiguous(memory_format=torch.channels_last):
        return call(*maps)
    height = first.shape[2]
    lines = max(1, STRIP_BYTES * height // max(1, first.nbytes))
    if lines >= height:
        return call(*maps)
    for start in range(0, height, lines):
        part = call(*(x[:, :, start : start + lines] for x in maps))
        if out is None:
            shape = (*part.shape[:2], height, part.shape[3])
            out = torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=torch.channels_last)
        out[:, :, start : start + lines] = part
    assert out is not None
    return out
