"""What kept scores depend on."""

from __future__ import annotations

from pathlib import Path

import torch

import implicitkit as ik
from implicitkit.comparison.plan import GivenWeights
from implicitkit.comparison.scores import Scorer
from implicitkit.config.comparison import Evaluation


def test_scores_depend_on_the_content_of_pictures_and_masks(tmp_path: Path) -> None:
    """Other pixels of the same name and size are another test set."""
    for folder in ("data", "masks"):
        (tmp_path / folder).mkdir()
        ik.write_image(tmp_path / folder / "a.png", torch.zeros(3, 16, 16))
    spec = {"protocol": "inpainting", "masks": str(tmp_path / "masks"), "size": 0}

    def key() -> dict[str, object]:
        evaluation = Evaluation(**spec, data=str(tmp_path / "data"), metrics=["l1"])
        return Scorer("x", evaluation, [], torch.device("cpu"), None).key

    before, sizes = key(), (tmp_path / "data" / "a.png").stat().st_size
    assert key() == before
    ik.write_image(tmp_path / "masks" / "a.png", torch.full((3, 16, 16), 1 / 255))
    masked = key()
    assert masked["folders"] != before["folders"] and masked["data"] == before["data"]
    content = bytearray((tmp_path / "data" / "a.png").read_bytes())
    content[-1] ^= 1
    (tmp_path / "data" / "a.png").write_bytes(content)
    assert (tmp_path / "data" / "a.png").stat().st_size == sizes and key()["data"] != masked["data"]


def test_options_of_the_questions_change_the_scores(tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    pictures.mkdir()
    ik.write_image(pictures / "noise.png", torch.rand(3, 24, 24))
    spec = {"encoder": {"name": "edsr", "blocks": 1, "channels": 4}, "decoder": {"name": "linf", "width": 8}}
    weights = ik.create_model(spec).save(tmp_path / "m.safetensors")
    evaluation = Evaluation(protocol="plain", data=str(pictures), metrics=["psnr"], scales=[2])
    scorer = Scorer("test", evaluation, [], torch.device("cpu"), None)
    each = [
        scorer("it", GivenWeights("it", weights, tmp_path / "it", options=options), keep=False).scores["it"]["2"]
        for options in ({}, {"temperature": 0.8})
    ]
    assert each[0] != each[1]
