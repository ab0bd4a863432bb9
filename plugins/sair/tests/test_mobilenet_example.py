"""The example of a classifier as the semantic encoder, on a checkpoint made here in the classifier's layout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import implicitkit as ik

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import mobilenet_plugin

    handle = ik.register_plugin(mobilenet_plugin)
    yield mobilenet_plugin
    ik.unregister_plugin(handle)
    sys.modules.pop("mobilenet_plugin")


@pytest.fixture
def checkpoint(plugin: ModuleType, tmp_path: Path) -> Path:
    state = {f"module.{k}": torch.rand_like(v.float()) for k, v in plugin.MobileNetV1((1, 2, 3)).state_dict().items()}
    state |= {"module.fc.weight": torch.rand(1000, 256), "module.fc.bias": torch.rand(1000)}
    file = tmp_path / "classifier.pth"
    torch.save({"epoch": 1, "arch": "mobilenet", "state_dict": state}, file)
    return file


def test_maps_of_stages_lie_side_by_side(plugin: ModuleType, checkpoint: Path) -> None:
    both = ik.create_encoder({"name": "mobilenet_v1_025", "weights": str(checkpoint)}).eval()
    coarse = ik.create_encoder({"name": "mobilenet_v1_025", "weights": str(checkpoint), "stages": [2]}).eval()
    picture = torch.rand(1, 3, 40, 50)
    with torch.no_grad():
        map, deep = both(picture).map, coarse(picture).map
    assert map.shape == (1, 192, 6, 8) and deep.shape == (1, 128, 3, 4)  # padded to 48 x 64
    wanted = torch.nn.functional.interpolate(deep, (6, 8), mode="bilinear")
    assert torch.allclose(map[:, 64:], wanted) and map.std() > 0
    first = both.stage1[0][0](both.normalise(torch.nn.functional.pad(picture, (0, 6, 0, 0))))
    literal = torch.nn.functional.conv2d(
        both.normalise(torch.nn.functional.pad(picture, (0, 6, 0, 0))),
        torch.load(checkpoint, weights_only=True)["state_dict"]["module.stage1.0.0.weight"],
        stride=2,
        padding=1,
    )
    assert torch.equal(first, literal)


def test_it_stands_in_a_sair_and_never_sees_the_hole(plugin: ModuleType, checkpoint: Path, tmp_path: Path) -> None:
    spec = {
        "encoder": {"name": "edsr", "blocks": 1, "channels": 8},
        "decoder": {"name": "air", "semantic_channels": 192, "hidden": [16]},
        "conditions": {
            "semantic": {
                "encoder": {"name": "mobilenet_v1_025", "weights": str(checkpoint)},
                "decoder": {"name": "sir", "hidden": [16]},
                "inputs": ["image", "mask"],
            }
        },
        "inputs": ["image", "mask"],
    }
    model = ik.create_model(spec).eval()
    picture, mask = torch.rand(3, 32, 32), torch.zeros(1, 32, 32)
    mask[:, 8:20, 4:30] = 1
    encoder = model.conditions["semantic"].encoder
    with torch.no_grad():
        seen = [encoder(torch.cat([p, mask])[None]).map for p in (picture, torch.where(mask > 0, 0.1, picture))]
        assert torch.equal(*seen)
        model.save(tmp_path / "model.safetensors")
        again = ik.load_model(tmp_path / "model.safetensors")  # holds the weights; the checkpoint is not asked for
        checkpoint.unlink()
        assert torch.equal(again.encode(picture, mask).render((32, 32)), model.encode(picture, mask).render((32, 32)))
    assert not any(p.requires_grad for p in encoder.parameters()) and not encoder.training


def test_another_file_is_refused(plugin: ModuleType, tmp_path: Path) -> None:
    torch.save({"state_dict": {"module.conv.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    for file, message in (("other.pth", "does not fit the model"), ("none.pth", "there is no file")):
        with pytest.raises(ik.WeightsError, match=message):
            ik.create_encoder("mobilenet_v1_025", weights=str(tmp_path / file))
    with pytest.raises(ValueError, match=r"stages are some of 1, 2, 3"):
        ik.create_encoder("mobilenet_v1_025", stages=[2, 1])
