"""``implicitkit train``: what it prints, and what it refuses before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml

from implicitkit.cli.models.train import interruptible, noted_for_torchrun
from implicitkit.errors import UserError
from oracles import PHOTOS


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
        (["model.decoder.name=liff"], "or 'liif'"),
        (["loss=l3"], "loss: unknown loss 'l3'"),
        (["model.encoder.blocks=abc"], "model.encoder: encoder 'edsr', blocks: input should be a valid integer"),
        (["model.decoder.hidden=5"], "model.decoder: decoder 'liif', hidden: "),
        (
            ["model.encoder.channels=-3"],
            "c.yaml, --set: model.encoder.channels: should be a number from 1 to 4,096 (received -3)",
        ),
        (["model.encoder.ndim=4"], "model.encoder.ndim: should be a number from 1 to 3"),
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


def test_a_dry_run_another_folder_and_an_early_end(run, tmp_path: Path) -> None:
    config = {
        "model": {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "liif", "hidden": [8]}},
        "data": {"folders": [str(PHOTOS)], "patch": 8, "points": 16, "held_out": 1},
        "degradation": {"name": "super_resolution", "scale": [1, 2]},
        "validation": {"every": 1, "scales": [2], "max_size": 32, "metrics": ["l1"]},
        "callbacks": {"name": "early_stopping", "patience": 1, "min_delta": 1000},
        "output": str(tmp_path / "run"),
        "steps": 9,
        "batch": 2,
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    dry = run("train", path, "--dry-run")
    assert dry.code == 0 and not (tmp_path / "run").exists()
    assert "encoder:" in dry.out and "MiB on" in dry.out and (tmp_path / "run_first_batch.png").is_file()
    done = run("train", path, "-o", tmp_path / "other", "--device", "cpu")
    assert done.code == 0 and done.out.strip() == str(tmp_path / "other" / "last.safetensors")
    assert "ended early at step 2: psnr has not improved for 1 validations" in done.err and ", l1 0." in done.err
    child = tmp_path / "child.yaml"
    child.write_text("base: c.yaml\nsteps: 1\noutput: " + str(tmp_path / "child"))
    assert run("train", child).code == 0
    refused = run("train", path, "--device", "gpu")
    assert refused.code == 2 and len(refused.errors) == 1


def test_torchrun_is_told_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its summary prints the message of the file that it names; a line, not a traceback."""
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(UserError), noted_for_torchrun():
        raise UserError("the loss\nis nan")
    failure = ProcessFailure(local_rank=0, pid=1, exitcode=2, error_file=str(tmp_path / "error.json"))
    assert failure.message == "the loss is nan" and failure.timestamp > 0


def test_ctrl_c_says_whether_there_is_something_to_go_on_from(tmp_path: Path, capsys) -> None:
    for said in ("interrupted; nothing is kept", f"interrupted; --resume goes on in {tmp_path}"):
        with pytest.raises(typer.Exit) as ended, interruptible(tmp_path):
            raise KeyboardInterrupt
        assert ended.value.exit_code == 130 and capsys.readouterr().err.strip() == said
        (tmp_path / "checkpoints" / "step-3").mkdir(parents=True, exist_ok=True)
