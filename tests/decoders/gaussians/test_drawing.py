"""Given Gaussians, against a sum written out, and against GSASR's own kernel."""

import math

import numpy as np
import pytest
import torch

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
