"""Which optimiser a configuration makes, with which rates; parts of a batch; and that the plain way is as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import implicitkit as ik
from implicitkit.config import OptimiserConfig, TrainConfig, apply_settings, validate
from implicitkit.images.folders import picture_files
from implicitkit.training.data import TrainingCrops, collate, hold_out
from implicitkit.training.loop import StepBatches, parts_of
from implicitkit.training.optimisation.optimiser import build_optimiser, set_rate
from oracles.models import small_model
from oracles.runs import ENVIRONMENT, entries, furthest, identical, run, settings, weights


def composed() -> ik.ImplicitModel:
    """A model that reads another."""
    model = small_model()
    model.conditions["semantic"] = small_model()
    return model


def rates(model: nn.Module, config: OptimiserConfig, rate: float = 1.0) -> dict[str, float]:
    """The learning rate of each parameter."""
    optimiser = build_optimiser(model, config)
    set_rate(optimiser, rate)
    given = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    return {name: given[id(p)] for name, p in model.named_parameters()}


def test_the_plain_way_is_one_group_of_adam() -> None:
    model = small_model()
    optimiser = build_optimiser(model, OptimiserConfig(lr=0.5, betas=(0.8, 0.9)))
    assert type(optimiser) is torch.optim.Adam
    (group,) = optimiser.param_groups
    assert group["betas"] == (0.8, 0.9) and group["weight_decay"] == 0
    assert [id(p) for p in group["params"]] == [id(p) for p in model.parameters()]


def test_a_run_is_the_loop_written_by_hand(tmp_path: Path) -> None:
    """Three steps of plain Adam on the same crops give the same bits."""
    wanted = settings(tmp_path / "run", steps=3)
    found = weights(run(wanted))
    config = validate(TrainConfig, wanted, "test")
    torch.manual_seed(config.seed)
    files, _ = hold_out(picture_files(config.data.folders), 1)
    crops = TrainingCrops(files, config.data, ik.create_degradation(config.degradation_spec), config.seed, 12)
    model = ik.create_model(wanted["model"]).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for numbers in StepBatches(0, 3, 4, 0, 1):
        batch = collate([crops[k] for k in numbers])
        loss = (model(batch["image"], batch["coords"], batch["cell"]).values - batch["target"]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert identical(found, dict(model.state_dict()))


def test_the_longest_name_counts() -> None:
    config = OptimiserConfig(parts={"encoder": 0.1, "conditions": 0.5, "conditions.semantic.encoder": 0.25})
    for name, rate in rates(composed(), config, 2.0).items():
        if name.startswith("conditions.semantic.encoder."):
            assert rate == 0.5
        elif name.startswith("conditions."):
            assert rate == 1.0
        else:
            assert rate == (0.2 if name.startswith("encoder.") else 2.0)


def test_parts_are_written_with_full_stops_or_one_inside_the_other(tmp_path: Path) -> None:
    text = "optimiser: {parts: {encoder: 0.1, conditions.semantic: 0.5}}"
    dotted = validate(TrainConfig, {**settings(tmp_path), **yaml.safe_load(text)}, "c").optimiser
    nested = apply_settings(
        settings(tmp_path), ["optimiser.parts.encoder=0.1", "optimiser.parts.conditions.semantic=0.5"]
    )
    assert rates(composed(), dotted) == rates(composed(), validate(TrainConfig, nested, "c").optimiser)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"encoder": 0}, r"optimiser\.parts: the factor of encoder is a number above 0; received 0"),
        ({"conditions": {"semantic": "half"}}, r"the factor of semantic is a number above 0; received 'half'"),
        ({"encoder": float("inf")}, "above 0; received inf"),
        (
            {"encodr": 0.1},
            r"optimiser\.parts: the model has no part 'encodr' with weights; name one .* decoder, encoder",
        ),
        ({"enc": 0.1}, "the model has no part 'enc'"),
    ],
)
def test_impossible_parts_are_refused_before_the_first_step(tmp_path: Path, parts: object, message: str) -> None:
    with pytest.raises(ik.ConfigError, match=message):
        run(settings(tmp_path / "run", optimiser={"parts": parts}))
    assert not (tmp_path / "run").exists()


def test_weight_decay_spares_biases() -> None:
    model = small_model()
    optimiser = build_optimiser(model, OptimiserConfig(name="adamw"))
    assert type(optimiser) is torch.optim.AdamW
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert all(decay[id(p)] == (0.01 if p.ndim > 1 else 0) for p in model.parameters())
    heavier = build_optimiser(model, OptimiserConfig(name="adam", weight_decay=0.5))
    assert {group["weight_decay"] for group in heavier.param_groups} == {0.0, 0.5}


def test_adamw_with_parts_resumes_to_the_bit(tmp_path: Path) -> None:
    optimiser = {"name": "adamw", "weight_decay": 0.1, "parts": {"encoder": 0.1}}
    whole = run(settings(tmp_path / "whole", optimiser=optimiser))
    halves = settings(tmp_path / "halves", optimiser=optimiser)
    run({**halves, "steps": 4})
    assert identical(weights(whole), weights(run(halves, resume=True)))
    assert not identical(weights(whole), weights(run(settings(tmp_path / "plain"))))
    with pytest.raises(ik.UserError, match=r"started with another optimiser\.name and optimiser\.parts"):
        run(settings(tmp_path / "halves", optimiser={"weight_decay": 0.1}), resume=True)


def test_parts_of_a_step_add_up_to_the_step(tmp_path: Path) -> None:
    """The same crops, the same gradient up to rounding (Adam's first steps amplify it), and the same logged loss."""
    whole = run(settings(tmp_path / "whole"))
    parts = run(settings(tmp_path / "parts", accumulate=4))
    assert furthest(weights(whole), weights(parts)) < 1e-4  # eight steps of 1e-3
    for a, b in zip(entries(whole), entries(parts), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_accumulate_as_one_does(tmp_path: Path) -> None:
    alone = run(settings(tmp_path / "alone", accumulate=2, ema=0.9))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings(tmp_path / "pair", accumulate=2, ema=0.9)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29618", "-m"]
    done = subprocess.run(
        [*launch, "implicitkit", "train", str(tmp_path / "c.yaml")], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert furthest(weights(alone), weights(tmp_path / "pair")) < 1e-5


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ik.ConfigError, match=r"batch: 4 crops .* by 1 processes in 3 parts \(accumulate\)"):
        run(settings(tmp_path / "run", accumulate=3))


def test_parts_keep_what_is_not_per_picture() -> None:
    batch = {"image": torch.arange(6), "reference": list("abcdef"), "window": (2, 3)}
    parts = list(parts_of(batch, 3))
    assert [p["image"].tolist() for p in parts] == [[0, 1], [2, 3], [4, 5]]
    assert [p["reference"] for p in parts] == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert all(p["window"] == (2, 3) for p in parts)


def test_optimisers_are_found_by_name_with_their_options() -> None:
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "decoder": torch.nn.Linear(2, 2)})
    sgd = build_optimiser(model, OptimiserConfig(name="SGD", options={"momentum": 0.9, "nesterov": True}))
    assert type(sgd) is torch.optim.SGD and sgd.param_groups[0]["momentum"] == 0.9
    assert type(build_optimiser(model, OptimiserConfig(name="timm:lamb"))).__name__ == "Lamb"
    for wrong, message in (
        ({"name": "sgd", "options": {"momentun": 0.9}}, "takes no 'momentun'; did you mean 'momentum'"),
        ({"name": "sgd", "betas": (0.5, 0.9)}, "optimiser.betas: sgd takes none"),
        ({"name": "timm:lamp"}, "timm has no optimiser 'lamp'; did you mean 'lamb'"),
        ({"options": {"lr": 1}}, "lr is an entry of optimiser itself"),
    ):
        with pytest.raises(ik.UserError, match=message):
            build_optimiser(model, OptimiserConfig(**wrong))


def test_a_part_may_have_a_rate_and_a_decay_of_its_own() -> None:
    model = torch.nn.ModuleDict({"encoder": torch.nn.Linear(2, 2), "decoder": torch.nn.Linear(2, 2)})
    parts = {"decoder": {"lr": 0.5, "weight_decay": 0.25}}
    optimiser = build_optimiser(model, OptimiserConfig(lr=0.1, weight_decay=0.125, parts=parts))
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.125, 0.0, 0.25, 0.0]
    set_rate(optimiser, 0.05, 0.1)  # the schedule has halved it
    assert [group["lr"] for group in optimiser.param_groups] == [0.05, 0.05, 0.25, 0.25]
    with pytest.raises(ValueError, match="the weight_decay of decoder is a number of at least 0"):
        OptimiserConfig(parts={"decoder": {"weight_decay": -1}})
