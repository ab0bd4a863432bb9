"""What to edit: the pixels of a picture that mean what points, an example, or classes mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import DataError, Field, ImplicitModel, UserError, create_model
from implicitkit_sair.segmentation.labelling import score_blocks, semantic_model
from implicitkit_sair.segmentation.vocabulary import Vocabulary

DINOV2 = "dinov2_vits14"
MAX_SIDE = 700  # pixels of the longer side that the default network sees: 50 patches
EPSILON = 1e-4  # of the guided filter: the variance of colours that counts as flat
ISLAND = 0.01  # of the picture: what a selection encloses belongs to it up to this size
COARSE_POINTS = 48  # points a side at which a picture's mean embedding is read


class Selection(NamedTuple):
    """What :func:`select` returns."""

    mask: Tensor
    """``(1, H, W)`` float32: 1 where selected."""
    scores: Tensor
    """``(H, W)`` float32: how much more a pixel means what was asked for than it means anything else."""
    threshold: float
    """Selected is what has a higher score."""


def select(
    semantics: ImplicitModel | None,
    image: Tensor,
    *,
    like: Sequence[tuple[float, float]] = (),
    unlike: Sequence[tuple[float, float]] = (),
    example: tuple[Tensor, Tensor] | None = None,
    vocabulary: Vocabulary | None = None,
    classes: Sequence[str] = (),
    threshold: float | None = None,
    connected: bool = False,
    refine: bool = True,
) -> Selection:
    """The pixels of ``image`` that mean what is asked for: points, an example, or classes; one of the three.

    Embeddings are compared by their cosines, the mean embedding of the picture taken off first where nothing else says
    what is *not* meant: features of one picture have much in common.

    Args:
        semantics: a semantic model, or one that reads a semantic model; None: DINOv2's ViT-S/14
            (``implicitkit weights get dinov2_vits14``).
        image: ``(3, H, W)`` in [0, 1].
        like: pixels ``(x, y)``, counted from the top left, that mean it.
        unlike: pixels that do not: of what ``like`` selects alone, that which is nearer to one of these is left out.
        example: a picture ``(3, h, w)`` and its mask ``(1, h, w)``, 1 on what is meant.
        vocabulary: classes and their embeddings; each pixel goes to the nearest.
        classes: those that are meant.
        threshold: selected is what scores higher (default: 0, the nearest; for ``like`` alone Otsu's of what is
            above that, at most half of the highest; with ``unlike``, scores are counted from there).
        connected: only what hangs together with a point of ``like``.
        refine: let the borders follow those of the picture, by a guided filter (He, Sun, Tang; ECCV 2010).

    Raises:
        DataError: nothing is selected, or everything, or the example's mask is all or nothing.
        UserError: none or several of the three are given, a point lies outside, or widths differ.
    """
    ways = [bool(like), example is not None, bool(classes)]
    if sum(ways) != 1:
        raise UserError(f"select by points (like), by an example or by classes, one of the three; received {sum(ways)}")
    if unlike and not like:
        raise UserError("unlike goes with like: it says which points do not mean the same")
    field = (default_semantics() if semantics is None else semantic_model(semantics)).eval().encode(image)
    if classes:
        if vocabulary is None:
            raise UserError("classes need a vocabulary that has their embeddings")
        chosen = [vocabulary.names.index(name) for name in vocabulary.select(classes).names]
        scores = _score(field, vocabulary, chosen)
    else:
        scores = _of_example(field, *example) if example is not None else _like(field, image, like)
        if unlike:
            examples = torch.cat([_at(field, image, like), _at(field, image, unlike)])
            nearest = Vocabulary(tuple(map(str, range(len(examples)))), examples)
            scores = torch.minimum(scores - _division(scores), _score(field, nearest, list(range(len(like)))))
    if refine:
        scores = guided(scores, image.to(scores), max(2, max(image.shape[1:]) // 64))
    if threshold is None:
        threshold = _division(scores) if like and not unlike else 0.0
    mask = scores > threshold
    if connected:
        mask &= _touching(mask, like)
    mask = without_islands(mask)
    check_selection(mask, scores, threshold)
    return Selection(mask[None].float(), scores, threshold)


def without_islands(mask: Tensor) -> Tensor:
    """``mask`` ``(H, W)`` with what it encloses selected too, where that is small: a highlight on a cup, say.

    >>> mask = torch.ones(40, 40, dtype=torch.bool)
    >>> mask[10:13, 10:13] = mask[:, 38:] = False
    >>> int((~without_islands(mask)).sum())
    80
    """
    from scipy import ndimage

    parts, count = ndimage.label(~mask.cpu().numpy())
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    small = sizes < ISLAND * mask.numel()
    edges = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    small[edges] = False
    small[0] = True  # what is selected stays so
    return torch.from_numpy(small[parts]).to(mask.device)


def check_selection(mask: Tensor, scores: Tensor, threshold: float) -> None:
    """Raise ``DataError`` if nothing or everything is selected, with the scores that there are."""
    if bool(mask.all()) or not bool(mask.any()):
        low, high = (float(end) for end in scores.aminmax())
        what, way = ("everything", "higher") if bool(mask.all()) else ("nothing", "lower")
        raise DataError(
            f"{what} is selected: the scores run from {low:.2f} to {high:.2f}, the threshold is {threshold:.2f}; take "
            f"a {way} threshold, or ask for something else"
        )


def default_semantics() -> ImplicitModel:
    """DINOv2's ViT-S/14, interpolated, from the cache folder or its sources."""
    encoder = {"name": "dense", "weights": DINOV2, "view": 8, "largest": MAX_SIDE}
    return create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}}).eval()


