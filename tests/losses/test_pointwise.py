"""Losses against their formulas, number by number."""

import math

import pytest
import torch

import implicitkit as ik
from implicitkit.field.field import Prediction

LITERAL = {
    "l1": abs,
    "l2": lambda d: d * d,
    "charbonnier": lambda d: math.sqrt(d * d + 1e-6),
}


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(2, 5, 3, dtype=torch.float64, requires_grad=True), torch.rand(2, 5, 3, dtype=torch.float64)


def test_every_built_in_loss_is_tested() -> None:
    assert set(ik.list_losses()) == {
        *LITERAL,
        "psnr",
        "lpips",
        "focal_frequency",
        "adversarial",
    }  # files beside this one


@pytest.mark.parametrize("name", LITERAL)
def test_is_the_literal_formula(name: str, values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    loss = ik.create_loss(name)(Prediction(predicted, {}), {"target": clean})
    differences = (predicted - clean).flatten().tolist()
    assert loss.shape == () and loss.item() == pytest.approx(sum(map(LITERAL[name], differences)) / 30, abs=1e-12)
    loss.backward()
    assert predicted.grad is not None and torch.equal(predicted.grad.sign(), (predicted - clean).sign())


def test_charbonnier_is_smooth_where_l1_is_not() -> None:
    zero = torch.zeros(1, 1, 3, requires_grad=True)
    loss = ik.create_loss({"name": "charbonnier", "eps": 0.5})(Prediction(zero, {}), {"target": torch.zeros(1, 1, 3)})
    loss.backward()
    assert loss.item() == 0.5 and torch.equal(zero.grad, torch.zeros(1, 1, 3))
    for eps in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"eps above 0; received {eps}"):
            ik.create_loss("charbonnier", eps=float(eps))
    with pytest.raises(ik.ArgumentError, match="did you mean 'eps'"):
        ik.create_loss("charbonnier", epsilon=1)


def test_a_missing_pixel_counts_more(values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    mask = torch.zeros(2, 1, 4, 6)
    mask[0, 0, 1, 2] = mask[1, 0, 3, 5] = 1
    rows, columns = torch.tensor([[1, 1, 0, 3, 2], [3, 0, 2, 3, 1]]), torch.tensor([[2, 2, 0, 5, 3], [5, 0, 1, 4, 2]])
    coords = torch.stack([-1 + (2 * rows + 1) / 4, -1 + (2 * columns + 1) / 6], dim=-1)
    weight = [5.0 if mask[b, 0, rows[b, n], columns[b, n]] else 1.0 for b in range(2) for n in range(5)]
    each = (predicted - clean).abs().mean(-1).flatten().tolist()
    wanted = sum(w * e for w, e in zip(weight, each, strict=True)) / sum(weight)
    batch = {"target": clean, "mask": mask, "coords": coords}
    found = ik.create_loss({"name": "l1", "hole_weight": 5})(Prediction(predicted, {}), batch)
    assert found.item() == pytest.approx(wanted, rel=1e-6)  # the weights are float32
    with pytest.raises(ValueError, match="hole_weight .* received -1"):
        ik.create_loss({"name": "l1", "hole_weight": -1})


def test_psnr_is_each_pictures_own_averaged(values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    each = [-10 * math.log10((p - c).square().mean().item() + 1e-6) for p, c in zip(predicted, clean, strict=True)]
    found = ik.create_loss("psnr")(Prediction(predicted, {}), {"target": clean})
    assert found.item() == pytest.approx(-sum(each) / 2, rel=1e-6)
    mask, coords = torch.tensor([0.0, 1.0]).expand(2, 1, 1, 2), torch.tensor([[0.0, -0.5], [0.0, 0.5]]).expand(2, 2, 2)
    batch = {"target": clean[:, :2], "mask": mask, "coords": coords}
    found = ik.create_loss({"name": "psnr", "hole_weight": 3})(Prediction(predicted[:, :2], {}), batch)
    errors = (predicted - clean)[:, :2].square().mean(-1)
    weighted = (errors[:, 0] + 3 * errors[:, 1]) / 4
    assert found.item() == pytest.approx((10 * (weighted + 1e-6).log10()).mean().item())
    found.backward()
    assert predicted.grad is not None and bool((predicted.grad[:, :2] != 0).all())
    with pytest.raises(ValueError, match="psnr takes a finite hole_weight >= 0 and eps > 0; received -1"):
        ik.create_loss({"name": "psnr", "hole_weight": -1})


@pytest.mark.parametrize("name", LITERAL)
def test_luma_takes_its_share(name: str, values: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, clean = values
    rows = (predicted - clean).flatten(0, 1).tolist()
    channels = sum(LITERAL[name](d) for row in rows for d in row) / 30
    lumas = sum(LITERAL[name]((65.738 * r + 129.057 * g + 25.064 * b) / 256) for r, g, b in rows) / 10
    loss = ik.create_loss({"name": name, "luma": 0.75})
    assert loss(Prediction(predicted, {}), {"target": clean}).item() == pytest.approx(0.25 * channels + 0.75 * lumas)
    with pytest.raises(ValueError, match=r"luma is a share in \[0, 1\]; received 2"):
        ik.create_loss({"name": name, "luma": 2})
    with pytest.raises(ValueError, match="three channels; the model's values have 2"):
        loss(Prediction(predicted[..., :2], {}), {"target": clean[..., :2]})
