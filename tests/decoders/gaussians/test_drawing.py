"""Given Gaussians, against a sum written out, and against GSASR's own kernel."""

import math

import numpy as np
import pytest
import torch

from implicitkit.decoders.gaussians import drawing
from implicitkit.decoders.gaussians.drawing import Gaussians
from oracles import PARITY

BAR = 1e-5


def some(count: int = 40, size: tuple[int, int] = (19, 23)) -> Gaussians:
    generator = torch.Generator().manual_seed(0)
    uniform = lambda *shape: torch.rand(2, count, *shape, generator=generator)  # noqa: E731
    place = uniform(2) * torch.tensor(size)
    return Gaussians(place, 0.3 + 3 * uniform(2), 1.8 * uniform() - 0.9, uniform(3))


def test_the_sum_is_that_of_the_formula() -> None:
    drawn = some().draw((19, 23))
    for b, y, x in ((0, 3, 7), (1, 18, 0), (1, 9, 22)):
        expected = [0.0] * 3
        for n in range(40):
            (cy, cx), (sy, sx) = some().centre[b, n].tolist(), some().sigma[b, n].tolist()
            rho, v, u = float(some().rho[b, n]), (y - cy) / sy, (x - cx) / sx
            height = math.exp(-(u**2 - 2 * rho * u * v + v**2) / (2 * (1 - rho**2)))
            expected = [sum_ + height * c for sum_, c in zip(expected, some().colour[b, n].tolist(), strict=True)]
        torch.testing.assert_close(drawn[b, :, y, x], torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("reach", [None, (4.0, 5.5), (0.2, 100.0)])
def test_blocks_change_nothing(reach: tuple[float, float] | None) -> None:
    whole = some().draw((19, 23), reach, block=64)
    for block in (1, 7, 16):
        torch.testing.assert_close(some().draw((19, 23), reach, block), whole, atol=1e-5, rtol=0)
    far = some().draw((19, 23))
    assert bool((whole == far).all()) is (reach is None)


@pytest.mark.parametrize("reach", [None, (4.0, 5.5), (0.2, 100.0)])
def test_points_gather_what_the_canvas_shows(
    reach: tuple[float, float] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, and square by square."""
    far = None if reach is None else torch.tensor([reach, reach])
    y, x = torch.meshgrid(torch.arange(19.0), torch.arange(23.0), indexing="ij")
    points = torch.stack([y, x], dim=-1).reshape(1, -1, 2)
    expected = some().draw((19, 23), reach).flatten(2).transpose(1, 2)
    for pairs in (1 << 20, 100):
        monkeypatch.setattr(drawing, "PAIRS", pairs)
        with torch.no_grad():
            torch.testing.assert_close(some().at(points, far), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(some().at(points, far), expected, atol=1e-5, rtol=0)


def test_points_have_gradients_in_squares_too(monkeypatch: pytest.MonkeyPatch) -> None:
    slopes = []
    for pairs in (1 << 20, 100):
        monkeypatch.setattr(drawing, "PAIRS", pairs)
        given, points = some(), (torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1)) * 18).requires_grad_()
        given.centre.requires_grad_()
        given.at(points, torch.tensor([[5.0, 5.0], [3.0, 9.0]])).square().sum().backward()
        slopes.append((points.grad, given.centre.grad))
    for one, other in zip(*slopes, strict=True):
        assert float(one.abs().max()) > 0
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1, 2])
def test_equals_gsasr_from_its_gaussians(scale: int) -> None:
    arrays = np.load(PARITY / "gsasr-drawing.npz")
    theirs, s = {key: torch.from_numpy(arrays[key]) for key in arrays}, float(arrays["scales"][scale - 1])
    size = [int(s * n) for n in arrays["padded_size"]]
    given = Gaussians.of_gsasr(theirs[f"scale{scale}_gaussians"], size, s)
    for key, reach in ((f"scale{scale}_output", None), (f"scale{scale}_dmax_output", given.gsasr_reach(size))):
        h, w = theirs[key].shape[2:]
        for block in (64, 13):
            drawn = given.draw(size, reach, block)[..., :h, :w]
            assert float((drawn - theirs[key]).abs().max()) <= BAR * max(1.0, float(theirs[key].abs().max()))
