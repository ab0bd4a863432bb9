"""LTE with sinc damping, against the mean over a pixel."""

from __future__ import annotations

import torch

from implicitkit.coordinates import grid
from implicitkit.decoders.base import Inputs
from implicitkit.decoders.basis.sinc_lte import SincLTE
from implicitkit.encoders.base import Features


@torch.no_grad()
def test_the_pixels_size_is_a_mean_over_the_pixel() -> None:
    """With a linear read-out, one neighbour and no skip, all is linear in the waves."""
    decoder = SincLTE(4, 3, [], basis=8, local_ensemble=False, skip="none").eval()
    features = Features(torch.randn(1, 4, 3, 3), (3, 3))
    latent = decoder.prepare(features, Inputs(torch.zeros(1, 3, 3, 3)), {})
    size, middle = torch.tensor([0.3, 0.2]), torch.tensor([0.05, -0.08])  # within the middle cell, which ends at 1/3
    fine = (grid((64, 64)) * size / 2 + middle)[None]
    bare = decoder.query(latent, fine, torch.zeros(1, 1, 2), {}).mean(1)
    pixel = decoder.query(latent, middle[None, None], size[None, None], {})[:, 0]
    torch.testing.assert_close(pixel, bare, atol=1e-4, rtol=0)  # a sum of 64^2 in place of the integral
    assert (decoder.query(latent, middle[None, None], torch.zeros(1, 1, 2), {})[:, 0] - bare).abs().max() > 1e-3
