"""The protocol of segmentation: mIoU against literal sums, holes, stages, several models, bad input, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from semantics import COLOURS, NAMES, flag, make_folder, saved_semantics
from semantics import semantic_model as colours_model
from tiny_clip import VIT, build

import implicitkit as ik
from implicitkit import testing
from implicitkit.errors import DataError, UserError
from implicitkit.evaluation import Scores
from implicitkit_sair.segmentation.label_maps import (
    LabelledFolder,
    confusion,
    iou,
    mean_iou,
    read_label_map,
    write_label_map,
)
from implicitkit_sair.segmentation.labelling import segment
from implicitkit_sair.segmentation.protocol import commonest_class, evaluate_segmentation, segmenter
from implicitkit_sair.segmentation.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "ade")


@pytest.fixture
def bank(tmp_path: Path) -> str:
    np.save(tmp_path / "colours.npy", COLOURS.numpy())
    return str(tmp_path / "colours.npy")


@pytest.fixture
def wide(tmp_path: Path) -> str:
    """Embeddings for :func:`saved_semantics`."""
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).standard_normal((3, 6)))
    return str(tmp_path / "wide.npy")


def of(model: ik.ImplicitModel, folder: Path, **how: object) -> Scores:
    return evaluate_segmentation({"m": segmenter(model, Vocabulary(tuple(NAMES), COLOURS))}, folder, **how)


def test_confusions_are_summed_over_the_set(folder: Path, bank: str) -> None:
    model, labelled = colours_model(mask=True), LabelledFolder.open(folder)
    scores = ik.create_protocol("segmentation", embeddings=bank).evaluate({"m": model}, folder)
    table, counts = torch.zeros(3, 3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    for image, file in labelled.pairs.values():
        truth = read_label_map(file, 3)
        labels = segment(model.encode(ik.read_image(image)), NAMES, truth.shape, embeddings=COLOURS).labels
        table += confusion(labels, truth, 3)
        counts += torch.tensor([int((truth == k).sum()) for k in range(3)])
    assert list(scores.values) == ["commonest class", "m"] and scores.item == "class"
    found = scores.values["m"]["clean"]
    assert found["miou"] == dict(zip(NAMES, iou(table).tolist(), strict=True))
    assert found["miou_raw"] == found["miou"]  # this model completes nothing
    assert scores.mean("m", "clean", "miou") == pytest.approx(mean_iou(table)) and mean_iou(table) > 0.9
    commonest = int(counts.argmax())
    trivial = {name: float(counts[k] / counts.sum()) * (k == commonest) for k, name in enumerate(NAMES)}
    assert scores.values["commonest class"]["clean"]["miou"] == pytest.approx(trivial)
    labelled_part = float((read_label_map(labelled.pairs["b"][1], 3) >= 0).double().mean())
    assert scores.records["clean"]["b"] == {"labelled": labelled_part} and 0.6 < labelled_part < 0.7


def test_holes(folder: Path) -> None:
    model = colours_model(mask=True)
    scores = of(model, folder, bins=[(20, 40), (40, 60)], seed=3)
    again = of(model, folder, bins=[(40, 60)], seed=3)
    assert list(scores.values["m"]) == ["20-40", "40-60"]
    assert scores.values["m"]["40-60"] == again.values["m"]["40-60"]  # no bin moves another's masks
    assert scores.values["m"] != of(model, folder, bins=[(20, 40), (40, 60)], seed=4).values["m"]
    for setting, low, high in (("20-40", 0.2, 0.4), ("40-60", 0.4, 0.6)):
        assert all(low <= record["hole_ratio"] <= high for record in scores.records[setting].values())
        assert scores.mean("m", setting, "miou_hole") < scores.mean("m", setting, "miou") < 1


def test_the_hole_is_what_the_record_says(folder: Path) -> None:
    """Literally: the mask replayed, the picture filled, the confusion inside the mask."""
    model = colours_model(mask=True)
    scores = of(model, folder, bins=[(40, 60)])
    degradation = ik.create_degradation({"name": "inpainting", "kind": "strokes", "ratio": [0.4, 0.6]})
    whole, hole = torch.zeros(3, 3, dtype=torch.int64), torch.zeros(3, 3, dtype=torch.int64)
    for name, (image, file) in LabelledFolder.open(folder).pairs.items():
        seen = degradation.apply(ik.read_image(image), json.loads(json.dumps(scores.records["40-60"][name])))
        truth = read_label_map(file, 3)
        labels = segment(model.encode(seen.image, seen.mask), NAMES, truth.shape, embeddings=COLOURS).labels
        whole += confusion(labels, truth, 3)
        hole += confusion(labels, torch.where(seen.mask[0] > 0.5, truth, -1), 3)
    assert scores.mean("m", "40-60", "miou") == pytest.approx(mean_iou(whole))
    assert scores.mean("m", "40-60", "miou_hole") == pytest.approx(mean_iou(hole))


def test_each_model_sees_the_filling_of_its_training(folder: Path, bank: str) -> None:
    seen: dict[str, torch.Tensor] = {}

    def watched(name: str, fill: float | None) -> ik.ImplicitModel:
        model = colours_model(mask=True)
        if fill is not None:
            model.training_summary = {"degradation": [{"name": "inpainting", "fill": fill}]}

        def note(_: object, inputs: tuple[torch.Tensor], __: object) -> None:
            seen.setdefault(name, inputs[0][0])

        model.encoder.register_forward_hook(note)
        return model

    models = {"dark": watched("dark", 0.0), "bright": watched("bright", 1.0), "grey": watched("grey", None)}
    ik.create_protocol("segmentation", embeddings=bank, bins=[[40, 60]]).evaluate(models, folder)
    masks = [picture[3] for picture in seen.values()]
    assert torch.equal(masks[0], masks[1]) and torch.equal(masks[0], masks[2]) and bool(masks[0].any())
    for name, fill in (("dark", 0.0), ("bright", 1.0), ("grey", 0.5)):
        assert bool((seen[name][:3, masks[0] > 0.5] == fill).all())
        assert torch.equal(seen[name][:3, masks[0] < 0.5], seen["dark"][:3, masks[0] < 0.5])
    seen.clear()
    ik.create_protocol("segmentation", embeddings=bank, bins=[[40, 60]], fill=0.25).evaluate(models, folder)
    assert all(bool((picture[:3, masks[0] > 0.5] == 0.25).all()) for picture in seen.values())


def test_shrunk_pictures_keep_their_label_maps(folder: Path) -> None:
    seen: list[torch.Size] = []
    model = colours_model(mask=True)
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2:]))
    scores = of(model, folder, side=12)
    assert set(seen) == {torch.Size([12, 18]), torch.Size([12, 24])}
    assert scores.mean("m", "clean", "miou") > 0.8  # scored at 16×24 and 24×48, seams apart


def test_a_sair_is_scored_by_the_meaning_it_reads(folder: Path, wide: str) -> None:
    semantic = saved_semantics().spec
    spec = {
        "encoder": {"name": "edsr", "blocks": 1, "channels": 4, "res_scale": 1.0, "mask_channels": 1},
        "decoder": {"name": "air", "semantic_channels": 6, "hidden": [8]},
        "conditions": {"semantic": semantic},
        "inputs": ["image", "mask"],
    }
    sair, alone = ik.create_model(spec).eval(), saved_semantics()
    sair.conditions["semantic"].load_state_dict(alone.state_dict())
    protocol = ik.create_protocol("segmentation", embeddings=wide)
    scores = protocol.evaluate({"sair": sair, "alone": alone}, folder)
    assert scores.values["sair"] == scores.values["alone"]
    with pytest.raises(UserError, match="sair: the model has no condition 'meaning'; its conditions: semantic"):
        ik.create_protocol("segmentation", embeddings=wide, condition="meaning").check(sair, "sair")


def test_names_reach_the_text_tower(tmp_path: Path, folder: Path) -> None:
    save_file(build(VIT).state_dict(), tmp_path / "tiny.safetensors")
    clip = {"name": "clip", "model": VIT, "pretrained": str(tmp_path / "tiny.safetensors"), "quick_gelu": False}
    decoder = {"name": "bilinear", "project": False}
    model = ik.create_model({"encoder": clip, "decoder": decoder}).eval()
    templates = ["a photo of a {}.", "many {}"]
    (tmp_path / "templates.txt").write_text("\n".join(templates))
    (tmp_path / "classes.txt").write_text("sky\ntree\nsea\n")
    words = Vocabulary.from_text(model.encoder, ["sky", "tree", "sea"], templates)
    expected = evaluate_segmentation(
        {"m": segmenter(model, words)}, LabelledFolder.open(folder, ["sky", "tree", "sea"])
    )
    listed = {"classes": ["sky", "tree", "sea"], "templates": templates}
    filed = {"classes": str(tmp_path / "classes.txt"), "templates": str(tmp_path / "templates.txt")}
    for options in (listed, filed):
        found = ik.create_protocol("segmentation", **options).evaluate({"m": model}, folder)
        assert found.values["m"] == expected.values["m"]


def test_it_keeps_the_contract(folder: Path, bank: str, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    ik.write_image(masks / "half.png", (torch.arange(40) < 20).float().expand(1, 40, 40))
    models = {"a": colours_model(mask=True), "b": colours_model(mask=True)}
    for options in ({}, {"bins": [[20, 40], [40, 60]]}, {"bins": [[40, 60]], "masks": str(masks)}):
        testing.check_protocol({"name": "segmentation", "embeddings": bank, **options}, folder, models)


def test_what_is_refused(folder: Path, bank: str, wide: str) -> None:
    protocol = ik.create_protocol("segmentation", embeddings=bank, bins=[[20, 40]])
    with pytest.raises(UserError, match="m: its semantic model takes no mask"):
        protocol.evaluate({"m": colours_model()}, folder)
    with pytest.raises(UserError, match="mIoU alone"):
        protocol.evaluate({"m": colours_model(mask=True)}, folder, metrics=["psnr"])
    with pytest.raises(UserError, match="the classes' embeddings 6"):
        ik.create_protocol("segmentation", embeddings=wide).evaluate({"m": colours_model()}, folder)
    with pytest.raises(ValueError, match="two percentages"):
        ik.create_protocol("segmentation", bins=[[60, 40]])
    with pytest.raises(ValueError, match="a: an answer holds a label that is none of the 2 classes"):
        two = LabelledFolder.open(folder, ["red", "green"])
        write_label_map(folder / "annotations" / "a.png", torch.zeros(16, 24, dtype=torch.int64))
        write_label_map(folder / "annotations" / "b.png", torch.zeros(24, 48, dtype=torch.int64))
        evaluate_segmentation({"m": segmenter(colours_model(), Vocabulary(tuple(NAMES), COLOURS))}, two)
    ik.write_image(folder / "images" / "a.png", flag(15, 24))
    with pytest.raises(DataError, match="24×15 pixels, its label map 24×16"):
        of(colours_model(), folder)


def test_the_commonest_class_is_counted_in_pixels(folder: Path) -> None:
    assert commonest_class(LabelledFolder.open(folder)) == 0  # as many are blue; the first
    write_label_map(folder / "annotations" / "b.png", torch.full((24, 48), 2))
    assert commonest_class(LabelledFolder.open(folder)) == 2


# ---------------------------------------------------------------------------- from the command line


def test_the_command(run, folder: Path, wide: str, tmp_path: Path) -> None:
    model = saved_semantics().save(tmp_path / "model.safetensors")
    call = ("evaluate", "--protocol", "segmentation", "--model", model, "--data", folder, "--set", f"embeddings={wide}")
    done = run(*call, "-o", tmp_path / "scores.json")
    assert done.code == 0, done.err
    expected = ik.create_protocol("segmentation", embeddings=wide).evaluate({tmp_path.name: saved_semantics()}, folder)
    lines = done.out.splitlines()
    assert lines[0] == "before completion:" and "| MIOU-RAW | clean |" in lines
    row = tmp_path.name  # a file's row has the name of its folder
    rows = [f"| {name} | {expected.mean(name, 'clean', 'miou'):.4f} |" for name in ("commonest class", row)]
    assert lines[lines.index("after completion:") + 4 :][:2] == rows
    report = json.loads((tmp_path / "scores.json").read_text())
    assert report["per_class"][row]["clean"]["miou"] == pytest.approx(expected.values[row]["clean"]["miou"])
    assert list(report["records"]["clean"]) == ["a", "b"] and report["embeddings"] == wide
    holes = run(*call, "--bins", "20-40", "40-60", "--seed", "2", "--set", "side=12")
    assert holes.code == 0 and "| MIOU / MIOU-HOLE | 20–40 % | 40–60 % |" in holes.out, holes.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "none"], "there is no folder none"),
        (["--bins", "40"], "--bins are hole ratios in percent"),
        (["--masks", "masks"], "masks has no meaning without bins"),
        (["--scales", "2"], "--scales has no meaning for --protocol segmentation"),
        (["--metrics", "psnr"], "mIoU alone"),
        (["--set", "classes=[a, b]"], "holds 3 embeddings for 2 names"),
        (["--set", "classes=no.txt"], "there is no file no.txt"),
        (["--set", "templates=[a photo]"], "templates has no meaning with embeddings"),
        (["--set", "embeddings=null"], "pass embeddings FILE.npy with a row for each class"),
        (["--set", "names=names.txt", "--set", "embeddings=null"], "pass that too, or classes alone"),
        (["--model", "liif_small"], "gives an embedding"),
        (["--set", "side=0"], "side is a number of pixels; received 0"),
        (["--set", "sides=3"], "takes no 'sides'; did you mean 'side'"),
    ],
)
def test_what_is_wrong_is_one_line(
    run, folder: Path, wide: str, tmp_path: Path, options: list[str], message: str
) -> None:
    model = saved_semantics().save(tmp_path / "model.safetensors")
    call = ("evaluate", "--protocol", "segmentation", "--model", model, "--data", folder, "--set", f"embeddings={wide}")
    done = run(*call, *options)
    assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
