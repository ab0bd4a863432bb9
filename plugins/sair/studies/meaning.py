"""What a trained SAIR makes of meaning: holes in dB with its own, with another picture's, and with the clean picture's.

python plugins/sair/studies/meaning.py sair_faces data/faces/test --masks data/masks --size 88 --first 40
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

import implicitkit as ik
from implicitkit.evaluation import Example
from implicitkit.evaluation.inpainting import InpaintingProtocol


def main() -> None:
    """Print a table: a row per kind of meaning, a column per bin of holes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a file or a name; its condition is called semantic")
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", help="a folder of masks, white where missing (default: strokes)")
    parser.add_argument("--size", type=int, default=88, help="pixels")
    parser.add_argument("--first", type=int, default=40, help="pictures per bin")
    arguments = parser.parse_args()
    model = ik.load_model(arguments.model)
    protocol = InpaintingProtocol(masks=arguments.masks, size=arguments.size, solvers=False)
    bins: dict[str, list[Example]] = {}
    for example in protocol.examples(arguments.data):
        if len(bins.setdefault(example.setting, [])) < arguments.first:
            bins[example.setting].append(example)
    columns = {setting: of_bin(model, examples) for setting, examples in bins.items()}
    print("| meaning | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    own = {setting: np.array(scores["its own"]) for setting, scores in columns.items()}
    for kind in next(iter(columns.values())):
        cells = []
        for setting, scores in columns.items():
            gain = np.array(scores[kind]) - own[setting]
            ends = bootstrap((gain,), np.mean, rng=0).confidence_interval if gain.any() else (0, 0)
            cells.append(f"{np.mean(scores[kind]):.2f} ({gain.mean():+.2f} [{ends[0]:+.2f}, {ends[1]:+.2f}])")
        print(f"| {kind} | " + " | ".join(cells) + " |")


def of_bin(model: ik.ImplicitModel, examples: list[Example]) -> dict[str, list[float]]:
    """The hole's PSNR of each picture, for each kind of meaning."""
    meaning = model.conditions["semantic"]
    seen = [meaning.encode(e.image, e.mask) for e in examples]
    clean = [meaning.encode(e.truth) for e in examples]
    scores: dict[str, list[float]] = {"its own": [], "another picture's": [], "the clean picture's": []}
    for number, example in enumerate(examples):
        fields = (seen[number], seen[(number + 1) % len(seen)], clean[number])
        for kind, field in zip(scores, fields, strict=True):
            painted = model.encode(example.image, example.mask, conditions={"semantic": field}).render(example.size)
            assert example.mask is not None
            hole = example.mask.bool().expand_as(painted)
            error = float((painted - example.truth)[hole].double().square().mean())
            scores[kind].append(-10 * float(np.log10(max(error, 1e-10))))
    return scores


if __name__ == "__main__":
    main()
