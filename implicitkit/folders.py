"""Where files are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$IMPLICITKIT_CACHE``, or ``implicitkit`` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implicitkit"
    return Path(os.environ.get("IMPLICITKIT_CACHE") or default)
