"""The input picture, added to what a decoder says."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import implicitkit as ik

pytestmark = pytest.mark.usefixtures("either_way")

SIZES = {1: (11,), 2: (5, 7), 3: (3, 4, 5)}


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_bilinear_skip_adds_the_interpolated_picture(ndim: int) -> None:
    size = SIZES[ndim]
    encoder = ik.create_encoder("edsr", blocks=1, channels=4, ndim=ndim)
    without = ik.create_decoder("liif", in_channels=4, hidden=[8], ndim=ndim)
    with_skip = ik.create_decoder("liif", in_channels=4, hidden=[8], ndim=ndim, skip="bilinear")
    with_skip.load_state_dict(without.state_dict())
    picture = torch.rand(1, 3, *size)
    wanted = tuple(2 * n + 1 for n in size)
    outputs = [ik.ImplicitModel(encoder, d).encode(picture).render(wanted, clamp=False) for d in (without, with_skip)]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[ndim]
    added = F.interpolate(picture, wanted, mode=mode, align_corners=False)
    # both outputs are mapped back by * 0.5 + 0.5, and so is the normalised skip: their difference is the picture minus 0.5
    torch.testing.assert_close(outputs[1] - outputs[0], added - 0.5, atol=1e-5, rtol=0)


def test_a_skip_needs_a_picture_of_as_many_channels() -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4, "in_channels": 1}
    model = ik.create_model({"encoder": encoder, "decoder": {"name": "liif", "hidden": [4], "skip": "bilinear"}})
    with pytest.raises(ValueError, match="which has 1 channels, to 3 values per point; set out_channels=1"):
        model.encode(torch.rand(1, 5, 5))
