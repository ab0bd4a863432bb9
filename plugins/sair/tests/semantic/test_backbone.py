"""Where the weights of ``dense`` come from, and when a saved model holds them; files made here, no net."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny_vit import DINO, SIR, TINY, VIT

import implicitkit as ik
from implicitkit.files import digest as contents
from implicitkit.registry.kinds import weights
from implicitkit.weights import KnownFile, Source
from implicitkit.weights.native import read_metadata

ANY = {**VIT, "options": {key: value for key, value in TINY.items() if key != "img_size"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A timm folder, its positions of another grid than its architecture's own, and the same weights as files."""
    where = tmp_path_factory.mktemp("weights") / "tiny"
    where.mkdir()
    torch.manual_seed(3)
    net = timm.create_model("vit_tiny_patch16_224", **{**TINY, "img_size": 48})
    state = net.state_dict()
    save_file(state, where / "model.safetensors")
    torch.save({"state_dict": state}, where / "checkpoint.pth")
    arguments = {key: value for key, value in TINY.items() if key != "img_size"}
    seen_as = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 48, 48]}
    config = {"architecture": "vit_tiny_patch16_224", "model_args": arguments, "pretrained_cfg": seen_as}
    (where / "config.json").write_text(json.dumps(config))
    return where


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@torch.no_grad()
def test_a_folder_and_a_file_of_the_same_weights(folder: Path) -> None:
    x = torch.rand(1, 3, 24, 40)
    encoder = ik.create_encoder({"name": "dense", "model": f"local-dir:{folder}"}).eval()
    assert encoder.net.patch_embed.grid_size == (6, 6)
    assert (encoder.mean, encoder.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    for file in ("model.safetensors", "checkpoint.pth"):
        other = ik.create_encoder({**ANY, "weights": str(folder / file), "mean": encoder.mean, "std": encoder.std})
        assert torch.equal(other.eval()(x).map, encoder(x).map)


@pytest.mark.parametrize("trainable", [None, True])
@pytest.mark.parametrize("stated", [False, True])
def test_a_saved_model_holds_what_not_anybody_can_get(
    folder: Path, stated: bool, trainable: bool | None, tmp_path: Path
) -> None:
    encoder = {"name": "dense", "model": f"local-dir:{folder}", "view": 1.5, "layer": 1}
    encoder |= {"sha256": digest(folder / "model.safetensors")} if stated else {}
    encoder |= {"trainable": trainable} if trainable is not None else {}
    model = ik.create_model({"encoder": encoder, "decoder": SIR}).eval()
    left_out = stated and not trainable
    saved = model.save(tmp_path / "model.safetensors")
    assert bool(json.loads(read_metadata(saved)["frozen"])) == left_out
    kept = model.spec["encoder"]
    assert (kept["model"] == encoder["model"]) == left_out and ("sha256" in kept) == left_out
    picture = torch.rand(3, 20, 30)
    expected = model.encode(picture).render((9, 9))
    moved = folder.rename(folder.with_name("elsewhere"))
    try:
        if left_out:
            with pytest.raises(ik.WeightsError, match="there is no folder"):
                ik.load_model(saved)
        else:
            again = ik.load_model(saved)
            assert torch.equal(again.encode(picture).render((9, 9)), expected)
            assert again.encoder.trainable == bool(trainable) and again.spec == model.spec
    finally:
        moved.rename(folder)
    assert torch.equal(ik.load_model(saved).encode(picture).render((9, 9)), expected)


def test_weights_of_a_known_hash_are_found_in_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    file = folder / "model.safetensors"
    (tmp_path / "weights" / "tiny.safetensors").write_bytes(file.read_bytes())
    ik.create_encoder({**ANY, "weights": "/nowhere/tiny.safetensors", "sha256": digest(file)})
    with pytest.raises(ik.WeightsError, match=r"there is no file /nowhere/tiny.safetensors; weights: is a"):
        ik.create_encoder({**ANY, "weights": "/nowhere/tiny.safetensors"})


def test_files_that_are_not_what_they_should_be(folder: Path, tmp_path: Path) -> None:
    file = folder / "model.safetensors"
    with pytest.raises(ik.WeightsError, match=r"it holds other weights$"):
        ik.create_encoder({**VIT, "weights": str(file), "sha256": "0" * 64})
    with pytest.raises(ik.WeightsError, match="does not fit the model; missing: blocks.0.ls1.gamma"):
        ik.create_encoder({**DINO, "weights": str(file)})
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ik.WeightsError, match="does not fit"):
        ik.create_encoder({**VIT, "weights": str(tmp_path / "other.safetensors")})
    torch.save({"state_dict": {"cls_token": Path("x")}}, tmp_path / "code.pth")
    with pytest.raises(ik.WeightsError, match="could execute code"):
        ik.create_encoder({**VIT, "weights": str(tmp_path / "code.pth")})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(ik.WeightsError, match="holds no weights"):
        ik.create_encoder({"name": "dense", "model": f"local-dir:{tmp_path}"})


