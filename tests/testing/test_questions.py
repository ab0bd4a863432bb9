"""Decoders that break a promise about questions, and the line that each gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.decoders import LIIF
from implicitkit.testing.questions import check_graphs, check_questions, check_reach


def with_decoder(decoder: ik.Decoder) -> ik.ImplicitModel:
    return ik.ImplicitModel(ik.create_encoder("edsr", blocks=1, channels=8), decoder).eval()


class TakesAnything(LIIF):
    def check_options(self, options: Any) -> dict[str, Any]:
        return dict(options or {})


class ChangesTheLatent(LIIF):
    def begin(self, latent: Any, question: Any) -> Any:
        latent.features.rows.mul_(0.9)
        return latent


class SeesFarther(LIIF):
    def prepare(self, features: Any, inputs: Any, conditions: Any) -> Any:
        return super().prepare(replace(features, map=features.map.roll(4, 3)), inputs, conditions)


class PacksHalf(LIIF):
    def pack(self, latent: Any) -> torch.Tensor:
        return super().pack(latent) * 0.5


class TellsItsQueries(LIIF):
    options = {"gain": 1.0}  # noqa: RUF012

    def begin(self, latent: Any, question: Any) -> Any:
        return replace(latent, extra=question.options["gain"])

    def finish(self, latent: Any, per_axis: Any, blended: torch.Tensor) -> torch.Tensor:
        return blended * latent.extra


class ChangesAllButTheLatent(LIIF):
    def begin(self, latent: Any, question: Any) -> Any:
        return replace(latent, features=replace(latent.features, rows=latent.features.rows * 0.9))


class EnlargesOtherwise(LIIF):
    def at_scale(self, scale: int) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(8, 3 * scale**2, 1), torch.nn.PixelShuffle(scale))


def test_each_broken_promise_has_its_line() -> None:
    picture = torch.rand(1, 3, 7, 6)
    for broken, message in ((TakesAnything, "which it does not declare"), (ChangesTheLatent, "asked again, after")):
        model = with_decoder(broken(8, hidden=[8]))
        with pytest.raises(AssertionError, match=message):
            check_questions(model, model.encode(picture), 1e-4)
    with pytest.raises(AssertionError, match="a query sees .* cells away; reach says 2"):
        check_reach(with_decoder(SeesFarther(8, hidden=[8])))
    for broken, message in (
        (PacksHalf, "packed and unpacked"),
        (TellsItsQueries, r"says exports = True, but .* cannot be asked without begin\(\): TypeError"),
        (ChangesAllButTheLatent, r"packed and unpacked, without begin\(\), gives other values"),
        (EnlargesOtherwise, r"at_scale\(2\) gives another"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_graphs(with_decoder(broken(8, hidden=[8])), picture, 1e-4)


def test_check_decoder_calls_them() -> None:
    with pytest.raises(AssertionError, match="which it does not declare"):
        testing.check_decoder(TakesAnything(8, hidden=[8]))
