"""Scores on test sets, by the protocols that papers use: ``benchmark``, ``div2k`` and ``plain`` for super-resolution
(:mod:`~implicitkit.evaluation.super_resolution`), ``inpainting`` (:mod:`~implicitkit.evaluation.inpainting`).
"""

from implicitkit.evaluation.inpainting import evaluate_inpainting, mean_fill
from implicitkit.evaluation.scores import Scores, markdown_table
from implicitkit.evaluation.super_resolution import PROTOCOLS as SUPER_RESOLUTION
from implicitkit.evaluation.super_resolution import (
    Pair,
    Protocol,
    TestSet,
    Upscaler,
    bicubic,
    evaluate,
    make_pair,
    score,
)

PROTOCOLS = (*SUPER_RESOLUTION, "inpainting")

__all__ = [
    "PROTOCOLS",
    "SUPER_RESOLUTION",
    "Pair",
    "Protocol",
    "Scores",
    "TestSet",
    "Upscaler",
    "bicubic",
    "evaluate",
    "evaluate_inpainting",
    "make_pair",
    "markdown_table",
    "mean_fill",
    "score",
]
