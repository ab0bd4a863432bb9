"""Compare two decoders on equal terms, from Python.

    python examples/compare.py [--steps 50] [--output FOLDER]

Each run is a process of its own; given a folder, calling it again goes on where it was. Nothing here is a
benchmark: fifty steps are few, and the interval says how sure the difference is.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from implicitkit.comparison.compare import compare
from implicitkit.config.comparison import CompareConfig

PHOTOS = Path(__file__).parent / "photos"


def comparison(output: Path, steps: int) -> CompareConfig:
    """LIIF and LTE on ×1 to ×4, the same encoder, crops and budget."""
    encoder = {"name": "edsr", "blocks": 2, "channels": 16, "res_scale": 1.0}
    return CompareConfig(
        title="LIIF and LTE",
        output=output,
        seeds=[0],
        threads=1,
        prepare=[{"makes": "{output}/pictures", "cut": {"folders": [str(PHOTOS)], "side": 96, "test_every": 12}}],
        base={
            "degradation": {"name": "super_resolution", "scale": [1, 4]},
            "data": {"folders": ["{output}/pictures/train"], "patch": 24, "points": 256, "held_out": 2},
            "optimiser": {"lr": 2e-3, "schedule": "cosine", "clip": 1},
            "validation": {"every": 50, "scales": [4]},
            "steps": steps,
            "batch": 4,
            "log_every": 10,
        },
        methods={
            "LIIF": {"model": {"encoder": encoder, "decoder": {"name": "liif", "hidden": [32], "skip": "bilinear"}}},
            "LTE": {"model": {"encoder": encoder, "decoder": {"name": "lte", "hidden": [32], "basis": 32}}},
        },
        reference=["LIIF"],
        evaluation={"protocol": "plain", "data": "{output}/pictures/test", "scales": [4]},
    )


def main() -> None:
    """Train both, and say which is better by how much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report = compare(comparison(arguments.output or Path(temporary), arguments.steps), say=print)
        test = report["evaluations"]["plain"]
        for method, settings in test["summary"].items():
            print(f"{method}: {settings['4']['psnr']['mean']:.2f} dB at x4")
        found = test["differences"]["LIIF"]["LTE"]["4"]["psnr"]
        print(f"LTE minus LIIF: {found['mean']:+.2f} dB, 95 % interval {found['low']:+.2f} to {found['high']:+.2f}")
        print((Path(report["folder"]) / "report.md").read_text().splitlines()[0])


if __name__ == "__main__":
    main()
