"""A model and a solver, compared where the picture is known."""

from __future__ import annotations

import pytest
import torch
from painters import disc, picture, small_painter

from implicitkit import DataError
from implicitkit.images import Picture
from implicitkit_sair.inpainting import choice
from implicitkit_sair.inpainting.choice import Choice, best_shares, choose, held_out, inpaint_better
from implicitkit_sair.inpainting.painting import inpaint


def rivals(model=None):
    return {"model": model or small_painter(), "harmonic": "harmonic", "biharmonic": "biharmonic"}


def stripes(height: int, width: int) -> torch.Tensor:
    """What no plate continues: columns, black and white by turns."""
    return (torch.arange(width) % 2).float().expand(3, height, width).contiguous()


def knows(clean: torch.Tensor, error: float):
    """``inpaint`` with a model that is ``error`` from the truth everywhere."""

    def paint(painter, part, hidden, **how):
        if isinstance(painter, str):
            return inpaint(painter, part, hidden)
        return torch.where(hidden > 0.5, clean + error, part)

    return paint


def test_what_fits_the_picture_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    smooth, harsh, mask = picture(24, 24), stripes(24, 24), torch.zeros(1, 24, 24)
    mask[:, 4:8, 4:10] = 1
    for clean, taken in ((smooth, False), (harsh, True)):
        monkeypatch.setattr(choice, "inpaint", knows(clean, 0.1))
        found = choose(rivals(), clean, mask)
        assert (max(found.mixture, key=found.mixture.__getitem__) == "model") is taken and found.trials == choice.TRIALS
        assert found.psnr["model"] == pytest.approx(20, abs=1e-3)  # an error of 0.1


def test_a_true_model_and_what_is_in_the_hole() -> None:
    clean, mask = picture(24, 24), disc(24, 24) * (torch.arange(24) < 12)
    model = small_painter()
    found = choose(rivals(model), clean, mask)
    assert "model" not in found.mixture  # random weights
    assert choose(rivals(model), torch.where(mask > 0.5, 1 - clean, clean), mask) == found


def test_copies_of_the_holes_lie_where_it_is_known() -> None:
    hole = torch.zeros(20, 20, dtype=torch.bool)
    hole[2:5, 3:12] = True
    for trial in range(5):
        held = held_out(hole, trial)
        assert int(held.sum()) >= 20 and not bool((held & hole).any())
    assert not torch.equal(held_out(hole, 0), held_out(hole, 1))


def test_a_large_picture_is_tested_around_its_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_painter()
    model.training_summary = {"data": {"patch": 16, "whole": False}}
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(choice, "inpaint", lambda p, part, hidden, **how: seen.append(tuple(part.shape)) or part)
    mask = torch.zeros(1, 200, 300)
    mask[:, 50:58, 60:66] = 1
    choose(rivals(model), picture(200, 300), mask)
    assert set(seen) == {(3, 16, 16)}


def test_where_nothing_can_be_held_out_the_solver_stays() -> None:
    mask = torch.ones(1, 12, 12)
    mask[:, 0, :5] = 0
    found = choose(rivals(), picture(12, 12), mask)
    assert found.trials == 0 and found.taken == "biharmonic"
    assert found.reason() == "biharmonic: too little is known to test anything else"
    with pytest.raises(DataError, match="has no hole"):
        choose(rivals(), picture(12, 12), torch.zeros(1, 12, 12))


def test_the_reason_in_words() -> None:
    scores = {"a": 25.3, "b": 24.0, "harmonic": 20.0}
    alone = Choice(scores, 3, "harmonic", {"a": 1.0}, 25.3)
    assert alone.reason() == "a: 25.3 dB on 3 held-out copies of the holes; b 24.0"
    mixed = Choice(scores, 3, "harmonic", {"a": 0.75, "b": 0.25}, 25.8)
    assert mixed.reason() == ("75% a + 25% b: 25.8 dB on 3 held-out copies of the holes; a alone 25.3")


def test_shares_are_those_of_the_least_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a search over all mixtures on a grid."""
    for seed in range(5):
        errors = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        errors[1] += 0.7 * errors[0]
        errors[2] *= 1 + seed
        products = errors @ errors.T / 40
        steady = products + choice.RIDGE * products.diagonal().min() * torch.eye(3, dtype=torch.float64)
        grid = torch.tensor([(a, b, 50 - a - b) for a in range(51) for b in range(51 - a)], dtype=torch.float64) / 50
        best = float(((grid @ steady) * grid).sum(1).min())
        monkeypatch.setattr(choice, "LEAST_SHARE", 0.0)
        found = best_shares(products)
        assert float(found.sum()) == pytest.approx(1) and bool((found >= 0).all())
        assert best * 0.99 < float(found @ steady @ found) <= best * (1 + 1e-6)
        monkeypatch.setattr(choice, "LEAST_SHARE", 0.1)
        coarse = best_shares(products)
        assert bool(((coarse == 0) | (coarse >= 0.1)).all())
        assert float(coarse @ steady @ coarse) <= float(steady.diagonal().min())


def test_a_mixture_of_opposite_errors_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, mask = picture(24, 24), torch.zeros(1, 24, 24)
    mask[:, 4:8, 4:10] = 1
    wrong = {"low": -0.1, "high": 0.1}
    monkeypatch.setattr(
        choice, "inpaint", lambda p, part, hidden, **how: torch.where(hidden > 0.5, part + wrong[p], part)
    )
    file = Picture((clean.movedim(0, -1) * 255).round().byte().numpy())
    result, why = inpaint_better(dict(zip(wrong, wrong, strict=True)), file, mask)
    assert why.startswith("50% low + 50% high: ") or why.startswith("50% high + 50% low: ")
    assert abs(result.pixels.astype(int) - file.pixels.astype(int)).max() <= 1
