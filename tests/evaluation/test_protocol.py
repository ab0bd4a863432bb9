"""Protocols by name: the contract, what each does to pictures, and `implicitkit evaluate` with any of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import implicitkit as ik
from implicitkit import testing
from implicitkit.evaluation import (
    Example,
    TestSet,
    bicubic,
    evaluate,
    evaluate_inpainting,
    mean_fill,
)
from oracles.models import small_model
from oracles.protocols import SMALL


def test_they_call_the_functions_that_score_any_method(folder: Path) -> None:
    model = small_model(skip="bilinear")
    models = {"m": model}

    def upscale(low: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return model.encode(low).render(size)

    def fill(seen: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return model.encode(seen).render(seen.shape[1:])

    found = ik.create_protocol("div2k", scales=[2]).evaluate(models, folder)
    expected = evaluate({"bicubic": bicubic, "m": upscale}, TestSet(folder), [2], "div2k")
    assert found.values == expected.values
    protocol = ik.create_protocol(
        "inpainting", size=32, bins=[[20, 40]], fill="mean", truncate=True, paste=True, seed=3
    )
    holes = {"name": "inpainting", "kind": "strokes", "fill": "mean"}
    how = {"size": 32, "truncate": True, "paste": True, "seed": 3}
    expected = evaluate_inpainting({"mean colour": mean_fill, "m": fill}, folder, [(20, 40)], holes, ["l1"], **how)
    found = protocol.evaluate(models, folder, metrics=["l1"], encode={"tile": 16, "precision": "float32"})
    for method, settings in expected.values.items():
        for metric, pictures in settings["20-40"].items():
            assert found.values[method]["20-40"][metric] == pytest.approx(pictures, rel=1e-4)  # tiles round otherwise
    assert found.records == expected.records


def test_masks_of_a_folder_are_brought_to_size_by_the_nearest_pixel(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    y, x = np.mgrid[:100, :90]
    large = ((y - 40) ** 2 + (x - 50) ** 2 < 900) | ((y // 10 + x // 10) % 5 == 0)  # 43 %
    ik.write_image(tmp_path / "masks" / "m.png", torch.from_numpy(large)[None].float())
    protocol = ik.create_protocol("inpainting", masks=str(tmp_path / "masks"), bins=[[20, 60]], size=0, fill=0.0)
    spec = small_model().spec
    masked = {**spec, "encoder": {**spec["encoder"], "mask_channels": 1}, "inputs": ["image", "mask"]}
    model, seen = ik.create_model(masked).eval(), []
    model.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    protocol.evaluate({"m": model}, folder, metrics=["l1"])
    nearest = [[large[int((i + 0.5) * 100 / 41), int((j + 0.5) * 90 / 50)] for j in range(50)] for i in range(41)]
    assert len(seen) == 2
    assert all(np.array_equal(x[0, 3].numpy() > 0, np.array(nearest)) for x in seen)


def test_options_are_checked() -> None:
    for spec, message in (
        ({"name": "inpaintin"}, "unknown protocol 'inpaintin'; did you mean 'inpainting'"),
        ({"name": "inpainting", "sise": 3}, "takes no 'sise'; did you mean 'size'"),
        ({"name": "inpainting", "size": "large"}, "protocol 'inpainting', size: input should be a valid integer"),
        ({"name": "inpainting", "size": -1}, "received -1"),
        ({"name": "inpainting", "bins": []}, "one at least; received none"),
        ({"name": "inpainting", "bins": [[40, 20]]}, "received 40-20"),
        ({"name": "inpainting", "kind": "strokes", "masks": "x"}, "give masks or kind, not both"),
        ({"name": "inpainting", "kind": "dots"}, "'dots'"),
        ({"name": "benchmark", "scales": [0.5]}, r"received \[0.5\]"),
        ({"name": "benchmark", "scales": []}, r"received \[\]"),
        ({"name": "restoration", "settings": {}}, "one at least; received none"),
        ({"name": "restoration", "settings": {"x": "noize"}}, "unknown degradation 'noize'; did you mean 'noise'"),
        ({"name": "restoration", "settings": {"x": {"name": "noise", "sgma": 3}}}, "did you mean 'sigma'"),
        ({"name": "restoration", "settings": {"25": "noise"}}, "such as 'sigma 25'; received '25'"),
        ({"name": "restoration", "settings": {"20-40": "noise"}}, "received '20-40'"),
        ({"name": "restoration", "settings": {"a|b": "noise"}}, "received 'a|b'"),
    ):
        with pytest.raises((ik.UserError, ValueError), match=message.replace("|", r"\|")):
            ik.create_protocol(spec)


def test_models_that_cannot_be_scored_are_refused(folder: Path) -> None:
    encoder = {"name": "edsr", "blocks": 1, "channels": 4}
    embedding = ik.create_model({"encoder": encoder, "decoder": {"name": "bilinear", "project": False}})
    for name in ik.list_protocols():
        protocol = ik.create_protocol({"name": name, **SMALL[name]})
        with pytest.raises(ik.UserError, match="theirs does not map RGB pictures to RGB pictures"):
            protocol.evaluate({"theirs": embedding}, folder)
        with pytest.raises(ik.UserError, match="rename the model"):
            protocol.evaluate({protocol.trivial: small_model()}, folder)


@pytest.mark.usefixtures("theirs")
def test_a_protocol_that_writes_all_of_evaluate_still_works(folder: Path) -> None:
    testing.check_protocol("a_tests_whole")
    models = {"m": small_model()}
    whole, yielding = (ik.create_protocol(f"a_tests_{name}") for name in ("whole", "brightness"))
    assert whole.evaluate(models, folder).values == yielding.evaluate(models, folder).values


def test_who_asks_sees_every_prediction_and_its_time(folder: Path) -> None:
    seen: list[tuple[str, str, str]] = []

    def see(method: str, example: Example, prediction: torch.Tensor, seconds: float) -> None:
        assert prediction.shape == example.truth.shape and seconds > 0
        seen.append((method, example.setting, example.name))

    protocol, models = ik.create_protocol("plain", scales=[2, 3]), {"m": small_model()}
    scores = protocol.evaluate(models, folder, seen=see)
    assert seen == [(row, s, name) for s in "23" for name in "ab" for row in ("bicubic", "m")]
    alone = protocol.evaluate(models, folder, trivial=False)
    assert alone.values == {"m": scores.values["m"]}
