"""The semantic loss against its formula, what it must never let into the model, and its cache."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from literal import bilinear, into_extent
from PIL import Image
from small_parts import EDSR, SEMANTIC, Patches

import implicitkit as ik
from implicitkit.config import TrainConfig, validate
from implicitkit.field.field import Prediction
from implicitkit.training.loop import train
from implicitkit_sair.decoders.sir import SIR
from implicitkit_sair.training.losses import Semantic

ALONE = {**SEMANTIC, "encoder": {**EDSR, "trainable": False}}
SAIR = {
    "encoder": EDSR,
    "decoder": {"name": "air", "semantic_channels": 8, "projected": 4, "hidden": [12]},
    "conditions": {"semantic": ALONE},
    "inputs": ["image", "mask"],
}


def batch(size: tuple[int, int] = (10, 12), points: int = 20) -> dict[str, Any]:
    """Two pictures with a hole each, as the trainer would hand them over."""
    clean = torch.rand(2, 3, *size)
    seen = ik.create_degradation({"name": "inpainting", "kind": "boxes", "ratio": [0.2, 0.4]})(clean)
    coords = torch.rand(2, points, 2) * 2 - 1
    return {"image": seen.image, "mask": seen.mask, "reference": seen.reference, "coords": coords}


def predict(model: ik.ImplicitModel, batch: dict[str, Any]) -> Prediction:
    return model(batch["image"], batch["coords"], mask=batch["mask"])


def attached(model: ik.ImplicitModel, **options: Any) -> Semantic:
    loss = ik.create_loss("semantic", **options)
    loss.attach(model)
    return loss


@pytest.mark.parametrize("kind", ["l1", "cosine"])
@pytest.mark.parametrize("padded", [False, True])
def test_is_the_literal_formula(kind: str, padded: bool) -> None:
    """The clean features at each point, on an encoder of stride 1 and on one of stride 4 that pads 10x13 to 12x16."""
    if padded:
        encoder = Patches()
        encoder.trainable = False
        model = ik.ImplicitModel(encoder, SIR(6, reduced=5, hidden=[9]), inputs=("image", "mask"))
    else:
        model = ik.create_model(ALONE)
    data = batch((10, 13))
    with torch.no_grad():
        predicted = predict(model, data)
    whole = torch.cat([data["reference"], torch.zeros(2, 1, 10, 13)], dim=1)
    inside = into_extent(data["coords"], (10, 13), model.encoder.size_multiple)
    targets = bilinear(model.encoder(whole).map, inside)
    total = 0.0
    for e, t in zip(predicted.values.flatten(0, 1).double(), targets.flatten(0, 1), strict=True):
        if kind == "l1":
            total += sum(abs(float(a - b)) for a, b in zip(e, t, strict=True)) / len(e) / 40
        else:
            total += (1 - float(e @ t) / math.sqrt(float(e @ e) * float(t @ t))) / 40
    found = attached(model, kind=kind)(predicted, data)
    assert found.shape == () and found.item() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("kind", ["l1", "cosine"])
def test_zero_at_the_truth(kind: str) -> None:
    model, data = ik.create_model(ALONE), batch()
    loss = attached(model, kind=kind)
    assert loss(Prediction(loss.target(data), {}), data).item() == pytest.approx(0, abs=1e-6)


def test_a_whole_sair_is_compared_by_its_condition() -> None:
    model, data = ik.create_model(SAIR), batch()
    alone, prediction = model.conditions["semantic"], predict(model, data)
    expected = attached(alone)(predict(alone, data), data)
    assert attached(model)(prediction, data).item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_gradient_reaches_sir_and_nothing_else() -> None:
    model, data = ik.create_model(SAIR), batch()
    attached(model)(predict(model, data), data).backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {name for name, _ in model.named_parameters() if name.startswith("conditions.semantic.decoder")}


def test_nothing_of_the_clean_picture_enters_the_model() -> None:
    """Another clean picture inside the hole: the model's input and output stay to the bit, the target does not."""
    model, data = ik.create_model(SAIR), batch()
    holes = ik.create_degradation({"name": "inpainting", "kind": "boxes", "ratio": [0.2, 0.4], "fill": "mean"})
    clean, record = torch.rand(2, 3, 10, 12), holes.sample((3, 10, 12), torch.Generator().manual_seed(0))
    first = holes.apply(clean, record)
    second = holes.apply(torch.where(first.mask > 0, 1 - clean, clean), record)
    assert not torch.equal(first.reference, second.reference)
    loss, predictions, losses = attached(model), [], []
    for seen in (first, second):
        whole = {"image": seen.image, "mask": seen.mask, "reference": seen.reference, "coords": data["coords"]}
        predictions.append(predict(model, whole))
        losses.append(loss(predictions[-1], whole))
    assert torch.equal(predictions[0].values, predictions[1].values)
    assert torch.equal(predictions[0].conditions["semantic"], predictions[1].conditions["semantic"])
    assert losses[0] != losses[1]


