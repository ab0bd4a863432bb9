"""What layouts share."""

import torch

from implicitkit.weights.layouts.base import as_linear, numbers, renamed


def test_the_first_rule_that_matches_counts_and_only_at_the_beginning() -> None:
    tensors = {"a.1.weight": torch.zeros(1), "b.a.weight": torch.zeros(2), "c": torch.zeros(3)}
    ours = renamed(tensors, ((r"a\.(\d+)\.", r"x.\1."), (r"a\.", "y.")))
    assert list(ours) == ["x.1.weight", "b.a.weight", "c"]
    assert ours["x.1.weight"] is tensors["a.1.weight"]


def test_numbers_are_sorted_as_numbers() -> None:
    assert numbers({f"k.{n}.w": torch.zeros(1) for n in (10, 2, 0)}, r"k\.(\d+)\.w") == [0, 2, 10]


def test_only_pointwise_convolutions_become_linear() -> None:
    changed = as_linear({"a": torch.zeros(4, 3, 1, 1), "b": torch.zeros(4, 3, 3, 3), "c": torch.zeros(4)})
    assert [tuple(value.shape) for value in changed.values()] == [(4, 3), (4, 3, 3, 3), (4,)]
