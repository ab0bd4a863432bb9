"""GSASR, arbitrary-scale super-resolution by two-dimensional Gaussians (Chen et al., 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from implicitkit.coordinates import Size
from implicitkit.decoders.base import Condition, Decoder, Inputs, Question, in_float32
from implicitkit.decoders.gaussians.drawing import DMAX, STEP, Gaussians
from implicitkit.decoders.gaussians.seeds import among_block, cross_block
from implicitkit.encoders.base import Features, pad_to_multiple

ENLARGE = 4  # Gaussians a side per seed
HEADS = {"sigma": 2, "rho": 1, "opacity": 1, "colour": 3, "offset": 2}  # numbers per Gaussian
SCALES = 1e-3, 1e3


@dataclass(frozen=True)
class Cells:
    """A picture before the first question: the projected map, padded to whole windows, and where it lies."""

    map: Tensor
    grid: Size
    """The cells of the features, without the padding."""


@dataclass(frozen=True)
class Splats:
    """The Gaussians of a question, in half cells of the features' extent."""

    drawn: Gaussians
    grid: Size
    reach: Tensor | None
    """``(B, 2)``: how far a Gaussian is seen; None: everywhere."""


class GSASR(Decoder):
    """A network with attention over windows makes 16 Gaussians per seed, and a point is the sum of those in reach.

    Each window of cells has a lattice of seeds. They read the window's cells, then one another in windows that move
    by half of one in every other layer; they are enlarged four times, and five small networks say what each Gaussian
    is: ``sum_n a_n c_n exp(-(u^2 - 2 rho_n u v + v^2) / (2 (1 - rho_n^2)))``. The network is told the magnification,
    in :meth:`begin`, so it runs once per question, and since the windows are connected it sees the whole picture:
    it cannot be encoded in tiles. Nothing of the input picture is added.

    The magnification is a cell's size over the output pixel's (its geometric mean along both axes; where the points of
    a call differ in size, that of their mean). Deviations are at most 1 / 1.2 cells.

    Options of a question:

    * ``scale``: the magnification, if it is not that of the output pixel. The authors' canvas has ``floor(scale * n)``
      pixels, a little larger ones for most ``n``, on which deviations are still ``scale / 1.2`` pixels.
    * ``dmax``: a Gaussian is seen this far from its centre along either axis, as a share of half the padded picture,
      less half an output pixel on either side; 0: everywhere. The authors' 0.1 cuts what is drawn at a wide distance.

    Args:
        in_channels: features per cell.
        channels: width inside.
        heads: attention heads; they divide ``channels``.
        window: cells a side of a window.
        seeds: seeds a side of a window.
        cross_blocks: blocks in which the seeds read the cells.
        cross_layers: layers in each.
        among_blocks: blocks in which the seeds read one another.
        among_layers: layers in each.

    >>> model = GSASR(8, channels=8, heads=2, window=4, seeds=4, among_blocks=1, among_layers=2)
    >>> latent = model.prepare(Features(torch.rand(1, 8, 5, 7), (5, 7)), None, {})
    >>> latent = model.begin(latent, Question(torch.full((1, 1, 2), 0.1), options={"scale": None, "dmax": 0.1}))
    >>> latent.drawn.centre.shape, model.query(latent, torch.zeros(1, 6, 2), None, {}).shape
    (torch.Size([1, 1024, 2]), torch.Size([1, 6, 3]))
    """

    reach = None
    options: ClassVar[Mapping[str, Any]] = {"scale": None, "dmax": DMAX}

    def __init__(
        self,
        in_channels: int = 64,
        channels: int = 180,
        heads: int = 6,
        window: int = 12,
        seeds: int = 12,
        cross_blocks: int = 1,
        cross_layers: int = 2,
        among_blocks: int = 6,
        among_layers: int = 6,
    ) -> None:
        super().__init__()
        counts = (in_channels, channels, heads, cross_blocks, cross_layers, among_blocks, among_layers)
        if min(counts) < 1 or min(window, seeds) < 2 or channels % heads:
            raise ValueError(
                "gsasr takes positive widths, blocks and layers, heads that divide channels, window and seeds >= 2; "
                f"received in_channels={in_channels}, channels={channels}, heads={heads}, window={window}, "
                f"seeds={seeds}, cross_blocks={cross_blocks}, cross_layers={cross_layers}, "
                f"among_blocks={among_blocks}, among_layers={among_layers}"
            )
        self.in_channels, self.channels, self.window, self.seeds = in_channels, channels, window, seeds
        self.seed, self.place = (nn.Parameter(torch.randn(seeds**2, channels)) for _ in range(2))
        self.project = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )
        self.scale = nn.Sequential(nn.Linear(1, 4 * channels), nn.ReLU(), nn.Linear(4 * channels, channels))
        self.cross = nn.ModuleList(
            cross_block(channels, heads, cross_layers, seeds, window) for _ in range(cross_blocks)
        )
        self.among = nn.ModuleList(among_block(channels, heads, among_layers, seeds) for _ in range(among_blocks))
        twice = (nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2))
        again = (nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2))
        self.enlarge = nn.Sequential(*twice, *again)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(channels, channels),
                    nn.ReLU(),
                    nn.Linear(channels, 4 * channels),
                    nn.ReLU(),
                    nn.Linear(4 * channels, numbers),
                )
                for name, numbers in HEADS.items()
            }
        )

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        checked = super().check_options(options)
        scale = checked["scale"]
        real = isinstance(scale, int | float) and not isinstance(scale, bool)
        if scale is not None and not (real and SCALES[0] <= scale <= SCALES[1]):
            raise ValueError(f"the option scale of gsasr is a magnification, or null; received {scale!r}")
        if checked["dmax"] < 0:
            raise ValueError(f"the option dmax of gsasr is at least 0; received {checked['dmax']}")
        return checked

    def prepare(self, features: Features, inputs: Inputs, conditions: Mapping[str, Condition]) -> Cells:
        map = pad_to_multiple(features.map, self.window, repeat_border=False)
        return Cells(self.project(map), features.grid)

    def begin(self, latent: Cells, question: Question) -> Splats:
        assert question.cell is not None
        batch, device = len(latent.map), latent.map.device
        with in_float32(device.type):
            cells = torch.tensor(latent.grid, dtype=torch.float32, device=device)
            pixel = (question.cell.float().mean(1) * cells).expand(batch, 2)  # in half cells
            told = question.options["scale"]
            scale = pixel.prod(-1).sqrt().reciprocal() * 2 if told is None else pixel.new_full((batch,), float(told))
        raw = self.raw(latent.map, scale)
        with in_float32(device.type):
            return self._splats(raw, latent, pixel, scale, question.options)

    def raw(self, map: Tensor, scale: Tensor) -> dict[str, Tensor]:
        """What the networks say of each Gaussian, ``(B, 4 S_y, 4 S_x, numbers)`` by name, at magnifications ``(B,)``.

        ``S`` is the whole lattice of seeds, row by row; ``map`` is what :meth:`prepare` made of the features.
        """
        rows, columns = (n // self.window for n in map.shape[2:])
        size = rows * self.seeds, columns * self.seeds
        cells = map.movedim(1, -1)
        seeds = self.seed[None].expand(len(map) * rows * columns, -1, -1)
        code = repeat(self.scale(scale[:, None].reciprocal()), "b c -> (b windows) 1 c", windows=rows * columns)
        for block in self.cross:
            seeds = block(seeds, self.place, cells, code, self.window)
        before = seeds
        for block in self.among:
            seeds = block(seeds, size, code, self.seeds)
        cut = {"rows": rows, "columns": columns, "y": self.seeds}
        lattice = rearrange(seeds + before, "(b rows columns) (y x) c -> b c (rows y) (columns x)", **cut)
        each = self.enlarge(lattice).movedim(1, -1)
        return {name: head(each) for name, head in self.heads.items()}

    def _splats(
        self, raw: Mapping[str, Tensor], cells: Cells, pixel: Tensor, scale: Tensor, options: Mapping[str, Any]
    ) -> Splats:
        """The Gaussians in half cells: ``pixel`` is an output pixel's size ``(B, 2)``."""
        part = {name: value.float().flatten(1, 2) for name, value in raw.items()}
        lattice, padded = raw["rho"].shape[1:3], cells.map.shape[2:]
        step = [2 * n / count for n, count in zip(padded, lattice, strict=True)]  # between Gaussians' own places
        axes = [
            (torch.arange(count, device=pixel.device) + 0.5) * each for count, each in zip(lattice, step, strict=True)
        ]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        corner = pixel.new_tensor(cells.grid)
        centre = part["offset"].flip(-1) * pixel.new_tensor(step) + place - corner
        unit = pixel * (scale / STEP)[:, None] if options["scale"] is not None else torch.full_like(pixel, 2 / STEP)
        sigma = (0.99999 * part["sigma"].sigmoid() + 1e-6) * unit[:, None]
        colour = part["opacity"].sigmoid() * part["colour"].sigmoid()
        drawn = Gaussians(centre, sigma, 0.999999 * part["rho"][..., 0].tanh(), colour)
        dmax = options["dmax"]
        return Splats(drawn, cells.grid, dmax * (pixel.new_tensor(padded) - pixel / 2) if dmax else None)

    def query(self, latent: Splats, coords: Tensor, cell: Tensor | None, conditions: Mapping[str, Tensor]) -> Tensor:
        with in_float32(coords.device.type):
            points = coords.float() * coords.new_tensor(latent.grid)
            return 2 * latent.drawn.at(points, latent.reach) - 1  # from [0, 1] to the model's output space
