"""OPE against the authors' outputs."""

import pytest

import implicitkit as ik
from implicitkit.decoders.basis.ope import OPE
from oracles.parts import BAR, errors


@pytest.mark.parametrize("name", ["ope", "ope_adapt"])
def test_equals_the_authors(name: str) -> None:
    assert max(errors(name)) < BAR


def test_the_features_are_the_coefficients_where_their_number_fits() -> None:
    assert not list(OPE(in_channels=27, max_frequency=1).parameters())
    assert ik.create_decoder("ope", in_channels=8).adapt.out_channels == 147
    with pytest.raises(ValueError, match="in_channels=147 then; received 8"):
        OPE(in_channels=8, adapt=False)
    with pytest.raises(ValueError, match="max_frequency=-1"):
        OPE(max_frequency=-1)
