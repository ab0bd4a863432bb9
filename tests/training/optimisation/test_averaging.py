"""The moving average of the weights: its formula, its warm-up, its checkpoints, and what a run makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import implicitkit as ik
from implicitkit.training.optimisation.averaging import Average
from oracles.runs import identical, run, settings, weights


def walk(decay: float, steps: int) -> tuple[nn.Linear, Average, list[float]]:
    """A weight that takes the values 1, 2, 3 … and its average."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(layer.weight)
    average, values = Average(layer, decay), []
    for step in range(steps):
        nn.init.constant_(layer.weight, step + 1.0)
        average.update()
        with average.shown():
            values.append(layer.weight.item())
    return layer, average, values


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_is_the_literal_formula(decay: float) -> None:
    _, _, found = walk(decay, 12)
    wanted, literal = 0.0, []
    for t in range(12):
        kept = min(decay, (1 + t) / (10 + t))
        wanted = kept * wanted + (1 - kept) * (t + 1)
        literal.append(wanted)
    assert found == pytest.approx(literal, rel=1e-5)  # float32


def test_the_weights_come_back_to_the_bit_whatever_happens() -> None:
    layer, average, _ = walk(0.9, 3)
    with pytest.raises(ZeroDivisionError), average.shown():
        assert layer.weight.item() != 3
        raise ZeroDivisionError
    assert layer.weight.item() == 3 and layer.weight.requires_grad


def test_frozen_weights_and_buffers_are_the_models_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].bias.requires_grad_(False)
    average = Average(model, 0.9)
    assert set(average.state_dict()["average"]) == {"0.weight", "1.weight", "1.bias"}


def test_a_restored_average_goes_on_to_the_bit(tmp_path: Path) -> None:
    layer, average, _ = walk(0.9, 5)
    torch.save(average.state_dict(), tmp_path / "a.pt")
    again = Average(layer, 0.9)
    again.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True))
    for each in (average, again):
        each.update()
    assert torch.equal(average.state_dict()["average"]["weight"], again.state_dict()["average"]["weight"])
    with pytest.raises(ValueError, match="of another model"):
        Average(nn.Linear(2, 1), 0.9).load_state_dict(average.state_dict())


def test_no_decay_keeps_nothing() -> None:
    layer = nn.Linear(1, 1)
    average = Average(layer, None)
    average.update()
    assert average.state_dict() == {"updates": 0, "average": {}}
    with pytest.raises(ValueError, match="between 0 and 1, such as 0.999; received 1"):
        Average(layer, 1)


def test_a_run_keeps_the_average_and_resumes_to_the_bit(tmp_path: Path) -> None:
    plain = run(settings(tmp_path / "plain"))
    whole = run(settings(tmp_path / "whole", ema=0.9))
    halves = settings(tmp_path / "halves", ema=0.9)
    run({**halves, "steps": 4})
    assert identical(weights(whole), weights(run(halves, resume=True)))
    assert identical(weights(whole), weights(whole, "best"))  # both of the last step
    assert not identical(weights(whole), weights(plain))
    stored = whole / "checkpoints" / "step-8"
    trained = ik.load_model(plain / "last.safetensors").state_dict()
    held = torch.load(stored / "average.pt", weights_only=True)
    assert held["updates"] == 8 and identical(held["average"], weights(whole))
    from safetensors.torch import load_file

    assert identical(dict(trained), load_file(stored / "model.safetensors"))  # averaging changes nothing it averages


def test_a_run_with_another_average_is_not_resumed(tmp_path: Path) -> None:
    run(settings(tmp_path / "run", steps=2))
    with pytest.raises(ik.UserError, match="was started with another ema"):
        run(settings(tmp_path / "run", ema=0.9), resume=True)
    with pytest.raises(ik.UserError, match="was started with another accumulate"):
        run(settings(tmp_path / "run", accumulate=2), resume=True)
    with pytest.raises(ik.ConfigError, match=r"ema: .*less than 1 \(received 1\)"):
        run(settings(tmp_path / "other", ema=1))


def test_checkpoints_from_before_there_were_averages_resume(tmp_path: Path) -> None:
    """Runs of older versions hold neither the new keys nor the groups' factors."""
    import yaml

    whole = run(settings(tmp_path / "whole"))
    old = settings(tmp_path / "old")
    run({**old, "steps": 4})
    stored = yaml.safe_load((tmp_path / "old" / "config.yaml").read_text())
    for key in ("ema", "accumulate"):
        del stored[key]
    for key in ("name", "weight_decay", "parts"):
        del stored["optimiser"][key]
    (tmp_path / "old" / "config.yaml").write_text(yaml.safe_dump(stored))
    file = tmp_path / "old" / "checkpoints" / "step-4" / "optimizer.bin"
    state = torch.load(file, weights_only=True)
    for group in state["param_groups"]:
        del group["factor"]
    torch.save(state, file)
    assert identical(weights(whole), weights(run(old, resume=True)))
