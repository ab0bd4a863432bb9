"""Choose a model or a solver for a picture: all fill holes of the same shape where the picture is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from implicitkit import ImplicitModel
from implicitkit.images import Picture
from implicitkit_sair.inpainting.painting import check_mask, grow, inpaint, inpaint_picture, visible
from implicitkit_sair.inpainting.surroundings import crops, shrink, trained_view

TRIALS = 3
TESTED_SIDE = 256  # pixels: larger crops are shrunk to it
MIN_HELD_OUT = 16  # pixels; fewer held-out ones measure nothing
TURNS = ((), (-1,), (-2,), (-1, -2))  # axes along which a copy of the holes is turned round


@dataclass(frozen=True)
class Choice:
    """What was measured on a picture.

    Attributes:
        psnr: name -> PSNR in dB on what was held out; the first wins where some are equal.
        trials: how often; 0 where too little is known to hold anything out.
        fallback: what is taken then.
    """

    psnr: Mapping[str, float]
    trials: int
    fallback: str

    @property
    def taken(self) -> str:
        """The name of what fills best."""
        return max(self.psnr, key=lambda name: self.psnr[name]) if self.trials else self.fallback

    def reason(self) -> str:
        """The choice in words.

        >>> Choice({"sair_faces": 24.0, "biharmonic": 25.2}, 3, "biharmonic").reason()
        'biharmonic: 1.2 dB better than sair_faces on 3 held-out copies of the holes'
        >>> Choice({}, 0, "biharmonic").reason()
        'biharmonic: too little is known to test anything else'
        """
        if not self.trials:
            return f"{self.fallback}: too little is known to test anything else"
        others = {name: value for name, value in self.psnr.items() if name != self.taken}
        if not others:
            return self.taken
        next_best = max(others, key=lambda name: others[name])
        gap, copies = self.psnr[self.taken] - others[next_best], f"{self.trials} held-out copies of the holes"
        return f"{self.taken}: {gap:.1f} dB better than {next_best} on {copies}"


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
        DataError: the sizes differ, or the mask is all hole or no hole.
    """
    hole = grow(check_mask(image, mask), dilate)
    views = crops(hole[0].cpu(), *_view(painters, how.get("view"), max(hole.shape)))
    errors, pixels, done = dict.fromkeys(painters, 0.0), 0, 0
    for k in range(TRIALS):
        crop = views[k % min(len(views), TRIALS)]
        part, missing = _tested(image[(slice(None), *crop.window)], hole[(slice(None), *crop.window)])
        held = held_out(missing[0], k)
        if int(held.sum()) < MIN_HELD_OUT:
            continue
        hidden = (missing | held).to(image)
        for name, painter in painters.items():
            painted = inpaint(painter, part, hidden, **how).to(part)
            errors[name] += float((painted - part)[:, held].double().square().mean(0).sum())
        pixels += int(held.sum())
        done += 1
    psnr = {name: -10 * math.log10(max(error / max(pixels, 1), 1e-10)) for name, error in errors.items()}
    return Choice(psnr if done else {}, done, list(painters)[-1])


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
    """A decoded file filled by the painter that fills best where the picture is known; and why, with several.

    Args:
        painters: see :func:`choose`.
        picture: of any kind.
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        raw: see :func:`implicitkit_sair.inpaint`; nothing is then compared, and the first painter is taken.
        how: the other arguments of :func:`implicitkit_sair.inpaint`.
    """
    name, why = next(iter(painters)), ""
    if len(painters) > 1 and not raw:
        choice = choose(painters, visible(picture, mask > 0.5), mask, **how)
        name, why = choice.taken, choice.reason()
    return inpaint_picture(painters[name], picture, mask, raw=raw, **how), why


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
