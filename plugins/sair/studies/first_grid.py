"""The picture that ``docs/comparison.md`` begins with: solvers beside the models that ship, on faces with wide holes.

    python plugins/sair/studies/first_grid.py data/faces/test --masks data/masks -o docs/comparison/first.jpg

The rows are chosen by a rule: of the test faces with 40-60 % missing, those at the best, the upper quarter, the median,
the lower quarter and the worst of ``sair_faces`` minus the better solver (the hole's PSNR).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from solvers import open_cv
from torch import Tensor

import implicitkit as ik
from implicitkit.evaluation.inpainting import InpaintingProtocol
from implicitkit.images import fill_holes
from implicitkit_sair import inpaint

matplotlib.use("Agg")
from matplotlib import pyplot

LOOKS = Path(__file__).parent / "weights" / "sair_faces_looks.safetensors"
RANKS = (1.0, 0.75, 0.5, 0.25, 0.0)


def painters() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The columns: picture ``(3, H, W)`` and mask ``(1, H, W)`` -> picture."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = dict(open_cv())
    for name, title in (("harmonic", "membrane"), ("biharmonic", "thin plate")):
        found[title] = lambda x, m, name=name: fill_holes(x[None], m[None], name)[0]
    for title, source in (("sair_faces", "sair_faces"), ("for looks", LOOKS)):
        model = ik.load_model(source)
        found[title] = lambda x, m, model=model: inpaint(model, x, m)
    return found


def hole_psnr(answer: Tensor, truth: Tensor, mask: Tensor) -> float:
    """In dB, of 8-bit values."""
    error = (((answer.clamp(0, 1) * 255).round() / 255 - truth).square() * mask).sum() / (3 * mask.sum())
    return float(-10 * torch.log10(error.clamp_min(1e-10)))


def main() -> None:
    """Choose the rows and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", required=True)
    parser.add_argument("--size", type=int, default=88)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    protocol = InpaintingProtocol(bins=[(40.0, 60.0)], masks=arguments.masks, size=arguments.size)
    columns = painters()
    rows = []
    for example in protocol.examples(arguments.data):
        truth, mask = example.truth, example.mask
        assert mask is not None
        known = example.image * (1 - mask)
        answers = {name: torch.where(mask > 0.5, paint(known, mask), truth) for name, paint in columns.items()}
        scores = {name: hole_psnr(answer, truth, mask) for name, answer in answers.items()}
        gain = scores["sair_faces"] - max(scores["membrane"], scores["thin plate"])
        rows.append((gain, {"what is known": torch.where(mask > 0.5, 0.5, truth), **answers, "truth": truth}, scores))
    rows.sort(key=lambda row: row[0])
    shown = [rows[round(rank * (len(rows) - 1))] for rank in RANKS]
    titles = list(shown[0][1])
    figure, axes = pyplot.subplots(len(shown), len(titles), figsize=(1.5 * len(titles), 1.62 * len(shown)))
    for line, (_, pictures, scores) in zip(axes, shown, strict=True):
        for axis, title in zip(line, titles, strict=True):
            axis.imshow(np.asarray(pictures[title].clamp(0, 1).permute(1, 2, 0)))
            axis.set_xticks([]), axis.set_yticks([])
            axis.set_xlabel(f"{scores[title]:.2f} dB" if title in scores else "", fontsize=8, labelpad=1)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title.replace(" (OpenCV)", ""), fontsize=9)
    figure.tight_layout(pad=0.2)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=100, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
