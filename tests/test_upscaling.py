"""One line enlarges a picture, and gives what encode and render give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from oracles.models import small_model


def test_it_is_encode_and_render(tmp_path: Path) -> None:
    model, image = small_model(), torch.rand(3, 9, 7)
    field = model.encode(image)
    assert torch.equal(ik.upscale(image, 2.5, model=model), field.render(scale=2.5))
    assert torch.equal(ik.upscale(image, size=(11, 30), model=model), field.render((11, 30)))
    assert ik.upscale(image, model=model).shape == (3, 36, 28)
    assert ik.upscale(image[None], 2, model=model, device="cpu").shape == (1, 3, 18, 14)
    ik.write_image(tmp_path / "a.png", image)
    read = ik.read_image(tmp_path / "a.png")
    for path in (tmp_path / "a.png", str(tmp_path / "a.png")):
        assert torch.equal(ik.upscale(path, 2, model=model), model.encode(read).render(scale=2))
    stored = model.save(tmp_path / "m.safetensors")
    torch.testing.assert_close(ik.upscale(image, 2, model=str(stored)), field.render(scale=2))


def test_arrays_and_pil_images_are_pictures_too() -> None:
    from PIL import Image

    model = small_model()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    expected = ik.upscale(torch.from_numpy(pixels).permute(2, 0, 1) / 255, 2, model=model)
    for picture in (pixels, Image.fromarray(pixels), Image.fromarray(pixels).convert("RGBA")):
        torch.testing.assert_close(ik.upscale(picture, 2, model=model), expected)
    deep = ik.upscale(pixels.astype(np.uint16) * 257, 2, model=model)
    torch.testing.assert_close(deep, expected)
    for number in (np.float32, np.float64):
        torch.testing.assert_close(ik.upscale((pixels / 255).astype(number), 2, model=model), expected)
    with pytest.raises(ValueError, match="values in .0, 1.; received up to 2"):
        ik.upscale(pixels.astype(np.float32), 2, model=model)
    grey = ik.upscale(pixels[..., 0], 2, model=model)
    torch.testing.assert_close(grey, ik.upscale(Image.fromarray(pixels[..., 0]), 2, model=model))


def test_what_it_refuses(tmp_path: Path) -> None:
    from PIL import Image

    model, image = small_model(), torch.rand(3, 9, 7)
    with pytest.raises(ValueError, match="give scale or size; received scale=2 and size=.3, 3."):
        ik.upscale(image, 2, size=(3, 3), model=model)
    for other in ([image], image.mul(255).byte()):
        with pytest.raises(ValueError, match=r"a picture is a floating-point tensor in \[0, 1\] .*; received"):
            ik.upscale(other, model=model)
    for array in (np.zeros((9, 7, 3), np.int32), np.zeros((3, 9, 7), np.uint8), np.zeros((9, 7, 4), np.uint8)):
        with pytest.raises(
            ValueError, match=r"an array is \(H, W, 3\) or \(H, W\) of 8 or 16 bits or of floats .*; received .*\(\d"
        ):
            ik.upscale(array, model=model)
    with pytest.raises(ValueError, match="PIL image of mode F has no 8 bits"):
        ik.upscale(Image.new("F", (7, 9)), model=model)
    with pytest.raises(ValueError, match=r"received \(9, 7, 3\); image.movedim\(-1, -3\) puts the channels first"):
        ik.upscale(image.movedim(0, -1), model=model)
    with pytest.raises(ik.ImageError, match="there is no file"):
        ik.upscale(tmp_path / "none.png", model=model)
    with pytest.raises(ValueError, match="scale is a positive number; received 0"):
        ik.upscale(image, 0, model=model)
    with pytest.raises(ik.UserError, match="the device 'tpu' cannot be used"):
        ik.upscale(image, 2, device="tpu")
