"""LINF against the authors' outputs, and its samples."""

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders.joint.linf import LINF, Flow, scattered
from oracles.parts import BAR, errors

SMALL = {"name": "linf", "width": 8, "depth": 1, "flow_layers": 2}


def test_equals_the_authors() -> None:
    assert max(errors("linf")) < BAR


def test_a_sample_depends_on_the_seed_alone() -> None:
    model = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": SMALL}).eval()
    picture, warm = torch.rand(3, 14, 15), {"temperature": 1, "seed": 3}
    field = model.encode(picture)
    sample = field.render((20, 25), clamp=False, options=warm)
    exact = {"atol": 1e-5, "rtol": 0.0}
    torch.testing.assert_close(field.render((20, 25), clamp=False, block=19, options=warm), sample, **exact)
    torch.testing.assert_close(
        model.encode(picture, tile=8).render((20, 25), clamp=False, options=warm), sample, **exact
    )
    for options in ({"temperature": 1}, {}, {"seed": 3}):
        assert (field.render((20, 25), clamp=False, options=options) - sample).abs().max() > 0.01
    assert torch.equal(field.render((20, 25), options={"seed": 3}), field.render((20, 25)))


def test_unknown_and_wrong_options_are_refused() -> None:
    field = ik.create_model({"encoder": {"name": "edsr", "blocks": 0, "channels": 8}, "decoder": SMALL}).encode(
        torch.rand(3, 4, 4)
    )
    with pytest.raises(ValueError, match="linf has no option 'heat'; it knows temperature, seed"):
        field.render((4, 4), options={"heat": 1})
    with pytest.raises(ValueError, match="temperature of linf is at least 0; received -1"):
        field(torch.zeros(1, 2), 0.1, options={"temperature": -1})
    with pytest.raises(ValueError, match="an even width"):
        LINF(width=7)


def test_noise_is_normal() -> None:
    noise = scattered(torch.rand(20000, 2), 0, 3)
    assert noise.mean().abs() < 0.02 and abs(float(noise.std()) - 1) < 0.02
    assert float(torch.corrcoef(noise.t()).fill_diagonal_(0).abs().max()) < 0.03


def test_the_inverse_undoes_the_flow() -> None:
    flow, x, parameters = Flow(3, 2), torch.randn(5, 3), torch.randn(5, 2, 2, 3)
    y = x
    for k in range(2):
        y = y @ flow.weight[k].t() + flow.bias[k]
        y = y * (torch.sigmoid(parameters[:, k, 0] + 2) + 1e-4) + parameters[:, k, 1]
    torch.testing.assert_close(flow.inverse(y @ flow.weight[2].t() + flow.bias[2], parameters), x, atol=1e-5, rtol=0)
