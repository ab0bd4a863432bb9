"""The adversarial loss: its formulas, what it learns, and that a run with it resumes and is shared to the bit."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import implicitkit as ik
from implicitkit.coordinates import grid
from implicitkit.losses import Adversarial, PatchDiscriminator
from oracles.runs import ENVIRONMENT, entries, furthest, identical, run, settings, weights

SMALL = {"name": "adversarial", "channels": 4, "layers": 1, "lr": 1e-3, "every": 3, "weight": 0.1}
DATA = {"points": "window", "window": 12}


def small(**changes: object) -> Adversarial:
    torch.manual_seed(0)
    arguments = {key: value for key, value in SMALL.items() if key != "weight"}
    loss = ik.create_loss({**arguments, **changes})
    assert isinstance(loss, Adversarial)
    return loss


def batch(count: int = 2, side: int = 12, seed: int = 0) -> tuple[torch.Tensor, dict[str, object]]:
    generator = torch.Generator().manual_seed(seed)
    values, target = torch.rand(2, count, side * side, 3, generator=generator)
    return values.requires_grad_(), {"target": target, "window": (side, side)}


def as_shown(points: torch.Tensor, side: int = 12) -> torch.Tensor:
    return 2 * points.detach().transpose(1, 2).reshape(len(points), 3, side, side) - 1


def same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def test_the_models_part_is_what_the_discriminator_says_negated() -> None:
    loss, (values, truth) = small(), batch()
    found = loss(ik.Prediction(values, {}), truth)
    assert found.item() == pytest.approx(-loss.discriminator(as_shown(values)).mean().item())
    found.backward()
    assert values.grad is not None and values.grad.any()
    assert all(p.grad is None for p in loss.discriminator.parameters())


def test_the_discriminators_step_is_the_literal_one() -> None:
    """Hinge and penalty, by hand, without normalisation: the same weights after Adam's step."""
    loss, (values, truth) = small(spectral=False, r1=0.3), batch()
    twin = PatchDiscriminator(3, 4, 1, spectral=False)
    twin.load_state_dict(loss.discriminator.state_dict())
    optimiser = torch.optim.Adam(twin.parameters(), lr=1e-3, betas=(0.0, 0.99))
    for step in range(5):
        loss(ik.Prediction(values, {}), truth)
        loss.learn(same)
        fake, real = as_shown(values), as_shown(truth["target"]).requires_grad_()
        hinge = (1 + twin(fake)).clamp(min=0).mean() + (1 - twin(real)).clamp(min=0).mean()
        if step % 3 == 0:
            (gradient,) = torch.autograd.grad(twin(real).sum(), real, create_graph=True)
            hinge = hinge + 3 * 0.3 / 2 * gradient.flatten(1).norm(dim=1).square().mean()
        optimiser.zero_grad()
        hinge.backward()
        optimiser.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(loss.discriminator.state_dict()[name], value, atol=1e-5, rtol=1e-4)


def test_it_learns_to_tell_them_apart() -> None:
    loss = small(lr=1e-2)
    values, truth = torch.zeros(4, 144, 3), {"target": torch.ones(4, 144, 3), "window": (12, 12)}
    values.requires_grad_()
    for _ in range(40):
        loss(ik.Prediction(values, {}), truth)
        loss.learn(same)
    notes = loss.notes()
    assert notes["real"] > notes["fake"] + 0.5


def test_looking_changes_nothing_and_a_step_without_a_look_neither() -> None:
    loss, (values, truth) = small(), batch()
    before = {key: value.clone() for key, value in loss.discriminator.state_dict().items()}
    with torch.no_grad():
        loss(ik.Prediction(values, {}), truth)
    loss.learn(same)
    loss(ik.Prediction(values, {}), truth)  # a look without a step; the next begins anew
    loss.begin(1)
    loss.learn(same)
    assert identical(before, loss.discriminator.state_dict())


