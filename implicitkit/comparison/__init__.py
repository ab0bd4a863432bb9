"""Pictures side by side (:mod:`~implicitkit.comparison.sheets`), and models side by side: trained on the same budget,
scored by the same protocol, reported with their costs (:func:`~implicitkit.comparison.compare.compare`).
"""

from implicitkit.comparison.sheets import PHOTO, compare_upscaling, sheet

__all__ = ["PHOTO", "compare_upscaling", "sheet"]
