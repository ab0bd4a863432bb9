"""The other commands: list, info, convert, config-schema, evaluate, demo, train."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml

import implicitkit as ik
from implicitkit.images.io import read_picture
from oracles import PARITY, PHOTOS
from oracles.models import small_model


def test_list_names_everything_with_its_owner(run) -> None:
    done = run("list")
    assert done.code == 0
    for name in (*ik.list_encoders(), *ik.list_decoders(), *ik.list_degradations(), *ik.list_models()):
        assert name in done.out
    assert "[implicitkit 0.1.0]" in done.out
    assert "edsr" not in run("list", "decoders").out
    assert run("list", "--pretrained").out.split()[1] == "liif_small"
    assert run("list", "encoder").code == 2


def test_info_of_names_and_files(run, tmp_path: Path) -> None:
    named = run("info", "liif_edsr_baseline")
    assert named.code == 0 and "69 pixels" in named.out and "×1 to ×4" in named.out and "none (random)" in named.out
    path = small_model().save(tmp_path / "m.safetensors", license="CC0-1.0")
    assert "CC0-1.0" in run("info", path).out
    assert "did you mean" in run("info", "liif_smal").errors[0]


def test_convert_writes_a_native_file_and_says_what_it_saw(run, tmp_path: Path, photo: torch.Tensor) -> None:
    target = tmp_path / "m.safetensors"
    done = run("convert", PARITY / "liif-edsr.pth", target)
    assert done.code == 0 and "LIIF with EDSR" in done.out and "encoder.sub_mean.weight" in done.out
    ours, theirs = ik.load_model(target), ik.load_model(PARITY / "liif-edsr.pth")
    assert torch.equal(ours.encode(photo).render((50, 60)), theirs.encode(photo).render((50, 60)))
    assert run("convert", target, target).errors == [f"error: {target} exists; pass --force to overwrite it"]
    assert run("convert", target, tmp_path / "half.safetensors", "--half").code == 0
    assert (tmp_path / "half.safetensors").stat().st_size < target.stat().st_size
    assert run("convert", tmp_path / "none.pth", tmp_path / "x.safetensors").code == 2
    assert "end in .safetensors" in run("convert", PARITY / "liif-edsr.pth", tmp_path / "x.pth").err


def test_config_schema_is_json(run) -> None:
    assert json.loads(run("config-schema").out)["title"] == "TrainConfig"


def test_evaluate_prints_a_table_and_writes_json(run, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    ik.write_image(pictures / "cat.png", ik.read_image(PHOTOS / "chelsea.png")[:, 60:120, 100:180])
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    done = run(
        "evaluate", "--model", weights, "--data", pictures, "--scales", "2", "3.5", "6", "-o", tmp_path / "r.json"
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "| PSNR-Y, dB | ×2 | ×3.5 | ×6 |"
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["mean"]["bicubic"].keys() == {"2", "3.5", "6"}
    assert report["per_picture"]["m"]["2"]["psnr_y"].keys() == {"cat"}
    assert report["machine"] and report["protocol"] == "benchmark"
    assert "unknown protocol 'x'" in run("evaluate", "--model", weights, "--data", pictures, "--protocol", "x").err
    assert "received '2 x'" in run("evaluate", "--model", weights, "--data", pictures, "--scales", "2 x").err
    assert "pass --data" in run("evaluate", "--model", weights).err
    assert (
        "exists; pass --force" in run("evaluate", "--model", weights, "--data", pictures, "-o", tmp_path / "r.json").err
    )
    assert "no folder" in run("evaluate", "--model", weights, "--data", pictures, "-o", tmp_path / "no" / "r.json").err
    assert "from 1 to 1000" in run("evaluate", "--model", weights, "--data", pictures, "--scales", "").err
    (tmp_path / "empty").mkdir()
    assert "holds no pictures" in run("evaluate", "--model", weights, "--data", tmp_path / "empty").errors[0]


def test_demo_writes_a_labelled_sheet(run, tmp_path: Path) -> None:
    weights = small_model(skip="bilinear").save(tmp_path / "m.safetensors")
    target = tmp_path / "demo.png"
    done = run("demo", "-o", target, "--model", weights, "--scale", "3.3")
    assert done.code == 0, done.err
    assert "bicubic" in done.out and "dB (PSNR-Y, ×3.3)" in done.out
    height, width = read_picture(target).size
    assert width > 3 * 500 and height > 500
    assert run("demo", "-o", target, "--model", weights).code == 2
    assert "received 0.5" in run("demo", "-o", tmp_path / "x.png", "--model", weights, "--scale", "0.5").err


def test_train_from_the_command_line(run, tmp_path: Path) -> None:
    config = {
        "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [8]}},
        "data": {"folders": [str(PHOTOS)], "patch": 8, "points": 16},
        "degradation": {"name": "super_resolution", "scale": [1, 2]},
        "output": str(tmp_path / "run"),
        "steps": 3,
        "log_every": 1,
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    done = run("train", path, "--set", "batch=2")
    assert done.code == 0, done.err
    assert done.out.strip() == str(tmp_path / "run" / "last.safetensors")
    assert "crops/s" in done.err and "left" in done.err
    again = run("train", path, "--set", "batch=2")
    assert again.code == 2 and "--resume" in again.errors[0]
    for settings, message in (
        (["data.folders=[nowhere]"], "there is no folder nowhere"),
        (["data.patch=4000"], "are smaller than the largest training crop"),
        (["degradation.scal=3"], "takes no 'scal'; did you mean 'scale'"),
        (["model.decoder.name=liff"], "did you mean 'liif'"),
        (["loss=l3"], "loss: unknown loss 'l3'"),
        (["model.encoder.blocks=abc"], "model.encoder: encoder 'edsr', blocks: input should be a valid integer"),
        (["model.decoder.hidden=5"], "model.decoder: decoder 'liif', hidden: "),
        (["model.encoder.channels=-3"], "model.encoder: edsr takes blocks >= 0"),
        (["model.encoder.ndim=4"], "ndim 1, 2 or 3"),
        (["degradation.scale=[]"], "degradation: a scale is"),
        (["degradation={scale: 4}"], "degradation.0.name: required, but not given"),
        (["optimiser.betas=[2,3]"], "optimiser.betas.0: input should be less than 1 (received 2)"),
        (["seed=99999999999"], "seed: input should be less than 4294967296"),
        (["data.held_out=1", "validation.scales=[300]"], "is too small to validate on at scale 300"),
    ):
        flags = [x for s in (*settings, f"output={tmp_path / 'new'}") for x in ("--set", s)]
        done = run("train", path, *flags)
        assert done.code == 2 and len(done.errors) == 1 and message in done.errors[0], done.err
        assert not (tmp_path / "new").exists()  # nothing is left of a run that could not begin


def test_without_arguments_the_help_is_shown(run) -> None:
    done = run()
    assert done.code == 0 and "upscale" in done.out and len(done.out.splitlines()) > 10


def test_demo_on_a_tiny_photo_says_what_it_needs(run, tmp_path: Path) -> None:
    ik.write_image(tmp_path / "tiny.png", torch.rand(3, 6, 6))
    weights = small_model().save(tmp_path / "m.safetensors")
    done = run("demo", "-o", tmp_path / "x.png", "--photo", tmp_path / "tiny.png", "--model", weights)
    assert done.code == 2 and "at least 32 pixels a side" in done.err