def test_before_its_start_it_is_nothing() -> None:
    loss, (values, truth) = small(start=5), batch()
    before = {key: value.clone() for key, value in loss.discriminator.state_dict().items()}
    loss.begin(4)
    found = loss(ik.Prediction(values, {}), truth)
    found.backward()
    loss.learn(same)
    assert found.item() == 0 and not values.grad.any() and loss.notes() == {}
    assert identical(before, loss.discriminator.state_dict())
    loss.begin(5)
    assert loss(ik.Prediction(values, {}), truth).item() != 0


def test_it_may_see_which_pixels_were_missing() -> None:
    loss, (values, truth) = small(mask=True), batch()
    truth["coords"] = grid((12, 12)).expand(2, -1, -1)
    answers = []
    for missing in (0.0, 1.0):
        truth["mask"] = torch.full((2, 1, 6, 6), missing)  # half the size: a hole in a small picture
        answers.append(loss(ik.Prediction(values, {}), truth).item())
    assert answers[0] != answers[1]
    loss.learn(same)
    shown = torch.cat([as_shown(values), torch.ones(2, 1, 12, 12)], 1)
    with torch.no_grad():
        assert -loss.discriminator(shown).mean().item() == pytest.approx(
            loss(ik.Prediction(values, {}), truth).item(), rel=1e-5
        )


def test_it_leaves_the_models_first_weights_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    ik.create_loss("adversarial", channels=4)
    assert torch.equal(torch.rand(4), wanted)


def test_what_is_impossible_is_refused() -> None:
    for arguments, message in (
        ({"channels": 0}, "channels of adversarial is at least 1; received 0"),
        ({"every": 0}, "every of adversarial is at least 1; received 0"),
        ({"lr": -1.0}, "lr of adversarial is a finite number of at least 0; received -1"),
        ({"r1": math.nan}, "r1 of adversarial is a finite number"),
        ({"start": -1}, "start of adversarial is a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            ik.create_loss("adversarial", **arguments)
    values, truth = batch(side=5)
    with pytest.raises(ValueError, match=r"at least 6 pixels a side; received 5×5; make data\.window"):
        small()(ik.Prediction(values, {}), truth)
    smallest, truth = batch(side=6)
    assert small()(ik.Prediction(smallest, {}), truth).isfinite()


def adversarial(output: Path, **changes: object) -> dict[str, object]:
    return settings(output, loss=[{"name": "l1"}, {**SMALL, "start": 2}], data=DATA, **changes)


def test_a_run_resumes_to_the_bit(tmp_path: Path) -> None:
    whole = run(adversarial(tmp_path / "whole", ema=0.9))
    halves = adversarial(tmp_path / "halves", ema=0.9)
    run({**halves, "steps": 4})
    assert identical(weights(whole), weights(run(halves, resume=True)))
    stored = [
        torch.load(folder / "checkpoints" / "step-8" / "loss_adversarial.pt", weights_only=True)
        for folder in (whole, tmp_path / "halves")
    ]
    assert stored[0]["updates"] == stored[1]["updates"] == 6  # from step 2
    assert identical(stored[0]["discriminator"], stored[1]["discriminator"])
    first, last = entries(whole)
    assert {"adversarial_fake", "adversarial_real", "adversarial_penalty"} <= first.keys() & last.keys()
    assert first["loss_adversarial"] != 0
    plain = run(settings(tmp_path / "plain", data=DATA, ema=0.9))
    assert not identical(weights(whole), weights(plain))


@pytest.mark.slow
def test_two_processes_and_parts_of_a_step_learn_the_same(tmp_path: Path) -> None:
    alone = run(adversarial(tmp_path / "alone"))
    parts = run(adversarial(tmp_path / "parts", accumulate=2))
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(adversarial(tmp_path / "pair")))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29619", "-m"]
    done = subprocess.run(
        [*launch, "implicitkit", "train", str(tmp_path / "c.yaml")], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    state = [
        torch.load(folder / "checkpoints" / "step-8" / "loss_adversarial.pt", weights_only=True)["discriminator"]
        for folder in (alone, parts, tmp_path / "pair")
    ]
    for k, folder in enumerate((parts, tmp_path / "pair"), start=1):
        assert furthest(weights(alone), weights(folder)) < 1e-4  # up to rounding, which Adam amplifies
        assert furthest(state[0], state[k]) < 1e-3
