"""timm's backbones with random weights: no test reaches the net."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import implicitkit as ik
from implicitkit.encoders.timm import Timm
from implicitkit.registry.registry import Registry

# a small member of each family that the encoder must serve; options that only make it smaller, or (a ResNet's last
# normalisation starts at zero, so that nothing before it has a gradient) let all of it be seen
NETS = {
    "convnext_atto": {"depths": [1, 1, 1, 1], "dims": [8, 12, 16, 24]},
    "resnet10t": {"channels": [8, 8, 16, 16], "zero_init_last": False},
    "vit_tiny_patch16_224": {"embed_dim": 24, "depth": 3},
    "swin_tiny_patch4_window7_224": {"embed_dim": 12, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 3, 4]},
}
STRIDES = {"convnext_atto": (4, 32), "resnet10t": (2, 32), "vit_tiny_patch16_224": (16, 16)}


def spec_of(name: str, **arguments: object) -> dict[str, object]:
    out_indices = [0, 1, 2] if name.startswith("vit") else None
    return {"name": f"timm:{name}", "options": NETS[name], "out_channels": 6, "out_indices": out_indices, **arguments}


def model_of(name: str, inputs: tuple[str, ...] = ("image",), **arguments: object) -> ik.ImplicitModel:
    decoder = {"name": "liif", "hidden": [8]}
    return ik.create_model({"encoder": spec_of(name, **arguments), "decoder": decoder, "inputs": list(inputs)})


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A trained network as timm stores one, and the network."""
    import timm
    from safetensors.torch import save_file

    path, options = tmp_path / "trained", {"channels": [8, 8, 16, 16]}
    path.mkdir()
    net = timm.create_model("resnet10t", **options)
    save_file(net.state_dict(), path / "model.safetensors")
    config = {
        "architecture": "resnet10t",
        "model_args": options,
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64]},
    }
    (path / "config.json").write_text(json.dumps(config))
    return path, net


