"""The tolerance of the contract tests."""

import pytest
import torch

from implicitkit.testing.closeness import assert_close


def test_relative_to_large_values_alone() -> None:
    assert_close(torch.tensor([100.0, 0.0]), torch.tensor([100.05, 0.0]), 1e-3, "close")
    for ours, theirs in ((torch.tensor([0.01]), torch.tensor([0.02])), (torch.zeros(1), torch.zeros(2))):
        with pytest.raises(AssertionError, match="^apart: "):
            assert_close(ours, theirs, 1e-3, "apart")
