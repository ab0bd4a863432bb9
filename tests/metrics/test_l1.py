"""The mean absolute difference against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from implicitkit.metrics import l1


def arrays(*pictures: torch.Tensor) -> list[np.ndarray]:
    return [p.double().numpy() for p in pictures]


def test_l1_is_the_mean_absolute_difference(clean: torch.Tensor, noisy: torch.Tensor) -> None:
    x, y = arrays(noisy, clean)
    assert l1(noisy, clean) == pytest.approx(np.abs(x - y).mean(), abs=1e-12)
    assert l1(noisy, clean, shave=5) == pytest.approx(np.abs(x - y)[:, 5:-5, 5:-5].mean(), abs=1e-12)
