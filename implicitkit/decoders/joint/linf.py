"""LINF, a local implicit normalising flow (Yao et al., CVPR 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from implicitkit.coordinates import mesh, open_mesh
from implicitkit.decoders.base import Question, check_scale_max, in_float32, in_half_cells
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import is_hooked
from implicitkit.decoders.skip import read_linear

EPS = 1e-4
PATCHES = 1 << 13  # to evaluate at a time
MIN_UNIFORM = 2.0**-33


@dataclass(frozen=True)
class Drawn(Latent):
    """A latent with the options of a question, and the points' noise."""

    temperature: float = 0.0
    seed: int = 0


class Flow(nn.Module):
    """``layers`` linear maps of ``width`` numbers, each followed by a scale and a shift, and a last linear map."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([nn.init.orthogonal_(torch.empty(width, width)) for _ in range(layers + 1)])
        )
        self.bias = nn.Parameter(torch.zeros(layers + 1, width))

    def inverse(self, z: Tensor, parameters: Tensor) -> Tensor:
        """The values whose image is ``z`` ``(..., width)``; ``parameters`` ``(..., layers, 2, width)`` are the scales
        and shifts.
        """
        with in_float32(z.device.type):
            inverses = torch.linalg.inv(self.weight.double()).float()
            x: Tensor = (z - self.bias[-1]) @ inverses[-1].t()
            for k in reversed(range(len(inverses) - 1)):
                scale, shift = parameters[..., k, 0, :], parameters[..., k, 1, :]
                x = (x - shift) / (torch.sigmoid(scale + 2) + EPS)
                x = (x - self.bias[k]) @ inverses[k].t()
        values: Tensor = x
        return values


class LINF(JointDecoder):
    """The distribution of the residual at a point: a flow whose scales and shifts depend on the four nearest cells.

    Each cell gives waves as LTE's do, times its share of the point; an MLP maps those of all four to the parameters of
    a flow from noise ``z`` to the residual to the interpolated picture. The options ``temperature`` (0: the most likely
    picture, as for PSNR) and ``seed`` choose ``z``, which depends on the point and the seed alone: blocks and tiles
    give one sample. Losses on values train it at temperature 0, not by likelihood as the authors do.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        width: waves per cell, an even number, and the width of the MLP (256).
        depth: hidden layers of the MLP.
        flow_layers: of the flow.
        scale_max: the largest trained magnification; the default cell of ``render`` is never finer. None: no limit.

    >>> import implicitkit as ik
    >>> model = ik.create_model({"encoder": "edsr_baseline", "decoder": {"name": "linf", "width": 8}})
    >>> model.encode(torch.rand(3, 8, 8)).render((12, 12), options={"temperature": 0.8, "seed": 1}).shape
    torch.Size([3, 12, 12])
    """

    options: ClassVar[Mapping[str, Any]] = {"temperature": 0.0, "seed": 0}
    reach: int | None = 2

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        width: int = 256,
        depth: int = 3,
        flow_layers: int = 10,
        scale_max: float | None = 30.0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, width, depth, flow_layers) < 1 or width % 2:
            raise ValueError(
                "linf takes positive channels, depth and flow_layers and an even width; received "
                f"in_channels={in_channels}, out_channels={out_channels}, width={width}, depth={depth}, "
                f"flow_layers={flow_layers}"
            )
        self.in_channels, self.out_channels, self.scale_max = in_channels, out_channels, check_scale_max(scale_max)
        self.width, self.flow_layers = width, flow_layers
        self.amplitude = nn.Conv2d(in_channels, width, 3, padding=1)
        self.frequency = nn.Conv2d(in_channels, width, 3, padding=1)
        self.phase = nn.Linear(2, width // 2, bias=False)
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else 4 * width, width), nn.ReLU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(width, 2 * out_channels * flow_layers))
        self.flow = Flow(out_channels, flow_layers)

    def project(self, map: Tensor) -> Tensor:
        with in_float32(map.device.type):
            map = map.float()
            return torch.cat([self.amplitude(map), math.pi * self.frequency(map)], dim=1)

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        checked = super().check_options(options)
        if checked["temperature"] < 0:
            raise ValueError(f"the temperature of {self.title} is at least 0; received {checked['temperature']:g}")
        return checked

    def begin(self, latent: Latent, question: Question) -> Latent:
        return Drawn(latent.features, latent.extent, latent.extra, **question.options)

    def joint(self, latent: Latent, around: Around) -> Tensor:
        values: Tensor = self.flow.inverse(self.noise(latent, around.coords), self.parameters_of(around))
        return values

    def parameters_of(self, around: Around) -> Tensor:
        """The flow's scales and shifts ``(B, N, flow_layers, 2, width of the flow)``."""
        assert around.cell is not None
        half = self.width // 2
        amplitude, along_y, along_x = around.rows.float().split([self.width, half, half], dim=-1)
        with in_float32(amplitude.device.type):
            if is_hooked(self.phase):
                phase = math.pi * self.phase(around.cell).float()
            else:
                phase = around.cell @ (math.pi * self.phase.weight.float()).t()
            angle = along_y * around.offset[..., :1] + along_x * around.offset[..., 1:] + phase[:, :, None]
            waves = torch.cat([angle.cos(), angle.sin()], dim=-1) * amplitude * around.weight[..., None]
        flat = self.mlp(waves.flatten(2).to(self.phase.weight.dtype)).float()
        parameters: Tensor = flat.unflatten(-1, (self.flow_layers, 2, -1))
        return parameters

    def noise(self, latent: Latent, coords: Tensor) -> Tensor:
        """``z`` ``(B or 1, N, width of the flow)``: Gaussian, of the temperature, by the point's place and the seed."""
        count = self.flow.bias.shape[1]
        if not isinstance(latent, Drawn) or latent.temperature == 0:
            return coords.new_zeros(*coords.shape[:2], count)
        return latent.temperature * scattered(coords, latent.seed, count)


