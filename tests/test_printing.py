"""print() of everything is one useful line."""

import re

import pytest
import torch

import implicitkit as ik
from implicitkit.printing import with_settings
from implicitkit.registry.kinds import losses, metrics, protocols

CREATORS = [(losses, ik.create_loss), (metrics, ik.create_metric), (protocols, ik.create_protocol)]


@pytest.mark.parametrize(("kind", "create"), CREATORS, ids=["loss", "metric", "protocol"])
def test_what_is_registered_prints_as_its_class_and_settings(kind, create) -> None:
    for name in kind.names():
        if "lpips" in name:  # has weights to fetch
            continue
        text = repr(create(name))
        assert re.fullmatch(r"\w+\(.*\)", text) and " object at " not in text, name
    assert repr(ik.create_loss("charbonnier", eps=0.5)) == "Charbonnier(eps=0.5, hole_weight=1.0, luma=0.0)"
    assert repr(ik.create_metric("psnr", shave=4)).startswith("PSNR(shave=4")
    assert repr(ik.create_protocol("benchmark", scales=[2])) == "Benchmark(scales=[2.0])"


def test_parts_are_one_line_with_channels_and_size() -> None:
    encoder = ik.create_encoder("edsr", blocks=2, channels=8)
    assert repr(encoder) == "EDSR(blocks=2, channels=8, 3 -> 8 channels, 3,144 parameters)"
    assert repr(ik.create_decoder("liif", in_channels=8, hidden=[4])).startswith("LIIF(")
    assert "Conv2d(" in torch.nn.Module.__repr__(encoder)


def test_results_are_their_shapes() -> None:
    degraded = ik.create_degradation("super_resolution", scale=2)(torch.rand(2, 3, 8, 8))
    assert repr(degraded) == "Degraded(image (2, 3, 4, 4), mask (2, 1, 4, 4), reference (2, 3, 8, 8), 2 records)"
    one = ik.create_degradation("noise")(torch.rand(3, 4, 5))
    assert repr(one) == "Degraded(image (3, 4, 5), mask (1, 4, 5), reference (3, 4, 5), 1 record)"
    assert repr(ik.create_encoder("edsr", blocks=1, channels=8)(torch.rand(1, 3, 4, 6))) == (
        "Features((1, 8, 4, 6), of 4×6 pixels)"
    )


def test_what_takes_part_in_a_training_too() -> None:
    assert repr(ik.create_callback("early_stopping", patience=3)) == "EarlyStopping(patience=3, min_delta=0.0)"
    for name in ik.list_schedules():
        assert " object at " not in repr(ik.create_schedule(name))


def test_long_settings_are_cut() -> None:
    class Many:
        def __init__(self, values: list[int]) -> None:
            self.values = values

    assert len(with_settings(Many(list(range(1000))))) < 60
