"""What an encoder and a decoder have in common: a spec, a title, and whether they learn."""

from __future__ import annotations

import pytest
import torch

import implicitkit as ik
from implicitkit.encoders.part import Part


class Fetched(Part):
    def portable(self, spec):
        return {key: value for key, value in spec.items() if key != "weights"}


def test_a_part_built_by_hand_has_no_spec_and_the_name_of_its_class() -> None:
    part = Part()
    assert part.spec is None and part.title == "Part" and part.trainable and part.source is None


def test_a_part_built_by_name_says_what_builds_it_again() -> None:
    part = ik.create_encoder("edsr", blocks=1, channels=4)
    assert part.spec == {"name": "edsr", "blocks": 1, "channels": 4} and part.title == "edsr"
    again = ik.create_encoder(part.spec)
    assert [p.shape for p in again.parameters()] == [p.shape for p in part.parameters()]


def test_what_only_a_first_start_needs_is_left_out_of_the_spec() -> None:
    part, given = Fetched(), {"name": "mine", "weights": "/somewhere.pth", "width": 3}
    part.spec = given
    given["width"] = 4  # a spec is a copy
    assert part.spec == {"name": "mine", "width": 3}


def test_a_layer_that_would_hide_a_method_is_refused_where_it_is_made() -> None:
    class Hiding(ik.Encoder):
        def __init__(self, name: str, value: object) -> None:
            super().__init__()
            setattr(self, name, value)

    for layer in (torch.nn.Linear(2, 2), torch.nn.Parameter(torch.zeros(2))):
        with pytest.raises(TypeError, match="Hiding.normalise is a method, of Encoder, which this layer would hide"):
            Hiding("normalise", layer)
    assert isinstance(Hiding("layer", torch.nn.Linear(2, 2)).layer, torch.nn.Linear)
    assert Hiding("trainable", False).trainable is False
