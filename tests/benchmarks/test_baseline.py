"""The baseline is what the authors' code computes, and the library equals it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import implicitkit as ik
from benchmarks.baseline import Baseline
from oracles import PARITY
from oracles.models import small_model

FILES = sorted(path.stem for path in PARITY.glob("*.pth") if path.stem.startswith(("liif-edsr", "lte")))


def error(ours: torch.Tensor, theirs: np.ndarray) -> float:
    return float(np.abs(ours.detach().numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("name", FILES)
def test_the_baseline_gives_the_authors_outputs(name: str) -> None:
    baseline, vectors = Baseline(ik.load_model(PARITY / f"{name}.pth")), np.load(PARITY / f"{name}.npz")
    picture = torch.from_numpy(vectors["input"])
    for k in (0, 1):
        size = vectors[f"grid{k}_size"].tolist()
        coords = torch.cartesian_prod(*(-1 + 1 / n + 2 / n * torch.arange(n).float() for n in size))
        coords = coords.expand(len(picture), -1, -1)
        cell = torch.tensor([2 / n for n in size]).expand_as(coords)
        values = baseline(picture / 2 + 0.5, coords, cell) * 2 - 1
        assert error(values.unflatten(1, size), vectors[f"grid{k}_output"]) <= 1e-5
    if "points_coord" in vectors:
        coords, cell = (torch.from_numpy(vectors[f"points_{what}"]) for what in ("coord", "cell"))
        values = baseline(picture / 2 + 0.5, coords, cell) * 2 - 1
        assert error(values, vectors["points_output"]) <= 1e-5


@pytest.mark.parametrize("decoder", ["liif", "lte", "lte_plus"])
def test_the_library_renders_what_the_baseline_renders(decoder: str, photo: torch.Tensor) -> None:
    model = small_model(name=decoder, skip="bilinear")
    picture = torch.stack([photo, photo.flip(1)])
    for size in ((256, 320), (97, 411)):  # more than one chunk; an odd size
        expected = Baseline(model).render(picture, size)
        # at a border between cells the two may take different ones of equals: coordinates differ in their last bit
        assert (model.encode(picture).render(size, clamp=False) - expected).abs().max() <= 1e-5


def test_the_baseline_trains_as_the_library_does() -> None:
    model = small_model()
    picture, coords = torch.rand(2, 3, 9, 11), torch.rand(2, 50, 2) * 2 - 1
    cell, target = torch.full_like(coords, 0.1), torch.rand(2, 50, 3)
    gradients = []
    for values in (lambda: model(picture, coords, cell).values, lambda: Baseline(model)(picture, coords, cell)):
        model.zero_grad()
        (values() - target).abs().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_other_decoders_are_refused() -> None:
    with pytest.raises(ik.UserError, match="written for liif and lte on pictures; received LMF"):
        Baseline(ik.create_model({"encoder": {"name": "edsr", "blocks": 0}, "decoder": "lmf"}))
