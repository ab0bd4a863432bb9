"""Pictures as phones make them, enlarged by the models in the box: shrunk, with noise, compressed as JPEG.

python benchmarks/real_pictures.py Set14/X2/HR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.evaluation import bicubic
from implicitkit.images.folders import picture_files

MODELS = ("liif_small", "fast", "fast_real")
SETTINGS = ((2, 50, 3.0), (2, 75, 0.0), (4, 60, 3.0))  # scale, JPEG quality, standard deviation of 255
SIDE = 256  # pixels


def main() -> None:
    """Print one table: a row per method, PSNR of all channels in dB and LPIPS (AlexNet)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    metrics = [ik.create_metric(name) for name in ("psnr", "lpips_alex")]
    models = {name: ik.load_model(name) for name in MODELS}
    print("| | " + " | ".join(f"×{s}, JPEG {q}, σ {n:g}" for s, q, n in SETTINGS) + " |\n" + "|---" * 4 + "|")
    rows: dict[str, list[str]] = {}
    for scale, quality, sigma in SETTINGS:
        shrunk = {"name": "super_resolution", "scale": scale, "kernel": "matlab"}
        chain = ik.create_degradation([shrunk, {"name": "noise", "sigma": sigma}, {"name": "jpeg", "quality": quality}])
        scores: dict[str, list[list[float]]] = {}
        for number, file in enumerate(picture_files([arguments.folder])):
            clean = ik.read_image(file)[:3]
            size = [min(n - n % scale, SIDE) for n in clean.shape[1:]]
            clean = clean[:, : size[0], : size[1]].contiguous()
            low = chain(clean, seeded(number)).image
            answers = {"bicubic": bicubic(low, (size[0], size[1]))}
            with torch.inference_mode():
                answers |= {name: model.encode(low).render((size[0], size[1])) for name, model in models.items()}
            for name, answer in answers.items():
                scores.setdefault(name, []).append([float(metric(answer.clamp(0, 1), clean)) for metric in metrics])
        for name, values in scores.items():
            psnr, lpips = torch.tensor(values).mean(0).tolist()
            rows.setdefault(name, []).append(f"{psnr:.2f} / {lpips:.3f}")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
