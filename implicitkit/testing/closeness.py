"""Compare two ways to compute a value."""

from __future__ import annotations

from torch import Tensor


def assert_close(values: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    """Assert that they differ by at most ``tolerance``, relative to the largest value if that is above 1.

    >>> import torch
    >>> assert_close(torch.zeros(3), torch.full((3,), 1e-6), 1e-5, "two zeros")
    """
    assert values.shape == expected.shape, f"{message}: {tuple(values.shape)} and {tuple(expected.shape)}"
    difference = float((values - expected).abs().max())
    allowed = tolerance * max(1.0, float(expected.abs().max()))
    assert difference <= allowed, f"{message}: by {difference:.2g}, allowed is {allowed:.2g}"
