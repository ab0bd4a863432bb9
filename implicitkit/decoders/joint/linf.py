"""LINF, a local implicit normalising flow (Yao et al., CVPR 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Question, in_float32, never_finer
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.decoders.mlp import is_hooked

EPS = 1e-4
TINY = 2.0**-33


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
    reach = 2

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
        self.in_channels, self.out_channels, self.scale_max = in_channels, out_channels, scale_max
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
        parameters = self.mlp(waves.flatten(2).to(self.phase.weight.dtype)).float()
        parameters = parameters.unflatten(-1, (self.flow_layers, 2, self.out_channels))
        return self.flow.inverse(self.noise(latent, around).expand(*parameters.shape[:2], -1), parameters)

    def noise(self, latent: Latent, around: Around) -> Tensor:
        """``z`` ``(B or 1, N, out_channels)``: Gaussian, of the temperature, by the place of the point and the seed."""
        if not isinstance(latent, Drawn) or latent.temperature == 0:
            return around.coords.new_zeros(*around.coords.shape[:2], self.out_channels)
        return latent.temperature * scattered(around.coords, latent.seed, self.out_channels)

    def default_cell(self, cell: Tensor, extent: Size) -> Tensor:
        return never_finer(cell, extent, self.scale_max)


def scattered(points: Tensor, seed: int, count: int) -> Tensor:
    """``count`` standard normal numbers per point of ``(..., d)``, by its bits and the seed alone: ``(..., count)``.

    >>> scattered(torch.zeros(2, 2), 0, 3).shape
    torch.Size([2, 3])
    """
    bits = (points.float() + 0.0).contiguous().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    state = torch.full_like(bits[..., 0], _mixed_seed(seed))
    for axis in range(bits.shape[-1]):
        state = _mix(state ^ bits[..., axis])
    uniform = [_mix(state + 0x9E3779B9 * (k + 1)).double() / 2**32 + TINY for k in range(2 * count)]
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
