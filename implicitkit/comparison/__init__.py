"""Methods side by side: trained on the same budget, scored by the same protocol, reported with their costs
(:func:`~implicitkit.comparison.compare.compare`).
"""