def _like(field: Field, image: Tensor, points: Sequence[tuple[float, float]]) -> Tensor:
    """Scores ``(H, W)``: the best cosine with the points, the mean embedding of the picture taken off."""
    mean = _mean(field)
    rows = F.normalize(_at(field, image, points) - mean, dim=1)
    scores = rows.new_empty(field.size)
    for window, values in field.blocks(field.size):
        centred = F.normalize(values[0] - mean[:, None, None], dim=0)
        scores[window] = torch.einsum("dhw,kd->khw", centred, rows).amax(0)
    return scores


def _division(scores: Tensor) -> float:
    """From where on a score counts: Otsu's of what is above 0, at most half of the highest."""
    above = scores[scores > 0]
    return min(otsu(above), float(above.max()) / 2) if len(above) else 0.0


def _score(field: Field, vocabulary: Vocabulary, chosen: Sequence[int]) -> Tensor:
    """``(H, W)``: the best cosine of the chosen classes minus the best of all others, or 0 without others."""
    rest = [k for k in range(len(vocabulary)) if k not in chosen]
    margins: Tensor | None = None
    for window, scores in score_blocks(field, vocabulary, field.size):
        best = scores[0, list(chosen)].amax(0)
        if rest:
            best = best - scores[0, rest].amax(0)
        if margins is None:
            margins = best.new_empty(field.size)
        margins[window] = best
    assert margins is not None
    return margins


def _at(field: Field, image: Tensor, points: Sequence[tuple[float, float]]) -> Tensor:
    """The embeddings ``(N, D)`` at pixels ``(x, y)``."""
    height, width = image.shape[1:]
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise UserError(f"the point {x:g},{y:g} lies outside of the picture, which has {width}×{height} pixels")
    coords = torch.tensor([[-1 + (2 * y + 1) / height, -1 + (2 * x + 1) / width] for x, y in points])
    return field(coords, 2 / height)


def _mean(field: Field) -> Tensor:
    values: Tensor = field.render([min(COARSE_POINTS, n) for n in field.size])
    return values.flatten(1).mean(1)


def _of_example(field: Field, picture: Tensor, mask: Tensor) -> Tensor:
    """Scores ``(H, W)`` against the mean directions of what an example's mask covers and of what it does not."""
    if mask.shape != (1, *picture.shape[1:]):
        raise DataError(
            f"the example has {tuple(picture.shape)} values, its mask {tuple(mask.shape)}; sizes must agree"
        )
    size = [min(COARSE_POINTS, n) for n in picture.shape[1:]]
    share = F.interpolate(mask[None].float(), size, mode="area")[0, 0]
    inside = (share > 0.5).flatten().to(field.device)
    if bool(inside.all()) or not bool(inside.any()):
        raise DataError("the example's mask covers all of its picture or nothing; it says which part is meant")
    model: Any = field.model
    values = F.normalize(model.encode(picture).render(size).flatten(1), dim=0)
    meant = torch.stack([values[:, inside].mean(1), values[:, ~inside].mean(1)])
    return _score(field, Vocabulary(("meant", "other"), meant), [0])


def _touching(mask: Tensor, like: Sequence[tuple[float, float]]) -> Tensor:
    """The parts of ``mask`` ``(H, W)`` that hold one of the points."""
    from scipy import ndimage

    if not like:
        raise UserError("connected keeps what hangs together with a point of like; there is none")
    parts, _ = ndimage.label(mask.cpu().numpy(), structure=np.ones((3, 3)))
    kept = {parts[int(y), int(x)] for x, y in like} - {0}
    return torch.from_numpy(np.isin(parts, list(kept))).to(mask.device)


def otsu(scores: Tensor) -> float:
    """The threshold that divides values into two groups with the least variance in each (Otsu, 1979).

    >>> otsu(torch.tensor([0.0, 0.1, 0.05, 0.9, 1.0])) > 0.1
    True
    """
    low, high = (float(end) for end in scores.aminmax())
    counts = torch.histc(scores.float().cpu(), 256, low, high).double()
    centres = low + (torch.arange(256).double() + 0.5) * (high - low) / 256
    below, total = counts.cumsum(0), counts.sum()
    sums = (counts * centres).cumsum(0)
    means = sums / below.clamp(min=1), (sums[-1] - sums) / (total - below).clamp(min=1)
    between = below * (total - below) * (means[0] - means[1]).square()
    flat = between >= between.max() * (1 - 1e-9)  # a gap between the groups: its middle
    return float(centres[flat].mean() + (high - low) / 512)


def guided(scores: Tensor, image: Tensor, radius: int) -> Tensor:
    """``scores`` ``(H, W)`` whose edges follow those of ``image`` ``(3, H, W)``: locally a linear map of its grey."""
    grey = image.mean(0)

    def box(x: Tensor) -> Tensor:
        padded = F.pad(x[None, None], (radius,) * 4, mode="replicate")
        return F.avg_pool2d(padded, 2 * radius + 1, stride=1)[0, 0]

    mean, target = box(grey), box(scores)
    slope = (box(grey * scores) - mean * target) / (box(grey * grey) - mean * mean + EPSILON)
    return box(slope) * grey + box(target - slope * mean)
