"""A model beside what needs no learning: holes of a folder's pictures, in dB, with intervals over the pictures.

python plugins/sair/studies/solvers.py MODEL data/faces/test --masks data/masks --size 88
python plugins/sair/studies/solvers.py MODEL data/faces_hq --masks data/masks --size 256 --bins 20-40 40-60
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from torch import Tensor

import implicitkit as ik
from implicitkit.evaluation import evaluate_inpainting, mean_fill
from implicitkit.images import fill_holes
from implicitkit_sair import inpaint

SOLVERS = ("harmonic", "biharmonic")


def solver(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A fill as a method of the protocol."""
    return lambda image, mask: fill_holes(image[None], mask[None], name)[0]


def open_cv() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Navier-Stokes as OpenCV has it, radius 3; nothing where OpenCV is not installed."""
    try:
        import cv2
    except ImportError:
        return {}
    import torch

    def navier_stokes(image: Tensor, mask: Tensor) -> Tensor:
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        filled = cv2.inpaint(pixels, (mask[0].numpy() > 0.5).astype(np.uint8), 3, cv2.INPAINT_NS)
        return torch.from_numpy(filled).permute(2, 0, 1).float() / 255

    return {"Navier-Stokes (OpenCV)": navier_stokes}


def main() -> None:
    """Print one table per metric, and the model's differences to each solver."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+", help="files or names")
    parser.add_argument("data", type=Path)
    parser.add_argument("--masks", help="a folder of masks, white where missing (default: strokes)")
    parser.add_argument("--size", type=int, default=88, help="pixels; 0: as they come")
    parser.add_argument("--bins", nargs="+", default=["0-20", "20-40", "40-60"])
    parser.add_argument("--lpips", help="a folder with alexnet_features.pth and vgg16_features.pth")
    parser.add_argument("--mirror", action="store_true", help="average with the answer for the mirrored picture")
    arguments = parser.parse_args()
    models = {Path(name).stem: ik.load_model(name) for name in arguments.model}
    methods: dict[str, Any] = {"mean colour": mean_fill, **{name: solver(name) for name in SOLVERS}, **open_cv()}
    methods |= {
        name: lambda x, m, model=model: inpaint(model, x, m, mirror=arguments.mirror) for name, model in models.items()
    }
    metrics: list[Any] = ["psnr", "ssim"]
    for net, file in (("alex", "alexnet"), ("vgg", "vgg16")):
        if arguments.lpips:
            weights = str(Path(arguments.lpips) / f"{file}_features.pth")
            metrics.append({"name": "lpips_alex" if net == "alex" else "lpips", "weights": weights})
    holes = {"name": "inpainting", "kind": "folder", "folder": arguments.masks, "augment": False}
    bins = [tuple(float(end) for end in text.split("-")) for text in arguments.bins]
    scores = evaluate_inpainting(
        methods,
        arguments.data,
        bins,  # type: ignore[arg-type]
        holes if arguments.masks else None,
        metrics,
        size=arguments.size or None,
        paste=True,
    )
    settings = list(next(iter(scores.values.values())))
    for metric in scores.units:
        print(f"\n| {metric} | " + " | ".join(settings) + " |\n|" + "---|" * (len(settings) + 1))
        for method in methods:
            means = [np.mean(list(scores.values[method][s][metric].values())) for s in settings]
            print(f"| {method} | " + " | ".join(f"{value:.4g}" for value in means) + " |")
        for model in models:
            for rival in (*SOLVERS, *open_cv()):
                cells = [difference(scores.values, model, rival, s, metric) for s in settings]
                print(f"| {model} - {rival} | " + " | ".join(cells) + " |")


def difference(values: Any, model: str, rival: str, setting: str, metric: str) -> str:
    """The mean difference over pictures, its 95 % interval (BCa), and on how many the model has the higher value."""
    ours, theirs = values[model][setting][metric], values[rival][setting][metric]
    gaps = np.array([ours[name] - theirs[name] for name in ours])
    low, high = bootstrap((gaps,), np.mean, n_resamples=2000, random_state=0).confidence_interval
    return f"{gaps.mean():+.3g} [{low:+.3g}, {high:+.3g}], {int((gaps > 0).sum())} of {len(gaps)}"


if __name__ == "__main__":
    main()
