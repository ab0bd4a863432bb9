"""The detail that the demo enlarges."""

import torch

from implicitkit.cli.demo import busiest


def test_the_detail_is_where_most_happens() -> None:
    picture = torch.zeros(3, 64, 64)
    picture[:, 33:47, 17:31] = torch.rand(3, 14, 14)
    rows, columns = busiest(picture, 16)
    assert (rows, columns) == (slice(32, 48), slice(16, 32))
