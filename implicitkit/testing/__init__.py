"""Contract tests for plugin authors, which the built-ins pass.

    from implicitkit import testing

    def test_contract():
        testing.check_decoder({"name": "mine", "hidden": 16})

Each function raises ``AssertionError`` with one line that names the broken promise.
"""

from __future__ import annotations

from implicitkit.testing.degradations import check_degradation
from implicitkit.testing.models import check_decoder, check_encoder, check_model, check_neck
from implicitkit.testing.protocols import check_protocol
from implicitkit.testing.scores import check_loss, check_metric

__all__ = [
    "check_decoder",
    "check_degradation",
    "check_encoder",
    "check_loss",
    "check_metric",
    "check_model",
    "check_neck",
    "check_protocol",
]
