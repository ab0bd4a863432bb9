from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.degradations.base import seeded


def by_file(picture: torch.Tensor, quality: int, subsampling: int) -> torch.Tensor:
    """A slow plain version: 8 bits, a JPEG file, and back. Pillow's subsampling 0, 1, 2 is 4:4:4, 4:2:2, 4:2:0."""
    pixels = (picture * 255 + 0.5).floor().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize(("subsampling", "theirs"), [("4:4:4", 0), (422, 1), ("420", 2)])
@pytest.mark.parametrize("quality", [1, 40, 100])
def test_it_is_what_a_file_would_show(photo: torch.Tensor, quality: int, subsampling: Any, theirs: int) -> None:
    seen = ik.create_degradation("jpeg", quality=quality, subsampling=subsampling)(photo)
    assert torch.equal(seen.image, by_file(photo, quality, theirs))
    assert torch.equal(seen.reference, photo) and not seen.mask.any()


def test_lower_quality_is_worse(photo: torch.Tensor) -> None:
    errors = [(ik.create_degradation("jpeg", quality=q)(photo).image - photo).abs().mean() for q in (95, 50, 10)]
    assert errors[0] < errors[1] < errors[2]


def test_grey_stays_grey(photo: torch.Tensor) -> None:
    seen = ik.create_degradation("jpeg", quality=90)(photo[:1])
    assert seen.image.shape == photo[:1].shape
    assert (seen.image - photo[:1]).abs().mean() < 0.02


def test_quality_is_drawn_from_its_range() -> None:
    jpeg = ik.create_degradation("jpeg", quality=[30, 90])
    drawn = [jpeg.sample((3, 8, 8), seeded(k))["quality"] for k in range(300)]
    assert min(drawn) >= 30 and max(drawn) <= 90 and all(isinstance(q, int) for q in drawn)
    assert abs(sum(drawn) / 300 - 60) < 4 * (60 / 12**0.5) / 300**0.5


def test_the_gradient_is_the_identitys(photo: torch.Tensor) -> None:
    picture = photo.clone().requires_grad_()
    jpeg, weight = ik.create_degradation("jpeg", quality=20), torch.rand_like(photo)
    seen = jpeg(picture).image
    (seen * weight).sum().backward()
    assert torch.equal(picture.grad, weight)
    assert torch.equal(seen.detach(), jpeg(photo).image)


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 or 3 channels.*received \(4, 8, 8\)"):
        ik.create_degradation("jpeg")(torch.rand(4, 8, 8))
    with pytest.raises(ValueError, match=r"received \(3, 65536, 1\)"):
        ik.create_degradation("jpeg")(torch.rand(3, 65536, 1))


@pytest.mark.parametrize(
    "arguments", [{"quality": 0}, {"quality": 101}, {"quality": [90, 10]}, {"subsampling": "4:1:1"}, {"subsampling": 4}]
)
def test_impossible_settings_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="received"):
        ik.create_degradation("jpeg", **arguments)