def test_clean_pictures_of_different_sizes() -> None:
    """At a range of scales the batch holds a list; each is compared as it would be alone."""
    model = ik.create_model(ALONE)
    loss, data = attached(model), batch()
    references = [torch.rand(3, 10, 12), torch.rand(3, 20, 24)]
    together = loss.target({**data, "reference": references})
    each = [
        loss.target({"reference": r[None], "coords": c[None]}) for r, c in zip(references, data["coords"], strict=True)
    ]
    assert torch.equal(together, torch.cat(each))


# ---------------------------------------------------------------- the cache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPLICITKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


def epoch(model: ik.ImplicitModel, data: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """A new loss's targets, and how many pictures the encoder had to see for them."""
    pictures = []
    hook = model.encoder.register_forward_hook(lambda module, x, y: pictures.append(len(x[0])))
    target = attached(model, cache=True).target(data)
    hook.remove()
    return target, sum(pictures)


def test_the_second_epoch_reads_from_disk(cache: Path) -> None:
    model, data = ik.create_model(ALONE), batch()
    expected = attached(model).target(data)
    assert not cache.exists()
    first, second = epoch(model, data), epoch(model, data)
    assert (first[1], second[1]) == (2, 0)
    assert torch.equal(first[0], expected) and torch.equal(second[0], expected)
    assert len(list(cache.iterdir())) == 2


def test_only_what_is_missing_is_computed(cache: Path) -> None:
    model, data = ik.create_model(ALONE), batch()
    epoch(model, data)
    other = {**data, "reference": torch.stack([torch.rand(3, 10, 12), data["reference"][0]])}
    target, seen = epoch(model, other)
    assert seen == 1
    torch.testing.assert_close(target, attached(model).target(other), atol=1e-6, rtol=0)


def test_another_encoder_has_another_key(cache: Path) -> None:
    """Other weights of the same architecture, and the same weights in another mode."""
    model, data = ik.create_model(ALONE), batch()
    epoch(model, data)
    with torch.no_grad():
        next(model.encoder.parameters())[0, 0, 0, 0] += 1e-3
    assert epoch(model, data)[1] == 2
    spec = copy.deepcopy(ALONE)
    spec["encoder"]["res_scale"] = 0.5
    other = ik.create_model(spec)
    other.load_state_dict(model.state_dict())
    assert epoch(other, data)[1] == 2
    assert len(list(cache.iterdir())) == 6


@pytest.mark.parametrize("left", [0, 5, 100])
def test_a_truncated_file_is_made_again(cache: Path, left: int) -> None:
    model, data = ik.create_model(ALONE), batch()
    expected, _ = epoch(model, data)
    file = next(iter(cache.iterdir()))
    whole = file.read_bytes()
    file.write_bytes(whole[:left])
    target, seen = epoch(model, data)
    assert seen == 1 and len(file.read_bytes()) == len(whole)
    assert epoch(model, data)[1] == 0
    torch.testing.assert_close(target, expected, atol=1e-6, rtol=0)


def test_weights_loaded_after_attach_count(cache: Path) -> None:
    model, data = ik.create_model(ALONE), batch()
    loss = attached(model, cache=True)
    model.load_state_dict(ik.create_model(ALONE).state_dict())
    assert torch.equal(loss.target(data), attached(model).target(data))
    assert epoch(model, data)[1] == 0


# ---------------------------------------------------------------- training, and what is refused


def test_two_stages_of_training(tmp_path: Path) -> None:
    """SIR first, then AIR on the frozen SIR: the log has each term, both stages learn, and the second leaves SIR be."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    y, x = np.mgrid[:32, :32] / 32
    for k in range(3):
        pixels = np.stack([x, y, (np.sin(6 * x + k) + 1) / 2], axis=-1)
        Image.fromarray((255 * pixels).astype(np.uint8)).save(pictures / f"{k}.png")
    common = {
        "data": {"folders": [str(pictures)], "patch": 16, "points": 128, "cache": "memory"},
        "degradation": {"name": "inpainting", "kind": "boxes", "ratio": [0.1, 0.4]},
        "optimiser": {"lr": 1e-2},
        **{"steps": 24, "batch": 4, "log_every": 4, "checkpoint_every": 24},
    }

    def stage(name: str, model: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
        output = tmp_path / name
        train(validate(TrainConfig, {"model": model, "output": str(output), **common, **settings}, name))
        log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        return [entry for entry in log if entry["event"] == "train"]

    first = stage("sir", ALONE, loss="semantic")
    assert first[-1]["loss"] < 0.8 * first[0]["loss"]

    sir = str(tmp_path / "sir" / "last.safetensors")
    frozen = {**ALONE, "decoder": {**ALONE["decoder"], "trainable": False}}
    losses = [{"name": "l1", "hole_weight": 6.0}, {"name": "semantic", "weight": 0.1}]
    model = {**SAIR, "conditions": {"semantic": frozen}}
    second = stage("air", model, loss=losses, weights={"conditions": {"semantic": sir}})
    assert second[-1]["loss_l1"] < 0.8 * second[0]["loss_l1"]
    entry = second[-1]
    assert entry["loss"] == pytest.approx(entry["loss_l1"] + 0.1 * entry["loss_semantic"], rel=1e-5)
    before = ik.load_model(sir).state_dict()
    after = ik.load_model(tmp_path / "air" / "last.safetensors").conditions["semantic"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(ValueError, match="kind is 'l1' or 'cosine'; received 'l2'"):
        Semantic(kind="l2")
    with pytest.raises(ValueError, match=r"the condition 'semantic'; the model's conditions are none"):
        attached(ik.create_model({"encoder": EDSR, "decoder": "liif"}))
    with pytest.raises(ValueError, match=r"the condition 'meaning'; the model's conditions are \['semantic'\]"):
        attached(ik.create_model(SAIR), condition="meaning")
    with pytest.raises(ValueError, match="from EDSR, which must not learn; set trainable: false"):
        attached(ik.create_model(SEMANTIC))
    wide = {**ALONE, "decoder": {**ALONE["decoder"], "out_channels": 5}}
    with pytest.raises(ValueError, match="has 5 values per point, its encoder 8 features; .* out_channels=8"):
        attached(ik.create_model(wide))
    model, data = ik.create_model(ALONE), batch()
    prediction = predict(model, data)
    with pytest.raises(ValueError, match=r"call loss.attach\(model\) first"):
        Semantic()(prediction, data)
    del data["reference"]
    with pytest.raises(ValueError, match=r"batch\['reference'\] \(B, 3, H, W\); received none"):
        attached(model)(prediction, data)
    by_hand = Patches()
    by_hand.trainable = False
    loss = attached(ik.ImplicitModel(by_hand, SIR(6, reduced=5), inputs=("image", "mask")), cache=True)
    with pytest.raises(ValueError, match="Patches was not built by name; .* cache=False"):
        loss.target(batch())
