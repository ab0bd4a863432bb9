"""Every configuration trains, at a size for tests; its parts are swapped by editing its text."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.config import TrainConfig, load_yaml, validate
from implicitkit.training.loop import train
from implicitkit_sair import models
from implicitkit_sair.training.pretrain import Settings, pretrain

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parents[1] / "examples" / "photos"
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
SMALL = [name for name in CONFIGS if name.startswith("sair_small") and "stage" not in name]
MAE = {"patch": 4, "width": 16, "depth": 1, "heads": 2}
VISION = {"image_size": 16, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 8, "heads": 1, "layers": 1}
WIDTHS: dict[str, dict[str, Any]] = {  # what each part is cut down to
    "edsr": {"blocks": 1, "channels": 8},
    "unet": {"widths": [4, 6, 8], "blocks": [0, 1, 1], "attention": 1, "heads": 2, "out_channels": 8},
    "sair_appearance": {"widths": [6, 8, 10], "blocks": 1, "channels": 8},
    "clip": {"model": {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}, "pretrained": None},
    "sir": {"hidden": [16], "reduced": 8},
    "air": {"hidden": [16], "projected": 8, "semantic_channels": 16},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``pictures/`` and the weights of a ``mae_small``."""
    folder = tmp_path_factory.mktemp("sair")
    (folder / "pictures").mkdir()
    for k, file in enumerate(sorted(PHOTOS.iterdir())):
        ik.write_image(folder / "pictures" / f"{k}.png", ik.read_image(file)[:, 80:152, 110:174])
    pretrain(folder / "pictures", folder / "mae.safetensors", Settings(**MAE, steps=2, batch=2, size=16))
    return folder


def cut_down(part: dict[str, Any], place: Path) -> None:
    """Make a model's spec small, whatever it is made of."""
    for kind in ("encoder", "decoder"):
        part[kind].update(WIDTHS.get(part[kind]["name"], {}))
        if part[kind].get("weights"):
            part[kind]["weights"] = str(place / "mae.safetensors")  # which says how small it is
        elif part[kind]["name"] == "mae_small":
            part[kind].update({"width": 16, "depth": 1, "heads": 2})
    for condition in part.get("conditions", {}).values():
        cut_down(condition, place)


