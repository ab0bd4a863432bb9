from __future__ import annotations

from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.degradations.noise import normal


def residuals(value: float, **arguments: Any) -> torch.Tensor:
    """What 200 draws add to a flat picture of ``value``: (200, 3, 24, 24)."""
    noise = ik.create_degradation("noise", clip=False, **arguments)
    picture = torch.full((3, 24, 24), value)
    return torch.stack([noise(picture, seeded(k)).image for k in range(200)]) - picture


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "speckle"])
@pytest.mark.parametrize("value", [0.2, 1.0])
@pytest.mark.parametrize("sigma", [2.0, 25.0])
def test_noise_is_unbiased_and_as_strong_as_it_says(kind: str, value: float, sigma: float) -> None:
    added = residuals(value, kind=kind, sigma=sigma)
    expected = sigma / 255 * {"gaussian": 1, "poisson": value**0.5, "speckle": value}[kind]
    n = added.numel()  # 345,600 values: four standard errors of the mean, and 1 % of the deviation
    assert abs(added.mean()) < 4 * expected / n**0.5
    assert abs(added.std() / expected - 1) < 0.01


def test_gaussian_noise_is_gaussian_and_independent() -> None:
    added = residuals(0.5, sigma=255.0)
    for limit, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
        assert abs((added.abs() < limit).double().mean() - share) < 0.003
    for shifted in (added.roll(1, -1), added.roll(1, -3), added.roll(1, 0)):  # neighbours, channels, draws
        assert abs((added * shifted).mean()) < 0.01


def test_poisson_counts_photons() -> None:
    noise = ik.create_degradation("noise", kind="poisson", sigma=51.0, clip=False)  # s = 0.2: 25 photons at white
    counts = noise(torch.rand(3, 20, 20), seeded(0)).image * 25
    torch.testing.assert_close(counts, counts.round(), atol=1e-4, rtol=0)
    assert noise(torch.zeros(3, 8, 8), seeded(0)).image.eq(0).all()


def test_salt_and_pepper_replace_their_share_equally() -> None:
    noise = ik.create_degradation("noise", kind="salt_and_pepper", amount=0.3)
    picture = torch.full((3, 24, 24), 0.5)
    seen = torch.stack([noise(picture, seeded(k)).image for k in range(200)])
    assert set(seen.unique().tolist()) == {0.0, 0.5, 1.0}
    for value in (0, 1):
        assert abs(seen.eq(value).double().mean() - 0.15) < 4 * (0.15 * 0.85 / seen.numel()) ** 0.5
    assert ik.create_degradation("noise", kind="salt_and_pepper", amount=0)(picture).image.eq(0.5).all()


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "speckle", "salt_and_pepper"])
def test_grey_noise_is_the_same_in_all_channels(kind: str) -> None:
    picture = torch.rand(1, 16, 16).expand(3, -1, -1)
    grey, coloured = (
        ik.create_degradation("noise", kind=kind, amount=0.5, grey=grey)(picture, seeded(1)).image
        for grey in (True, False)
    )
    torch.testing.assert_close(grey[0], grey[2], atol=1e-7, rtol=0)
    assert (coloured[0] - coloured[2]).abs().max() > 0.01


def test_sigma_is_drawn_from_its_range_and_kinds_by_their_weights() -> None:
    noise = ik.create_degradation("noise", kind={"gaussian": 3, "poisson": 1}, sigma=[10, 50])
    records = [noise.sample((3, 4, 4), seeded(k)) for k in range(400)]
    sigmas = torch.tensor([r["sigma"] for r in records])
    assert sigmas.min() >= 10 and sigmas.max() <= 50
    assert abs(sigmas.mean() - 30) < 4 * (40 / 12**0.5) / 20
    assert abs(sum(r["kind"] == "gaussian" for r in records) / 400 - 0.75) < 4 * (0.75 * 0.25 / 400) ** 0.5


def test_the_noise_has_the_same_bits_for_every_dtype() -> None:
    noise = ik.create_degradation("noise", sigma=25.0, clip=False)
    record = noise.sample((3, 8, 8), seeded(0))
    zeros = torch.zeros(3, 8, 8)
    drawn = torch.tensor(25 / 255, dtype=torch.float64) * normal((3, 8, 8), record["seed"]).double()
    torch.testing.assert_close(noise.apply(zeros.double(), record).image, drawn, atol=1e-15, rtol=0)
    assert torch.equal(noise.apply(zeros, record).image, (25 / 255) * normal((3, 8, 8), record["seed"]))


def test_clipping_is_optional_and_missing_pixels_are_noisy_too() -> None:
    white, holes = torch.ones(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    assert residuals(1.0).max() > 0.1
    noise = ik.create_degradation("noise")
    step = noise.degrade(white, holes, noise.sample((3, 16, 16), seeded(0)))
    assert step.image.max() == 1 and step.image.min() < 1 and torch.equal(step.mask, holes)


@pytest.mark.parametrize("kind", ["gaussian", "poisson", "speckle", "salt_and_pepper"])
def test_gradients_pass_what_noise_leaves(kind: str) -> None:
    noise = ik.create_degradation("noise", kind=kind, amount=0.5, sigma=5.0, clip=False)
    picture = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    record = noise.sample((3, 8, 8), seeded(0))
    seen = noise.apply(picture, record).image
    seen.sum().backward()
    expected = {
        "speckle": 1 + normal((3, 8, 8), record["seed"]) * 5 / 255,
        "salt_and_pepper": seen.detach()[0].eq(0.5).float(),
    }.get(kind, torch.ones(3, 8, 8))
    torch.testing.assert_close(picture.grad[0], expected)


@pytest.mark.parametrize(
    "arguments",
    [
        {"sigma": -1},
        {"sigma": [20, 10]},
        {"sigma": [1, 2, 3]},
        {"sigma": float("nan")},
        {"sigma": float("inf")},
        {"amount": 1.1},
        {"kind": "pink"},
        {"kind": []},
        {"kind": {"gaussian": -1}},
        {"kind": {"gaussian": 0}},
    ],
)
def test_impossible_settings_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="received"):
        ik.create_degradation("noise", **arguments)
