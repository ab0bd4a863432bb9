"""Methods side by side: trained on the same budget, scored by the same protocol, reported with their costs
(:func:`~implicitkit.comparison.compare.compare`); and pictures side by side (:mod:`~implicitkit.comparison.figures`).
"""

from implicitkit.comparison.figures import PHOTO, compare_upscaling

__all__ = ["PHOTO", "compare_upscaling"]
