"""Choose models and solvers for a picture: all fill holes of the same shape where the picture is known.

What is taken is the mixture with the least error there, with shares from 0 to 1 ("stacking": Wolpert 1992, Breiman
1996). Errors of different painters are alike only in part, so that a test that was unlucky costs less than where it
takes one painter alone; in the mean over many pictures a mixture gains nothing (docs/sair.md has both).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from implicitkit import ImplicitModel
from implicitkit.images import Picture
from implicitkit_sair.inpainting.painting import check_mask, grow, inpaint, inpaint_picture, visible, with_colours
from implicitkit_sair.inpainting.surroundings import crops, shrink, trained_view

TRIALS = 3
TESTED_SIDE = 256  # pixels: larger crops are shrunk to it
MIN_HELD_OUT = 16  # pixels; fewer held-out ones measure nothing
LEAST_SHARE = 0.1  # of a painter in a mixture; less is not worth its time
RIDGE = 0.2  # of the least squared error, added to each painter's own: few copies tell little of small differences
TURNS = ((), (-1,), (-2,), (-1, -2))  # axes along which a copy of the holes is turned round


@dataclass(frozen=True)
class Choice:
    """What was measured on a picture.

    Attributes:
        psnr: name -> PSNR in dB on what was held out.
        trials: how often; 0 where too little is known to hold anything out.
        fallback: what is taken then.
        mixture: name -> its share of what is taken, the largest first; they sum to 1.
        together: PSNR in dB of the mixture on what was held out.
    """

    psnr: Mapping[str, float]
    trials: int
    fallback: str
    mixture: Mapping[str, float] = field(default_factory=dict)
    together: float = 0.0

    @property
    def taken(self) -> str:
        """What fills, in words: a name, or names with their shares."""
        if not self.mixture:
            return self.fallback
        if len(self.mixture) == 1:
            return next(iter(self.mixture))
        return " + ".join(f"{share:.0%} {name}" for name, share in self.mixture.items())

    def reason(self) -> str:
        """The choice in words.

        >>> Choice({"sair_faces": 24.0, "biharmonic": 25.2}, 3, "biharmonic", {"biharmonic": 1.0}, 25.2).reason()
        'biharmonic: 25.2 dB on 3 held-out copies of the holes; sair_faces 24.0'
        >>> Choice({}, 0, "biharmonic").reason()
        'biharmonic: too little is known to test anything else'
        """
        if not self.trials:
            return f"{self.fallback}: too little is known to test anything else"
        others = [name for name in self.psnr if list(self.mixture) != [name]]
        copies = f"{self.taken}: {self.together:.1f} dB on {self.trials} held-out copies of the holes"
        if not others:
            return copies
        rival = max(others, key=lambda name: self.psnr[name])
        return f"{copies}; {rival}{' alone' if rival in self.mixture else ''} {self.psnr[rival]:.1f}"


def choose(
    painters: Mapping[str, ImplicitModel | str],
    image: Tensor,
    mask: Tensor,
    *,
    dilate: int = 0,
    feather: int = 0,
    **how: Any,
) -> Choice:
    """Compare models and solvers on known pixels of ``image``.

    Copies of the holes are moved to places that are known, and filled by each; nothing of the true holes is seen. A
    large picture is tested around its largest holes, in at most three crops, shrunk to 256 pixels where a hole is so
    wide that its crop is larger: what that leaves out is detail that nothing paints in so wide a hole.

    Args:
        painters: name -> a model or the name of a solver, see :func:`implicitkit_sair.inpaint`; the last is taken where
            nothing can be tested.
        image: ``(3, H, W)`` in [0, 1].
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        dilate: see :func:`implicitkit_sair.inpaint`.
        feather: of no influence.
        how: its other arguments.

    Raises:
        DataError: the sizes differ, or the mask is all hole, grown or not, or no hole.
    """
    hole = check_mask(image, mask, dilate=dilate)
    views = crops(hole[0].cpu(), *_view(painters, how.get("view"), max(hole.shape)))
    products = torch.zeros(len(painters), len(painters), dtype=torch.float64)
    values, done = 0, 0
    for k in range(TRIALS):
        crop = views[k % min(len(views), TRIALS)]
        part, missing = _tested(image[(slice(None), *crop.window)], hole[(slice(None), *crop.window)])
        held = held_out(missing[0], k)
        if int(held.sum()) < MIN_HELD_OUT:
            continue
        hidden = (missing | held).to(image)
        answers = [inpaint(painter, part, hidden, **how).to(part) for painter in painters.values()]
        errors = torch.stack([(answer - part)[:, held].flatten() for answer in answers]).double()
        products += errors @ errors.T
        values += errors.shape[1]
        done += 1
    if not done:
        return Choice({}, 0, list(painters)[-1])
    names, products = list(painters), products / values
    shares = best_shares(products)
    psnr = {name: _decibels(float(error)) for name, error in zip(names, products.diagonal(), strict=True)}
    order = sorted(range(len(names)), key=lambda k: -float(shares[k]))
    mixture = {names[k]: float(shares[k]) for k in order if shares[k] > 0}
    return Choice(psnr, done, names[-1], mixture, _decibels(float(shares @ products @ shares)))


def best_shares(products: Tensor) -> Tensor:
    """The shares ``(P,)`` of the mixture with the least squared error; painters with less than ``LEAST_SHARE`` of a
    mixture are left out of it.

    Args:
        products: ``(P, P)`` mean products of the errors of each two painters.

    >>> best_shares(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), best_shares(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    (tensor([0.5000, 0.5000], dtype=torch.float64), tensor([1., 0.], dtype=torch.float64))
    """
    count = len(products)
    products = products.double()
    steady = products + RIDGE * products.diagonal().min() * torch.eye(count, dtype=torch.float64)
    best, least = torch.zeros(count, dtype=torch.float64), math.inf
    for size in range(1, count + 1):
        for some in combinations(range(count), size):
            part = steady[list(some)][:, list(some)]
            raw = torch.linalg.lstsq(part, torch.ones(size, 1, dtype=torch.float64)).solution[:, 0]
            shares = raw / raw.sum() if size > 1 else torch.ones(1, dtype=torch.float64)
            error = float(shares @ part @ shares)
            if bool((shares >= LEAST_SHARE).all()) and error < least * (1 - 1e-9):
                least, best = error, best.new_zeros(count).index_copy(0, torch.tensor(some), shares)
    return best


def _decibels(error: float) -> float:
    return -10 * math.log10(max(error, 1e-10))


def _tested(part: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
    """A crop ``(3, H, W)`` and its holes ``(1, H, W)``, shrunk where it is larger than ``TESTED_SIDE``."""
    factor = TESTED_SIDE / max(part.shape[1:])
    if factor >= 1:
        return part, missing
    small, hole = shrink(part.float(), missing.float(), [max(8, round(n * factor)) for n in part.shape[1:]])
    return small, hole > 0.5


def _view(painters: Mapping[str, ImplicitModel | str], told: int | None, size: int) -> tuple[int, bool]:
    """The side of the crops that all are tested on: the widest that a model looks at."""
    views = [trained_view(painter) for painter in painters.values() if not isinstance(painter, str)]
    side, whole = max(((side or 0, whole) for side, whole in views), default=(0, True))
    side = side if told is None else told
    return (side, whole) if side else (size, True)


def inpaint_better(
    painters: Mapping[str, ImplicitModel | str], picture: Picture, mask: Tensor, *, raw: bool = False, **how: Any
) -> tuple[Picture, str]:
    """A decoded file filled by what fills best where the picture is known; and why, with several painters.

    Args:
        painters: see :func:`choose`.
        picture: of any kind.
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        raw: see :func:`implicitkit_sair.inpaint`; nothing is then compared, and the first painter is taken.
        how: the other arguments of :func:`implicitkit_sair.inpaint`.
    """
    if len(painters) == 1 or raw:
        return inpaint_picture(next(iter(painters.values())), picture, mask, raw=raw, **how), ""
    hole = check_mask(picture.rgb(), mask, dilate=how.get("dilate", 0))
    colours = visible(picture, hole)
    choice = choose(painters, colours, mask, **how)
    shares = choice.mixture or {choice.fallback: 1.0}
    painted = torch.stack(
        [share * inpaint(painters[name], colours, mask, **how).cpu() for name, share in shares.items()]
    )
    changed = grow(hole, how.get("feather", 0))
    return with_colours(picture, painted.sum(0), changed), choice.reason()


def held_out(hole: Tensor, trial: int) -> Tensor:
    """A copy of ``hole`` ``(H, W)`` moved, and turned round for other trials, to where most of it is known.

    >>> import torch
    >>> hole = torch.zeros(6, 6, dtype=torch.bool)
    >>> hole[1, 1:3] = True
    >>> int(held_out(hole, 0).sum()), bool((held_out(hole, 0) & hole).any())
    (2, False)
    """
    generator = torch.Generator().manual_seed(trial)
    turned = hole.flip(TURNS[trial % len(TURNS)])
    best = torch.zeros_like(hole)
    for _ in range(16):
        down, right = (int(torch.randint(n, (), generator=generator)) for n in hole.shape)
        copy = turned.roll((down, right), (0, 1)) & ~hole
        if copy.sum() > best.sum():
            best = copy
    return best
