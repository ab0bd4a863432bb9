"""Words as embeddings, with a tiny text tower of random weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny_clip import RESNET, VIT, build
from torch import Tensor

import implicitkit as ik
from implicitkit_sair import encode_text
from implicitkit_sair.semantic.clip import text

SIR = {"name": "sir", "reduced": 4, "hidden": [8]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(build(VIT).state_dict(), file)
    return file


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An empty memory; returns the text towers that were built."""
    towers: list[Any] = []
    build_tower = text.text_tower
    monkeypatch.setattr(text, "_known", {})
    monkeypatch.setattr(text, "_tower", None)
    monkeypatch.setattr(text, "text_tower", lambda made: towers.append(made) or build_tower(made))
    return towers


def spec_of(weights: Path | None, **arguments: Any) -> dict[str, Any]:
    known = {"pretrained": str(weights), "quick_gelu": False} if weights else {}
    return {"name": "clip", "model": VIT, **known, **arguments}


def theirs(sentences: list[str], quick_gelu: bool = False) -> Tensor:
    with torch.no_grad():
        return build(VIT, quick_gelu).encode_text(open_clip.tokenize(sentences), normalize=True)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_templates_are_averaged_and_embeddings_normalised(weights: Path, quick_gelu: bool) -> None:
    """One template and one word at a time, by open_clip's own model."""
    found = encode_text(
        ik.create_encoder(spec_of(weights, quick_gelu=quick_gelu)), ["sky", "a {tree}"], ["a {}.", "no {} here", "{}"]
    )
    assert found.shape == (2, 24) and found.dtype == torch.float32
    for row, word in zip(found, ["sky", "a {tree}"], strict=True):
        parts = [theirs([f"a {word}."], quick_gelu)[0], theirs([f"no {word} here"], quick_gelu)[0]]
        parts.append(theirs([word], quick_gelu)[0])
        mean = sum(parts) / 3
        torch.testing.assert_close(row, mean / mean.square().sum().sqrt(), atol=1e-5, rtol=0)