@pytest.mark.parametrize("name", NETS)
def test_with_liif_on_top(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    model(torch.rand(2, 3, 33, 47), torch.rand(2, 40, 2) * 2 - 1, torch.rand(2, 40, 2)).values.square().sum().backward()
    assert [k for k, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []

    model.eval()
    picture = torch.rand(3, 33, 47)
    rendered = model.encode(picture).render((50, 31))
    assert rendered.shape == (3, 50, 31) and rendered.isfinite().all()
    again = ik.load_model(model.save(tmp_path / "model.safetensors"))
    assert again.spec == model.spec
    torch.testing.assert_close(again.encode(picture).render((50, 31)), rendered, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (45, 33), (64, 32)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    encoder = ik.create_encoder(spec_of(name)).eval()
    with torch.no_grad():
        features = encoder(torch.rand(2, 3, *size))
    assert (encoder.stride, encoder.size_multiple) == STRIDES.get(name, (4, 32))
    extent = tuple(-(-n // encoder.size_multiple) * encoder.size_multiple for n in size)
    assert features.extent == extent
    assert features.map.shape == (2, 6, *(n // encoder.stride for n in extent))


@torch.no_grad()
@pytest.mark.parametrize("name", NETS)
def test_maps_are_projected_interpolated_and_added(name: str) -> None:
    """Against a 1x1 convolution of the interpolated maps' concatenation, the maps from timm's own interface."""
    import timm

    encoder = ik.create_encoder(spec_of(name)).eval()
    x = torch.rand(1, 3, 224, 224)  # a size that all of them take as they come
    net = timm.create_model(name, features_only=True, out_indices=encoder.net.feature_info.out_indices, **NETS[name])
    net.load_state_dict(encoder.net.state_dict())
    maps = net.eval()((x - torch.tensor(encoder.mean)[:, None, None]) / torch.tensor(encoder.std)[:, None, None])
    widths = [project.in_channels for project in encoder.project]
    maps = [m if m.shape[1] == width else m.permute(0, 3, 1, 2) for m, width in zip(maps, widths, strict=True)]
    cells = 224 // encoder.stride
    stacked = torch.cat([F.interpolate(m, (cells, cells), mode="bilinear", align_corners=False) for m in maps], dim=1)
    weight = torch.cat([project.weight for project in encoder.project], dim=1)
    expected = F.conv2d(stacked, weight, encoder.project[0].bias)
    torch.testing.assert_close(encoder(x).map, expected, atol=1e-4, rtol=1e-4)  # two orders of float32 summation


def test_chosen_maps_decide_the_stride() -> None:
    coarse = ik.create_encoder(spec_of("resnet10t", out_indices=[-1]))
    fine = ik.create_encoder(spec_of("resnet10t", out_indices=[0, 1]))
    assert (coarse.stride, fine.stride, fine.size_multiple) == (32, 2, 4)
    assert len(coarse.project) == 1
    assert sum(p.numel() for p in fine.parameters()) < sum(p.numel() for p in coarse.parameters())


def test_a_network_of_one_size_sees_the_picture_resized() -> None:
    options = {"embed_dim": 24, "init_channels": 8, "depth": [1, 1, 1], "num_heads": 2}
    encoder = ik.create_encoder("timm:visformer_tiny", options=options, out_channels=5).eval()
    assert encoder.native_size == (224, 224)
    for size in ((1, 1), (40, 300)):
        features = encoder(torch.rand(1, 3, *size))
        assert features.map.shape == (1, 5, *(n // encoder.stride for n in features.extent))
        assert all(0 <= e - n < encoder.stride for e, n in zip(features.extent, size, strict=True))


def test_it_is_global_and_refuses_tiles() -> None:
    model = model_of("convnext_atto")
    assert model.needs["receptive_field"] == "global"
    with pytest.raises(ValueError, match="cannot encode in tiles"):
        model.encode(torch.rand(3, 40, 40), tile=32)


def test_mean_and_deviation_are_the_networks_own() -> None:
    assert ik.create_encoder(spec_of("resnet10t")).mean == pytest.approx([0.485, 0.456, 0.406])
    assert ik.create_encoder(spec_of("vit_tiny_patch16_224")).mean == [0.5, 0.5, 0.5]
    assert ik.create_encoder(spec_of("resnet10t", mean=0.25, std=[1, 2, 3])).std == [1, 2, 3]
    grey = ik.create_encoder(spec_of("resnet10t", in_channels=1)).eval()
    assert grey.mean == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    assert grey(torch.rand(1, 1, 32, 32)).map.shape == (1, 6, 16, 16)


def test_a_mask_matters_and_is_not_normalised() -> None:
    model = model_of("convnext_atto", ("image", "mask")).eval()
    picture, mask = torch.rand(3, 32, 40), torch.zeros(1, 32, 40)
    assert torch.equal(model.encode(picture).render((9, 9)), model.encode(picture, mask=mask).render((9, 9)))
    mask[:, 10:20] = 1
    assert not torch.equal(model.encode(picture).render((9, 9)), model.encode(picture, mask=mask).render((9, 9)))
    assert torch.equal(model.encoder.normalise(torch.cat([picture, mask])[None])[:, 3:], mask[None])


def test_pretrained_weights_are_loaded(folder: tuple[Path, nn.Module]) -> None:
    path, net = folder
    encoder = ik.create_encoder(f"timm:local-dir:{path}", pretrained=True).eval()
    assert (list(encoder.mean), list(encoder.std)) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(encoder.net(x)[-1], net.eval().forward_features(x))


def test_pretrained_weights_ignore_the_mask_at_first(folder: tuple[Path, nn.Module]) -> None:
    path, _ = folder
    plain = ik.create_encoder(f"timm:local-dir:{path}", pretrained=True).eval()
    masked = ik.create_encoder(f"timm:local-dir:{path}", pretrained=True, mask_channels=1).eval()
    masked.project.load_state_dict(plain.project.state_dict())
    x = torch.rand(2, 3, 45, 33)
    features = [
        masked(torch.cat([x, mask], dim=1)).map for mask in (torch.zeros(2, 1, 45, 33), torch.rand(2, 1, 45, 33))
    ]
    torch.testing.assert_close(features[0], plain(x).map)
    assert torch.equal(*features)
    features[1].square().sum().backward()
    first = masked.net.conv1[0].weight  # and it can learn to heed it
    assert first.shape[1] == 4 and first.grad[:, 3].abs().sum() > 0


def test_a_saved_model_needs_neither_net_nor_folder(folder: tuple[Path, nn.Module], tmp_path: Path) -> None:
    path, _ = folder
    spec = {"name": f"timm:local-dir:{path}", "pretrained": True, "out_indices": [1, 2]}
    model = ik.create_model({"encoder": spec, "decoder": "bilinear"}).eval()
    assert model.spec["encoder"]["name"] == "timm:resnet10t"
    assert "pretrained" not in model.spec["encoder"]
    saved = model.save(tmp_path / "model.safetensors")
    shutil.rmtree(path)
    again = ik.load_model(saved)
    picture = torch.rand(3, 20, 30)
    assert torch.equal(again.encode(picture).render((30, 20)), model.encode(picture).render((30, 20)))


def test_built_by_hand_it_cannot_be_described() -> None:
    model = ik.ImplicitModel(Timm("resnet10t", options=NETS["resnet10t"]), ik.create_decoder("nearest"))
    with pytest.raises(ValueError, match="was not built by name"):
        _ = model.spec


def test_names_are_listed_only_behind_the_colon() -> None:
    assert "timm:" in ik.list_encoders() and len(ik.list_encoders()) < 100
    found = ik.list_encoders("timm:*convnext*")
    assert "timm:convnext_tiny" in found and all("convnext" in name for name in found)
    assert len(ik.list_encoders("timm:*")) > 500
    assert ik.list_encoders("timm:no_such_*") == []


def test_timm_is_asked_for_names_only_behind_the_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("implicitkit.encoders.timm.names", lambda: [asked.append(1), "some_net"][1:])
    assert "timm:" in ik.list_encoders() and ik.list_encoders("tim*") == ["timm:"] and not asked
    assert ik.list_encoders("timm:some*") == ["timm:some_net"] and len(asked) == 1


def test_only_a_name_with_a_colon_stands_for_others() -> None:
    with pytest.raises(ValueError, match="takes expand; received 'plain'"):
        Registry("encoder").register("plain", Timm, expand=lambda: [])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("convnext_ato", {}, "timm has no model 'convnext_ato'; did you mean 'timm:convnext_atto'"),
        ("resnet18.a9_in1k", {}, "did you mean 'timm:resnet18.a"),
        ("timm/resnet18", {}, "did you mean 'timm:hf-hub:timm/resnet18'"),
        ("resnet10t", {"out_indices": [7]}, "cannot build 'resnet10t'"),
        ("resnet10t", {"options": {"depht": 3}}, "'depht'"),
        ("resnet10t", {"pretraind": True}, "did you mean 'pretrained'"),
        ("local-dir:/no/such/folder", {}, "cannot build 'local-dir:/no/such/folder'"),
    ],
)
def test_mistakes_are_one_readable_line(name: str, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ik.UserError, match=message) as raised:
        ik.create_encoder(f"timm:{name}", **arguments)
    assert "\n" not in str(raised.value)


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ik.WeightsError, match="cannot get the pretrained weights of timm's 'resnet10t'") as raised:
        ik.create_encoder("timm:resnet10t", pretrained=True)
    assert "\n" not in str(raised.value)
