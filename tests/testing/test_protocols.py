"""The contract of protocols: the built-in ones keep it, and what breaks it is found."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from oracles.protocols import SMALL, Brightness


@pytest.mark.parametrize("name", ik.list_protocols())
def test_every_protocol_keeps_the_contract(name: str) -> None:
    testing.check_protocol({"name": name, **SMALL[name]})


def test_the_usual_options_of_restoration_keep_it() -> None:
    testing.check_protocol("restoration")


@pytest.mark.usefixtures("theirs")
def test_a_protocol_that_breaks_the_contract_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, whole = "a_tests_brightness", Brightness.evaluate

    def random(self, models, data, **how):
        scores = whole(self, models, data, **how)
        for name in models:
            scores.values[name]["mean"]["offset"]["0"] += float(torch.rand(()))
        return scores

    def last(self, models, data, **how):
        scores = whole(self, models, data, **how)
        scores.values[self.trivial] = scores.values.pop(self.trivial)
        return scores

    def silent(self, models, data, progress=None, **how):
        return whole(self, models, data, **how)

    def careless(self, models, data, **how):
        return whole(self, dict(list(models.items())[:1]), data, **how)

    for broken, message in (
        (random, "torch's global random state was used"),
        (last, r"not the trivial methods \['grey'\]"),
        (silent, "count says 2 steps; with 1 models they are"),
        (careless, "the rows are"),
    ):
        monkeypatch.setattr(Brightness, "evaluate", broken)
        with pytest.raises(AssertionError, match=message):
            testing.check_protocol(spec)
    monkeypatch.setattr(Brightness, "evaluate", whole)
    monkeypatch.setattr(Brightness, "admit", lambda self, models: None)
    with pytest.raises(AssertionError, match="a model called 'grey' is not refused"):
        testing.check_protocol(spec)
