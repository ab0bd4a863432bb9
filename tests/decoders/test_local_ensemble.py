"""Where a graph is kept, points are evaluated some at a time as well: the same values, and the same gradients."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.decoders import JointDecoder, Latent, Rows, local_ensemble
from oracles.models import CASES, made


@pytest.mark.parametrize("shared", [True, False], ids=["one cell", "a cell each"])
@pytest.mark.parametrize(("decoder", "case"), CASES)
def test_training_in_parts_changes_nothing(
    decoder: str, case: str, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pictures, coords = made(decoder, case), torch.rand(2, 3, 6, 5), torch.rand(2, 41, 2) * 2.2 - 1.1
    cell, parts = (0.1 if shared else torch.rand(2, 41, 2) / 5), []
    local = model.decoder.local
    monkeypatch.setattr(model.decoder, "local", lambda rows, *others: parts.append(len(rows)) or local(rows, *others))
    answers = []
    for kept in (1 << 40, 4 << 10):
        monkeypatch.setattr(local_ensemble, "GRAPH_BYTES", kept)
        model.zero_grad()
        parts.clear()
        values = model.encode(pictures, grad=True)(coords, cell)
        values.square().sum().backward()
        answers.append((values.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
        corners = 4 if model.decoder.local_ensemble else 1
        assert sum(parts) == 82 * corners and (len(parts) > corners) == (kept < 1 << 40)
    (whole, expected), (in_parts, found) = answers
    torch.testing.assert_close(in_parts, whole, atol=1e-6, rtol=1e-5)
    assert len(found) == len(expected) > 4
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6 * float(theirs.abs().max()), rtol=2e-5)


@pytest.mark.parametrize("base", [ik.LocalEnsembleDecoder, JointDecoder])
def test_a_latent_of_another_kind_is_named(base: type[ik.Decoder]) -> None:
    class Told(base):  # type: ignore[misc, valid-type]
        in_channels, uses_cell, skip = 8, False, False

        def begin(self, latent, question):
            return latent, 2.0

        def prepare(self, features, inputs, conditions):
            return Latent(Rows.of(features.map, features.origin, features.grid), features.extent)

    field = ik.ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), Told()).encode(torch.rand(3, 6, 5))
    for ask in (lambda: field.render((7, 8)), lambda: field(torch.zeros(2, 2))):
        with pytest.raises(
            TypeError, match="the latent of Told is what prepare.* a tuple; in this family it is a Latent"
        ):
            ask()
