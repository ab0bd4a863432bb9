"""The table of ways: exact types, one way each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from implicitkit.decoders.liif import LIIF
from implicitkit.decoders.lte import LTE, LTEPlus
from implicitkit.kernels import Sums, Waves, linears, register_way, sums, table


class Doubled(LIIF):
    def local(self, *arguments: Any) -> torch.Tensor:
        return 2 * super().local(*arguments)


def test_the_built_in_decoders_have_a_form_and_their_subclasses_none() -> None:
    liif, lte = LIIF(8, hidden=[12, 9]), LTE(8, hidden=[12], basis=10)
    assert isinstance(table.form_of(liif), Sums) and table.form_of(liif).width == 12
    assert isinstance(table.form_of(lte), Waves) and table.form_of(lte).width == 5
    assert isinstance(table.form_of(LTEPlus(8, hidden=[12], basis=10)), Waves)
    assert table.form_of(Doubled(8, hidden=[12])) is None
    assert table.form_of(LIIF(8, hidden=[12], ndim=3)) is None and table.form_of(LIIF(8, hidden=[])) is None


def test_a_type_has_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "WAYS", dict(table.WAYS))

    class Mine(LIIF):
        pass

    register_way(Mine, sums)
    assert isinstance(table.form_of(Mine(8, hidden=[12])), Sums)
    for taken in (Mine, LIIF):
        with pytest.raises(ValueError, match=f"{taken.__name__} has a way already"):
            register_way(taken, sums)


def test_linear_layers_of_networks_that_follow_one_another() -> None:
    first, second = nn.Sequential(nn.Linear(4, 5)), nn.Sequential(nn.ReLU(), nn.Linear(5, 3))
    assert linears(nn.Linear, first, second) == [first[0], second[1]]
    assert linears(nn.ReLU, second) == [second[1]]
    for start, networks in ((nn.ReLU, [first]), (nn.Linear, [second]), (nn.Linear, [first, first]), (nn.Linear, [])):
        assert linears(start, *networks) is None
    assert linears(nn.Linear, nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))) is None
    second.register_forward_hook(lambda *_: None)
    assert linears(nn.Linear, first, second) is None
