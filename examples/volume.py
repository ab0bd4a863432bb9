"""Thin slices from thick ones: LIIF in three dimensions on a real MRI, beside spline interpolation.

    pip install 'implicitkit[volumes]' && python examples/volume.py [OUT.nii.gz [MODEL.safetensors]]

The volume is one that nibabel ships for its tests (example4d.nii.gz, a head of 128×96×24 voxels). Slices four times as
thick are made of its first axis; one half of the head trains, the other half is measured. It takes a minute or two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

import implicitkit as ik
from implicitkit.images.volumes import Volume, write_volume

FACTOR, CROP, POINTS = 4, (64, 16, 16), 4096
MODEL = {
    "encoder": {"name": "edsr", "blocks": 3, "channels": 16, "res_scale": 1.0, "in_channels": 1, "ndim": 3},
    "decoder": {"name": "liif", "hidden": [32, 32], "out_channels": 1, "skip": "bilinear", "cell_decode": False},
}


def mri() -> Volume:
    """nibabel's own example, its first time step."""
    import nibabel
    from nibabel.testing import data_path

    image = nibabel.load(Path(data_path) / "example4d.nii.gz")
    values = np.asarray(image.dataobj, np.float32)[..., 0]
    low, high = float(values.min()), float(values.max())
    return Volume(torch.from_numpy((values - low) / (high - low))[None], image.affine, low, high)


def train(clean: torch.Tensor, thicker: ik.Degradation, steps: int) -> ik.ImplicitModel:
    """A model that learns from ``clean`` ``(1, D, H, W)`` alone."""
    torch.manual_seed(0)
    model = ik.create_model(MODEL)
    torch.nn.init.zeros_(model.decoder.rest[-1].weight)  # begin at the skip, linear interpolation
    torch.nn.init.zeros_(model.decoder.rest[-1].bias)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        corner = [int(torch.randint(n - c + 1, ())) for n, c in zip(clean.shape[1:], CROP, strict=True)]
        crop = clean[(slice(None), *(slice(a, a + c) for a, c in zip(corner, CROP, strict=True)))]
        crop = crop.flip([axis for axis in (1, 2, 3) if torch.rand(()) < 0.5])
        seen = thicker(crop[None])
        voxels = torch.stack([torch.randint(n, (1, POINTS)) for n in CROP], dim=-1)
        coords = -1 + (2 * voxels + 1) / torch.tensor(CROP)
        truth = seen.reference[0, 0][voxels[0].unbind(-1)]
        loss = (model(seen.image, coords).values[0, :, 0] - truth).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def psnr(found: torch.Tensor, truth: torch.Tensor) -> float:
    """In dB, for values in [0, 1]."""
    return float(-10 * (found - truth).square().mean().log10())


def main(output: str | None = None, file: str | None = None, steps: int = 300) -> dict[str, float]:
    """Train, measure on the other half, and write the whole head and the model if ``output`` and ``file`` say where."""
    from scipy.ndimage import zoom

    volume = mri()
    middle = volume.values.shape[2] // 2
    known, other = volume.values[:, :, :middle], volume.values[:, :, middle:]
    thicker = ik.create_degradation("super_resolution", scale=[FACTOR, 1, 1], per_axis=True, ndim=3)
    model = train(known, thicker, steps)
    seen = thicker(other)
    size = tuple(seen.reference.shape[1:])
    zooms = [n / m for n, m in zip(size, seen.image.shape[1:], strict=True)]
    scores = {}
    for name, order in (("linear", 1), ("cubic spline (scipy.ndimage.zoom, order 3)", 3)):
        found = zoom(seen.image[0].numpy(), zooms, order=order, mode="nearest", grid_mode=True)
        scores[name] = psnr(torch.from_numpy(found).clamp(0, 1), seen.reference[0])
    scores["LIIF-3D"] = psnr(model.encode(seen.image).render(size)[0], seen.reference[0])
    for name, score in scores.items():
        print(f"{name:<45} {score:.2f} dB")
    if output:
        thick = thicker(volume.values)
        coarse = volume.resized(thick.image)
        fine = coarse.resized(model.encode(thick.image).render(coarse.size_at(volume.spacing)))
        write_volume(output, fine)
        before, after = ("×".join(f"{s:.2f}" for s in v.spacing) for v in (coarse, fine))
        print(f"{output}: voxels of {after} mm from {before}")
    if file:
        print(f"{model.save(file)}: implicitkit upscale SCAN.nii.gz --model {file}")
    return scores


if __name__ == "__main__":
    main(*sys.argv[1:3])