class LINFPatch(LINF):
    """LINF whose flow makes a patch of 3x3 output pixels at once, from the cells around the patch's centre.

    Output pixels are those of the size ``cell`` that fill the picture's extent from its upper left corner on, and
    patches do not overlap: a point is in one pixel of one patch, whatever else is asked, so that grids, points, blocks
    and tiles agree. Every point of a pixel has the flow's value of that pixel. Where the number of pixels is no
    multiple of 3, the last patches reach beyond the picture.

    With ``authors_ends`` a last patch whose centre is beyond the picture is made from the picture's middle, as by the
    authors, who pad coordinates with 0: the last row at heights with a remainder of 1, and columns alike. Then it
    refuses tiles.

    Args:
        in_channels: features per cell.
        out_channels: values per point; the picture's channels.
        patch: its side in output pixels.
        authors_ends: see above.
        **arguments: :class:`LINF`'s.

    >>> LINFPatch(in_channels=8, width=8, depth=1, flow_layers=2).flow.weight.shape
    torch.Size([3, 27, 27])
    """

    def __init__(
        self,
        in_channels: int = 64,
        out_channels: int = 3,
        patch: int = 3,
        authors_ends: bool = False,
        scale_max: float | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, scale_max=scale_max, **arguments)
        if patch < 1:
            raise ValueError(f"patch is the side of a patch in output pixels, at least 1; received {patch}")
        self.patch, self.authors_ends = patch, authors_ends
        at_once = out_channels * patch**2
        self.mlp[-1] = nn.Linear(self.width, 2 * at_once * self.flow_layers)
        self.flow = Flow(at_once, self.flow_layers)
        self.reach = None if authors_ends else 2 + (patch + 1) // 2  # a patch's centre is that far, at x1 and above

    def begin(self, latent: Latent, question: Question) -> Latent:
        in_tiles = latent.features.cells != latent.features.grid
        if in_tiles and question.cell is not None:
            cells = in_half_cells(question.cell, latent.features.grid)
            if cells is not None and float(cells.max()) > 2 * (1 + 1e-3):
                raise ValueError(
                    f"output pixels larger than the picture's own make patches of {self.title} that reach beyond a "
                    "tile; encode without tile="
                )
        return super().begin(latent, question)

    def values(self, latent: Latent, coords: Tensor, cell: Tensor | None) -> Tensor:
        assert cell is not None
        pixel = pixel_of(coords, cell)
        patch = pixel.div(self.patch, rounding_mode="floor")
        made = super().values(latent, self.centres(patch, cell), cell).unflatten(-1, (self.out_channels, -1))
        row, column = (pixel - self.patch * patch).to(torch.int64).unbind(-1)
        index = (self.patch * row + column)[..., None, None].expand(*made.shape[:3], 1)
        values: Tensor = made.gather(-1, index)[..., 0]
        return values

    def centres(self, patch: Tensor, cell: Tensor) -> Tensor:
        """The centres of patches ``(..., 2)``, of their places counted in patches."""
        centre = (self.patch * patch + self.patch / 2) * cell - 1
        return torch.where((centre >= 1).any(-1, keepdim=True), 0.0, centre) if self.authors_ends else centre

    def query_grid(
        self, latent: Latent, axes: Sequence[Tensor], cell: Tensor | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        assert cell is not None
        if cell.shape[:2] != (1, 1) or torch.is_grad_enabled():  # torch.func knows no unique()
            return super().query_grid(latent, axes, cell, conditions)
        pixels = [pixel_of(axis.float(), side) for axis, side in zip(axes, cell[0, 0], strict=True)]
        patches = [pixel.div(self.patch, rounding_mode="floor").unique(return_inverse=True) for pixel in pixels]
        tall, wide = (len(places) for places, _ in patches)
        centres = self.centres(mesh([places for places, _ in patches]), cell)
        made = [LINF.values(self, latent, part, cell) for part in centres.split(PATCHES, dim=1)]
        blocks = torch.cat(made, dim=1).reshape(-1, tall, wide, self.out_channels, self.patch, self.patch)
        picture = blocks.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
        for k, ((places, which), pixel) in enumerate(zip(patches, pixels, strict=True)):
            inside = pixel - self.patch * places[which]
            picture = picture.index_select(2 + k, self.patch * which + inside.to(torch.int64))
        if latent.extra is None:
            return picture
        skip = read_linear(latent.extra, latent.extent, open_mesh([axis.float() for axis in axes]))
        return picture + skip.transpose(1, 2).reshape(picture.shape)


def pixel_of(coords: Tensor, cell: Tensor) -> Tensor:
    """The output pixel of the size ``cell`` that holds each coordinate, counted from the extent's corner; float32.

    >>> pixel_of(torch.tensor([-0.9, 0.0, 0.9]), torch.tensor(0.5))
    tensor([0., 2., 3.])
    """
    return ((coords.float() + 1) / cell.float()).floor()


def scattered(points: Tensor, seed: int, count: int) -> Tensor:
    """``count`` standard normal numbers per point of ``(..., d)``, by its bits and the seed alone: ``(..., count)``.

    >>> scattered(torch.zeros(2, 2), 0, 3).shape
    torch.Size([2, 3])
    """
    bits = (points.float() + 0.0).contiguous().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    state = torch.full_like(bits[..., 0], _mixed_seed(seed))
    for axis in range(bits.shape[-1]):
        state = _mix(state ^ bits[..., axis])
    uniform = [_mix(state + 0x9E3779B9 * (k + 1)).double() / 2**32 + MIN_UNIFORM for k in range(2 * count)]
    radius, turn = torch.stack(uniform[:count], -1), torch.stack(uniform[count:], -1)
    return ((-2 * radius.log()).sqrt() * torch.cos(2 * math.pi * turn)).float()


def _mix(x: Tensor) -> Tensor:
    """A hash of 32 bits."""
    x = x & 0xFFFFFFFF
    for multiplier in (0x7FEB352D, 0x846CA68B):
        x = ((x ^ (x >> 16)) * multiplier) & 0xFFFFFFFF
    return x ^ (x >> 16)


def _mixed_seed(seed: int) -> int:
    return int(_mix(torch.tensor(seed & 0xFFFFFFFF)))