@pytest.fixture
def known(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """``tiny_known``, weights of ``vit_tiny_patch16_224`` in the cache folder: a folder whose sources are nowhere."""
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
    cached = tmp_path / "cache" / "weights" / "tiny"
    shutil.copytree(folder, cached)
    entry = KnownFile(
        "tiny", "tests", "MIT", 1, contents(cached), (Source("http://127.0.0.1:1/x"),), timm="vit_tiny_patch16_224"
    )
    ik.register_weights("tiny_known", lambda: entry, replace=True)
    ik.register_weights("of_no_network", lambda: replace(entry, timm=""), replace=True)
    yield cached
    weights.discard(["tiny_known", "of_no_network"])


@torch.no_grad()
def test_weights_known_by_name_need_no_path(known: Path, tmp_path: Path) -> None:
    model = ik.create_model({"encoder": {"name": "dense", "weights": "tiny_known", "layer": 1}, "decoder": SIR}).eval()
    assert model.encoder.source == "tiny_known of implicitkit weights"
    assert model.encoder.mean == [0.1, 0.2, 0.3] and model.encoder.learnt
    saved = model.save(tmp_path / "model.safetensors")
    assert list(json.loads(read_metadata(saved)["frozen"])) == ["encoder"], "anybody can get them"
    picture = torch.rand(3, 20, 30)
    expected = model.encode(picture).render((9, 9))
    assert torch.equal(ik.load_model(saved).encode(picture).render((9, 9)), expected)
    shutil.rmtree(known)
    with pytest.raises(
        ik.WeightsError, match=r"cannot get tiny_known; tried http://127.0.0.1:1/x \(.*implicitkit weights get"
    ):
        ik.load_model(saved)
    with pytest.raises(ik.WeightsError, match=r"of_no_network is tests, no network of timm's; these are: .*tiny_known"):
        ik.create_encoder("dense", weights="of_no_network")


@torch.no_grad()
def test_where_timms_hub_is_not_reached_the_known_file_takes_its_place(
    known: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = timm.create_model

    def offline(model: str, pretrained: bool = False, **options: Any) -> Any:
        if pretrained:
            raise ConnectionError("no network here")
        return create(model, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    encoder = ik.create_encoder("dense", model="vit_tiny_patch16_224", pretrained=True).eval()
    assert "no network here" in (said := capsys.readouterr().err) and "tiny_known" in said and said.count("\n") == 1
    named = ik.create_encoder("dense", weights="tiny_known").eval()
    x = torch.rand(1, 3, 24, 40)
    assert torch.equal(encoder(x).map, named(x).map)
    assert encoder.portable(encoder.spec) == {"name": "dense", "weights": "tiny_known"}
    with pytest.raises(ik.WeightsError, match="no network here"):
        ik.create_encoder("dense", model="vit_tiny_r_s16_p8_224", pretrained=True)
