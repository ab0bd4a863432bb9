"""Where files are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from implicitkit.errors import UserError


def cache_folder() -> Path:
    """``$IMPLICITKIT_CACHE``, or ``implicitkit`` in the user's cache folder.

    Raises:
        UserError: the user has no home folder, and no variable says where else.
    """
    if own := os.environ.get("IMPLICITKIT_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "implicitkit"
    except RuntimeError:
        raise UserError("there is no home folder to keep files in; set IMPLICITKIT_CACHE to a folder") from None
