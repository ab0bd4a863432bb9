"""Choose a model or a solver for a picture: both fill holes of the same shape where the picture is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from implicitkit import ImplicitModel
from implicitkit_sair.inpainting.painting import check_mask, grow, inpaint
from implicitkit_sair.inpainting.surroundings import crops, trained_view

SOLVER = "biharmonic"
TRIALS = 3
MIN_HELD_OUT = 16  # pixels; fewer held-out ones measure nothing
TURNS = ((), (-1,), (-2,), (-1, -2))  # axes along which a copy of the holes is turned round


@dataclass(frozen=True)
class Choice:
    """What was measured on a picture.

    Attributes:
        model: the model's PSNR in dB on what was held out.
        solver: the solver's.
        trials: how often; 0 where too little is known to hold anything out.
    """

    model: float
    solver: float
    trials: int

    @property
    def takes_model(self) -> bool:
        """Whether the model is at least as good as the solver."""
        return self.trials > 0 and self.model >= self.solver

    def reason(self, model: str, solver: str = SOLVER) -> str:
        """The choice in words.

        >>> Choice(24.0, 25.2, 3).reason("sair_faces")
        'biharmonic: sair_faces was 1.2 dB worse on 3 held-out copies of the holes; --model sair_faces forces it'
        """
        if not self.trials:
            return f"{solver}: too little is known to test {model}; --model {model} forces it"
        gap, where = self.model - self.solver, f"on {self.trials} held-out copies of the holes"
        if self.takes_model:
            return f"{model}: {gap:.1f} dB better than {solver} {where}"
        return f"{solver}: {model} was {-gap:.1f} dB worse {where}; --model {model} forces it"


def choose(
    model: ImplicitModel,
    image: Tensor,
    mask: Tensor,
    *,
    solver: str = SOLVER,
    dilate: int = 0,
    feather: int = 0,
    **how: Any,
) -> Choice:
    """Compare a model with a solver on known pixels of ``image``.

    Copies of the holes are moved to places that are known, and filled by both; nothing of the true holes is seen. A
    large picture is tested around its largest holes, so the test costs a few crops.

    Args:
        model: see :func:`implicitkit_sair.inpaint`.
        image: ``(3, H, W)`` in [0, 1].
        mask: ``(1, H, W)``, above 0.5 where pixels are missing.
        solver: the rival.
        dilate: see :func:`implicitkit_sair.inpaint`.
        feather: of no influence.
        how: its other arguments.

    Raises:
        DataError: the sizes differ, or the mask is all hole or no hole.
    """
    hole = grow(check_mask(image, mask), dilate)
    view, whole = trained_view(model)
    if how.get("view") is not None:
        view = how["view"]
    views = crops(hole[0].cpu(), view, whole) if view else crops(hole[0].cpu(), max(hole.shape), True)
    errors, pixels, done = torch.zeros(2, dtype=torch.float64), 0, 0
    for k in range(TRIALS):
        crop = views[k % min(len(views), TRIALS)]
        part, missing = image[(slice(None), *crop.window)], hole[(slice(None), *crop.window)]
        held = held_out(missing[0], k)
        if int(held.sum()) < MIN_HELD_OUT:
            continue
        hidden = (missing | held).to(image)
        painters: tuple[ImplicitModel | str, ...] = (model, solver)
        for n, painter in enumerate(painters):
            painted = inpaint(painter, part, hidden, **how).to(part)
            errors[n] += (painted - part)[:, held].double().square().mean(0).sum().cpu()
        pixels += int(held.sum())
        done += 1
    ours, theirs = (-10 * math.log10(max(float(e) / max(pixels, 1), 1e-10)) for e in errors)
    return Choice(ours, theirs, done)


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
