"""The protocol of segmentation: mIoU on pictures with label maps, as they come and with holes, before and after a SIR
has completed the features: what completing the meaning is worth.

A picture is encoded once and asked at the size of its label map, whatever its own. Raw features and completed ones are
answered from the same picture and the same mask. Confusions are summed over the set before the IoU is taken, and a
class counts if it is in the truth or in the answers, as in ADE20K's benchmark; pixels without a label never do. Masks
depend on the seed, the bin and the picture's place in the sorted set alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from implicitkit import DataError, Field, ImplicitModel, Metric, Protocol, UserError, read_image
from implicitkit.degradations import KindChoice, seeded
from implicitkit.evaluation import Answer, Example, Metrics, Progress, Scores, create_holes, hole_spec
from implicitkit.images import Fill
from implicitkit.images.resize import resize
from implicitkit_sair.segmentation.label_maps import LabelledFolder, confusion, iou, read_label_map
from implicitkit_sair.segmentation.labelling import before_completion, score_blocks, semantic_model
from implicitkit_sair.segmentation.vocabulary import Vocabulary, check_names, choose_vocabulary, find_names

STAGES: Mapping[str, Callable[[Field], Field]] = {"miou_raw": before_completion, "miou": lambda field: field}
"""Before a SIR has completed the features, and after; of the hole alone, ``_hole`` is added to the name."""
CLEAN_SETTING = "clean"
Segmenter = Callable[[Tensor, Tensor | None, Sequence[int]], Mapping[str, Tensor]]
"""A picture ``(3, h, w)``, its mask ``(1, h, w)`` (1 = missing; or None) and a size -> for each of :data:`STAGES`,
labels ``(H, W)`` int64.
"""


@dataclass(frozen=True)
class LabelledExample(Example):
    """A picture and its label map.

    Attributes:
        truth: ``(H, W)`` int64, -1 where a pixel does not count.
        classes: how many there are.
        commonest: the class with the most pixels in the whole set.
    """

    classes: int = 0
    commonest: int = 0


@dataclass
class ClassScores(Scores):
    """Scores whose items are classes, by name: their IoU, from confusions that are summed over the pictures."""

    item: str = "class"
    names: Sequence[str] = ()
    confusions: dict[tuple[str, str, str], Tensor] = field(default_factory=dict)

    def add(self, method: str, setting: str, metric: str, item: str, value: Any) -> None:
        """Add the confusion ``(K, K)`` of one picture."""
        key = (method, setting, metric)
        table = self.confusions[key] = self.confusions[key] + value if key in self.confusions else value
        self.values.setdefault(method, {}).setdefault(setting, {})[metric] = {}
        for name, score in zip(self.names, iou(table).tolist(), strict=True):
            super().add(method, setting, metric, name, score)


def evaluate_segmentation(
    methods: Mapping[str, Segmenter],
    folder: LabelledFolder | str | Path,
    bins: Sequence[tuple[float, float]] = (),
    holes: Mapping[str, Any] | None = None,
    *,
    side: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Scores:
    """Score every method on every picture of a labelled folder.

    Args:
        methods: name -> segmenter; :func:`commonest_class` makes one, :func:`segmenter` one of a model.
        folder: ADE20K's layout, see ``LabelledFolder``.
        bins: hole ratios ``(low, high)`` in percent, each a setting of the result (``"20-40"``); none for pictures as
            they come (``"clean"``).
        holes: the degradation that makes the holes; it is given the bin as ``ratio`` (default: irregular strokes).
        side: shrink pictures so that their shorter side has so many pixels; the label maps stay as they are.
        seed: of the masks.
        progress: called with the number of examples done and the one at hand.

    Returns:
        Scores whose items are the classes, by name: the mean over those that count is the mIoU. ``records`` holds each
        mask's record, ``hole_ratio``, and which part of a label map's pixels is ``labelled``.

    Raises:
        DataError: the folder is not laid out so, or a label map does not fit its picture or the classes.
        ValueError: a bin is not of percentages, or an answer holds a class that there is not.
    """
    names = folder.names if isinstance(folder, LabelledFolder) else None
    protocol = SegmentationProtocol(bins, classes=names, side=side, seed=seed)
    protocol.holes = hole_spec() if holes is None else dict(holes)
    create_holes(protocol.holes, bins)
    answers = {name: of_pictures(segmenter) for name, segmenter in methods.items()}
    data = folder.folder if isinstance(folder, LabelledFolder) else Path(folder)
    return protocol.compare(answers, data, progress=progress)


def of_pictures(segmenter: Segmenter) -> Answer:
    """A segmenter as a function of an example."""
    return lambda example: segmenter(example.image, example.mask, example.size)


def segmenter(
    model: ImplicitModel,
    vocabulary: Vocabulary,
    *,
    condition: str | None = None,
    fill: Fill | None = None,
    encode: Mapping[str, Any] | None = None,
) -> Segmenter:
    """A model as a method.

    Args:
        model: a semantic model, or one that reads one as a condition (SAIR).
        vocabulary: an embedding for each class, in the folder's order.
        condition: which of the model's conditions holds the meaning, if there are several.
        fill: what it sees in holes, as in the ``inpainting`` degradation (default: what it was trained with, or 0.5).
        encode: passed on to :meth:`ImplicitModel.encode`.

    Raises:
        UserError: the model holds no meaning; when asked, that the embeddings are not of its width.
    """
    semantic, filling = semantic_model(model, condition), model.hole_fill if fill is None else fill

    def answer(picture: Tensor, mask: Tensor | None, size: Sequence[int]) -> dict[str, Tensor]:
        meaning = semantic.encode(picture, mask, fill=filling, **(encode or {}))
        return {stage: _labels(view(meaning), vocabulary, size) for stage, view in STAGES.items()}

    return answer


def commonest_class(folder: LabelledFolder) -> int:
    """The class that has the most pixels in ``folder``."""
    classes = len(folder.names)
    counts = torch.zeros(classes, dtype=torch.int64)
    for _, map_file in folder.pairs.values():
        truth = read_label_map(map_file, classes)
        counts += torch.bincount(truth[truth >= 0], minlength=classes)
    return int(counts.argmax())


def say_commonest(example: Example) -> dict[str, Tensor]:
    """The commonest class everywhere: the row every table begins with."""
    assert isinstance(example, LabelledExample)
    return dict.fromkeys(STAGES, torch.full(example.size, example.commonest))


def _labels(meaning: Field, vocabulary: Vocabulary, size: Sequence[int]) -> Tensor:
    """The answers at ``size``, without holding every class's score."""
    labels = torch.empty(tuple(size), dtype=torch.int64)
    for window, block in score_blocks(meaning, vocabulary, size):
        labels[window] = block[0].argmax(0).cpu()
    return labels


