"""Parts by name and spec: what is passed on, and what is refused."""

from __future__ import annotations

import pytest

import implicitkit as ik


def test_a_spec_and_arguments_are_one() -> None:
    spec = {"name": "edsr", "blocks": 1}
    encoder = ik.create_encoder(spec, channels=6)
    assert encoder.spec == {"name": "edsr", "blocks": 1, "channels": 6} and spec == {"name": "edsr", "blocks": 1}


def test_a_list_of_degradations_is_a_chain() -> None:
    chain = ik.create_degradation([{"name": "blur"}, "jpeg"])
    assert [step["name"] for step in chain.spec] == ["blur", "jpeg"]
    with pytest.raises(TypeError, match="inside the list; received sigma"):
        ik.create_degradation(["blur", "jpeg"], sigma=1)


@pytest.mark.parametrize("kind", ["encoder", "neck", "decoder", "degradation", "loss", "metric", "protocol"])
def test_an_unknown_name_is_refused(kind: str) -> None:
    with pytest.raises(ik.UnknownNameError, match=f"unknown {kind} 'no_such_thing'"):
        getattr(ik, f"create_{kind}")("no_such_thing")
