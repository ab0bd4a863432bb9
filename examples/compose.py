"""Compose a model, and what it is shown, three ways: by name, by spec, by hand.

    python examples/compose.py [PHOTO] [--steps 60]

Nothing here is a benchmark: the two untrained models are fitted to this one photo for a few seconds, to show that any
encoder and any decoder make a model that learns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import implicitkit as ik
from implicitkit.coordinates import axes, cell_size, mesh
from implicitkit.metrics import psnr

PHOTO = Path(__file__).parent / "photos" / "coffee.png"


class Pyramid(ik.Encoder):
    """An encoder of one's own: features at half the picture's resolution."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.out_channels, self.stride, self.size_multiple = channels, 2, 2
        self.radius = 5  # pixels: how far away a pixel can change a feature, so that tiles get a halo wide enough
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def extract(self, x: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [-1, 1] -> ``(B, channels, H/2, W/2)``."""
        return self.layers(x)


def models() -> dict[str, ik.ImplicitModel]:
    """One model per way of composing."""
    by_name = ik.load_model("liif_small")
    by_spec = ik.create_model(
        {
            "encoder": {"name": "edsr", "blocks": 2, "channels": 32, "res_scale": 1.0},
            "decoder": {"name": "lte", "hidden": [32, 32], "basis": 32},
            "scales": [1, 4],
        }
    )
    by_hand = ik.ImplicitModel(Pyramid(), ik.create_decoder("liif", in_channels=32, hidden=[48, 48], skip="bilinear"))
    return {"by name (liif_small)": by_name, "by spec (edsr + lte)": by_spec, "by hand (own + liif)": by_hand}


def degradations() -> dict[str, ik.Degradation]:
    """What a model may be shown: one by name, one by spec, a chain."""
    return {
        "by name": ik.create_degradation("super_resolution", scale=2.5),
        "by spec": ik.create_degradation({"name": "noise", "sigma": 15}),
        "a chain": ik.create_degradation(
            [
                {"name": "blur", "sigma": [0.4, 1.0]},
                {"name": "super_resolution", "scale": 2.5},
                {"name": "noise", "sigma": [1, 5]},
                {"name": "jpeg", "quality": [70, 95]},
            ]
        ),
    }


def fit(model: ik.ImplicitModel, shown: ik.Degraded, steps: int) -> None:
    """Teach ``model`` the colours of ``shown.reference`` at random pixels, from ``shown.image``."""
    model.train()
    size = tuple(shown.reference.shape[1:])
    points, colours = mesh(axes(size)), shown.reference.flatten(1).t()
    cell = cell_size(size)[None, None]
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(steps):
        chosen = torch.randint(len(points), (2048,))
        prediction = model(shown.image[None], points[chosen][None], cell)
        loss = (prediction.values - colours[chosen]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


def main() -> None:
    """Show every degradation to every model, and say how close each comes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--steps", type=int, default=60, help="of fitting, for the untrained models")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    clean = ik.read_image(arguments.photo)[:, 100:260, 150:310]
    for name, degrade in degradations().items():
        seen = degrade(clean, generator=torch.Generator().manual_seed(0))
        print(f"{name}: {tuple(clean.shape[1:])} -> {tuple(seen.image.shape[1:])}, drawn: {seen.record}")

    seen = degradations()["by name"](clean)
    size = tuple(seen.reference.shape[1:])
    for name, model in models().items():
        if not model.training_summary:
            fit(model, seen, arguments.steps)
        print(f"{name}: {psnr(model.encode(seen.image).render(size), seen.reference):.2f} dB")


if __name__ == "__main__":
    main()