def _read(file: Path, map_file: Path, classes: int) -> tuple[Tensor, Tensor]:
    """A picture and its label map, which must be of one size."""
    picture, truth = read_image(file), read_label_map(map_file, classes)
    if picture.shape[1:] != truth.shape:
        raise DataError(
            f"{file} has {picture.shape[2]}×{picture.shape[1]} pixels, its label map {truth.shape[1]}×"
            f"{truth.shape[0]}; they must be the same"
        )
    return picture, truth


def _missing(mask: Tensor, truth: Tensor) -> Tensor:
    """The mask ``(1, h, w)`` at the size of ``truth`` ``(H, W)``, as booleans."""
    return F.interpolate(mask[None].cpu(), tuple(truth.shape), mode="nearest-exact")[0, 0] > 0.5


def _shrunk(picture: Tensor, side: int) -> Tensor:
    shorter = min(picture.shape[1:])
    if side >= shorter:
        return picture
    return resize(picture, [max(1, round(n * side / shorter)) for n in picture.shape[1:]], "pil").clamp(0, 1)


class SegmentationProtocol(Protocol):
    """What a model says that pixels mean, before and after completion; see the module.

    The test set is laid out as ADE20K's benchmark: ``images/``, ``annotations/`` and ``objectInfo150.txt`` or ``.csv``.

    Args:
        bins: hole ratios ``[low, high]`` in percent; none for pictures as they come.
        masks: a folder of mask pictures, white where missing, as in the ``inpainting`` protocol.
        kind: what is drawn where no masks are given (default: strokes).
        fill: what the models see in holes (default: each what it was trained with, or 0.5).
        classes: what to call the classes, in the table's order: names, a text file with one per line, ``"ade20k"`` or
            ``"celebamask_hq"`` (default: the
            table's own).
        embeddings: an ``.npy`` or ``.safetensors`` file with a row for each class (default: the text tower of a model's
            encoder reads the names).
        names: a text file that says what those rows are called, one per line, if they are not in the table's order.
        templates: sentences with ``{}`` for a class's name, averaged; a text file with one per line, ``"clip"`` or
            ``"maskclip"``.
        text_weights: where the text tower is, if a model's file has none: a tag, a hub id or a file.
        side: shrink pictures to a shorter side of so many pixels.
        seed: of the masks.
        condition: which of a model's conditions holds the meaning, if there are several.
    """

    trivial_answers: Mapping[str, Answer] = {"commonest class": say_commonest}

    def __init__(
        self,
        bins: Sequence[tuple[float, float]] = (),
        masks: str | None = None,
        kind: KindChoice | None = None,
        fill: float | list[float] | str | None = None,
        classes: list[str] | str | None = None,
        embeddings: str | None = None,
        names: str | None = None,
        templates: list[str] | str | None = None,
        text_weights: str | None = None,
        side: int | None = None,
        seed: int = 0,
        condition: str | None = None,
    ) -> None:
        for option, value in (("masks", masks), ("kind", kind), ("fill", fill)):
            if value is not None and not bins:
                raise UserError(f"{option} has no meaning without bins, the hole ratios that pictures are to have")
        if side is not None and side < 1:
            raise ValueError(f"side is a number of pixels; received {side}")
        self.bins, self.holes = [(low, high) for low, high in bins], hole_spec(masks, kind)
        create_holes(self.holes if fill is None else {**self.holes, "fill": fill}, self.bins)  # says what is wrong
        self.classes = find_names(classes) if isinstance(classes, str) else classes
        if self.classes is not None:
            check_names(self.classes)
        self.words: dict[str, Any] = {"embeddings": embeddings, "names": names}
        self.words |= {"templates": templates, "text_weights": text_weights}
        self.fill, self.side, self.seed, self.condition = fill, side, seed, condition

    def count(self, data: Path) -> int:
        return len(LabelledFolder.open(data, self.classes).pairs) * max(1, len(self.bins))

    def check(self, model: ImplicitModel, name: str = "the model") -> None:
        """Raise :class:`UserError` if ``model`` holds no meaning, or takes no mask and is to be shown holes."""
        try:
            semantic = semantic_model(model, self.condition)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        if self.bins and not semantic.takes_mask:
            raise UserError(f"{name}: its semantic model takes no mask, so it cannot be shown holes; leave out bins")

    def metrics(self, metrics: Metrics | None) -> list[Metric]:
        if metrics is not None:
            raise UserError("segmentation is scored by mIoU alone; leave out metrics")
        return []

    def new_scores(self, data: Path, metrics: Sequence[Metric]) -> ClassScores:
        units = {stage + region: "" for region in self._regions for stage in STAGES}
        return ClassScores(units=units, names=LabelledFolder.open(data, self.classes).names)

    def answer(self, model: ImplicitModel, data: Path, encode: Mapping[str, Any]) -> Answer:
        names = LabelledFolder.open(data, self.classes).names
        words = choose_vocabulary(semantic_model(model, self.condition).encoder, names, **self.words)
        return of_pictures(segmenter(model, words, condition=self.condition, fill=self.fill, encode=encode))

    def examples(self, data: Path) -> Iterator[LabelledExample]:
        folder = LabelledFolder.open(data, self.classes)
        of_set = {"classes": len(folder.names), "commonest": commonest_class(folder)}
        degradations = create_holes(self.holes, self.bins)
        for place, (name, (file, map_file)) in enumerate(folder.pairs.items()):
            picture, truth = _read(file, map_file, len(folder.names))
            picture = picture if self.side is None else _shrunk(picture, self.side)
            labelled = {"labelled": float((truth >= 0).double().mean())}
            if not degradations:
                yield LabelledExample(CLEAN_SETTING, name, picture, None, truth, labelled, **of_set)
            for setting, (degradation, ends) in degradations.items():
                drawn = degradation.sample(picture.shape, seeded(self.seed, *ends, place))
                degraded = degradation.apply(picture, drawn)
                record = labelled | {"hole_ratio": float(degraded.mask.double().mean()), **drawn}
                yield LabelledExample(setting, name, degraded.image, degraded.mask, truth, record, **of_set)

    def score(self, prediction: Any, example: Example, metrics: Sequence[Metric]) -> Mapping[str, Tensor]:
        """The confusion of each stage, over the whole picture and over the hole."""
        assert isinstance(example, LabelledExample)
        classes, confusions = example.classes, {}
        for stage, labels in prediction.items():
            if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
                raise ValueError(f"{example.name}: an answer holds a label that is none of the {classes} classes")
            for region in self._regions:
                where = None if not region or example.mask is None else _missing(example.mask, example.truth)
                confusions[stage + region] = confusion(labels, example.truth, classes, where)
        return confusions

    @property
    def _regions(self) -> tuple[str, ...]:
        return ("", "_hole") if self.bins else ("",)

    def tables(self, scores: Scores) -> dict[str, list[str]]:
        raw = [metric for metric in scores.units if metric.startswith("miou_raw")]
        completed = [metric for metric in scores.units if metric not in raw]
        return {"before completion": raw, "after completion": completed}

    def settings(self) -> dict[str, Any]:
        holes = {"bins": [list(ends) for ends in self.bins], "holes": self.holes if self.bins else None}
        settings = {"fill": self.fill, "classes": self.classes, **self.words, "condition": self.condition}
        return {**holes, **settings, "side": self.side, "seed": self.seed}