def test_it_compares_with_the_picture_as_open_clip_does(weights: Path) -> None:
    encoder = ik.create_encoder(spec_of(weights, mode="vanilla")).eval()
    picture, words = torch.rand(1, 3, 32, 32), ["sky", "tree", "water"]
    model = build(VIT)
    model.visual.output_tokens = True
    with torch.no_grad():
        _, tokens = model.visual(encoder.normalise(picture))
        expected = F.normalize(tokens @ model.visual.proj, dim=-1) @ theirs([f"a photo of a {w}." for w in words]).T
        features = F.normalize(encoder(picture).map, dim=1)
    found = torch.einsum("bdhw,kd->bhwk", features, encode_text(encoder, words)).flatten(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_the_tower_is_built_when_asked_and_its_words_are_kept(weights: Path, built: list[Any]) -> None:
    encoder = ik.create_encoder(spec_of(weights))
    assert not built and not any("text" in key or "token" in key for key in encoder.state_dict())
    first = encode_text(encoder, ["sky", "tree", "sky"])
    assert len(built) == 1 and torch.equal(first[0], first[2])
    text._tower = None
    assert torch.equal(encode_text(ik.create_encoder(spec_of(weights)), ["tree", "sky"]), first[[1, 0]])
    assert len(built) == 1  # another encoder, but the same words of the same file: nothing to be built for
    encode_text(encoder, ["tree", "water"])
    encode_text(encoder, ["tree"], ["{}"])
    assert len(built) == 2
    assert not torch.equal(encode_text(encoder, ["tree"], ["{}"]), first[1:2])
    first.zero_()  # what was handed out is not what is kept
    assert encode_text(encoder, ["sky"]).any()


def test_a_file_that_changed_is_read_again(tmp_path: Path, weights: Path, built: list[Any]) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(weights.read_bytes())
    encoder = ik.create_encoder(spec_of(file))
    before = encode_text(encoder, ["sky"])
    state = build(VIT).state_dict()
    save_file({**state, "text_projection": -state["text_projection"], "unused": torch.zeros(1)}, file)
    with pytest.raises(ik.WeightsError, match=r"does not fit the model CLIP: Unexpected key.*unused"):
        encode_text(encoder, ["sky"])
    save_file({**state, "text_projection": -state["text_projection"], "logit_bias": torch.zeros(1)}, file)
    torch.testing.assert_close(encode_text(encoder, ["sky"]), -before)


def test_it_finds_the_clip_of_a_model(weights: Path) -> None:
    semantic = {"encoder": spec_of(weights), "decoder": SIR}
    expected = encode_text(ik.create_encoder(spec_of(weights)), ["sky"])
    assert torch.equal(encode_text(ik.create_model(semantic), ["sky"]), expected)
    whole = ik.create_model(
        {"encoder": "edsr", "decoder": {"name": "air", "semantic_channels": 24, "hidden": [8]}}
        | {"conditions": {"semantic": semantic}}
    )
    assert torch.equal(encode_text(whole, ["sky"]), expected)


def test_a_resnets_words(tmp_path: Path) -> None:
    save_file(build(RESNET).state_dict(), tmp_path / "resnet.safetensors")
    encoder = ik.create_encoder("clip", model=RESNET, pretrained=str(tmp_path / "resnet.safetensors"), quick_gelu=False)
    with torch.no_grad():
        expected = build(RESNET).encode_text(open_clip.tokenize(["sky"]), normalize=True)
    torch.testing.assert_close(encode_text(encoder, ["sky"], ["{}"]), expected, atol=1e-5, rtol=0)


def test_a_text_tower_of_its_own_prefix(tmp_path: Path) -> None:
    """As open_clip stores models whose text tower is a module of its own."""
    state = build(VIT).state_dict()
    custom = {k if k.startswith(("visual.", "logit")) else f"text.{k}": v for k, v in state.items()}
    save_file(custom, tmp_path / "custom.safetensors")
    encoder = ik.create_encoder(spec_of(tmp_path / "custom.safetensors"))
    torch.testing.assert_close(encode_text(encoder, ["sky"], ["{}"]), theirs(["sky"]), atol=1e-5, rtol=0)


def test_a_saved_model_is_told_where_its_words_are(weights: Path, tmp_path: Path) -> None:
    model = ik.create_model({"encoder": spec_of(weights), "decoder": SIR})
    again = ik.load_model(model.save(tmp_path / "model.safetensors"))
    with pytest.raises(ik.WeightsError, match="its text tower is not at hand; pass weights=") as raised:
        encode_text(again, ["sky"])
    assert "\n" not in str(raised.value)
    assert torch.equal(encode_text(again, ["sky"], weights=str(weights)), encode_text(model, ["sky"]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_embeddings_come_on_the_encoders_device(weights: Path) -> None:
    encoder = ik.create_encoder(spec_of(weights))
    expected = encode_text(encoder, ["sky"])
    found = encode_text(encoder.cuda(), ["sky", "tree"])
    assert found.is_cuda and torch.equal(found[:1].cpu(), expected)


@pytest.mark.parametrize(
    ("prompts", "templates", "message"),
    [
        ([], ["{}"], r"lists of sentences; received \[\]"),
        ("sky", ["{}"], "lists of sentences; received 'sky'"),
        (["sky"], "{}", "lists of sentences"),
        (["sky"], [], "lists of sentences"),
        (["sky"], ["{}", "a photo"], "where the prompt goes; received 'a photo'"),
    ],
)
def test_mistakes(prompts: Any, templates: Any, message: str, weights: Path) -> None:
    with pytest.raises(ValueError, match=message):
        encode_text(ik.create_encoder(spec_of(weights)), prompts, templates)


def test_what_has_no_words(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="only a clip encoder has words; received EDSR"):
        encode_text(ik.create_encoder("edsr"), ["sky"])
    with pytest.raises(ValueError, match="this model has 0"):
        encode_text(ik.create_model("liif_edsr_baseline"), ["sky"])
    with pytest.raises(ik.WeightsError, match="the given configuration\\) was built without a weight file"):
        encode_text(ik.create_encoder(spec_of(None)), ["sky"])
    file = tmp_path / "gone.safetensors"
    file.write_bytes(weights.read_bytes())
    encoder = ik.create_encoder(spec_of(file))
    file.unlink()
    with pytest.raises(ik.WeightsError, match="there is no file .* any more, and the text tower is in it"):
        encode_text(encoder, ["sky"])
    for config, what in (({}, "has no text tower"), ({"hf_model_name": "roberta"}, "not open_clip's plain one")):
        other = ik.create_encoder(spec_of(weights) | {"model": {**VIT, "text_cfg": config}})
        with pytest.raises(ik.UserError, match=what):
            encode_text(other, ["sky"])