def small(config: dict[str, Any], place: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A configuration at a size for tests."""
    cut_down(config["model"], place)
    config["data"] = {
        **config["data"],
        "folders": [str(place / "pictures")],
        "patch": 16,
        "points": 64,
        "held_out": 1,
        "workers": 0,
        "too_small": "mirror",
    }
    config["validation"].update(every=1000, max_size=48)
    return {**config, "precision": "float32", "output": str(output), "steps": 4, "batch": 2, "log_every": 2, **changes}


def text_of(name: str) -> str:
    return (ROOT / "configs" / f"{name}.yaml").read_text()


def run(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Train, and return what was logged of the steps."""
    folder = train(validate(TrainConfig, config, "test"))
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [entry for entry in log if entry["event"] == "train"]


def losses_of(entries: list[dict[str, Any]], *names: str) -> list[list[float]]:
    found = [[entry[name] for name in names] for entry in entries]
    assert found and all(math.isfinite(value) for values in found for value in values)
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_whole(name: str) -> None:
    config = validate(TrainConfig, load_yaml(ROOT / "configs" / f"{name}.yaml"), name)
    assert config.output.name == name


@pytest.mark.parametrize("name", [*SMALL, "sair_clip_vit_b16"])
def test_a_joint_config_trains(name: str, place: Path, tmp_path: Path) -> None:
    entries = run(small(yaml.safe_load(text_of(name)), place, tmp_path / "run"))
    assert [entry["step"] for entry in entries] == [2, 4]
    losses_of(entries, "loss", "loss_l1", "loss_semantic")
    model = ik.load_model(tmp_path / "run" / "last.safetensors")
    out = model.encode(torch.rand(3, 20, 24), torch.zeros(1, 20, 24)).render((30, 31))
    assert out.shape == (3, 30, 31) and out.isfinite().all()


def test_the_config_of_faces_trains_from_the_shipped_semantics(place: Path, tmp_path: Path) -> None:
    config = small(yaml.safe_load(text_of("sair_faces")), place, tmp_path / "run")
    semantic = config["model"]["conditions"]["semantic"]
    semantic["encoder"].update(MAE)
    ik.create_model(semantic).save(tmp_path / "mae_semantic.safetensors")
    config["weights"] = {"conditions": {"semantic": {"encoder": str(tmp_path / "mae_semantic.safetensors")}}}
    losses_of(run(config), "loss", "loss_psnr", "loss_semantic")
    model = ik.load_model(tmp_path / "run" / "last.safetensors")
    assert model.hole_fill == "biharmonic" and model.training_summary["data"] == {"patch": 16, "whole": False}


def test_the_small_configs_differ_by_the_line_of_their_degradation() -> None:
    assert len(SMALL) == 4
    loaded = {name: load_yaml(ROOT / "configs" / f"{name}.yaml") for name in SMALL}
    kinds = {name: config.pop("degradation")["name"] for name, config in loaded.items()}
    assert kinds == {name: name.removeprefix("sair_small_") for name in SMALL}
    for name, config in loaded.items():
        assert config.pop("output") == f"runs/{name}"
    assert all(config == loaded[SMALL[0]] for config in loaded.values())
    lines = [line for line in text_of("sair_small_noise").splitlines() if not line.startswith(("#", "output"))]
    others = [line for line in text_of("sair_small_blur").splitlines() if not line.startswith(("#", "output"))]
    assert sum(a != b for a, b in zip(lines, others, strict=True)) == 1


@pytest.mark.parametrize("name", [*SMALL, "sair_small_stage2_air", "sair_clip_vit_b16"])
def test_the_configs_are_of_the_named_models(name: str) -> None:
    model = load_yaml(ROOT / "configs" / f"{name}.yaml")["model"]
    told = model["conditions"]["semantic"]["encoder"]
    told.pop("weights", None)
    if told.get("pretrained") == "openai":  # the named model has OpenAI's activations, and no weights until asked
        told |= {"quick_gelu": bool(told.pop("pretrained"))}
    model["conditions"]["semantic"]["decoder"].pop("trainable", None)
    named = models.sair_clip_vit_b16() if "clip" in name else models.sair_small()
    assert model == named


def test_two_stages(place: Path, tmp_path: Path) -> None:
    """SIR alone, on the semantic loss; then AIR, on a SIR that does not move."""
    first = small(yaml.safe_load(text_of("sair_small_stage1_sir")), place, tmp_path / "one")
    losses_of(run(first), "loss")
    second = yaml.safe_load(text_of("sair_small_stage2_air"))
    assert second["weights"] == {"conditions": {"semantic": "runs/sair_small_stage1_sir/best.safetensors"}}
    weights = {"conditions": {"semantic": str(tmp_path / "one" / "best.safetensors")}}
    losses_of(run(small(second, place, tmp_path / "two", weights=weights)), "loss")
    before, after = load_file(tmp_path / "one" / "best.safetensors"), load_file(tmp_path / "two" / "last.safetensors")
    semantic = {k.removeprefix("conditions.semantic."): v for k, v in after.items() if k.startswith("conditions.")}
    assert semantic.keys() == before.keys() and all(torch.equal(before[k], semantic[k]) for k in before)
    mae = load_file(place / "mae.safetensors")
    assert all(torch.equal(before[f"encoder.{k}"], v) for k, v in mae.items())


SWAPS = {
    "semantic encoder": (
        "encoder: {name: mae_small, weights: runs/mae_small.safetensors}",
        "encoder: {name: 'timm:vit_tiny_patch16_224', out_channels: 16, out_indices: [0], trainable: false, "
        "options: {depth: 1, embed_dim: 16, num_heads: 2}}",
    ),
    "appearance encoder": (
        "encoder: {name: edsr, blocks: 8, channels: 64, res_scale: 1.0}",
        "encoder: {name: rdn, depth: 1, convs: 1, growth: 4, channels: 8}",
    ),
    "the paper's appearance encoder": (
        "encoder: {name: edsr, blocks: 8, channels: 64, res_scale: 1.0}",
        "encoder: sair_appearance",
    ),
    "decoder": (
        "decoder: {name: air, semantic_channels: 192, hidden: [96, 64, 64], skip: bilinear}",
        "decoder: {name: sem_lte, semantic_channels: 16, hidden: [16, 16], basis: 8, projected: 8}",
    ),
    "degradation": (
        "degradation: {name: inpainting, kind: [strokes, boxes], ratio: [0.05, 0.6]}",
        "degradation: [{name: jpeg, quality: 30}, {name: inpainting, kind: boxes}]",
    ),
}


@pytest.mark.parametrize("what", SWAPS)
def test_a_part_is_swapped_by_editing_a_line(what: str, place: Path, tmp_path: Path) -> None:
    text = text_of("sair_small_inpainting")
    line, other = SWAPS[what]
    assert text.count(line) == 1
    config = yaml.safe_load(text.replace(line, other))
    if isinstance(config["model"]["encoder"], str):
        config["model"]["encoder"] = {"name": config["model"]["encoder"]}
    losses_of(run(small(config, place, tmp_path / "run", steps=2)), "loss_l1", "loss_semantic")


@pytest.mark.parametrize("name", ["sair_small_inpainting", "sair_clip_vit_b16"])
def test_both_losses_fall(name: str, place: Path, tmp_path: Path) -> None:
    """Against the same network that does not learn, on the same crops."""
    found = []
    for lr in (1e-30, 1e-2):
        config = small(yaml.safe_load(text_of(name)), place, tmp_path / f"{lr}", steps=90, batch=4, log_every=30)
        config["optimiser"] = {"lr": lr, "schedule": "constant"}
        found.append(losses_of(run(config), "loss_l1", "loss_semantic")[-1])
    (colour, meaning), (colour_after, meaning_after) = found
    assert colour_after < 0.9 * colour and meaning_after < 0.95 * meaning, found


@pytest.mark.parametrize("semantics", ["embedding", "none"])
def test_two_ranks_train_what_no_loss_reads(semantics: str, place: Path, tmp_path: Path) -> None:
    """On colour alone, a control's SIR gets no gradient: two real processes must not wait for one."""
    outcomes = []
    for name in ("alone", "pair"):
        config = small(yaml.safe_load(text_of("sair_small_inpainting")), place, tmp_path / name, loss="l1")
        config["model"]["decoder"]["semantics"] = semantics
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29631"]
        done = subprocess.run(
            [
                sys.executable,
                *(launch if name == "pair" else []),
                "-m",
                "implicitkit",
                "train",
                tmp_path / f"{name}.yaml",
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "find_unused_parameters" not in done.stderr, done.stderr
        outcomes.append(load_file(tmp_path / name / "last.safetensors"))
    one, two = outcomes
    assert max((one[k] - two[k]).abs().max().item() for k in one) < 1e-5


def test_a_missing_file_is_named(place: Path, tmp_path: Path) -> None:
    config = small(yaml.safe_load(text_of("sair_small_inpainting")), place, tmp_path / "run")
    config["model"]["conditions"]["semantic"]["encoder"]["weights"] = "runs/none.safetensors"
    with pytest.raises(
        ik.ConfigError, match=r"model.conditions.semantic.encoder: there is no file runs/none.safetensors"
    ):
        run(config)
    assert not (tmp_path / "run").exists()
