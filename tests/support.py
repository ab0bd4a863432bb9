"""What many tests use: where things are, and a small model."""

from __future__ import annotations

from pathlib import Path

import implicitkit as ik

ROOT = Path(__file__).parent.parent
PHOTOS = ROOT / "examples" / "photos"
PARITY = ROOT / "tests" / "parity"


def small_model(
    channels: int = 8, blocks: int = 2, hidden: tuple[int, ...] = (16, 16), **decoder: object
) -> ik.ImplicitModel:
    """EDSR and LIIF, small enough for a test."""
    encoder = {"name": "edsr", "blocks": blocks, "channels": channels, "res_scale": 1.0}
    return ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": list(hidden), **decoder}}).eval()


class Outcome:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]
