"""The cells around a query, corners and windows, against a walk over them."""

import torch
from torch import Tensor

from implicitkit.coordinates import pixel_centres
from implicitkit.decoders.joint.base import Around, JointDecoder
from implicitkit.decoders.local_ensemble import Latent
from implicitkit.encoders.base import Features


class Seen(JointDecoder):
    in_channels, skip = 1, False
    around: Around

    def __init__(self, window: int | None) -> None:
        super().__init__()
        self.window = window

    def project(self, map: Tensor) -> Tensor:
        return map

    def joint(self, latent: Latent, around: Around) -> Tensor:
        self.around = around
        return around.rows[:, :, 0]


def ask(decoder: Seen, coords: Tensor, size: tuple[int, int] = (4, 5)) -> Around:
    map = torch.arange(20.0).reshape(1, 1, *size)
    latent = decoder.prepare(Features(map, size), None, {})  # type: ignore[arg-type]
    decoder.query(latent, coords, torch.full((1, 1, 2), 0.5), {})
    return decoder.around


def test_a_window_holds_the_cells_around_the_nearest() -> None:
    coords = torch.rand(1, 30, 2) * 2 - 1
    around = ask(Seen(1), coords)
    assert around.rows.shape == (1, 30, 9, 1) and around.cell is not None
    assert torch.equal(around.cell[0, 0], torch.tensor([2.0, 2.5]))
    for i, (y, x) in enumerate(coords[0].tolist()):
        row, column = int((y + 1) / 2 * 4), int((x + 1) / 2 * 5)
        k = 0
        for a in (row - 1, row, row + 1):
            for b in (column - 1, column, column + 1):
                inside = 0 <= a < 4 and 0 <= b < 5
                assert bool(around.inside[0, i, k]) is inside
                if inside:
                    assert int(around.rows[0, i, k, 0]) == 5 * a + b
                    centre = torch.stack([pixel_centres(4)[a], pixel_centres(5)[b]])
                    expected = (coords[0, i] - centre) * torch.tensor([4.0, 5.0])
                    torch.testing.assert_close(around.offset[0, i, k], expected, atol=1e-5, rtol=0)
                k += 1


def test_corners_are_all_inside_and_their_weights_sum_to_one() -> None:
    around = ask(Seen(None), torch.rand(1, 30, 2) * 2 - 1)
    assert around.rows.shape == (1, 30, 4, 1) and around.inside.all()
    torch.testing.assert_close(around.weight.sum(-1), torch.ones(1, 30))
