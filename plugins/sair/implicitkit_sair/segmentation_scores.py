"""mIoU on pictures with label maps, as they come and with holes: what completing the meaning is worth.

A picture is encoded once and asked at the size of its label map, whatever its own. Raw features and completed ones are
answered from the same picture and the same mask. Confusions are summed over the set before the IoU is taken, and a
class counts if it is in the truth or in the answers, as in ADE20K's benchmark; pixels without a label never do. Masks
depend on the seed, the bin and the picture's place in the sorted set alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit.degradations.base import Degraded, seeded
from implicitkit.degradations.resize import resize
from implicitkit.errors import DataError
from implicitkit.evaluation.inpainting import hole_ratios
from implicitkit.field import Field
from implicitkit.images import read_image
from implicitkit.model import ImplicitModel
from implicitkit.registries import create_degradation
from implicitkit_sair.inpainting import trained_fill
from implicitkit_sair.label_maps import LabelledFolder, confusion, iou, mean_iou, read_label_map
from implicitkit_sair.segmentation import before_completion, score_blocks, semantic_model
from implicitkit_sair.vocabulary import Vocabulary

STAGES: Mapping[str, Callable[[Field], Field]] = {"raw": before_completion, "completed": lambda found: found}
"""Before a SIR has completed the features, and after."""
CLEAN = "clean"


@dataclass
class SegmentationScores:
    """The confusions of an evaluation.

    Attributes:
        names: of the classes.
        tables: ``tables[stage][setting][region]``, ``(K, K)`` int64: true classes by answers. A setting is ``"clean"``
            or a bin of hole ratios in percent (``"20-40"``); a region is ``"all"`` or, with holes, ``"hole"``.
    """

    names: list[str]
    tables: dict[str, dict[str, dict[str, Tensor]]] = field(default_factory=dict)

    def add(self, stage: str, setting: str, region: str, table: Tensor) -> None:
        """Add one picture's confusion."""
        regions = self.tables.setdefault(stage, {}).setdefault(setting, {})
        regions[region] = regions[region] + table if region in regions else table

    def mean_iou(self, stage: str, setting: str, region: str = "all") -> float:
        """The set's mIoU, in [0, 1]."""
        return mean_iou(self.tables[stage][setting][region])

    def per_class(self, stage: str, setting: str, region: str = "all") -> dict[str, float]:
        """Each class's IoU; ``nan`` for one that is neither there nor answered."""
        return dict(zip(self.names, iou(self.tables[stage][setting][region]).tolist(), strict=True))

    def markdown_table(self) -> str:
        """mIoU per stage and setting; with holes, of the whole picture and of the hole alone."""
        settings = list(next(iter(self.tables.values())))
        heads = ["mIoU", *(s if s == CLEAN else f"{s.replace('-', '–')} % missing (hole alone)" for s in settings)]
        rows = [heads, ["---"] * len(heads)]
        for stage, found in self.tables.items():
            cells = []
            for setting in settings:
                values = [f"{mean_iou(table):.4f}" for table in found[setting].values()]
                cells.append(values[0] if len(values) == 1 else f"{values[0]} ({values[1]})")
            rows.append([stage, *cells])
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def evaluate_segmentation(
    model: ImplicitModel,
    folder: LabelledFolder | str | Path,
    vocabulary: Vocabulary,
    bins: Sequence[tuple[float, float]] = (),
    holes: Mapping[str, Any] | None = None,
    *,
    side: int | None = None,
    seed: int = 0,
    condition: str | None = None,
    precision: str | None = None,
    progress: Callable[[int, str], Any] | None = None,
) -> SegmentationScores:
    """Score a model's semantics, raw and completed, on every picture of a labelled folder.

    Args:
        model: a semantic model, or one that reads one as a condition (SAIR).
        folder: ADE20K's layout, see :class:`~implicitkit_sair.label_maps.LabelledFolder`.
        vocabulary: an embedding for each of the folder's classes, in their order.
        bins: hole ratios ``(low, high)`` in percent; none for pictures as they come.
        holes: the degradation that makes the holes; it is given the bin as ``ratio`` (default: irregular strokes,
            filled as in the model's training).
        side: shrink pictures so that their shorter side has so many pixels; the label maps stay as they are.
        seed: of the masks.
        condition: which of the model's conditions holds the meaning, if there are several.
        precision: see :meth:`ImplicitModel.encode`.
        progress: called with the number of pictures done and the one at hand.

    Raises:
        DataError: the folder is not laid out so, or a label map does not fit its picture or the classes.
        UserError: the model holds no meaning or takes no mask, or the embeddings are not of its width.
        ValueError: a bin is not of percentages, or the vocabulary is not one of the folder's classes.
    """
    labelled = folder if isinstance(folder, LabelledFolder) else LabelledFolder.open(folder)
    if len(vocabulary) != len(labelled.names):
        raise ValueError(f"the folder has {len(labelled.names)} classes, the vocabulary {len(vocabulary)}")
    semantic = semantic_model(model, condition)
    if bins and not semantic.takes_mask:
        raise DataError(f"the semantic model takes no mask, so holes cannot be asked for; received {len(bins)} bins")
    spec = {"name": "inpainting", "kind": "strokes", "fill": trained_fill(model)} if holes is None else dict(holes)
    degradations = {
        f"{low:g}-{high:g}": (
            create_degradation({**spec, "ratio": hole_ratios(low, high)}),
            round(low * 1000),
            round(high * 1000),
        )
        for low, high in bins
    }
    scores = SegmentationScores(list(vocabulary.names))
    classes, total = len(vocabulary), len(labelled.pairs) * max(1, len(degradations))
    done = 0
    for place, (name, (file, map_file)) in enumerate(labelled.pairs.items()):
        picture, truth = read_image(file), read_label_map(map_file, classes)
        if picture.shape[1:] != truth.shape:
            raise DataError(
                f"{file} has {picture.shape[1]}×{picture.shape[2]} pixels, its label map {truth.shape[0]}×"
                f"{truth.shape[1]}; they must be the same"
            )
        picture = picture if side is None else _shrunk(picture, side)
        shown: dict[str, tuple[Tensor, Tensor | None]] = {}
        for setting, (degradation, *ends) in degradations.items():
            seen = degradation(picture, seeded(seed, *ends, place))
            assert isinstance(seen, Degraded)
            shown[setting] = seen.image, seen.mask
        for setting, (image, mask) in (shown or {CLEAN: (picture, None)}).items():
            found = semantic.encode(image, mask, precision=precision)
            missing = None if mask is None else _missing(mask, truth)
            for stage, view in STAGES.items():
                labels = _labels(view(found), vocabulary, truth)
                scores.add(stage, setting, "all", confusion(labels, truth, classes))
                if missing is not None:
                    scores.add(stage, setting, "hole", confusion(labels, truth, classes, missing))
            done += 1
            if progress:
                progress(done, f"{name}, {setting} ({done}/{total})")
    return scores


def _labels(found: Field, vocabulary: Vocabulary, truth: Tensor) -> Tensor:
    """The answers at the size of ``truth``, without holding every class's score."""
    labels = torch.empty_like(truth)
    for window, block in score_blocks(found, vocabulary, truth.shape):
        labels[window] = block[0].argmax(0).cpu()
    return labels


def _missing(mask: Tensor, truth: Tensor) -> Tensor:
    """The mask ``(1, h, w)`` at the size of ``truth`` ``(H, W)``, as booleans."""
    return F.interpolate(mask[None].cpu(), tuple(truth.shape), mode="nearest-exact")[0, 0] > 0.5


def _shrunk(picture: Tensor, side: int) -> Tensor:
    shorter = min(picture.shape[1:])
    if side >= shorter:
        return picture
    return resize(picture, [max(1, round(n * side / shorter)) for n in picture.shape[1:]], "pil").clamp(0, 1)
