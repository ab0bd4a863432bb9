"""GB-LSR against the authors' outputs."""

import pytest
import torch.nn.functional as F

from implicitkit.decoders.basis.gb_lsr import GBLSR
from oracles.parts import BAR, errors


@pytest.mark.parametrize("name", ["gb_lsr", "gb_lsr_nearest"])
def test_equals_the_authors(name: str) -> None:
    assert max(errors(name)) < BAR


def test_the_bandwidth_begins_as_asked() -> None:
    assert float(F.softplus(GBLSR(8, bandwidth=0.8).bandwidth.detach())) == pytest.approx(0.8, abs=1e-6)
    with pytest.raises(ValueError, match="order=0"):
        GBLSR(order=0)
