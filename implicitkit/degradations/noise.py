"""Noise: gaussian, Poisson, speckle, salt and pepper."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from implicitkit.degradations.base import Degradation, Record, Step, check_ndim, seeded
from implicitkit.degradations.settings import KindChoice, Kinds, Number, Range, draw_seed

KINDS = ("gaussian", "poisson", "speckle", "salt_and_pepper")


class Noise(Degradation):
    """Adds noise; ``x`` is the picture, ``s = sigma / 255``.

    ================== ======================================= ============================
    kind               result                                  standard deviation
    ================== ======================================= ============================
    ``gaussian``       ``x + s n``, n standard normal          ``s`` everywhere
    ``poisson``        ``Poisson(x / s²) s²``: photon counts   ``s sqrt(x)``, s at white
    ``speckle``        ``x + s n x``                           ``s x``, s at white
    ``salt_and_pepper`` ``amount`` of the values become 0 or 1, equally often
    ================== ======================================= ============================

    All but salt and pepper are unbiased before clipping. Missing pixels get noise too, and the mask does not change.
    The noise is drawn in float32 on the CPU (Poisson's from the picture rounded to float32), so it is the same on every
    device and for every dtype. It is a constant for the gradient (speckle: a factor); replaced values have no gradient.

    Args:
        kind: one of the four, several, or ``{kind: weight}``.
        sigma: in 8-bit units, a number or a range ``[low, high]``.
        amount: the fraction of values that salt and pepper replaces, a number or a range.
        grey: draw the same noise for all channels (Poisson: that of their mean); without it each has its own.
        clip: clamp the result to [0, 1].
        ndim: 2, or 3 for volumes ``(C, D, H, W)``.

    >>> Noise(sigma=(5, 50))(torch.rand(3, 8, 8), seeded(0)).record["kind"]
    'gaussian'
    """

    def __init__(
        self,
        kind: KindChoice = "gaussian",
        sigma: Number = 25.0,
        amount: Number = 0.05,
        grey: bool = False,
        clip: bool = True,
        ndim: int = 2,
    ) -> None:
        self.ndim = check_ndim("noise", ndim)
        self.kinds = Kinds("noise", kind, KINDS)
        self.sigma = Range("sigma, in 8-bit units,", sigma)
        self.amount = Range("amount, a fraction of all values,", amount, most=1)
        self.grey, self.clip = grey, clip

    def sample(self, shape: Sequence[int], generator: torch.Generator) -> Record:
        kind = self.kinds.draw(generator)
        name, level = ("amount", self.amount) if kind == "salt_and_pepper" else ("sigma", self.sigma)
        return {"name": "noise", "kind": kind, name: level.draw(generator), "seed": draw_seed(generator)}

    def degrade(self, image: Tensor, mask: Tensor, record: Record) -> Step:
        shape = (1 if self.grey else image.shape[1], *image.shape[2:])
        match record["kind"]:
            case "gaussian":
                noisy = image + record["sigma"] / 255 * normal(shape, record["seed"]).to(image)
            case "speckle":
                noisy = image + image * (record["sigma"] / 255 * normal(shape, record["seed"]).to(image))
            case "poisson":
                rate = image.mean(1, keepdim=True) if self.grey else image
                noisy = image + torch.stack([photons(one, record["sigma"] / 255, record["seed"]) for one in rate])
            case "salt_and_pepper":
                drawn = torch.rand(shape, generator=seeded(record["seed"])).to(image.device)
                pepper, salt = drawn < record["amount"] / 2, drawn >= 1 - record["amount"] / 2
                noisy = torch.where(salt, 1, torch.where(pepper, 0, image)).to(image)
            case kind:
                raise ValueError(f"the kinds of noise are {', '.join(KINDS)}; the record has {kind!r}")
        return Step(noisy.clamp(0, 1) if self.clip else noisy, mask, tuple(image.shape[2:]))


def normal(shape: Sequence[int], seed: int) -> Tensor:
    """Standard normal numbers of ``shape``, float32 on the CPU.

    They are computed in float64 and rounded, as processors differ in the last bit of the logarithm and cosine.
    """
    return torch.randn(tuple(shape), generator=seeded(seed), dtype=torch.float64).float()


def photons(picture: Tensor, s: float, seed: int) -> Tensor:
    """Poisson noise of standard deviation ``s`` at white for ``picture`` ``(C, H, W)``, of the same dtype."""
    if s == 0:
        return torch.zeros_like(picture)
    clean = picture.detach().cpu().float().double().clamp(min=0)
    noise = torch.poisson(clean / s**2, generator=seeded(seed)) * s**2 - clean
    return noise.float().to(picture)
