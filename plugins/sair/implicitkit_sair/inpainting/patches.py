"""Fill wide holes with patches of the picture itself: nothing is learnt, and nothing is blurred.

Coarse to fine, every patch that touches the hole looks for the most similar patch that is wholly known, and every
missing pixel becomes the mean of what these patches say of it (Wexler, Shechtman, Irani; PAMI 2007). The search is
PatchMatch's (Barnes et al., SIGGRAPH 2009): good neighbours first, then chance. Holes wider than ``SEARCHED_SIDE`` are
searched in a smaller picture; the full one is then copied along the shifts that were found (Pritch et al., ICCV 2009).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.images import fill_holes

RADIUS = 3  # of a patch, 7×7 pixels
SEARCHED_SIDE = 400  # pixels of the longest side in which patches are searched
COARSEST_SIDE = 32  # of the coarsest level, at least
ROUNDS = (8, 6, 4, 3, 2)  # of search and mean, from the coarsest level on; the last for all finer ones
SWEEPS = 2  # of the search in each round
CONFIDENCE = 1.3  # how much less a patch counts for each pixel that it lies deeper in the hole
MIN_SOURCES = 64  # patches that are wholly known; with fewer, a level is left out
CHUNK = 1 << 15  # patches that are compared at a time


def patch_fill(picture: Tensor, mask: Tensor) -> Tensor:
    """One picture with its holes filled by patches of what is known.

    Args:
        picture: ``(C, H, W)`` in [0, 1]; values in the holes are not read.
        mask: ``(1, H, W)``, above 0.5 where a pixel is missing.

    Returns:
        The same shape; known pixels are untouched. A membrane, where nearly no patch is wholly known.

    >>> stripes = (torch.arange(40) // 4 % 2).float().expand(1, 40, 40)
    >>> hole = torch.zeros(1, 40, 40)
    >>> hole[:, 14:26, 14:26] = 1
    >>> bool((patch_fill(stripes.masked_fill(hole > 0.5, 0.3), hole) - stripes).abs().max() < 0.05)
    True
    """
    hole = mask > 0.5
    known = torch.where(hole, 0.0, picture.float().cpu())
    factor = min(1.0, SEARCHED_SIDE / max(picture.shape[1:]))
    levels = _levels(known, hole.cpu(), factor)
    if not levels:
        return fill_holes(picture[None], mask[None], "harmonic")[0]
    generator = torch.Generator().manual_seed(0)
    start = levels[0]
    values, matches = fill_holes(start.picture[None], start.hole[None].float(), "harmonic")[0], None
    for k, level in enumerate(levels):
        if k:
            values = F.interpolate(values[None], level.picture.shape[1:], mode="bilinear")[0]
            values = torch.where(level.hole, values, level.picture)
        search = _Search(level, matches, generator)
        for _ in range(ROUNDS[min(k, len(ROUNDS) - 1)]):
            search.improve(values)
            values = search.mean()
        matches = search.field()
    assert matches is not None
    if factor < 1:
        values = _copied(known, hole.cpu(), matches)
    return torch.where(hole, values.to(picture), picture)


class _Level(NamedTuple):
    """A picture ``(C, h, w)`` of the pyramid, and its hole ``(1, h, w)``: all that is not wholly known."""

    picture: Tensor
    hole: Tensor


def _levels(known: Tensor, hole: Tensor, factor: float) -> list[_Level]:
    """The pyramid, coarsest first; without levels that have too few patches to copy from."""
    levels = []
    longest = max(hole.shape[1:])
    while min(n * factor for n in hole.shape[1:]) >= min(COARSEST_SIDE, min(hole.shape[1:])):
        height, width = (max(2 * RADIUS + 2, round(n * factor)) for n in hole.shape[1:])
        size = height, width
        share = F.adaptive_avg_pool2d((~hole).float()[None], size)[0]
        small = F.adaptive_avg_pool2d(known[None], size)[0] / share.clamp_min(1e-4)
        missing = share < 1 - 1e-4
        if min(size) > 2 * RADIUS + 2 and int(_sources(missing).sum()) >= MIN_SOURCES and bool(missing.any()):
            levels.append(_Level(torch.where(missing, 0.0, small), missing))
        factor /= 2
        if longest * factor < 2 * RADIUS + 2:
            break
    return levels[::-1]


def _sources(hole: Tensor) -> Tensor:
    """Where the centres of wholly known patches lie, ``(h, w)``."""
    touched = F.max_pool2d(hole.float()[None], 2 * RADIUS + 1, 1, RADIUS)[0, 0] > 0.5
    return ~touched & _inner(hole)


def _targets(hole: Tensor) -> Tensor:
    """Where the centres of patches that touch the hole lie, ``(h, w)``."""
    touched = F.max_pool2d(hole.float()[None], 2 * RADIUS + 1, 1, RADIUS)[0, 0] > 0.5
    return touched & _inner(hole)


def _inner(hole: Tensor) -> Tensor:
    inner = torch.zeros(hole.shape[1:], dtype=torch.bool)
    inner[RADIUS:-RADIUS, RADIUS:-RADIUS] = True
    return inner


class _Search:
    """The patches that touch a hole, and the known patch that is most similar to each, as far as it has been found."""

    def __init__(self, level: _Level, coarser: Tensor | None, generator: torch.Generator) -> None:
        self.picture, self.hole, self.generator = level.picture, level.hole, generator
        self.size = torch.tensor(level.hole.shape[1:])
        self.sources = _sources(level.hole)
        where = _targets(level.hole)
        self.targets = where.nonzero()  # (n, 2)
        self.number = torch.full(where.shape, -1)
        self.number[where] = torch.arange(len(self.targets))
        free = self.sources.nonzero()
        self.matches = free[torch.randint(len(free), (len(self.targets),), generator=generator)]
        if coarser is not None:
            scale = self.size / torch.tensor(coarser.shape[1:])
            place = (self.targets / scale).long()
            shift = coarser[:, place[:, 0], place[:, 1]].T * scale
            candidates = (self.targets + shift).round().long()
            self.matches = torch.where(self._is_source(candidates)[:, None], candidates, self.matches)
        self.errors = torch.empty(len(self.targets))
        from scipy import ndimage

        inside = ndimage.distance_transform_edt(level.hole[0].numpy())
        depth = torch.from_numpy(inside).float()[where]
        self.trust = CONFIDENCE ** -depth.double()  # what is known counts for more than what is guessed from it

    def improve(self, values: Tensor) -> None:
        """Compare the patches of ``values`` ``(C, h, w)`` with better candidates."""
        patches = F.unfold(values[None], 2 * RADIUS + 1, padding=RADIUS)[0].T.contiguous()  # (h w, 49 C)
        of_targets = patches[self._flat(self.targets)]
        self.errors = self._compare(patches, of_targets, self.matches, torch.ones(len(of_targets), dtype=torch.bool))
        for _ in range(SWEEPS):
            for step in (8, 1, 4, 1):
                for shift in ((step, 0), (-step, 0), (0, step), (0, -step)):
                    self._propagate(patches, of_targets, torch.tensor(shift))
            reach = int(self.size.max())
            while reach >= 1:
                draw = torch.randint(-reach, reach + 1, self.matches.shape, generator=self.generator)
                self._try(patches, of_targets, self.matches + draw)
                reach //= 2

    def _propagate(self, patches: Tensor, of_targets: Tensor, shift: Tensor) -> None:
        """Try what the neighbours at ``shift`` have found."""
        beside = (self.targets + shift).clamp(min=0).minimum(self.size - 1)
        neighbour = self.number[beside[:, 0], beside[:, 1]]
        candidates = self.matches[neighbour] - (beside - self.targets)
        self._try(patches, of_targets, torch.where(neighbour[:, None] >= 0, candidates, -1))

    def _try(self, patches: Tensor, of_targets: Tensor, candidates: Tensor) -> None:
        valid = self._is_source(candidates) & (candidates != self.matches).any(1)
        errors = self._compare(patches, of_targets, candidates, valid)
        better = errors < self.errors
        self.matches = torch.where(better[:, None], candidates, self.matches)
        self.errors = torch.where(better, errors, self.errors)

    def _compare(self, patches: Tensor, wanted: Tensor, found: Tensor, valid: Tensor) -> Tensor:
        errors = torch.full((len(wanted),), torch.inf)
        for rows in valid.nonzero()[:, 0].split(CHUNK):
            errors[rows] = (wanted[rows] - patches[self._flat(found[rows])]).square().mean(1)
        return errors

    def _is_source(self, found: Tensor) -> Tensor:
        inside = ((found >= 0) & (found < self.size)).all(1)
        safe = found.clamp(min=0).minimum(self.size - 1)
        return inside & self.sources[safe[:, 0], safe[:, 1]]

    def _flat(self, places: Tensor) -> Tensor:
        return places[:, 0] * self.size[1] + places[:, 1]

    def mean(self) -> Tensor:
        """The picture with each missing pixel the mean of what the patches on it say, good matches before others."""
        spread = self.errors.quantile(0.75).clamp_min(1e-6) if len(self.errors) < 1 << 24 else self.errors.mean()
        weights = torch.exp(-(self.errors / spread).clamp(max=50).double()) * self.trust
        places = self.hole[0].nonzero()
        total = torch.zeros(len(self.picture), len(places), dtype=torch.float64)
        weight = torch.full((len(places),), 1e-300, dtype=torch.float64)
        for down in range(-RADIUS, RADIUS + 1):
            for right in range(-RADIUS, RADIUS + 1):
                offset = torch.tensor((down, right))
                centre = (places + offset).clamp(min=0).minimum(self.size - 1)
                number = self.number[centre[:, 0], centre[:, 1]]
                is_there = (number >= 0) & (centre == places + offset).all(1)
                source = self.matches[number] - offset
                share = torch.where(is_there, weights[number], 0.0)
                total += share * self.picture[:, source[:, 0], source[:, 1]]
                weight += share
        filled = self.picture.clone()
        filled[:, places[:, 0], places[:, 1]] = (total / weight).float()
        return filled

    def field(self) -> Tensor:
        """The shift from each pixel to its match, ``(2, h, w)``: of the nearest patch where none is centred there."""
        shifts = torch.zeros(2, *self.hole.shape[1:])
        shifts[:, self.targets[:, 0], self.targets[:, 1]] = (self.matches - self.targets).T.float()
        padded = shifts[:, RADIUS:-RADIUS, RADIUS:-RADIUS]
        return F.pad(padded[None], (RADIUS,) * 4, mode="replicate")[0]


def _copied(known: Tensor, hole: Tensor, shifts: Tensor) -> Tensor:
    """A picture ``(C, H, W)`` whose missing pixels are copied along ``shifts`` ``(2, h, w)`` of a smaller one.

    Each is the mean of what the four nearest shifts bring, by their distance: where these agree, a copy.
    """
    size, small = torch.tensor(hole.shape[1:]), torch.tensor(shifts.shape[1:])
    scale = size / small
    places = hole[0].nonzero()
    at = (places + 0.5) / scale - 0.5
    low = at.floor()
    total, weight = known.new_zeros(len(known), len(places)), torch.full((len(places),), 1e-8)
    for down in (0, 1):
        for right in (0, 1):
            corner = low + torch.tensor((down, right))
            share = (1 - (at - corner).abs()).prod(1)
            index = corner.long().clamp(min=0).minimum(small - 1)
            source = (places + shifts[:, index[:, 0], index[:, 1]].T * scale).round().long()
            source = source.clamp(min=0).minimum(size - 1)
            share = torch.where(hole[0, source[:, 0], source[:, 1]], 0.0, share)
            total += share * known[:, source[:, 0], source[:, 1]]
            weight += share
    filled = known.clone()
    filled[:, places[:, 0], places[:, 1]] = total / weight
    return filled
