"""Scores on test sets, by the protocols that papers use.

:func:`implicitkit.create_protocol` creates a :class:`~implicitkit.evaluation.protocol.Protocol`, which yields examples
(:class:`~implicitkit.evaluation.protocol.Example`) and scores models' predictions: ``benchmark``, ``div2k`` and
``plain`` for super-resolution (:mod:`~implicitkit.evaluation.super_resolution`), ``inpainting``
(:mod:`~implicitkit.evaluation.inpainting`), ``restoration`` for any degradation
(:mod:`~implicitkit.evaluation.restoration`). The functions ``evaluate...`` score any method, not only models.
"""

from implicitkit.evaluation.inpainting import create_holes, evaluate_inpainting, hole_spec, mean_fill
from implicitkit.evaluation.protocol import Answer, Example, ModelMethod, Progress, Protocol
from implicitkit.evaluation.restoration import as_degraded, evaluate_restoration
from implicitkit.evaluation.scores import Metrics, Scores, markdown_table
from implicitkit.evaluation.super_resolution import Pair, TestSet, Upscaler, bicubic, evaluate, make_pair, score
from implicitkit.images.folders import by_name

__all__ = [
    "Answer",
    "Example",
    "Metrics",
    "ModelMethod",
    "Pair",
    "Progress",
    "Protocol",
    "Scores",
    "TestSet",
    "Upscaler",
    "as_degraded",
    "bicubic",
    "by_name",
    "create_holes",
    "evaluate",
    "evaluate_inpainting",
    "evaluate_restoration",
    "hole_spec",
    "make_pair",
    "markdown_table",
    "mean_fill",
    "score",
]
