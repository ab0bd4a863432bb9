"""What every registered degradation, and any chain of them, must do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import implicitkit as ik
from implicitkit.degradations.base import Step, seeded
from implicitkit.registry.kinds import degradations
from implicitkit.testing.degradations import CHECKS, check_degradation, check_range, check_shapes

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "super_resolution": [
        {"scale": [1.5, 3]},
        {"scale": 2.7, "kernel": "pil", "quantise": True},
        {"scale": [1.5, 3], "per_axis": True},
        {"size": [9, 10]},
    ],
    "inpainting": [
        {},
        {"kind": "strokes", "ratio": [0.2, 0.4], "fill": "noise"},
        {"kind": "boxes", "ratio": [0.1, 0.2], "fill": "mean"},
        {"kind": ["centre", "half", "outpainting"]},
        {"kind": {"scattered": 3, "strokes": 1}, "ratio": [0.5, 0.51]},
        {"kind": "folder", "folder": "MASKS", "ratio": [0.1, 0.4]},
    ],
    "noise": [
        {},
        {"kind": ["gaussian", "poisson", "speckle"], "sigma": [0, 50]},
        {"kind": "poisson", "grey": True},
        {"kind": "salt_and_pepper", "amount": [0.1, 0.3], "grey": True},
    ],
    "blur": [
        {},
        {"kind": "gaussian", "sigma": [0, 4]},
        {"kind": {"anisotropic": 1, "motion": 1, "defocus": 2}, "sigma": 3, "radius": [0, 5]},
    ],
    "jpeg": [{}, {"quality": [5, 95], "subsampling": 444}],
}
NOISY = {"name": "noise", "sigma": [1, 20]}
CHAINS: list[list[Any]] = [
    ["blur", {"name": "super_resolution", "scale": [1, 3]}, NOISY, "jpeg"],
    ["inpainting", {"name": "super_resolution", "scale": 2}, NOISY],
    [
        {"name": "super_resolution", "scale": [1, 2]},
        "jpeg",
        {"name": "super_resolution", "scale": [1, 2]},
        "inpainting",
    ],
]


def specs() -> list[Any]:
    """The examples of everything that is registered here (a name without any is an error), and chains."""
    ours = [e.name for e in degradations.entries() if e.owner.distribution == "implicitkit"]
    return [{"name": name, **example} for name in ours for example in EXAMPLES[name]] + CHAINS


def test_every_registered_degradation_has_examples() -> None:
    assert set(EXAMPLES) == {e.name for e in degradations.entries() if e.owner.distribution == "implicitkit"}


def spelt(spec: Any) -> str:
    return " ".join(map(spelt, spec)) if isinstance(spec, list) else spec if isinstance(spec, str) else str(spec)


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    for k in range(4):
        rows, columns = np.mgrid[:40, :50]
        hole = (rows - 15 - 2 * k) ** 2 + (columns - 25) ** 2 < (6 + 4 * k) ** 2
        Image.fromarray((hole * 255).astype(np.uint8)).save(folder / f"{k}.png")
    return folder


@pytest.fixture(params=specs(), ids=spelt)
def spec(request: pytest.FixtureRequest, masks: Path) -> Any:
    if isinstance(request.param, dict) and "folder" in request.param:
        return {**request.param, "folder": str(masks)}
    return request.param


@pytest.mark.parametrize("check", [*CHECKS, check_shapes, check_range], ids=lambda check: check.__name__)
def test_contract(spec: Any, check: Callable[[ik.Degradation], None]) -> None:
    check(ik.create_degradation(spec))


def test_wrong_input_is_named(spec: Any) -> None:
    degradation = ik.create_degradation(spec)
    record = degradation.sample((3, 29, 37), seeded(0))
    with pytest.raises(ValueError, match="received torch.uint8"):
        degradation.apply(torch.zeros(3, 29, 37, dtype=torch.uint8), record)
    with pytest.raises(ValueError, match="received 2"):
        degradation.apply(torch.rand(3, 3, 29, 37), [record, record])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_noise_has_the_same_bits_on_cuda() -> None:
    grey, noise = torch.full((3, 33, 35), 0.5), ik.create_degradation(NOISY)
    seen = noise(grey, seeded(0))
    assert torch.equal(noise.apply(grey.cuda(), seen.record).image.cpu(), seen.image)


class Broken(ik.Degradation):
    """Leaves the picture as it is, but for one broken promise."""

    def __init__(self, how: str) -> None:
        self.how = how

    def sample(self, shape, generator):
        drawn = torch.rand(() if self.how == "global" else (1,), generator=None if self.how == "global" else generator)
        return {"drawn": drawn if self.how == "tensor" else float(drawn)}

    def degrade(self, image, mask, record):
        match self.how:
            case "random":
                image = image + 0.001 * torch.rand(image.shape)
            case "in place":
                image.mul_(0.5)
            case "dtype":
                image = image.float()
            case "mask size":
                mask = mask[..., 1:]
            case "polarity":
                mask = 1 - mask
            case "size":
                image, mask = image[..., 1:], mask[..., 1:]
            case "range":
                image = image + 0.1
            case "error" if image.shape[2:] == (1, 1):
                raise RuntimeError("what?")
        return Step(image, mask, tuple(image.shape[2:]))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    degradations.load()
    monkeypatch.setattr(degradations, "_entries", {**degradations._entries})  # put back afterwards
    degradations.register("broken", Broken)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("tensor", "not JSON serializable"),
        ("global", "other bits|differs from|global state"),
        ("random", "other bits"),
        ("in place", "other bits|in place"),
        ("dtype", "becomes"),
        ("mask size", "the mask of a degraded"),
        ("polarity", "without known pixels"),
        ("size", "output_shape says"),
        ("range", "leaves"),
        ("error", "what?"),
    ],
)
def test_the_contract_finds_broken_promises(how: str, said: str, broken: None) -> None:
    with pytest.raises((AssertionError, TypeError, RuntimeError), match=said):
        check_degradation({"name": "broken", "how": how})


def test_a_degradation_that_keeps_its_promises_passes(broken: None) -> None:
    check_degradation({"name": "broken", "how": "not at all"})
