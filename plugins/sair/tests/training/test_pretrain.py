"""Pre-training without labels: it learns, stops, resumes bit for bit, and its file is what ``weights:`` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import implicitkit as ik
from implicitkit.degradations.base import seeded
from implicitkit.weights.native import read_metadata
from implicitkit_sair.semantic.mae import MAESmall
from implicitkit_sair.semantic.vit import cells
from implicitkit_sair.training.masked import MaskedAutoencoder, patches, pick
from implicitkit_sair.training.pretrain import Settings, pretrain

PHOTOS = Path(__file__).parents[4] / "examples" / "photos"
SMALL: dict[str, Any] = {"patch": 4, "width": 24, "depth": 1, "heads": 3, "out_channels": 10, "size": 16, "batch": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    for k, file in enumerate(sorted(PHOTOS.iterdir())):
        ik.write_image(made / f"{k}.png", ik.read_image(file)[:, 90:138, 120:160])
    return made


def settings(**changes: Any) -> Settings:
    return Settings(**{**SMALL, "steps": 6, "log_every": 2, "checkpoint_every": 2, **changes})


class Stop(BaseException):
    pass


def stop_at(step: int):
    def report(entry: dict[str, Any]) -> None:
        if entry["step"] == step:
            raise Stop

    return report


@torch.no_grad()
def test_the_loss_is_the_formula() -> None:
    """Patch by patch: features of the shown ones, the same token for each hidden one, the error at the hidden ones."""
    encoder = MAESmall(patch=4, width=16, depth=1, heads=2, out_channels=6)
    model = MaskedAutoencoder(encoder, width=12, depth=1, heads=1)
    picture = torch.rand(2, 3, 8, 12)
    found = model(picture, 0.5, seeded(3))
    order = torch.rand(2, 6, generator=seeded(3)).argsort(dim=1)
    total = 0.0
    for b in range(2):
        shown, hidden = order[b, :3], order[b, 3:]
        grid = cells(2, 3)
        squares = [picture[b, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] * 2 - 1 for i in range(2) for j in range(3)]
        seen = torch.stack([encoder.embed(squares[k][None])[0, :, 0, 0] for k in shown])
        features = encoder.attend(seen[None], grid[shown])[0]
        tokens = torch.stack([model.hidden_token] * 6)
        for feature, k in zip(features, shown, strict=True):
            tokens[k] = model.embed(feature)
        predicted = model.head(model.norm(model.blocks[0](tokens[None], grid)[0]))
        for k in hidden:
            flat = squares[k].flatten()
            target = (flat - flat.mean()) / (((flat - flat.mean()) ** 2).mean() + 1e-6) ** 0.5
            total += float(((predicted[k] - target) ** 2).mean())
    assert found.item() == pytest.approx(total / 6, rel=1e-4)


def test_patches_and_picks() -> None:
    picture = torch.rand(1, 3, 4, 6)
    flat = patches(picture, 2)
    assert flat.shape == (1, 6, 12)
    torch.testing.assert_close(flat.mean(-1), torch.zeros(1, 6), atol=1e-6, rtol=0)
    expected = picture[0, :, 2:4, 2:4].flatten()
    expected = (expected - expected.mean()) / expected.std(unbiased=False)
    torch.testing.assert_close(flat[0, 4], expected, atol=1e-3, rtol=1e-3)
    assert torch.equal(pick(flat, torch.tensor([[4, 0]]))[0, 0], flat[0, 4])


def test_hidden_patches_are_not_seen() -> None:
    model = MaskedAutoencoder(MAESmall(patch=4, width=16, depth=1, heads=2))
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    encoded: list[torch.Tensor] = []
    model.embed.register_forward_pre_hook(lambda _, given: encoded.append(given[0]))
    model(picture, 0.75, seeded(0))
    (gradient,) = torch.autograd.grad(encoded[0].square().sum(), picture)
    assert encoded[0].shape == (1, 1, 16)  # one patch of four
    assert int(patches(gradient, 4).abs().sum(-1).gt(0).sum()) == 1


def test_it_learns_and_its_file_fills_the_encoder(folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []
    output = tmp_path / "mae.safetensors"
    wanted = settings(steps=100, log_every=20, lr=3e-3, batch=8)
    done = pretrain(folder, output, wanted, license="CC0-1.0", report=lambda entry: losses.append(entry["loss"]))
    assert done == output and len(losses) == 5
    assert losses[-1] < 0.9 * losses[0], losses
    metadata = read_metadata(output)
    training = json.loads(metadata["training"])
    assert (training["steps"], training["pictures"], metadata["license"]) == (100, 3, "CC0-1.0")
    assert training["loss"] == pytest.approx(losses[-1])
    network = {key: SMALL[key] for key in ("patch", "width", "depth", "heads", "out_channels")}
    encoder = ik.create_encoder({"name": "mae_small", **network, "weights": str(output)})
    assert all(torch.equal(encoder.state_dict()[k], v) for k, v in load_file(output).items())
    assert [p.name for p in tmp_path.iterdir()] == ["mae.safetensors"]  # the checkpoint is gone


def test_stopped_and_resumed_gives_the_same_bits(folder: Path, tmp_path: Path) -> None:
    whole, halted = tmp_path / "whole.safetensors", tmp_path / "halted.safetensors"
    pretrain(folder, whole, settings())
    with pytest.raises(Stop):
        pretrain(folder, halted, settings(), report=stop_at(4))  # after step 4, before its checkpoint
    assert not halted.exists()
    with pytest.raises(ik.UserError, match=r"is of a run that was stopped; go on with --resume, or delete it"):
        pretrain(folder, halted, settings())
    with pytest.raises(ik.UserError, match=r"other settings: batch 4, now 5, seed 0, now 1"):
        pretrain(folder, halted, settings(seed=1, batch=5), resume=True)
    steps: list[int] = []
    pretrain(folder, halted, settings(), resume=True, report=lambda entry: steps.append(entry["step"]))
    assert steps == [4, 6]
    one, two = load_file(whole), load_file(halted)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_run_shorter_than_its_checkpoints_resumes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("implicitkit_sair.training.pretrain.CHECKPOINT_SECONDS", 0.0)  # every step takes longer
    output = tmp_path / "mae.safetensors"
    with pytest.raises(Stop):
        pretrain(folder, output, settings(checkpoint_every=500), report=stop_at(4))
    steps: list[int] = []
    monkeypatch.undo()
    pretrain(folder, output, settings(), resume=True, report=lambda entry: steps.append(entry["step"]))
    assert steps == [4, 6]
    pretrain(folder, tmp_path / "whole.safetensors", settings())
    assert all(torch.equal(v, load_file(output)[k]) for k, v in load_file(tmp_path / "whole.safetensors").items())


def test_what_cannot_be_is_one_line(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "mae.safetensors"
    with pytest.raises(ik.UserError, match="there is no checkpoint .*mae.checkpoint.safetensors to go on from"):
        pretrain(folder, output, settings(), resume=True)
    with pytest.raises(ik.UserError, match="ends in .safetensors; received mae.pt"):
        pretrain(folder, Path("mae.pt"), settings())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ik.UserError, match="file is not a folder"):
        pretrain(folder, tmp_path / "file" / "mae.safetensors", settings())
    with pytest.raises(ik.DataError, match="there is no folder nowhere"):
        pretrain(Path("nowhere"), output, settings())
    output.write_bytes(b"something")
    with pytest.raises(ik.UserError, match="exists already"):
        pretrain(folder, output, settings())
    assert output.read_bytes() == b"something"
    checkpoint = tmp_path / "new.checkpoint.safetensors"
    checkpoint.write_bytes(b"junk")
    with pytest.raises(ik.UserError, match="not a whole safetensors file"):
        pretrain(folder, tmp_path / "new.safetensors", settings(), resume=True)


def test_the_command(folder: Path, tmp_path: Path, run) -> None:
    output = tmp_path / "runs" / "mae.safetensors"  # a folder that is not there yet
    options = ["--steps", 2, "--batch", 2, "--size", 16, "--patch", 4, "--width", 24, "--depth", 1, "--log-every", 1]
    done = run("pretrain-mae", folder, "-o", output, *options)
    assert done.code == 0 and done.out.strip() == str(output), done.err
    assert "loss" in done.err
    assert ik.create_encoder("mae_small", patch=4, width=24, depth=1, weights=str(output)).out_channels == 24
    again = run("pretrain-mae", folder, "-o", output, *options)
    assert again.code == 2 and again.errors == [f"error: {output} exists already; choose another output"]
    wrong = run("pretrain-mae", folder, "-o", tmp_path / "b.safetensors", "--size", 17)
    assert wrong.code == 2 and len(wrong.errors) == 1 and "received 17 and 8" in wrong.errors[0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 18}, "size is a multiple of patch, twice that or more; received 18 and 4"),
        ({"hidden": 1.0}, "hidden is a fraction between 0 and 1; received 1.0"),
        ({"steps": 0}, "steps is at least 1; received 0"),
        ({"scale": 0.5}, "scale at least 1; received 0.001 and 0.5"),
        ({"seed": -1}, "workers and seed are at least 0; received 0 and -1"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(**wrong)
