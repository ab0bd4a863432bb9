"""Bicubic resizing against MATLAB's own outputs and against Pillow."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from implicitkit.images import resize as module
from implicitkit.images.resize import resize
from oracles import PARITY, PHOTOS

VECTORS = np.load(PARITY / "matlab_bicubic.npz")
CASES = [name for name in VECTORS.files if "_to_" in name]


def case(name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and MATLAB's output as ``(C, H, W)`` on [0, 1]."""
    source = next(s for s in VECTORS.files if "_to_" not in s and name.startswith(s.removesuffix("_uint8")))
    given, wanted = VECTORS[source].astype(np.float64), VECTORS[name].astype(np.float64)
    top = 255.0 if source.endswith("uint8") else VECTORS[source].max()
    wanted = wanted if source.endswith("uint8") else wanted / top
    return tuple(torch.from_numpy(np.atleast_3d(a)).movedim(-1, 0).to(dtype) for a in (given / top, wanted))


def test_all_nine_cases_are_there() -> None:
    assert len(CASES) == 9


@pytest.mark.parametrize("loop", [False, True], ids=["dense", "taps"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("name", CASES)
def test_equals_matlab(
    name: str, dtype: torch.dtype, tolerance: float, loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loop:
        monkeypatch.setattr(module, "MAX_DENSE_ENTRIES", 0)
    picture, wanted = case(name, dtype)
    assert (resize(picture, wanted.shape[1:]) - wanted).abs().max() <= tolerance


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    out=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_equals_pillow_within_one_level(seed: int, size: tuple[int, int], out: tuple[int, int]) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    # one axis at a time: Pillow's own order, horizontal first, depends on its version for such aspects
    for step in ((out[1], size[0]), (out[1], out[0])):
        image = image.resize(step, Image.Resampling.BICUBIC)
    ours = resize(torch.from_numpy(pixels).movedim(-1, 0).double() / 255, out, "pil")
    difference = (ours * 255).round().long().movedim(0, -1).numpy() - np.asarray(image, dtype=np.int64)
    # Pillow rounds between the axes as well: two levels where it does so away from the exact value twice
    assert np.abs(difference).max() <= 2 and (np.abs(difference) > 1).mean() < 1e-2


@pytest.mark.parametrize("scale", [2, 3, 4, 2.7, 6])
def test_equals_pillow_on_a_photo(scale: float) -> None:
    with Image.open(PHOTOS / "coffee.png") as image:
        rgb = image.convert("RGB")
    size = [int(n / scale) for n in rgb.size]
    theirs = np.asarray(rgb.resize(size, Image.Resampling.BICUBIC), dtype=np.int64)
    ours = resize(torch.from_numpy(np.array(rgb)).movedim(-1, 0).float() / 255, size[::-1], "pil")
    difference = np.abs((ours * 255).round().long().movedim(0, -1).numpy() - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005  # ties of the last rounding


def test_batches_devices_and_gradients() -> None:
    x = torch.rand(2, 3, 9, 11, dtype=torch.float64, requires_grad=True)
    for kernel in module.KERNELS:
        out = resize(x, (4, 5), kernel)
        assert out.shape == (2, 3, 4, 5) and out.dtype == torch.float64
        torch.testing.assert_close(out[1], resize(x[1], (4, 5), kernel))
    assert torch.autograd.gradcheck(lambda v: resize(v, (4, 5)), x)
    with pytest.raises(ValueError, match="matlab, pil"):
        resize(x, (3, 3), "lanczos")  # type: ignore[arg-type]


def test_a_constant_stays_constant() -> None:
    level = 0.4  # 102/255, as Pillow's kernel keeps 8 bits between its passes
    for kernel in module.KERNELS:
        torch.testing.assert_close(resize(torch.full((1, 7, 5), level), (11, 2), kernel), torch.full((1, 11, 2), level))
