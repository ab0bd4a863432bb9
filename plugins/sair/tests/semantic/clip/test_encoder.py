"""The encoder around CLIP's image tower, with random weights and files made here: no test reaches the net."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from tiny_clip import RESNET, VIT, build

import implicitkit as ik
from implicitkit import testing
from implicitkit.weights.native import read_metadata
from implicitkit_sair.semantic.clip.modes import MODES
from implicitkit_sair.semantic.clip.text import encode_text
from implicitkit_sair.semantic.clip.towers import recipe

SIR = {"name": "sir", "reduced": 4, "hidden": [8]}


def spec_of(config: dict[str, Any] = VIT, **arguments: Any) -> dict[str, Any]:
    return {"name": "clip", "model": config, **arguments}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same weights in every form that files come in."""
    folder = tmp_path_factory.mktemp("weights")
    model = build(VIT)
    state = model.state_dict()
    save_file(state, folder / "bare.safetensors")
    save_file({f"visual.{k}": v for k, v in model.visual.state_dict().items()}, folder / "image.safetensors")
    save_file(model.visual.state_dict(), folder / "visual.safetensors")
    torch.save(state, folder / "bare.pt")
    trained = {"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(trained, folder / "checkpoint.pt")
    torch.save({**state, "input_resolution": 32, "context_length": 77, "vocab_size": 49408}, folder / "openai.pt")
    return {path.stem if path.suffix != ".pt" else path.name: path for path in folder.iterdir()}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, Path]) -> list[tuple[str, str]]:
    """A hub with one repository, ``Org/tiny``, of pictures with another mean; returns what is asked of it."""
    asked: list[tuple[str, str]] = []
    about = {"model_cfg": {**VIT, "quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(about))

    def download(repo_id: str, filename: str, **_: object) -> str:
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        asked.append((repo_id, filename))
        if repo_id != "Org/tiny":
            raise LocalEntryNotFoundError("no network here\nand a second line")
        there = {
            "open_clip_config.json": tmp_path / "open_clip_config.json",
            "open_clip_pytorch_model.bin": files["bare.pt"],
        }
        if filename not in there:
            raise EntryNotFoundError(f"no {filename}")
        return str(there[filename])

    monkeypatch.setattr("open_clip.pretrained.hf_hub_download", download)
    return asked


@pytest.mark.parametrize("mask_channels", [0, 1])
@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
def test_contract(config: dict[str, Any], mask_channels: int) -> None:
    testing.check_encoder(spec_of(config, mask_channels=mask_channels))


@pytest.mark.parametrize("mode", MODES)
def test_contract_of_each_mode_where_it_learns(mode: str) -> None:
    spec = {"encoder": spec_of(mode=mode, trainable=True), "decoder": {"name": "liif", "hidden": [8]}}
    testing.check_model(ik.create_model(spec))


def test_it_is_frozen_unless_told_otherwise() -> None:
    model = ik.create_model({"encoder": spec_of(), "decoder": SIR}).train()
    assert not model.encoder.training and not any(p.requires_grad for p in model.encoder.parameters())
    model(torch.rand(1, 3, 16, 24), torch.rand(1, 5, 2)).values.sum().backward()
    assert all(p.grad is None for p in model.encoder.parameters())
    assert all(p.grad is not None for p in model.decoder.parameters())
    learning = ik.create_model({"encoder": spec_of(trainable=True), "decoder": SIR}).train()
    assert learning.encoder.training and all(p.requires_grad for p in learning.encoder.parameters())


@torch.no_grad()
def test_it_sees_what_open_clip_sees() -> None:
    """The picture in [0, 1] with CLIP's mean and deviation, against open_clip's own transform and forward."""
    encoder = ik.create_encoder(spec_of(mode="vanilla")).eval()
    picture = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(v)[:, None, None] for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    encoder.net.output_tokens = True
    _, tokens = encoder.net((picture - mean) / std)
    features = encoder(picture)
    assert (encoder.stride, encoder.size_multiple, encoder.out_channels, encoder.radius) == (8, 8, 24, None)
    torch.testing.assert_close(features.map.flatten(2).transpose(1, 2), tokens @ encoder.net.proj, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("config", [VIT, RESNET], ids=["vit", "resnet"])
@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 20), (70, 40)])
def test_any_size(size: tuple[int, int], config: dict[str, Any]) -> None:
    encoder = ik.create_encoder(spec_of(config)).eval()
    features = encoder(torch.rand(2, 3, *size))
    assert features.extent == tuple(-(-n // encoder.stride) * encoder.stride for n in size)
    assert features.map.shape == (2, 24, *(n // encoder.stride for n in features.extent))


@torch.no_grad()
def test_a_large_picture_is_seen_shrunk() -> None:
    picture = torch.rand(1, 3, 64, 128)
    encoder = ik.create_encoder(spec_of(largest=64)).eval()
    seen: list[tuple[int, ...]] = []
    encoder.net.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    features = encoder(picture)
    assert seen == [(32, 64)] and features.map.shape == (1, 24, 8, 16) and features.extent == (64, 128)


@torch.no_grad()
@pytest.mark.parametrize("fill", ["mean", "zero", "blur"])
def test_what_is_in_a_hole_does_not_matter_and_its_filling_does(fill: str) -> None:
    encoder = ik.create_encoder(spec_of(mask_channels=1, fill=fill)).eval()
    plain = ik.create_encoder(spec_of()).eval()
    plain.net.load_state_dict(encoder.net.state_dict())
    picture, mask = torch.rand(1, 3, 32, 40), torch.zeros(1, 1, 32, 40)
    torch.testing.assert_close(encoder(torch.cat([picture, mask], 1)).map, plain(picture).map)

    mask[..., 8:20, 10:30] = 1
    found = encoder(torch.cat([picture, mask], 1)).map
    nothing = torch.where(mask > 0, torch.nan, picture)
    assert torch.equal(encoder(torch.cat([nothing, mask], 1)).map, found)
    if fill != "blur":
        colour = torch.tensor(encoder.mean if fill == "mean" else [0.0] * 3)[:, None, None]
        torch.testing.assert_close(plain(torch.where(mask > 0, colour, picture)).map, found, atol=1e-5, rtol=0)
    assert not torch.allclose(plain(picture).map, found, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("name", ["bare", "image", "visual", "bare.pt", "checkpoint.pt", "openai.pt"])
def test_a_file_is_read_whatever_its_form(name: str, files: dict[str, Path]) -> None:
    openais = name == "openai.pt"  # whose activation needs no telling
    asked = {} if openais else {"quick_gelu": False}
    encoder = ik.create_encoder(spec_of(pretrained=str(files[name]), **asked))
    assert encoder.recipe.quick_gelu == openais
    wanted = build(VIT).visual.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in encoder.net.state_dict().items())
    x = torch.rand(1, 3, 32, 32)
    activation = build(VIT, quick_gelu=openais).visual
    own = ik.create_encoder(spec_of(quick_gelu=openais)).eval()
    own.net = activation
    torch.testing.assert_close(encoder.eval()(x).map, own(x).map)


@torch.no_grad()
def test_words_of_openais_form(files: dict[str, Path]) -> None:
    """open_clip's loader reads both towers; the three numbers beside the weights are none of them."""
    encoder = ik.create_encoder(spec_of(pretrained=str(files["openai.pt"])))
    theirs = build(VIT, quick_gelu=True).encode_text(open_clip.tokenize(["sky"]), normalize=True)
    torch.testing.assert_close(encode_text(encoder, ["sky"], ["{}"]), theirs, atol=1e-5, rtol=0)


def test_a_program_with_weights_in_it_is_refused(tmp_path: Path) -> None:
    """As OpenAI's own links still give it; the hub has the same weights as a state dict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / "program.pt"))
    for asked in ({}, {"quick_gelu": True}):
        with pytest.raises(ik.WeightsError, match="is a TorchScript program.*pretrained=openai") as raised:
            ik.create_encoder(spec_of(pretrained=str(tmp_path / "program.pt"), **asked))
        assert "\n" not in str(raised.value)


def test_a_saved_model_holds_the_weights_of_a_file(files: dict[str, Path], tmp_path: Path) -> None:
    encoder = spec_of(pretrained=str(files["openai.pt"]))
    model = ik.create_model({"encoder": encoder, "decoder": SIR}).eval()
    assert model.encoder.source is None
    assert "pretrained" not in model.spec["encoder"] and model.spec["encoder"]["quick_gelu"] is True
    again = ik.load_model(model.save(tmp_path / "model.safetensors"))
    picture = torch.rand(3, 20, 30)
    assert torch.equal(again.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))
    assert not again.encoder.trainable and again.spec == model.spec


def test_a_saved_model_leaves_out_what_anybody_can_get(hub: list[tuple[str, str]], tmp_path: Path) -> None:
    model = ik.create_model({"encoder": {"name": "clip", "pretrained": "hf-hub:Org/tiny"}, "decoder": SIR}).eval()
    assert model.encoder.source == model.spec["encoder"]["pretrained"] == "hf-hub:Org/tiny"
    saved = model.save(tmp_path / "model.safetensors")
    assert json.loads(read_metadata(saved)["frozen"]).keys() == {"encoder"}
    assert saved.stat().st_size < sum(p.numel() for p in model.encoder.parameters()) * 4
    again = ik.load_model(saved)
    picture = torch.rand(3, 20, 30)
    assert torch.equal(again.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_where_it_learnt_the_file_holds_it_and_needs_no_hub(hub: list[tuple[str, str]], tmp_path: Path) -> None:
    spec = {"encoder": {"name": "clip", "pretrained": "hf-hub:Org/tiny", "trainable": True}, "decoder": SIR}
    model = ik.create_model(spec).eval()
    saved = model.save(tmp_path / "model.safetensors")
    hub.clear()
    again = ik.load_model(saved)
    assert hub == [] and again.encoder.trainable
    assert (again.encoder.mean, again.encoder.recipe.quick_gelu) == ([0.1, 0.2, 0.3], True)
    picture = torch.rand(3, 20, 30)
    assert torch.equal(again.encode(picture).render((9, 9)), model.encode(picture).render((9, 9)))


def test_a_hub_repository_brings_its_architecture_mean_and_activation(hub: list[tuple[str, str]]) -> None:
    encoder = ik.create_encoder("clip", pretrained="hf-hub:Org/tiny")
    assert (encoder.out_channels, encoder.mean, encoder.std) == (24, [0.1, 0.2, 0.3], [0.4, 0.4, 0.4])
    assert encoder.recipe.quick_gelu
    assert [name for _, name in hub] == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.bin",
    ]


def test_the_activation_follows_the_tag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """OpenAI's weights under the plain name, with which open_clip itself would warn and go on with GELU."""
    monkeypatch.setattr("implicitkit_sair.semantic.clip.towers._download", lambda *_: tmp_path / "any")
    assert recipe("ViT-B-16", "openai", None).quick_gelu
    assert recipe("ViT-B/16", "openai", None).quick_gelu
    assert recipe("ViT-B-16-quickgelu", "openai", None).quick_gelu
    assert not recipe("ViT-B-16", "laion2b_s34b_b88k", None).quick_gelu
    assert not recipe("ViT-B-16", None, None).quick_gelu and recipe("ViT-B-16-quickgelu", None, None).quick_gelu
    assert recipe("ViT-B-16", "openai", None).public
    clipa = recipe("ViT-L-14-CLIPA", "datacomp1b", None)  # trained with ImageNet's mean
    assert clipa.mean == pytest.approx((0.485, 0.456, 0.406))
    with pytest.raises(ik.WeightsError, match="was trained with QuickGELU; received quick_gelu=False"):
        recipe("ViT-B-16", "openai", False)
    with pytest.raises(ik.WeightsError, match="was trained with GELU; received quick_gelu=True"):
        recipe("ViT-B-16", "laion2b_s34b_b88k", True)


def test_vit_b_16_at_its_own_size() -> None:
    """On the meta device, where tensors have shapes but no values."""
    with torch.device("meta"):
        encoder = ik.create_encoder("clip", mode="sclip")
        features = encoder(torch.empty(1, 3, 225, 320, device="meta"))
    assert features.map.shape == (1, 512, 15, 20) and features.extent == (240, 320)
    assert sum(p.numel() for p in encoder.parameters()) == 86_192_640
    assert encoder.mean == pytest.approx([0.4815, 0.4578, 0.4082], abs=1e-4)


def test_without_network_it_says_what_is_wanted_and_where_it_looked(hub: list[tuple[str, str]]) -> None:
    with pytest.raises(ik.WeightsError) as raised:
        ik.create_encoder("clip", pretrained="openai")
    message = str(raised.value)
    for told in ("ViT-B-16 'openai'", "open_clip_pytorch_model.bin", "timm/vit_base_patch16_clip_224.openai"):
        assert told in message
    assert "which is not in /" in message and "no network here" in message and "pretrained=/path/to/" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "ViT-B16"}, "open_clip has no model 'ViT-B16'; did you mean 'ViT-B-16'"),
        ({"model": "hf-hub:Org/tiny"}, "write pretrained=hf-hub:Org/tiny"),
        ({"model": "coca_ViT-B-32"}, "pools its patches by attention"),
        ({"model": {"embed_dim": 8}}, "has embed_dim, vision_cfg and text_cfg; received embed_dim"),
        ({"model": {**VIT, "vision_cfg": {"depth": 3}}}, "open_clip cannot build the given configuration: .*'depth'"),
        ({"model": {**VIT, "vision_cfg": {**VIT["vision_cfg"], "qk_norm": True}}}, "have qk_norm, which the dense"),
        ({"model": VIT, "pretrained": "openai"}, "there is no file openai, .*tags: none"),
        ({"pretrained": "opanai"}, "there is no file opanai, .*tags: openai, "),
        ({"model": RESNET, "mode": "sclip"}, "is a ResNet, whose mode can only be maskclip; received 'sclip'"),
        ({"model": VIT, "mode": "maskclipp"}, "received 'maskclipp'"),
        ({"model": VIT, "fill": "black"}, "received 'black'"),
        ({"model": VIT, "mask_channels": 2}, "mask_channels 0 or 1"),
        ({"model": RESNET, "fill": "drop"}, "the image tower of the given configuration has none to leave out"),
        ({"model": VIT, "view": 0}, "view is a positive number"),
        ({"model": VIT, "largest": 4}, "largest >= the patch; received patches of 8×8, 0 and 4"),
        ({"model": VIT, "pretraind": "x"}, "did you mean 'pretrained'"),
    ],
)
def test_mistakes_are_one_readable_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ik.UserError, ValueError), match=message) as raised:
        ik.create_encoder("clip", **arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("bare", {}, "does not say whether it was trained with QuickGELU.*pass quick_gelu=true or"),
        ("openai.pt", {"quick_gelu": False}, "was trained with QuickGELU; received quick_gelu=False"),
        (
            "bare",
            {"model": RESNET, "quick_gelu": False},
            r"does not fit the model CLIP: Missing key\(s\) in state_dict: .* and \d+ more",
        ),
        (
            "bare",
            {"model": {**VIT, "embed_dim": 8}, "quick_gelu": False},
            r"size mismatch for visual.proj: .*\[32, 24\].*\[32, 8\]",
        ),
        ("damaged.safetensors", {"quick_gelu": False}, "is not a whole safetensors file"),
        ("damaged.pt", {"quick_gelu": True}, "cannot be read as a checkpoint"),
        ("code.pt", {"quick_gelu": True}, "refers to os.system; reading it could execute code, so it is refused"),
        ("numbers.pt", {"quick_gelu": False}, "is no state dict, .*; found epoch"),
    ],
)
def test_files_that_will_not_do(
    name: str, arguments: dict[str, Any], message: str, files: dict[str, Path], tmp_path: Path
) -> None:
    file = files.get(name, tmp_path / name)
    if name == "damaged.safetensors":
        file.write_bytes(files["bare"].read_bytes()[:-100])
    elif name == "damaged.pt":
        file.write_bytes(rewritten(files["bare.pt"], lambda tree: tree[: len(tree) // 2]))
    elif name == "code.pt":
        file.write_bytes(rewritten(files["bare.pt"], lambda _: b"cos\nsystem\n(S'true'\ntR."))
    elif name == "numbers.pt":
        torch.save({"epoch": 3}, file)
    with pytest.raises(ik.WeightsError, match=message) as raised:
        ik.create_encoder("clip", **{"model": VIT, "pretrained": str(file), **arguments})
    assert "\n" not in str(raised.value)


def rewritten(archive: Path, change: Any) -> bytes:
    """A TorchScript archive with another tree of modules in it."""
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name.endswith("/data.pkl") else content)
    return buffer.getvalue()


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
def test_the_whole_pictures_embedding_reaches_sir(config: dict[str, Any]) -> None:
    native = config["vision_cfg"]["image_size"]
    native = [native, native] if isinstance(native, int) else native
    encoder = ik.create_encoder(spec_of(config, mask_channels=1)).eval()
    picture, mask = torch.rand(2, 3, *native), (torch.rand(2, 1, *native) < 0.3).float()
    features = encoder(torch.cat([picture, mask], dim=1))
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (encoder.mean, encoder.std))
    shown = (picture - mean) / std * (1 - mask)  # holes show the mean
    torch.testing.assert_close(features.pooled, encoder.net(shown))
    other = encoder(torch.cat([picture.flip(-1), mask.flip(-1)], dim=1))
    spec = {"encoder": spec_of(config), "decoder": {"name": "sir", "hidden": [8], "global_token": True}}
    model = ik.create_model({**spec, "inputs": ["image", "mask"]}).eval()
    told = model.encode(picture, mask).render((9, 9))
    model.encoder._pooled = lambda x: torch.zeros(len(x), 24)
    assert other.pooled.shape == (2, 24) and not torch.equal(model.encode(picture, mask).render((9, 9)), told)
