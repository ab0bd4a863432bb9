"""What tests compare with: formulas written from the papers, and models, runs and comparisons small enough to try.

Here, where things are; in ``formulas``, slow and literal versions; in ``models`` and ``reduced``, small models of every
kind; in ``runs`` and ``comparisons``, short trainings; in ``kernel``, the plain path beside the CPU kernel.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PHOTOS = ROOT / "examples" / "photos"
PARITY = ROOT / "tests" / "parity"
