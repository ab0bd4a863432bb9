"""Attention over a window, and maps that are zero outside, against plain versions."""

import torch
import torch.nn.functional as F

from implicitkit.coordinates import grid
from implicitkit.decoders.joint.attention import Places, attend, read_with_zeros
from implicitkit.decoders.rows import Rows


def test_attention_is_a_softmax_per_head() -> None:
    query, key, value, places = (torch.randn(*shape) for shape in ((1, 3, 4), (1, 3, 9, 4), (1, 3, 9, 6), (1, 3, 9, 2)))
    ours = attend(query, key, value, places).unflatten(-1, (9, 6))
    for n in range(3):
        for head in range(2):
            own = slice(2 * head, 2 * head + 2)
            shares = (key[0, n, :, own] @ query[0, n, own] / 2**0.5 + places[0, n, :, head]).softmax(0)
            wanted = shares[:, None] * value[0, n, :, 3 * head : 3 * head + 3]
            torch.testing.assert_close(ours[0, n, :, 3 * head : 3 * head + 3], wanted)


def test_places_are_waves_from_zero_to_1023() -> None:
    places, offset = Places(1, 8), torch.tensor([0.3, -1.7])
    b = torch.tensor([0.0, 1023.0])
    angles = torch.cat([0.3 * b, -1.7 * b])
    wanted = F.linear(torch.cat([angles.sin(), angles.cos()]), places.project.weight, places.project.bias)
    torch.testing.assert_close(places(offset), wanted)


def test_a_map_is_zero_beyond_its_ends() -> None:
    map, points = torch.randn(2, 3, 4, 5), grid((9, 7), (-1.4, -1.3, 1.2, 1.5))[None]
    ours = read_with_zeros(Rows.of(map, (0, 0), (4, 5)), list(points.unbind(-1)))
    theirs = F.grid_sample(map, points.flip(-1).expand(2, -1, -1)[:, None], align_corners=False)[:, :, 0]
    torch.testing.assert_close(ours.transpose(1, 2), theirs, atol=1e-5, rtol=0)
