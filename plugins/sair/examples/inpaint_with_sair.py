"""Fit a small SAIR to a photo with holes, paint what is missing, and ask what the field means there.

    python plugins/sair/examples/inpaint_with_sair.py [PHOTO] [--steps 200] [--model best.safetensors]

Nothing here is a benchmark: without ``--model`` the network sees one photo for a minute, and its semantic encoder has
random weights. It shows how the parts go together: a model with a condition, two losses, an inpainting, a segmentation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import implicitkit as ik
from implicitkit.coordinates import cell_size, grid
from implicitkit.degradations import seeded
from implicitkit.images import write_picture
from implicitkit_sair import inpaint, segment
from implicitkit_sair.segmentation.overlay import Panel, draw_overlay

PHOTO = Path(__file__).parents[3] / "examples" / "photos" / "coffee.png"
SPEC = {
    "encoder": {"name": "edsr", "blocks": 4, "channels": 32, "res_scale": 1.0},
    "decoder": {"name": "air", "semantic_channels": 96, "hidden": [64, 64], "skip": "bilinear"},
    "conditions": {
        "semantic": {
            "encoder": {"name": "mae_small", "width": 96, "depth": 4},
            "decoder": {"name": "sir", "hidden": [64, 64], "residual": "bilinear"},
            "inputs": ["image", "mask"],
        }
    },
    "inputs": ["image", "mask"],
}


def fit(model: ik.ImplicitModel, clean: Tensor, steps: int) -> None:
    """Teach ``model`` to fill holes of ``clean`` ``(3, H, W)``: colour, and meaning."""
    holes = ik.create_degradation({"name": "inpainting", "kind": "boxes", "ratio": [0.05, 0.3]})
    colour, meaning = ik.create_loss("l1", hole_weight=6.0), ik.create_loss("semantic")
    meaning.attach(model)
    points, size = grid(clean.shape[1:]), clean.shape[1:]
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    model.train()
    for step in range(steps):
        seen = holes(clean[None], seeded(1, step))
        chosen = torch.randint(len(points), (2048,), generator=seeded(2, step))
        batch = {
            "mask": seen.mask,
            "coords": points[chosen][None],
            "target": clean.flatten(1).t()[chosen][None],
            "reference": clean[None],
        }
        prediction = model(seen.image, batch["coords"], cell_size(size)[None, None], seen.mask)
        terms = colour(prediction, batch), meaning(prediction, batch)
        optimiser.zero_grad()
        (terms[0] + 0.1 * terms[1]).backward()
        optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: colour {terms[0].item():.4f}, meaning {terms[1].item():.4f}")
    model.eval()


def main() -> None:
    """Fit (or load), paint, segment; write two pictures into the current folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--steps", type=int, default=200, help="of fitting, without --model")
    parser.add_argument("--model", help="a SAIR that has been trained")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    clean = ik.read_image(arguments.photo)[:, 100:228, 150:310]
    if arguments.model:
        model = ik.load_model(arguments.model)
    else:
        model = ik.create_model(SPEC)
        fit(model, clean, arguments.steps)

    holes = ik.create_degradation({"name": "inpainting", "kind": "strokes", "ratio": 0.25})
    seen = holes(clean, seeded(7))
    painted = inpaint(model, clean, seen.mask)  # what is under the hole is not looked at
    psnr = ik.create_metric("psnr")
    for name, picture in (("with its holes", seen.image), ("painted", painted)):
        print(f"{name}: {psnr(picture, clean, seen.mask):.2f} dB in the hole")
    ik.write_image("painted.png", torch.cat([seen.image, painted, clean], dim=2))

    field = model.encode(seen.image, seen.mask)
    corners = torch.tensor([[-0.9, -0.9], [0.9, 0.9], [0.0, 0.0]])  # with a clip encoder, these would be words
    names = ["like top left", "like bottom right", "like the middle"]
    size = (256, 320)
    examples = model.conditions["semantic"].encode(seen.image, seen.mask)(corners)
    panels = [
        Panel(title, segment(field, names, size, embeddings=examples, completed=completed).labels)
        for title, completed in (("raw features", False), ("completed", True))
    ]
    write_picture("meaning.png", draw_overlay(field.render(size), panels, names))
    print("wrote painted.png (holes, painted, truth) and meaning.png")


if __name__ == "__main__":
    main()
